"""Hold the running API against its own document: schemathesis asks every operation what is right and what is wrong."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.running import KEY, PHONE, Service, running_service, server_folder
from tests.web.api.steps import contact, payload

from .conftest import PATIENT

# Requests that are drawn for each operation; as many as one has time for, such as FUZZ_EXAMPLES=1000.
EXAMPLES: Final = os.environ.get("FUZZ_EXAMPLES", "4")
# What is valid may still be refused (a slug that is taken, a menu that is none), and the document cannot say when.
NOT_ASKED: Final = "positive_data_acceptance"
# Whoever revokes keys at random revokes his own in the end.
REVOKING: Final = "revoke_key"
DELETING: Final = ("close_code", "remove_channel", "remove_target", "remove_account", "erase_visitor", REVOKING)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with server_folder() as folder, running_service(folder, **PATIENT) as service:
        yield service


def ask(service: Service, folder: Path, *arguments: str, settings: str = "") -> str:
    """Run schemathesis; answer with what it says."""
    (folder / "schemathesis.toml").write_text(settings, encoding="utf-8")
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json"]
    told = subprocess.run(
        [
            *command, "--header", f"Authorization: Bearer {KEY}", "--checks", "all", "--exclude-checks", NOT_ASKED,
            "--max-examples", EXAMPLES, "--workers", "2", "--request-timeout", "30", "--continue-on-failure",
            "--generation-database", "none", "--no-color", *arguments,
        ],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout[-20_000:] + told.stderr
    return told.stdout


def operations(service: Service) -> Iterator[dict[str, Any]]:
    document = httpx.get(f"{service.url}/openapi.json", trust_env=False).json()
    for item in document["paths"].values():
        yield from item.values()


def make_everything(service: Service) -> dict[str, str | int]:
    """Make one of each thing that a path can name."""
    with service.api as api:

        def made(path: str, body: Any, method: str = "POST") -> Any:
            return api.request(method, path, json=body).raise_for_status().json()

        code = made("/codes", {"name": "群活码", "fallback": {"payload": contact()}})
        menu = made("/codes", {"name": "菜单", "kind": "menu"})
        option = made(f"/codes/{menu['id']}/options", {"options": [{"label": "一", "code_id": code["id"]}]}, "PUT")
        target = made(f"/codes/{code['id']}/targets", {"payload": payload()})["id"]
        seat = httpx.get(code["url"], headers={"Accept": "application/json"}, trust_env=False).json()["seat"]
        return {
            "code_id": code["id"],
            "slug": code["slug"],
            "token": seat,
            "menu_id": menu["id"],
            "menu_slug": menu["slug"],
            "target_id": target,
            "account_id": made("/accounts", {"name": "小春", "kind": "wecom"})["id"],
            "option": option["options"][0]["number"],
            "channel": made(f"/codes/{code['id']}/channels", {"name": "门店"})["number"],
        }


def naming(ids: dict[str, str | int], found: Iterator[dict[str, Any]]) -> str:
    """Write settings under which whatever only reads or changes finds what it names."""
    lines = []
    for operation in found:
        wanted = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
        name = operation["operationId"]
        if not wanted or name in DELETING:
            continue
        menu, values = "option" in name, []
        for one in sorted(wanted):
            known = {
                "number": "option" if menu else "channel",
                "code_id": "menu_id" if menu else "code_id",
                "slug": "menu_slug" if menu else "slug",
            }
            values.append(f"{json.dumps('path.' + one)} = {json.dumps(ids[known.get(one, one)])}")
        lines += ["[[operations]]", f'include-operation-id = "{name}"', f"parameters = {{ {', '.join(values)} }}"]
    return "\n".join(lines)


@pytest.mark.timeout(3600)
def test_every_operation_does_what_the_document_says(service: Service, tmp_path: Path) -> None:
    settings = naming(make_everything(service), operations(service))
    told = ask(service, tmp_path, "--phases", "coverage,fuzzing", "--exclude-operation-id", REVOKING, settings=settings)
    number = len(list(operations(service)))
    assert f"Selected: {number - 1}/{number}" in told
    assert f"Tested: {number - 1}" in told


@pytest.mark.timeout(3600)
def test_what_one_operation_made_another_finds_until_it_is_gone(service: Service, tmp_path: Path) -> None:
    told = ask(service, tmp_path, "--phases", "examples,stateful", "--exclude-operation-id", REVOKING)
    assert "Stateful (in" in told
    ask(service, tmp_path, "--include-operation-id", REVOKING)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_a_scan_is_what_the_document_says_for_programs_and_for_phones(
    service: Service, tmp_path: Path, accept: str
) -> None:
    scans = [one for one in operations(service) if one["tags"] == ["scan"]]
    told = ask(
        service, tmp_path, "--phases", "examples,coverage,fuzzing", "--include-tag", "scan",
        "--header", f"Accept: {accept}", "--header", f"User-Agent: {PHONE}",
        settings=naming(make_everything(service), iter(scans)),
    )  # fmt: skip
    assert f"Tested: {len(scans)}" in told
    assert len(scans) >= 7
