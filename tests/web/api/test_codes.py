"""Live codes over the API."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from redis.asyncio import Redis

from app.counters import versions
from app.domain.code import SLUG_ALPHABET, CodeId, Slug
from app.domain.workspace import Scope, Workspace
from app.qr.reader import Reader
from app.services.draining import Drain
from app.services.recalling import Recaller
from app.store.database import Database
from app.store.snapshots import read_code
from app.web.api import ApiContext
from tests.conftest import PUBLIC_URL, Clock, client, key_to
from tests.web.api.steps import blocked, done, make_code, make_target, refused


async def test_a_code_is_created_with_a_slug_of_ours(api: httpx.AsyncClient) -> None:
    code = await make_code(api, name="  春日护肤  ", strategy="balance")
    assert code["name"] == "春日护肤"
    assert (code["kind"], code["strategy"], code["version"]) == ("group", "balance", 1)
    assert len(code["slug"]) == 7
    assert set(code["slug"]) <= set(SLUG_ALPHABET)
    assert code["url"] == f"{PUBLIC_URL}/{code['slug']}"
    assert (code["hold_seconds"], code["sticky_days"], code["wechat_only"]) == (90, 30, None)
    assert (code["landing"], code["closed_at"]) == (None, None)


async def test_ids_sort_by_the_time_they_were_made(api: httpx.AsyncClient, clock: Clock) -> None:
    made = []
    for _ in range(3):
        made.append((await make_code(api))["id"])
        clock.forward(milliseconds=1)
    assert made == sorted(made)


async def test_a_chosen_slug_is_found_by_a_process_that_knew_it_as_unknown(
    api: httpx.AsyncClient, recaller: Recaller, workspace: Workspace
) -> None:
    slug = f"Spring-{workspace.id}"
    assert await recaller.slug(Slug(slug)) is None
    code = await make_code(api, slug=slug)
    printed = await recaller.slug(Slug(slug))
    assert printed is not None
    assert (printed.code, printed.workspace, printed.channel) == (code["id"], workspace.id, 0)


async def test_slugs_are_unique_without_regard_to_case(api: httpx.AsyncClient, workspace: Workspace) -> None:
    one = await make_code(api, slug=f"Abc{workspace.id}")
    refused(await api.post("/codes", json={"name": "n", "slug": f"aBC{workspace.id}"}), 409, "slug_taken", "slug")
    assert (await api.delete(f"/codes/{one['id']}")).status_code == 204
    refused(await api.post("/codes", json={"name": "n", "slug": f"ABC{workspace.id}"}), 409, "slug_taken", "slug")
    other = await make_code(api)
    channel = {"name": "n", "slug": f"ABc{workspace.id}"}
    refused(await api.post(f"/codes/{other['id']}/channels", json=channel), 409, "slug_taken", "slug")


@pytest.mark.parametrize("slug", ["", "ab", "-abc", "abc-", "a/b", "a b", "短码短码", "a\x00bc", "x" * 41])
async def test_a_slug_that_cannot_be_printed_is_refused(api: httpx.AsyncClient, slug: str) -> None:
    refused(await api.post("/codes", json={"name": "n", "slug": slug}), 422, "bad_slug", "slug")


@pytest.mark.parametrize(
    "slug", ["api", "API", "docs", "healthz", "callbacks", "Hooks", "wecom", "share", "invite", "mcp"]
)
async def test_a_slug_that_is_a_path_of_ours_is_refused(api: httpx.AsyncClient, slug: str) -> None:
    refused(await api.post("/codes", json={"name": "n", "slug": slug}), 422, "reserved_slug", "slug")


@pytest.mark.parametrize("field", ["name", "slug", "\ud800"])
async def test_half_a_character_is_refused_wherever_it_stands(api: httpx.AsyncClient, field: str) -> None:
    body = json.dumps({"name": "n"} | {field: "\ud800abc"})
    response = await api.post("/codes", content=body, headers={"Content-Type": "application/json"})
    assert refused(response, 422, "invalid")["errors"]


async def test_a_slug_is_never_given_twice_not_even_after_its_code_was_closed(
    api: httpx.AsyncClient, stranger_api: httpx.AsyncClient, workspace: Workspace
) -> None:
    """Trap 22: slugs are unique by an index."""
    slug = f"mine-{workspace.id}"
    code = await make_code(api, slug=slug)
    refused(await stranger_api.post("/codes", json={"name": "n", "slug": slug}), 409, "slug_taken", "slug")
    assert (await api.delete(f"/codes/{code['id']}")).status_code == 204
    refused(await api.post("/codes", json={"name": "n", "slug": slug}), 409, "slug_taken", "slug")


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "\u202egnp"}, "name"),
        ({"name": "\u200b"}, "name"),
        ({"name": 5}, "name"),
        ({"name": None}, "name"),
        ({"name": "n", "kind": "x"}, "kind"),
        ({"name": "n", "strategy": "first"}, "strategy"),
        ({"name": "n", "hold_seconds": 9}, "hold_seconds"),
        ({"name": "n", "hold_seconds": 3601}, "hold_seconds"),
        ({"name": "n", "hold_seconds": "90"}, "hold_seconds"),
        ({"name": "n", "hold_seconds": 90.5}, "hold_seconds"),
        ({"name": "n", "hold_seconds": True}, "hold_seconds"),
        ({"name": "n", "sticky_days": -1}, "sticky_days"),
        ({"name": "n", "sticky_days": 366}, "sticky_days"),
        ({"name": "n", "wechat_only": 1}, "wechat_only"),
        ({"name": "n", "landing": {"notice": "x" * 501}}, "landing.notice"),
        ({"name": "n", "landing": {"html": "x"}}, "landing.html"),
        ({"name": "n", "slug_": "abc"}, "slug_"),
    ],
)
async def test_a_field_that_is_out_of_bounds_is_named(
    api: httpx.AsyncClient, fields: dict[str, object], where: str
) -> None:
    problem = refused(await api.post("/codes", json=fields), 422, "invalid", where)
    assert problem["errors"][0]["where"] == where
    assert problem["errors"][0]["code"]


async def test_a_notice_may_have_lines_and_emoji(api: httpx.AsyncClient) -> None:
    landing = {"title": "👩‍👩‍👧 群", "notice": "一\r\n二"}
    code = await make_code(api, landing=landing)
    assert code["landing"] == {"title": "👩‍👩‍👧 群", "notice": "一\n二"}


async def test_a_code_reads_as_it_was_created(api: httpx.AsyncClient) -> None:
    code = await make_code(api, landing={"title": "t"}, wechat_only=True)
    response = await api.get(f"/codes/{code['id']}")
    assert done(response) == code
    assert response.headers["etag"] == '"1"'


async def test_a_change_touches_what_it_names_and_nothing_else(api: httpx.AsyncClient, clock: Clock) -> None:
    code = await make_code(api, landing={"title": "t", "notice": "n"}, hold_seconds=60)
    clock.forward(minutes=1)
    response = await api.patch(f"/codes/{code['id']}", json={"strategy": "random"})
    changed = done(response)
    assert changed["version"] > code["version"]
    assert changed == code | {
        "strategy": "random", "version": changed["version"], "updated_at": "2026-11-21T10:01:00Z",
    }  # fmt: skip
    assert response.headers["etag"] == f'"{changed["version"]}"'
    assert done(await api.patch(f"/codes/{code['id']}", json={"landing": {"title": "u"}}))["landing"]["notice"] is None
    assert done(await api.patch(f"/codes/{code['id']}", json={"landing": None}))["landing"] is None


@pytest.mark.parametrize("change", [{}, {"name": None}, {"kind": "staff"}, {"slug": "other"}, {"version": 9}])
async def test_what_may_not_change_is_refused(api: httpx.AsyncClient, change: dict[str, object]) -> None:
    code = await make_code(api)
    refused(await api.patch(f"/codes/{code['id']}", json=change), 422, "invalid")
    assert done(await api.get(f"/codes/{code['id']}")) == code


async def test_an_edit_is_in_force_before_it_is_answered(
    api: httpx.AsyncClient, redis: Redis, recaller: Recaller, workspace: Workspace
) -> None:
    code = await make_code(api)
    await recaller.entry(CodeId(code["id"]))
    changed = done(await api.patch(f"/codes/{code['id']}", json={"name": "anders"}))
    assert (await versions.in_force(redis, workspace.id, CodeId(code["id"]))).state == str(changed["version"])


async def test_an_edit_marks_a_code_only_when_nobody_is_reading_it(
    api: httpx.AsyncClient, redis: Redis, database: Database, recaller: Recaller, workspace: Workspace
) -> None:
    code = await make_code(api)
    code_id = CodeId(code["id"])
    await recaller.entry(code_id)
    async with database.writing() as tx:
        # Marked now, the code would be published as it is read here, and the mark would be gone before the edit.
        await read_code(tx, code_id)
        edit = asyncio.create_task(api.patch(f"/codes/{code_id}", json={"name": "anders"}))
        await blocked(database, 1, edit)
        assert (await versions.in_force(redis, workspace.id, code_id)).state == "1"
    assert done(await edit)["name"] == "anders"


async def test_an_edit_that_cannot_be_published_is_kept_and_left_to_the_next_scan(
    database: Database, redis: Redis, away_redis: Redis, reader: Reader, workspace: Workspace, clock: Clock,
    api: httpx.AsyncClient,
) -> None:  # fmt: skip
    code = await make_code(api)
    elsewhere = Recaller(database, away_redis, Drain(database, away_redis), clock, slugs=10, codes=10)
    context = ApiContext.of(
        database=database, redis=redis, publisher=elsewhere, reader=reader, public_url=PUBLIC_URL, clock=clock
    )
    async with client(context, await key_to(context, workspace, Scope.WRITE)) as cut_off:
        done(await cut_off.patch(f"/codes/{code['id']}", json={"name": "anders"}))
    assert (await versions.in_force(redis, workspace.id, CodeId(code["id"]))).state.startswith("!")
    process = Recaller(database, redis, Drain(database, redis), clock, slugs=10, codes=10)
    assert (await process.entry(CodeId(code["id"]))).code.name == "anders"


async def test_nothing_is_edited_while_processes_cannot_be_told(
    database: Database, away_redis: Redis, recaller: Recaller, reader: Reader, workspace: Workspace, clock: Clock,
    api: httpx.AsyncClient,
) -> None:  # fmt: skip
    code, menu = await make_code(api), await make_code(api, kind="menu")
    target = await make_target(api, code)
    channel = done(await api.post(f"/codes/{code['id']}/channels", json={"name": "n"}), 201)
    context = ApiContext.of(
        database=database, redis=away_redis, publisher=recaller, reader=reader, public_url=PUBLIC_URL, clock=clock
    )
    async with client(context, await key_to(context, workspace, Scope.ADMIN)) as blind:
        for response in (
            await blind.post("/codes", json={"name": "n", "kind": "group", "slug": f"blind-{code['slug']}"}),
            await blind.patch(f"/codes/{code['id']}", json={"name": "anders"}),
            await blind.patch(f"/codes/{code['id']}", json={"fallback": {"code_id": menu["id"]}}),
            await blind.put(f"/codes/{menu['id']}/options", json={"options": [{"label": "o", "code_id": code["id"]}]}),
            await blind.post(f"/codes/{code['id']}/channels", json={"name": "n"}),
            await blind.patch(f"/codes/{code['id']}/channels/1", json={"name": "anders"}),
            await blind.delete(f"/codes/{code['id']}/channels/1"),
            await blind.delete(f"/codes/{code['id']}"),
            await blind.post(f"/codes/{code['id']}/targets", json={"payload": "https://weixin.qq.com/g/abc"}),
            await blind.patch(f"/targets/{target['id']}", json={"status": "paused"}),
            await blind.put(f"/targets/{target['id']}/qr", json={"payload": "https://weixin.qq.com/g/abc"}),
            await blind.delete(f"/targets/{target['id']}"),
            await blind.post(f"/targets/{target['id']}/members", json={"count": 3}),
            await blind.patch("/workspace", json={"time_zone": "Europe/Berlin"}),
        ):
            refused(response, 503, "counters_away")
            assert int(response.headers["retry-after"]) > 0
    assert {one["id"] for one in done(await api.get("/codes"))["items"]} == {code["id"], menu["id"]}
    there = done(await api.get(f"/codes/{code['id']}"))
    assert (there["name"], there["fallback"]) == (code["name"], None)
    assert done(await api.get(f"/codes/{menu['id']}/options")) == {"options": []}
    assert done(await api.get(f"/codes/{code['id']}/channels")) == {"items": [channel]}
    assert len(done(await api.get(f"/codes/{code['id']}/targets"))["items"]) == 1
    assert done(await api.get("/workspace"))["time_zone"] == "Asia/Shanghai"


async def test_a_closed_code_can_be_read_and_nothing_else(api: httpx.AsyncClient, clock: Clock) -> None:
    code = await make_code(api)
    target = await make_target(api, code)
    channel = done(await api.post(f"/codes/{code['id']}/channels", json={"name": "n"}), 201)
    assert (await api.delete(f"/codes/{code['id']}")).status_code == 204
    assert done(await api.get(f"/codes/{code['id']}/channels"))["items"] == [channel]
    assert done(await api.get(f"/codes/{code['id']}"))["closed_at"] == "2026-11-21T10:00:00Z"
    assert done(await api.get(f"/codes/{code['id']}/targets"))["items"][0]["id"] == target["id"]
    fresh = {"payload": "https://weixin.qq.com/g/abcd"}
    for response in (
        await api.delete(f"/codes/{code['id']}"),
        await api.patch(f"/codes/{code['id']}", json={"name": "n"}),
        await api.post(f"/codes/{code['id']}/targets", json=fresh),
        await api.post(f"/codes/{code['id']}/targets/batch", json={"targets": [fresh]}),
        await api.patch(f"/targets/{target['id']}", json={"name": "n"}),
        await api.put(f"/targets/{target['id']}/qr", json=fresh),
        await api.delete(f"/targets/{target['id']}"),
        await api.post(f"/targets/{target['id']}/members", json={"count": 3}),
        await api.get(f"/codes/{code['id']}/qr.png"),
        await api.get(f"/codes/{code['id']}/qr.svg"),
        await api.put(f"/codes/{code['id']}/options", json={"options": []}),
        await api.post(f"/codes/{code['id']}/channels", json={"name": "n"}),
        await api.patch(f"/codes/{code['id']}/channels/1", json={"name": "n"}),
        await api.delete(f"/codes/{code['id']}/channels/1"),
        await api.get(f"/codes/{code['id']}/channels/1/qr.svg"),
        await api.get(f"/codes/{code['id']}/options/1/qr.svg"),
    ):
        refused(response, 410, "closed")


async def test_a_change_that_has_not_seen_the_present_version_is_refused(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    url = f"/codes/{code['id']}"
    for tag in ('"2"', 'W/"1"', '"x"', '""', "2", '"2", "3"', ""):
        refused(await api.patch(url, json={"name": "n"}, headers={"If-Match": tag}), 412, "changed_meanwhile")
        refused(await api.delete(url, headers={"If-Match": tag}), 412, "changed_meanwhile")
    version = code["version"]
    for tag in ('"{}"', '"7", "{}"', "*", "{}"):
        response = await api.patch(url, json={"name": "n"}, headers={"If-Match": tag.format(version)})
        assert done(response)["version"] > version
        version = done(response)["version"]
    assert (await api.delete(url, headers={"If-Match": f'"{version}"'})).status_code == 204


async def test_codes_are_listed_in_pages_newest_first(api: httpx.AsyncClient, clock: Clock) -> None:
    made = []
    for _ in range(5):
        made.append((await make_code(api))["id"])
        clock.forward(seconds=1)
    await api.delete(f"/codes/{made[0]}")
    listed, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = done(await api.get("/codes", params=params))
        listed += [code["id"] for code in page["items"]]
        cursor, pages = page["next"], pages + 1
    assert (listed, pages) == (made[:0:-1], 2)
    assert [code["id"] for code in done(await api.get("/codes?closed=true"))["items"]] == [made[0]]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", f"cursor={'x' * 201}"])
async def test_a_page_has_bounds(api: httpx.AsyncClient, query: str) -> None:
    refused(await api.get(f"/codes?{query}"), 422, "invalid", query.partition("=")[0])


@pytest.mark.parametrize("cursor", ["x", "%00", "4pyT", "MTIzNA", "", "%F0%9F%98%80"])
async def test_a_cursor_that_is_none_of_ours_is_refused(api: httpx.AsyncClient, cursor: str) -> None:
    code = await make_code(api)
    for path in ("/codes", "/keys", f"/codes/{code['id']}/targets"):
        refused(await api.get(f"{path}?cursor={cursor}"), 422, "bad_cursor", "cursor")


async def test_instants_are_told_in_utc(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    assert datetime.fromisoformat(code["created_at"]) == datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert datetime.fromisoformat(code["created_at"]).utcoffset() == timedelta(0)
