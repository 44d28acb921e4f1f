"""Welcome whoever started everything: make a demo code through the API, and say where things are."""

import os
import sys
from pathlib import Path

import httpx

from app.qr.draw import terminal

SLUG = "demo"
GROUPS = 3
_LOOPBACK = ("http://127.", "http://localhost", "http://[::1]")


def greet(public_url: str, local_url: str, key: str) -> None:
    """Print the demo code, its address, the key and the manual's address; make the code first if there is a key."""
    if key:
        _make_demo(local_url, key)
    print()
    if httpx.head(f"{local_url}/{SLUG}", trust_env=False).is_success:
        url = f"{public_url}/{SLUG}"
        drawn = terminal(url)
        # A terminal without block letters would show question marks.
        if drawn.encode(sys.stdout.encoding or "utf-8", "replace").decode(sys.stdout.encoding or "utf-8") == drawn:
            print(drawn)
        print(f"  demo code  {url}   (3 groups of 200; scan the code above, or open the address)")
    if public_url.startswith(_LOOPBACK):
        print("             for a phone in your network: HUOMA_HOST=0.0.0.0 HUOMA_PUBLIC_URL=http://<address>:<port>")
    another = f"shown at the first start; another: {_command()} keys create WORKSPACE"
    print(f"  API key    {f'{key[:7]}…' if key else another}")
    print(f"  API        {public_url}/docs")
    print("\nhuoma is running. Stop it with Ctrl-C.", flush=True)


def _command() -> str:
    return f"{os.path.relpath(sys.executable)} -m app.cli" if Path(sys.executable).is_absolute() else "huoma"


def _make_demo(local_url: str, key: str) -> None:
    with httpx.Client(base_url=local_url, headers={"Authorization": f"Bearer {key}"}, trust_env=False) as api:
        made = api.post("/api/v1/codes", json={"name": "演示群活码 · Demo", "kind": "group", "slug": SLUG})
        if made.status_code == httpx.codes.CONFLICT:
            return
        made.raise_for_status()
        for number in range(1, GROUPS + 1):
            # Invented, as long as real ones are: nobody's group.
            payload = f"https://weixin.qq.com/g/{f'AwYAADemo{number}'.ljust(64, '-')}"
            target = {"payload": payload, "name": f"演示{number}群 · Demo group {number}"}
            api.post(f"/api/v1/codes/{made.json()['id']}/targets", json=target).raise_for_status()
