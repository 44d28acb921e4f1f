"""Channels: one code, printed in many places, each under a slug of its own."""

import asyncio
from io import BytesIO
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import zxingcpp
from PIL import Image

from app.domain import limits
from app.domain.code import Channel, CodeId, Slug
from app.domain.workspace import Workspace
from app.services.recalling import Recaller
from app.store import snapshots
from app.store.database import Database
from app.store.tables import channels
from tests.conftest import PUBLIC_URL, START
from tests.web.api.steps import done, make_code, refused


async def make_channel(api: httpx.AsyncClient, code: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return done(await api.post(f"/codes/{code['id']}/channels", json={"name": "海报"} | fields), 201)


async def test_a_channel_has_a_slug_of_its_own(
    api: httpx.AsyncClient, recaller: Recaller, database: Database, workspace: Workspace
) -> None:
    code = await make_code(api)
    one = await make_channel(api, code)
    other = await make_channel(api, code, name=" 门店 12 ", slug=f"store-{workspace.id}", state="store_12")
    assert one == {
        "number": 1, "name": "海报", "state": None, "slug": one["slug"], "url": f"{PUBLIC_URL}/{one['slug']}",
        "created_at": "2026-11-21T10:00:00Z",
    }  # fmt: skip
    assert len(one["slug"]) == 7
    assert (other["number"], other["name"], other["state"]) == (2, "门店 12", "store_12")
    assert done(await api.get(f"/codes/{code['id']}/channels")) == {"items": [one, other]}
    for channel in (one, other):
        printed = await recaller.slug(Slug(channel["slug"]))
        assert printed is not None
        assert (printed.code, printed.workspace, printed.channel) == (code["id"], workspace.id, channel["number"])
    async with database.writing() as tx:
        read = (await snapshots.read_code(tx, CodeId(code["id"]))).channels
    assert read == {1: Channel(1, "海报", None), 2: Channel(2, "门店 12", "store_12")}
    assert done(await api.get(f"/codes/{code['id']}"))["version"] > 1


async def test_a_chosen_slug_is_found_by_a_process_that_knew_it_as_unknown(
    api: httpx.AsyncClient, recaller: Recaller, workspace: Workspace
) -> None:
    slug = f"Poster-{workspace.id}"
    assert await recaller.slug(Slug(slug)) is None
    await make_channel(api, await make_code(api), slug=slug)
    assert await recaller.slug(Slug(slug)) is not None


async def test_slugs_of_channels_and_codes_are_never_given_twice(
    api: httpx.AsyncClient, stranger_api: httpx.AsyncClient, workspace: Workspace
) -> None:
    slug = f"mine-{workspace.id}"
    code = await make_code(api)
    channel = await make_channel(api, code, slug=slug)
    assert (await api.delete(f"/codes/{code['id']}/channels/{channel['number']}")).status_code == 204
    theirs = await make_code(stranger_api)
    for client, there in ((api, code), (stranger_api, theirs)):
        refused(await client.post("/codes", json={"name": "n", "slug": slug}), 409, "slug_taken", "slug")
        taken = await client.post(f"/codes/{there['id']}/channels", json={"name": "n", "slug": slug})
        refused(taken, 409, "slug_taken", "slug")
        own = await client.post(f"/codes/{there['id']}/channels", json={"name": "n", "slug": there["slug"]})
        refused(own, 409, "slug_taken", "slug")
    assert done(await api.get(f"/codes/{code['id']}"))["version"] > 1
    assert done(await stranger_api.get(f"/codes/{theirs['id']}"))["version"] == 1


async def test_a_removed_channel_is_gone_and_its_number_is_not_given_again(
    api: httpx.AsyncClient, database: Database
) -> None:
    code = await make_code(api)
    channel = await make_channel(api, code)
    url = f"/codes/{code['id']}/channels/{channel['number']}"
    assert (await api.delete(url)).status_code == 204
    for response in (
        await api.delete(url),
        await api.patch(url, json={"name": "n"}),
        await api.get(f"{url}/qr.png"),
        await api.get(f"{url}/qr.svg"),
    ):
        refused(response, 404, "not_found")
    assert done(await api.get(f"/codes/{code['id']}/channels")) == {"items": []}
    async with database.writing() as tx:
        assert (await snapshots.read_code(tx, CodeId(code["id"]))).channels == {}
    assert (await make_channel(api, code))["number"] == 2


async def test_a_channel_is_renamed_and_told_to_wecom_otherwise(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    channel = await make_channel(api, code, state="a")
    url = f"/codes/{code['id']}/channels/{channel['number']}"
    assert done(await api.patch(url, json={"name": "门店"})) == channel | {"name": "门店"}
    response = await api.patch(url, json={"state": None})
    assert done(response) == channel | {"name": "门店", "state": None}
    assert response.headers["etag"] == (await api.get(f"/codes/{code['id']}")).headers["etag"]
    assert done(await api.get(f"/codes/{code['id']}/channels"))["items"] == [done(response)]


@pytest.mark.parametrize(
    ("fields", "code", "where"),
    [
        ({"name": ""}, "invalid", "name"),
        ({"name": "x" * 101}, "invalid", "name"),
        ({"name": None}, "invalid", "name"),
        ({"state": "x" * 31}, "invalid", "state"),
        ({"state": ""}, "invalid", "state"),
        ({"state": "a\nb"}, "invalid", "state"),
        ({"number": 7}, "invalid", "number"),
        ({"slug": "ab"}, "bad_slug", "slug"),
        ({"slug": "API"}, "reserved_slug", "slug"),
    ],
)
async def test_a_channel_that_cannot_be_is_refused_and_nothing_is_saved(
    api: httpx.AsyncClient, fields: dict[str, Any], code: str, where: str
) -> None:
    live = await make_code(api)
    refused(await api.post(f"/codes/{live['id']}/channels", json={"name": "n"} | fields), 422, code, where)
    assert done(await api.get(f"/codes/{live['id']}/channels")) == {"items": []}
    assert done(await api.get(f"/codes/{live['id']}")) == live


@pytest.mark.parametrize("change", [{}, {"name": None}, {"slug": "other"}, {"state": "x" * 31}])
async def test_a_change_that_cannot_be_is_refused(api: httpx.AsyncClient, change: dict[str, Any]) -> None:
    code = await make_code(api)
    channel = await make_channel(api, code)
    refused(await api.patch(f"/codes/{code['id']}/channels/1", json=change), 422, "invalid")
    assert done(await api.get(f"/codes/{code['id']}/channels"))["items"] == [channel]


async def test_a_code_has_at_most_a_thousand_channels(
    api: httpx.AsyncClient, database: Database, workspace: Workspace
) -> None:
    code = await make_code(api)
    await make_channel(api, code)
    row = {"code_id": code["id"], "workspace_id": workspace.id, "name": "n", "created_at": START}
    rows = [row | {"number": number} for number in range(2, limits.CHANNELS_PER_CODE + 1)]
    async with database.writing() as tx:
        await tx.execute(sa.insert(channels), rows)
    refused(await api.post(f"/codes/{code['id']}/channels", json={"name": "n"}), 409, "too_many_channels")
    assert (await api.delete(f"/codes/{code['id']}/channels/1")).status_code == 204
    async with database.writing() as tx:
        await tx.execute(sa.delete(channels).where(channels.c.code_id == code["id"], channels.c.number > 1))
    await make_channel(api, code)


async def test_channels_made_at_the_same_time_all_count(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    made = await asyncio.gather(*(make_channel(api, code) for _ in range(8)))
    assert sorted(one["number"] for one in made) == list(range(1, 9))
    assert len({one["slug"] for one in made}) == 8


async def test_a_channel_is_changed_only_in_the_version_of_its_code_that_was_seen(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    channel = await make_channel(api, code)
    url, stale = f"/codes/{code['id']}/channels/1", {"If-Match": '"1"'}
    refused(await api.patch(url, json={"name": "n"}, headers=stale), 412, "changed_meanwhile")
    refused(await api.delete(url, headers=stale), 412, "changed_meanwhile")
    listed = await api.get(f"/codes/{code['id']}/channels")
    assert done(listed)["items"] == [channel]
    seen = {"If-Match": listed.headers["etag"]}
    changed = await api.patch(url, json={"name": "n"}, headers=seen)
    assert done(changed)["name"] == "n"
    assert (await api.delete(url, headers={"If-Match": changed.headers["etag"]})).status_code == 204


async def test_no_edit_changes_a_byte_of_a_channels_print(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    channel = await make_channel(api, code)
    url = f"/codes/{code['id']}/channels/1"
    before = [(await api.get(f"{url}/{form}")).content for form in ("qr.svg", "qr.png")]
    (found,) = zxingcpp.read_barcodes(Image.open(BytesIO(before[1])))
    assert found.text == channel["url"]
    done(await api.patch(url, json={"name": "anders", "state": "x"}))
    assert [(await api.get(f"{url}/{form}")).content for form in ("qr.svg", "qr.png")] == before
    refused(await api.get(f"{url}/qr.png?colour=red"), 422, "invalid", "colour")


async def test_a_channel_of_one_code_is_none_of_another(api: httpx.AsyncClient) -> None:
    code, other = await make_code(api), await make_code(api)
    channel = await make_channel(api, code)
    url = f"/codes/{other['id']}/channels/{channel['number']}"
    for response in (
        await api.patch(url, json={"name": "n"}),
        await api.delete(url),
        await api.get(f"{url}/qr.png"),
    ):
        refused(response, 404, "not_found")
    assert done(await api.get(f"/codes/{other['id']}"))["version"] == 1
