"""Try every route of the document with keys that are none, keys that may less, and ids that are somebody else's.

Routes and bodies are taken from the document, so that none can be forgotten.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import sqlalchemy as sa
from PIL import Image

from app.domain.workspace import Scope, Workspace
from app.store.database import Database
from app.store.tables import metadata
from app.web.api import ApiContext
from app.web.doors import API_PATH
from tests.conftest import Clock, client, key_to
from tests.web.api.steps import done, make_account, make_code, make_target, payload, refused

NOWHERE: Final = "0000000000000000"
# What changes nothing, whatever its method says.
READING: Final = frozenset({"print_with_logo", "print_channel_with_logo", "print_option_with_logo"})
ADMINISTERING: Final = frozenset({"create_key", "list_keys", "revoke_key", "change_workspace", "erase_visitor"})
UPLOADED: Final = (Path(__file__).parents[1] / "samples" / "group_en.png").read_bytes()


def logo() -> bytes:
    file = BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    return file.getvalue()


LOGO: Final = logo()


@dataclass(frozen=True)
class Operation:
    """Be one operation of the document, and a request for it that is right."""

    name: str
    method: str
    path: str
    schema: Mapping[str, Any] | None
    media_type: str | None

    def request(self, ids: Mapping[str, Any]) -> dict[str, Any]:
        """Write a request that names some ids, wherever ids stand."""
        numbers = {"number": ids["option" if "option" in self.name else "channel"]}
        codes = {"code_id": ids["menu_id" if "option" in self.name else "code_id"]}
        url = self.path.removeprefix(API_PATH).format(**{**ids, **numbers, **codes})
        if self.schema is None:
            return {"method": self.method, "url": url}
        if self.media_type == "application/json":
            return {"method": self.method, "url": url, "json": fill(self.schema["examples"][0], ids)}
        return {"method": self.method, "url": url, "files": {"logo": LOGO}}

    @property
    def needs(self) -> Scope:
        """Name the scope that it takes."""
        if self.name in ADMINISTERING:
            return Scope.ADMIN
        return Scope.READ if self.method == "GET" or self.name in READING else Scope.WRITE


def fill(example: Any, ids: Mapping[str, Any]) -> Any:
    """Put ids into an example, and the text of a QR that nobody else has."""
    if isinstance(example, list):
        return [fill(one, ids) for one in example]
    if not isinstance(example, dict):
        return example
    own: dict[str, Any] = {name: ids[name] for name in example if name in ids}
    own |= {"payload": payload()} if "payload" in example else {}
    own |= {"number": ids["option"]} if "label" in example else {}
    return {name: own.get(name, fill(value, ids)) for name, value in example.items()}


@pytest.fixture
async def document(context: ApiContext) -> dict[str, Any]:
    async with client(context) as nobody:
        return done(await nobody.get("http://api.test/openapi.json"))


@pytest.fixture
def operations(document: dict[str, Any]) -> list[Operation]:
    return list(read(document))


def read(document: dict[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            content = operation.get("requestBody", {}).get("content", {})
            media_type = "application/json" if "application/json" in content else next(iter(content), None)
            reference = content[media_type]["schema"]["$ref"].rsplit("/", 1)[1] if media_type else None
            schema = document["components"]["schemas"][reference] if reference else None
            if path.startswith(API_PATH + "/"):
                yield Operation(operation["operationId"], method.upper(), path, schema, media_type)


@pytest.fixture
async def ids(api: httpx.AsyncClient) -> dict[str, Any]:
    """Make one of everything that can be named."""
    code, menu = (await make_code(api))["id"], (await make_code(api, kind="menu"))["id"]
    options = {"options": [{"label": "一", "code_id": code}]}
    return {
        "visitor_id": "q83vEjRWeJA1",
        "code_id": code,
        "menu_id": menu,
        "option": done(await api.put(f"/codes/{menu}/options", json=options))["options"][0]["number"],
        "channel": done(await api.post(f"/codes/{code}/channels", json={"name": "门店"}), 201)["number"],
        "target_id": (await make_target(api, {"id": code}))["id"],
        "account_id": (await make_account(api))["id"],
        "key_id": done(await api.post("/keys", json={"name": "k", "scope": "read"}), 201)["id"],
    }


async def rows(database: Database) -> list[Any]:
    """Read all that is recorded."""
    found = []
    async with database.reading() as connection:
        for table in metadata.sorted_tables:
            ordered = sa.text(f"select t::text from {table.name} t order by 1")
            found.append((table.name, (await connection.execute(ordered)).scalars().all()))
    return found


async def test_the_requests_are_right_and_only_the_key_is_missing(
    api: httpx.AsyncClient, operations: list[Operation], ids: dict[str, Any]
) -> None:
    """Were they wrong in another way, the refusals below would prove nothing."""
    assert len(operations) >= 40
    for operation in sorted(operations, key=lambda one: one.method == "DELETE"):
        answer = await api.request(**operation.request(ids))
        gone = operation.method == "DELETE" and answer.status_code in {404, 410}
        assert answer.is_success or gone, (operation.name, answer.text)


async def test_without_a_working_key_every_route_says_the_same_and_does_nothing(
    api: httpx.AsyncClient, context: ApiContext, operations: list[Operation], ids: dict[str, Any], database: Database,
    clock: Clock,
) -> None:  # fmt: skip
    """Trap 28: a key is hashed before it is compared, and is never part of a statement."""
    soon = {"name": "k", "scope": "admin", "expires_at": "2026-11-21T10:01:00Z"}
    expired = done(await api.post("/keys", json=soon), 201)["key"]
    revoked = done(await api.post("/keys", json={"name": "k", "scope": "admin"}), 201)
    assert (await api.delete(f"/keys/{revoked['id']}")).status_code == 204
    clock.forward(minutes=2)
    known = api.headers["Authorization"].removeprefix("Bearer ")
    given: list[list[tuple[str, str]]] = [
        [],
        *(
            [("Authorization", f"Bearer {key}")]
            for key in (expired, revoked["key"], "hm_" + "x" * 40, known[:-1], "' or 1=1 --")
        ),
        [("Authorization", f"Basic {known}")],
        [("Authorization", known)],
        [("Authorization", f"Bearer {known}"), ("Authorization", f"Bearer {known}")],
        [("X-Api-Key", known), ("Cookie", f"key={known}")],
    ]
    before = await rows(database)
    said = set()
    async with client(context) as nobody:
        for operation in operations:
            for headers in given:
                answer = await nobody.request(**operation.request(ids), headers=headers)
                refused(answer, 401, "unauthenticated")
                said.add((answer.content, str(answer.headers)))
            hidden = await nobody.request(operation.method, f"/no/such/thing{API_PATH}")
            said.add((hidden.content, str(hidden.headers)))
    assert len(said) == 1
    assert await rows(database) == before


async def test_a_key_does_what_its_scope_allows_and_nothing_more(
    context: ApiContext, workspace: Workspace, operations: list[Operation], ids: dict[str, Any], database: Database
) -> None:
    keys = {scope: await key_to(context, workspace, scope) for scope in Scope}
    before = await rows(database)
    for scope, key in keys.items():
        async with client(context, key) as holder:
            for operation in operations:
                if not scope.allows(operation.needs):
                    refused(await holder.request(**operation.request(ids)), 403, "insufficient_scope")
                elif operation.needs is Scope.READ:
                    assert (await holder.request(**operation.request(ids))).is_success, operation.name
    assert await rows(database) == before


async def test_ids_of_another_workspace_are_ids_of_nothing(
    stranger_api: httpx.AsyncClient, operations: list[Operation], ids: dict[str, Any], database: Database
) -> None:
    """Trap 23: nothing is fetched by its id alone."""
    nothing = {name: NOWHERE if isinstance(value, str) else value for name, value in ids.items()}
    # A visitor whom nobody knows is erased, too: tests/services and tests/web have the whole story.
    naming = [one for one in operations if "{" in one.path and one.name != "erase_visitor"]
    assert len(naming) > 30
    before = await rows(database)
    for operation in naming:
        for headers in ({}, {"If-Match": '"1"'}, {"If-Match": "*"}, {"If-None-Match": '"1"'}):
            theirs = await stranger_api.request(**operation.request(ids), headers=headers)
            none = await stranger_api.request(**operation.request(nothing), headers=headers)
            refused(theirs, 404, "not_found")
            assert (theirs.content, theirs.headers) == (none.content, none.headers), operation.name
    assert await rows(database) == before


async def test_ids_of_another_workspace_in_a_body_are_ids_of_nothing(
    api: httpx.AsyncClient, stranger_api: httpx.AsyncClient, document: dict[str, Any], database: Database,
    ids: dict[str, Any],
) -> None:  # fmt: skip
    theirs = {
        "code_id": (await make_code(stranger_api))["id"],
        "account_id": (await make_account(stranger_api))["id"],
    }
    nothing = dict.fromkeys(theirs, NOWHERE)
    target, one = {"payload": payload()}, {"label": "o"}
    removed = (await make_target(api, {"id": ids["code_id"]}))["id"]
    assert (await api.delete(f"/targets/{removed}")).status_code == 204
    places: dict[str, tuple[str, str, Any]] = {
        "NewCode.fallback": ("POST", "/codes", lambda ids: {"name": "n", "fallback": {"code_id": ids["code_id"]}}),
        "CodeChange.fallback": (
            "PATCH", f"/codes/{ids['code_id']}", lambda ids: {"fallback": {"code_id": ids["code_id"]}}
        ),
        "OptionFields.code_id": (
            "PUT", f"/codes/{ids['menu_id']}/options", lambda ids: {"options": [one | {"code_id": ids["code_id"]}]}
        ),
        "NewTarget.account_id": (
            "POST", f"/codes/{ids['code_id']}/targets", lambda ids: target | {"account_id": ids["account_id"]}
        ),
        "NewTargets.targets": (
            "POST", f"/codes/{ids['code_id']}/targets/batch",
            lambda ids: {"targets": [target | {"account_id": ids["account_id"]}]},
        ),
        "Restoration.account_id": (
            "POST", f"/targets/{removed}/restore", lambda ids: {"account_id": ids["account_id"]}
        ),
        "TargetChange.account_id": (
            "PATCH", f"/targets/{ids['target_id']}", lambda ids: {"account_id": ids["account_id"]}
        ),
    }  # fmt: skip
    assert naming_schemas(document) <= {place.split(".")[0] for place in places} | {"NewTargetPicture"}
    before = await rows(database)
    for method, path, body in places.values():
        foreign = await api.request(method, path, json=body(theirs))
        unknown = await api.request(method, path, json=body(nothing))
        assert foreign.status_code == 422
        assert (foreign.content, foreign.headers) == (unknown.content, unknown.headers), path
    form = {"image": UPLOADED}
    said = [
        await api.post(f"/codes/{ids['code_id']}/targets", files=form, data={"account_id": one["account_id"]})
        for one in (theirs, nothing)
    ]
    refused(said[0], 422, "unknown_account")
    assert said[0].content == said[1].content
    assert await rows(database) == before


def naming_schemas(document: dict[str, Any]) -> set[str]:
    """List the bodies that hold an id, themselves or in what they are made of."""
    schemas = document["components"]["schemas"]
    bodies = {
        content["schema"]["$ref"].rsplit("/", 1)[1]
        for item in document["paths"].values()
        for operation in item.values()
        for content in operation.get("requestBody", {}).get("content", {}).values()
    }

    def holds(name: str) -> bool:
        fields = schemas[name].get("properties", {})
        inner = {part.split("'")[0] for part in str(fields).split("#/components/schemas/")[1:]}
        return any(field.endswith("_id") for field in fields) or any(holds(one) for one in inner)

    return {"OptionFields" if body == "Options" else body for body in bodies if holds(body)}
