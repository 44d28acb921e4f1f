"""Welcome whoever started everything: make a demo code through the API, and say where things are."""

import httpx

from app.qr.draw import terminal

SLUG = "demo"
GROUPS = 3


def greet(public_url: str, local_url: str, key: str) -> None:
    """Print the demo code, its address, the key and the manual's address; make the code first if there is a key."""
    if key:
        _make_demo(local_url, key)
    url = f"{public_url}/{SLUG}"
    print(terminal(url))
    print("huoma is running. Stop it with Ctrl-C.\n")
    print(f"  demo code  {url}   (3 groups of 200; scan the code above, or open the address)")
    print(f"  API key    {key or 'shown at the first start; `huoma keys create WORKSPACE` makes another'}")
    print(f"  API        {public_url}/docs", flush=True)


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
