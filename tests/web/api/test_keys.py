"""API keys: who may do what, and for how long."""

import asyncio

import httpx
import pytest
import sqlalchemy as sa

from app.domain.workspace import Scope, Workspace
from app.store import workspaces
from app.store.database import Database
from app.web.api import ApiContext
from tests.conftest import Clock, client, key_to
from tests.web.api.steps import blocked, done, make_account, make_code, make_target, payload, refused


async def test_a_key_is_shown_once_and_stored_as_a_hash(
    api: httpx.AsyncClient, context: ApiContext, database: Database
) -> None:
    made = done(await api.post("/keys", json={"name": "console", "scope": "write"}), 201)
    secret = made.pop("key")
    assert secret.startswith("hm_")
    assert len(secret) >= 35
    assert secret[3:].isalnum()
    assert made["hint"] == secret[:7]
    assert made in done(await api.get("/keys"))["items"]
    async with client(context, secret) as holder:
        await make_code(holder)
    async with database.reading() as connection:
        tables = await connection.execute(sa.text("select tablename from pg_tables where schemaname = 'public'"))
        for (table,) in tables.all():
            found = await connection.execute(
                sa.text(f'select count(*) from "{table}" t where t::text like :it'), {"it": f"%{secret[7:]}%"}
            )
            assert found.scalar_one() == 0, table


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic eA==", "hm_x", "Bearer hm_x", f"Bearer {'x' * 201}", "Bearer hm_é", "Bearer a b"],
)
async def test_nobody_comes_in_without_a_key(context: ApiContext, authorization: str) -> None:
    async with client(context) as nobody:
        headers = [(b"Authorization", authorization.encode("latin-1"))] if authorization else []
        for method, path in (("GET", "/codes"), ("POST", "/codes"), ("GET", "/nowhere"), ("PUT", "/keys")):
            response = await nobody.request(method, path, headers=headers, content=b"{")
            refused(response, 401, "unauthenticated")
            assert response.headers["www-authenticate"] == "Bearer"


async def test_two_authorization_headers_are_none(api: httpx.AsyncClient, context: ApiContext) -> None:
    own = api.headers["Authorization"]
    async with client(context) as twice:
        headers = [("Authorization", own), ("Authorization", own)]
        refused(await twice.get("/codes", headers=headers), 401, "unauthenticated")


async def test_the_scheme_is_known_in_any_case(api: httpx.AsyncClient, context: ApiContext) -> None:
    secret = api.headers["Authorization"].removeprefix("Bearer ")
    async with client(context) as holder:
        done(await holder.get("/codes", headers={"Authorization": f"bEARER  {secret}"}))


async def test_a_revoked_key_is_useless_with_the_next_request(api: httpx.AsyncClient, context: ApiContext) -> None:
    made = done(await api.post("/keys", json={"name": "n", "scope": "read"}), 201)
    async with client(context, made["key"]) as holder:
        done(await holder.get("/codes"))
        assert (await api.delete(f"/keys/{made['id']}")).status_code == 204
        refused(await holder.get("/codes"), 401, "unauthenticated")
    assert (await api.delete(f"/keys/{made['id']}")).status_code == 204
    listed = {one["id"]: one["revoked_at"] for one in done(await api.get("/keys"))["items"]}
    assert listed.pop(made["id"]) == "2026-11-21T10:00:00Z"
    assert set(listed.values()) == {None}


async def test_a_key_ends_to_the_second(api: httpx.AsyncClient, context: ApiContext, clock: Clock) -> None:
    body = {"name": "n", "scope": "read", "expires_at": "2026-11-21T11:00:00Z"}
    made = done(await api.post("/keys", json=body), 201)
    async with client(context, made["key"]) as holder:
        clock.forward(seconds=3599)
        done(await holder.get("/codes"))
        clock.forward(seconds=1)
        refused(await holder.get("/codes"), 401, "unauthenticated")


async def test_each_scope_may_do_what_those_before_it_may(
    api: httpx.AsyncClient, context: ApiContext, workspace: Workspace
) -> None:
    code = await make_code(api)
    target = await make_target(api, code)
    account = await make_account(api)
    of_readers = [("GET", "/codes"), ("GET", f"/codes/{code['id']}"), ("GET", f"/codes/{code['id']}/targets")]
    of_readers += [("GET", f"/targets/{target['id']}"), ("GET", f"/codes/{code['id']}/qr.svg"), ("GET", "/workspace")]
    of_readers += [("GET", "/accounts"), ("GET", f"/accounts/{account['id']}")]
    of_writers = [
        ("POST", "/codes", {"name": "n"}),
        ("PATCH", f"/codes/{code['id']}", {"name": "n"}),
        ("POST", f"/codes/{code['id']}/targets", {"payload": payload()}),
        ("POST", f"/codes/{code['id']}/targets/batch", {"targets": [{"payload": payload()}]}),
        ("PATCH", f"/targets/{target['id']}", {"name": "n"}),
        ("PUT", f"/targets/{target['id']}/qr", {"payload": payload()}),
        ("POST", f"/targets/{target['id']}/members", {"count": 1}),
        ("POST", "/accounts", {"name": "n", "kind": "wecom"}),
        ("PATCH", f"/accounts/{account['id']}", {"name": "n"}),
        ("PUT", f"/accounts/{account['id']}/availability", {"available": True}),
        ("DELETE", f"/accounts/{account['id']}", None),
        ("DELETE", f"/targets/{target['id']}", None),
        ("DELETE", f"/codes/{code['id']}", None),
    ]
    of_admins = [
        ("POST", "/keys", {"name": "n", "scope": "read"}),
        ("GET", "/keys", None),
        ("DELETE", "/keys/0000000000000000", None),
        ("PATCH", "/workspace", {"name": "n"}),
    ]
    async with (
        client(context, await key_to(context, workspace, Scope.READ)) as reader,
        client(context, await key_to(context, workspace, Scope.WRITE)) as writer,
    ):
        for method, path in of_readers:
            assert (await reader.request(method, path)).status_code == 200
        for method, path, body in of_writers + of_admins:
            refused(await reader.request(method, path, json=body), 403, "insufficient_scope")
        for method, path, body in of_admins:
            refused(await writer.request(method, path, json=body), 403, "insufficient_scope")
        for method, path, body in of_writers:
            assert (await writer.request(method, path, json=body)).status_code in {200, 201, 204}, path


async def test_the_last_working_admin_key_stays(
    context: ApiContext, workspace: Workspace, api: httpx.AsyncClient, clock: Clock
) -> None:
    keys = [one["id"] for one in done(await api.get("/keys"))["items"] if one["name"] == "first key"]
    assert (await api.delete(f"/keys/{keys[0]}")).status_code == 204
    own = next(one["id"] for one in done(await api.get("/keys"))["items"] if one["name"] == "admin")
    refused(await api.delete(f"/keys/{own}"), 409, "last_admin_key")
    done(await api.post("/keys", json={"name": "w", "scope": "write"}), 201)
    refused(await api.delete(f"/keys/{own}"), 409, "last_admin_key")
    brief = {"name": "brief", "scope": "admin", "expires_at": "2026-11-21T10:30:00Z"}
    done(await api.post("/keys", json=brief), 201)
    clock.forward(hours=1)
    refused(await api.delete(f"/keys/{own}"), 409, "last_admin_key")
    done(await api.post("/keys", json={"name": "next", "scope": "admin"}), 201)
    assert (await api.delete(f"/keys/{own}")).status_code == 204
    refused(await api.get("/codes"), 401, "unauthenticated")


async def test_two_admins_cannot_revoke_each_other_at_the_same_time(
    context: ApiContext, database: Database, workspace: Workspace, api: httpx.AsyncClient
) -> None:
    listed = {one["name"]: one["id"] for one in done(await api.get("/keys"))["items"]}
    async with database.writing() as tx:
        await workspaces.lock(tx, workspace.id)
        tasks = [asyncio.create_task(api.delete(f"/keys/{listed[name]}")) for name in ("admin", "first key")]
        await blocked(database, 2, *tasks)
    answers = await asyncio.gather(*tasks)
    assert sorted(answer.status_code for answer in answers) == [204, 409]


@pytest.mark.parametrize(
    ("body", "code", "where"),
    [
        ({"name": "n"}, "invalid", "scope"),
        ({"name": "n", "scope": "root"}, "invalid", "scope"),
        ({"scope": "read"}, "invalid", "name"),
        ({"name": "n", "scope": "read", "key": "hm_x"}, "invalid", "key"),
        ({"name": "n", "scope": "read", "expires_at": "2026-11-21T10:00:00Z"}, "already_expired", "expires_at"),
        ({"name": "n", "scope": "read", "expires_at": "2046-11-21T10:00:00Z"}, "expires_too_late", "expires_at"),
    ],
)
async def test_a_key_that_cannot_be_is_refused(
    api: httpx.AsyncClient, body: dict[str, object], code: str, where: str
) -> None:
    refused(await api.post("/keys", json=body), 422, code, where)


async def test_a_workspace_has_a_bounded_number_of_keys(
    api: httpx.AsyncClient, database: Database, workspace: Workspace
) -> None:
    async with database.writing() as tx:
        await tx.execute(
            sa.text(
                "insert into api_keys (id, workspace_id, name, hash, hint, scope, revoked_at)"
                " select :w || n, :w, 'n', sha256((:w || n)::bytea), 'hm_', 'read', now()"
                " from generate_series(1, 998) n"
            ),
            {"w": workspace.id},
        )
    refused(await api.post("/keys", json={"name": "n", "scope": "read"}), 409, "too_many_keys")


async def test_keys_are_listed_in_pages_newest_first(api: httpx.AsyncClient, clock: Clock) -> None:
    for n in range(3):
        clock.forward(seconds=1)
        done(await api.post("/keys", json={"name": f"k{n}", "scope": "read"}), 201)
    page = done(await api.get("/keys?limit=2"))
    assert [one["name"] for one in page["items"]] == ["k2", "k1"]
    assert done(await api.get(f"/keys?limit=2&cursor={page['next']}"))["items"][0]["name"] == "k0"
