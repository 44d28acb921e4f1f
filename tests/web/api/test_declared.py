"""What a route does not declare is refused, whatever the route: parameters, form fields, fields of JSON bodies."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from app.web.api import ApiContext
from app.web.doors import API_PATH
from tests.conftest import client
from tests.web.api.steps import done, make_code, refused
from tests.web.api.test_openapi import METHODS, resolve

STRANGE = "no_such"


class Operation(NamedTuple):
    """One operation of the document; `bodies` maps media types to resolved schemas."""

    method: str
    path: str
    parameters: list[str]
    bodies: dict[str, dict[str, Any]]

    @property
    def url(self) -> str:
        """Name things that do not exist: nothing is looked up before names are."""
        path = self.path.replace("{number}", "1")
        for name in ("code_id", "target_id", "account_id", "key_id", "visitor_id"):
            path = path.replace(f"{{{name}}}", "0" * 16)
        assert "{" not in path
        return f"http://api.test{path}"


@pytest.fixture
async def operations(context: ApiContext) -> list[Operation]:
    async with client(context) as nobody:
        document = (await nobody.get("http://api.test/openapi.json")).json()
    return list(_operations(document))


def _operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        # A scan takes any query, since an address may be handed on with one.
        for method in METHODS & item.keys() if path.startswith(API_PATH) else ():
            described = item[method]
            content = described.get("requestBody", {}).get("content", {})
            bodies = {kind: resolve(document, one["schema"]) for kind, one in content.items()}
            parameters = [one["name"] for one in described.get("parameters", []) if one["in"] == "query"]
            yield Operation(method.upper(), path, parameters, bodies)


async def test_no_operation_takes_a_query_parameter_that_it_does_not_declare(
    api: httpx.AsyncClient, operations: list[Operation]
) -> None:
    assert len(operations) >= 41
    for one in operations:
        problem = refused(await api.request(one.method, f"{one.url}?{STRANGE}=1"), 422, "invalid", STRANGE)
        assert "parameter" in problem["detail"], one
        for name in one.parameters:
            # In other capitals it is another name.
            refused(await api.request(one.method, f"{one.url}?{name.upper()}=1"), 422, "invalid", name.upper())


async def test_no_operation_takes_a_query_parameter_twice(api: httpx.AsyncClient, operations: list[Operation]) -> None:
    asked = 0
    for one in operations:
        for name in one.parameters:
            response = await api.request(one.method, f"{one.url}?{name}=1&{name}=1")
            errors = refused(response, 422, "invalid")["errors"]
            assert {"where": name, "code": "repeated", "detail": "Field given more than once"} in errors, one
            asked += 1
    assert asked > 20


async def test_no_json_body_has_a_field_that_is_not_declared(
    api: httpx.AsyncClient, operations: list[Operation]
) -> None:
    asked = 0
    for one in operations:
        if "application/json" in one.bodies:
            assert one.bodies["application/json"]["additionalProperties"] is False, one
            response = await api.request(one.method, one.url, json={STRANGE: 1})
            errors = refused(response, 422, "invalid")["errors"]
            assert (STRANGE, "extra_forbidden") in {(e["where"], e["code"]) for e in errors}, one
            asked += 1
    assert asked >= 15


async def test_no_json_body_holds_a_field_twice(api: httpx.AsyncClient, operations: list[Operation]) -> None:
    """A parser keeps the last one, and a proxy or a log may have read the first."""
    asked = 0
    for one in operations:
        if "application/json" in one.bodies:
            for content in ('{"name": "a", "name": "a"}', '{"name": "a", "in": [{"name": 1, "x": 2, "name": 3}]}'):
                for media_type in ("application/json", "Application/JSON; charset=utf-8"):
                    response = await api.request(
                        one.method, one.url, content=content, headers={"Content-Type": media_type}
                    )
                    errors = refused(response, 422, "invalid")["errors"]
                    assert errors == [{"where": "name", "code": "repeated", "detail": "Field given more than once"}], (
                        one
                    )
            asked += 1
    assert asked >= 15
    content = '{"name": "a", "kind": "group", "kind": "link"}'
    response = await api.post("/codes", content=content, headers={"Content-Type": "application/json"})
    refused(response, 422, "invalid", "kind")


async def test_no_form_has_a_field_that_is_not_declared_or_given_twice(
    api: httpx.AsyncClient, operations: list[Operation]
) -> None:
    asked = 0
    for one in operations:
        if (form := one.bodies.get("multipart/form-data")) is None:
            continue
        needed = [(name, ("x.png", b"x")) for name in form.get("required", [])]
        for strange in (STRANGE, "channel", "Size"):
            response = await api.request(one.method, one.url, files=[*needed, (strange, (None, "1"))])
            refused(response, 422, "invalid", strange)
        # A list may be given in parts.
        for name in set(form["properties"]) - set(form["required"]) - {"allow"}:
            response = await api.request(one.method, one.url, files=[*needed, *[(name, (None, "1"))] * 2])
            errors = refused(response, 422, "invalid")["errors"]
            assert (name, "repeated") in {(e["where"], e["code"]) for e in errors}, (one, name)
        asked += 1
    assert asked >= 3


async def test_a_print_of_a_channel_that_is_asked_for_in_the_wrong_place_is_not_drawn(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    done(await api.post(f"/codes/{code['id']}/channels", json={"name": "海报"}), 201)
    refused(await api.get(f"/codes/{code['id']}/qr.png?channel=1"), 422, "invalid", "channel")
    refused(
        await api.post(f"/codes/{code['id']}/qr", data={"channel": "1"}, files={"logo": b"x"}),
        422,
        "invalid",
        "channel",
    )


async def test_pages_of_operations_take_whatever_probes_add(context: ApiContext) -> None:
    async with client(context) as nobody:
        for path in ("/openapi.json", "/docs"):
            assert (await nobody.get(f"http://api.test{path}?{STRANGE}=1")).status_code == 200
