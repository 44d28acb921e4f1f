"""PostgreSQL loses the commit that made a slug, and the slug is given to another code: no process shows the former."""

import secrets
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from app.counters import keys
from app.domain.code import Slug
from app.domain.workspace import Workspace
from app.store import tables
from app.store.database import Database
from tests.conftest import Clock
from tests.ghosts import lose_code
from tests.scanning import Made, Make, Process, make
from tests.services.test_cost import costing as costing  # noqa: PLC0414
from tests.web.api.steps import done, make_code


@pytest.fixture
def slug() -> str:
    return f"moon-{secrets.token_hex(4)}"


def spellings(slug: str) -> tuple[str, ...]:
    return slug, slug.title(), slug.upper()


@pytest.fixture
async def lost(slug: str, process: Process, another_process: Process, code: Make, database: Database) -> Made:
    """Make a code that two processes remember under every spelling, and lose it."""
    made = await code(50, slug=slug)
    for one in (process, another_process):
        for asked in spellings(slug):
            assert (await one.phone().scan(asked)).target == made.targets[0]
    await process.drain.all_of(made.workspace)
    await lose_code(database, made.id)
    return made


@pytest.mark.usefixtures("lost")
async def test_a_slug_that_another_workspace_took_shows_its_group_everywhere_from_the_first_scan(
    slug: str, process: Process, another_process: Process, stranger_api: httpx.AsyncClient, stranger: Workspace
) -> None:
    taken = await make(stranger_api, stranger.id, 50, slug=slug)
    for one in (process, another_process):
        for asked in spellings(slug):
            seen = await one.phone().scan(asked)
            assert (seen.outcome, seen.target) == ("claimed", taken.targets[0]), asked


@pytest.mark.usefixtures("lost")
async def test_a_slug_that_is_made_again_leads_to_the_new_code(slug: str, process: Process, code: Make) -> None:
    again = await code(50, slug=slug.title())
    for asked in spellings(slug) * 2:
        assert (await process.phone().scan(asked)).target == again.targets[0], asked


@pytest.mark.parametrize("noted", [True, False])
async def test_a_code_that_is_known_to_be_lost_frees_its_slug(
    slug: str, process: Process, another_process: Process, lost: Made, stranger_api: httpx.AsyncClient,
    stranger: Workspace, redis: Redis, *, noted: bool,
) -> None:  # fmt: skip
    """Also one that was made long ago, or by an older version: its owner is not noted."""
    if not noted:
        await redis.delete(keys.slug_owner(Slug(slug)))
    for one in (process, another_process):
        await one.phone().scan(slug)
    await process.drain.all_of(lost.workspace)
    for one in (process, another_process):
        assert [(await one.phone().scan(slug)).outcome for _ in range(2)] == ["closed"] * 2
    taken = await make(stranger_api, stranger.id, 50, slug=slug)
    for one in (process, another_process):
        for asked in spellings(slug):
            assert (await one.phone().scan(asked)).target == taken.targets[0], asked


async def test_a_code_that_was_closed_and_then_lost_frees_its_slug(
    slug: str, process: Process, code: Make, api: httpx.AsyncClient, database: Database,
    stranger_api: httpx.AsyncClient, stranger: Workspace,
) -> None:  # fmt: skip
    made = await code(5, slug=slug)
    await process.phone().scan(slug)
    assert (await api.delete(f"/codes/{made.id}")).status_code == 204
    assert (await process.phone().scan(slug)).outcome == "closed"
    await process.drain.all_of(made.workspace)
    await lose_code(database, made.id)
    taken = await make(stranger_api, stranger.id, 50, slug=slug)
    assert (await process.phone().scan(slug)).target == taken.targets[0]


async def test_a_code_that_a_process_knows_by_its_slug_alone_is_over_when_it_is_lost(
    slug: str, process: Process, code: Make, database: Database, redis: Redis, clock: Clock
) -> None:
    made = await code(5, slug=slug)
    printed = await process.recaller.slug(made.slug)  # type: ignore[arg-type]
    assert printed
    await lose_code(database, made.id)
    assert (await process.phone().scan(slug)).outcome == "closed"


@pytest.mark.usefixtures("lost")
async def test_a_picture_of_the_new_code_is_served_by_a_process_that_remembers_the_former(
    slug: str, process: Process, another_process: Process, stranger_api: httpx.AsyncClient, stranger: Workspace
) -> None:
    taken = await make(stranger_api, stranger.id, 50, slug=slug)
    phone = process.phone()
    seen = await phone.scan(slug)
    assert seen.target == taken.targets[0]
    phone.client._transport = httpx.ASGITransport(another_process.app)
    picture = await phone.look(seen)
    assert (picture.status_code, picture.headers["x-huoma-outcome"]) == (200, "claimed")


@pytest.fixture
async def channel(
    slug: str, process: Process, another_process: Process, code: Make, api: httpx.AsyncClient, database: Database
) -> tuple[Made, dict[str, Any]]:
    """Make a channel that two processes remember, and lose it; the code stays."""
    made = await code(50)
    channel = done(await api.post(f"/codes/{made.id}/channels", json={"name": "door", "slug": slug}), 201)
    for one in (process, another_process):
        assert (await one.phone().scan(slug)).target == made.targets[0]
    async with database.writing() as tx:
        await tx.execute(sa.delete(tables.channels).where(tables.channels.c.code_id == made.id))
        await tx.execute(sa.delete(tables.slugs).where(tables.slugs.c.slug == slug))
        before = sa.update(tables.codes).where(tables.codes.c.id == made.id).values(version=tables.codes.c.version - 1)
        await tx.execute(before)
    return made, channel


@pytest.mark.usefixtures("channel")
async def test_the_slug_of_a_lost_channel_shows_the_code_that_took_it(
    slug: str, process: Process, another_process: Process, stranger_api: httpx.AsyncClient, stranger: Workspace
) -> None:
    taken = await make(stranger_api, stranger.id, 50, slug=slug)
    for one in (process, another_process):
        assert (await one.phone().scan(slug)).target == taken.targets[0]


async def test_the_slug_of_a_lost_channel_is_not_counted_for_the_one_that_took_its_number(
    slug: str, process: Process, channel: tuple[Made, dict[str, Any]], api: httpx.AsyncClient
) -> None:
    made, former = channel
    again = done(await api.post(f"/codes/{made.id}/channels", json={"name": "window", "slug": "window"}), 201)
    assert again["number"] == former["number"]
    assert (await process.phone().scan("window")).target == made.targets[0]
    assert (await process.phone().scan(slug)).outcome == "closed"


async def test_an_option_of_a_lost_menu_is_not_chosen_for_the_code_that_took_its_slug(
    slug: str, process: Process, code: Make, api: httpx.AsyncClient, database: Database,
    stranger_api: httpx.AsyncClient, stranger: Workspace,
) -> None:  # fmt: skip
    goal = await code(50)
    menu = await make_code(api, kind="menu", slug=slug)
    done(await api.put(f"/codes/{menu['id']}/options", json={"options": [{"label": "a", "code_id": goal.id}]}))
    assert (await process.phone().scan(f"{slug}/1")).target == goal.targets[0]
    await lose_code(database, menu["id"])
    taken = await make(stranger_api, stranger.id, 50, slug=slug)
    assert (await process.phone().scan(f"{slug}/1")).target == taken.targets[0]


async def test_a_fallback_picture_is_the_one_in_force_in_every_process(
    slug: str, process: Process, another_process: Process, api: httpx.AsyncClient, database: Database,
    stranger_api: httpx.AsyncClient,
) -> None:  # fmt: skip
    def drawn(text: str) -> dict[str, Any]:
        return {"fallback": {"payload": f"https://u.wechat.com/{text}"}}

    async def shown() -> set[bytes]:
        answers = [await one.phone().client.get(f"/{slug}/fallback.png") for one in (process, another_process)]
        assert {answer.status_code for answer in answers} == {200}
        return {answer.content for answer in answers}

    made = await make_code(api, slug=slug, **drawn("first"))
    (first,) = await shown()
    done(await api.patch(f"/codes/{made['id']}", json=drawn("second")))
    (second,) = await shown()
    assert second != first
    await lose_code(database, made["id"])
    await make_code(stranger_api, slug=slug, **drawn("third"))
    (third,) = await shown()
    assert third not in (first, second)


async def test_prints_that_are_over_cost_one_round_trip_and_no_statement(
    process: Process, code: Make, api: httpx.AsyncClient, costing: Any
) -> None:
    closed, made = await code(5), await code(5)
    channel = done(await api.post(f"/codes/{made.id}/channels", json={"name": "door"}), 201)
    assert (await api.delete(f"/codes/{closed.id}")).status_code == 204
    assert (await api.delete(f"/codes/{made.id}/channels/{channel['number']}")).status_code == 204
    for over, outcome, trips in ((closed.slug, "closed", 1), (channel["slug"], "ended", 2)):
        for _ in range(2):
            assert (await process.phone().scan(over)).outcome == outcome
        phones = [process.phone() for _ in range(20)]

        async def scans(slug: str = over, phones: list[Any] = phones) -> None:
            for phone in phones:
                await phone.scan(slug)

        cost = await costing(scans)
        assert cost.statements == []
        assert cost.trips <= trips * len(phones)
