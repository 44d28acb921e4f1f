"""The document that describes the API, and the page that shows it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from app.web.api import ApiContext
from app.web.doors import API_PATH
from tests.conftest import client

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
async def document(context: ApiContext) -> dict[str, Any]:
    async with client(context) as nobody:
        response = await nobody.get("http://api.test/openapi.json")
        assert response.status_code == 200
        found = response.json()
        assert isinstance(found, dict)
        return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """List the operations that take a key; `tests/web/test_scan_document.py` has those of a scan."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in METHODS and path.startswith(f"{API_PATH}/"):
                yield f"{method.upper()} {path}", operation


def resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].removeprefix("#/components/schemas/")]
    return schema


def test_it_is_openapi_3_1_with_every_operation_of_the_contract(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert {name for name, _ in operations(document)} == {
        "DELETE /api/v1/visitors/{visitor_id}",
        "POST /api/v1/codes",
        "GET /api/v1/codes",
        "GET /api/v1/codes/{code_id}",
        "GET /api/v1/codes/{code_id}/explain",
        "PATCH /api/v1/codes/{code_id}",
        "DELETE /api/v1/codes/{code_id}",
        "GET /api/v1/codes/{code_id}/qr.png",
        "GET /api/v1/codes/{code_id}/qr.svg",
        "POST /api/v1/codes/{code_id}/qr",
        "GET /api/v1/codes/{code_id}/options",
        "PUT /api/v1/codes/{code_id}/options",
        "POST /api/v1/codes/{code_id}/options/{number}/qr",
        "POST /api/v1/codes/{code_id}/channels/{number}/qr",
        "GET /api/v1/codes/{code_id}/options/{number}/qr.png",
        "GET /api/v1/codes/{code_id}/options/{number}/qr.svg",
        "POST /api/v1/codes/{code_id}/channels",
        "GET /api/v1/codes/{code_id}/channels",
        "PATCH /api/v1/codes/{code_id}/channels/{number}",
        "DELETE /api/v1/codes/{code_id}/channels/{number}",
        "GET /api/v1/codes/{code_id}/channels/{number}/qr.png",
        "GET /api/v1/codes/{code_id}/channels/{number}/qr.svg",
        "GET /api/v1/codes/{code_id}/stats",
        "GET /api/v1/stats",
        "POST /api/v1/codes/{code_id}/targets",
        "GET /api/v1/codes/{code_id}/targets",
        "POST /api/v1/codes/{code_id}/targets/batch",
        "GET /api/v1/targets/{target_id}",
        "PATCH /api/v1/targets/{target_id}",
        "DELETE /api/v1/targets/{target_id}",
        "POST /api/v1/targets/{target_id}/restore",
        "PUT /api/v1/targets/{target_id}/qr",
        "POST /api/v1/targets/{target_id}/members",
        "POST /api/v1/accounts",
        "GET /api/v1/accounts",
        "GET /api/v1/accounts/{account_id}",
        "PATCH /api/v1/accounts/{account_id}",
        "PUT /api/v1/accounts/{account_id}/availability",
        "DELETE /api/v1/accounts/{account_id}",
        "POST /api/v1/keys",
        "GET /api/v1/keys",
        "DELETE /api/v1/keys/{key_id}",
        "GET /api/v1/workspace",
        "PATCH /api/v1/workspace",
    }


def test_what_takes_no_key_is_a_scan(document: dict[str, Any]) -> None:
    others = {path: item for path, item in document["paths"].items() if not path.startswith(f"{API_PATH}/")}
    assert {tuple(operation["tags"]) for item in others.values() for operation in item.values()} == {("scan",)}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in re.findall(r"'\$ref': '([^']+)'", str(document)):
        assert resolve(document, {"$ref": reference})


def test_every_operation_says_what_it_does_and_how_it_may_end(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    for name, operation in operations(document):
        assert re.fullmatch(r"[a-z_]+", operation["operationId"]), name
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["tags"], name
        assert operation["security"] == [{"HTTPBearer": []}], name
        responses = operation["responses"]
        assert {"401", "403", "503"} <= set(responses), name
        for status, response in responses.items():
            if int(status) >= 400:
                problem = response["content"]["application/problem+json"]
                assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}, (name, status)
                assert problem["examples"], (name, status)


def test_every_operation_has_examples_of_what_goes_in_and_out(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        parts = [operation["requestBody"]] if "requestBody" in operation else []
        parts += [one for status, one in operation["responses"].items() if status in {"200", "201"}]
        found = 0
        for part in parts:
            for media_type, content in part["content"].items():
                if media_type.startswith("image/"):
                    continue
                schema = resolve(document, content["schema"])
                items = schema.get("properties", {}).get("items", {}).get("items", {})
                inner = [schema, resolve(document, items), *schema.get("properties", {}).values()]
                assert any("examples" in one for one in inner), (name, media_type)
                found += 1
        assert found or any("examples" in one["schema"] or "examples" in one for one in operation["parameters"]), name


def test_uploads_are_described_in_both_forms(document: dict[str, Any]) -> None:
    bodies = dict(operations(document))
    for name in ("POST /api/v1/codes/{code_id}/targets", "PUT /api/v1/targets/{target_id}/qr"):
        content = bodies[name]["requestBody"]["content"]
        picture = resolve(document, content["multipart/form-data"]["schema"])
        assert picture["required"] == ["image"]
        assert "payload" in resolve(document, content["application/json"]["schema"])["properties"]


def test_a_form_has_nothing_that_the_page_would_send_by_itself(document: dict[str, Any]) -> None:
    forms = {
        name: resolve(document, operation["requestBody"]["content"]["multipart/form-data"]["schema"])
        for name, operation in operations(document)
        if "multipart/form-data" in operation.get("requestBody", {}).get("content", {})
    }
    assert len(forms) == 5
    for name, form in forms.items():
        assert "'null'" not in str(form["properties"]), name
        assert "None" not in str(form["properties"]), name
    # An override that stands in the form already is one that nobody has decided on.
    for name in ("POST /api/v1/codes/{code_id}/targets", "PUT /api/v1/targets/{target_id}/qr"):
        fields = forms[name]["properties"]
        assert not {"example", "examples"} & set(fields["allow"])
        assert fields["allow"]["default"] == []
        assert (fields["expires_at"]["format"], fields["expires_at"]["default"]) == ("date-time", "")
        # Without a default the page makes a value up.
        assert {field for field, one in fields.items() if "default" not in one} == {"image"}


def test_no_example_overrides_a_refusal(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        for one in schema.get("examples", ()):
            assert not (isinstance(one, dict) and one.get("allow")), name


def test_no_answer_has_an_example_of_a_picture(document: dict[str, Any]) -> None:
    found = 0
    for path, item in document["paths"].items():
        for operation in item.values():
            for media_type, content in operation["responses"].get("200", {}).get("content", {}).items():
                if media_type.startswith("image/"):
                    assert content == {"schema": {}}, path
                    found += 1
    assert found > 9


def test_every_print_takes_a_caption_and_may_lack_a_font(document: dict[str, Any]) -> None:
    drawing = {name: operation for name, operation in operations(document) if "/qr" in name and "PUT" not in name}
    assert len(drawing) == 9
    for name, operation in drawing.items():
        if name.startswith("GET"):
            (caption,) = (one["schema"] for one in operation["parameters"] if one["name"] == "caption")
        else:
            form = resolve(document, operation["requestBody"]["content"]["multipart/form-data"]["schema"])
            assert form["required"] == ["logo"]
            caption = form["properties"]["caption"]
        assert caption["maxLength"] == 40
        assert caption["default"] == ""
        assert "no_font" in operation["responses"]["422"]["description"]


def test_a_change_has_no_defaults(document: dict[str, Any]) -> None:
    names = ("CodeChange", "ChannelChange", "TargetChange", "AccountChange", "WorkspaceChange", "DefaultsChange")
    for name in names:
        for field in document["components"]["schemas"][name]["properties"].values():
            assert "default" not in field


async def test_the_page_asks_no_other_host(context: ApiContext) -> None:
    async with client(context) as nobody:
        page = await nobody.get("http://api.test/docs")
        assert page.status_code == 200
        assert "//" not in page.text.replace("<!doctype html>", "")
        for path in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
            part = await nobody.get(f"http://api.test{path}")
            assert part.status_code == 200, path
            if path.endswith("start.js"):
                assert "//" not in part.text
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        # Prints that were drawn are shown from memory.
        assert "img-src 'self' data: blob:;" in policy
        assert "http" not in policy
        assert "<script>" not in page.text


async def test_the_document_needs_no_key(context: ApiContext) -> None:
    async with client(context) as nobody:
        assert (await nobody.get("http://api.test/openapi.json")).status_code == 200
        assert (await nobody.head("http://api.test/docs")).status_code == 405
