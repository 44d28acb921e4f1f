"""Workspaces as operators make them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from app.domain.code import WorkspaceId
from app.domain.errors import Refusal
from app.embedded import Servers
from app.services.keeping_keys import KeyKeeper
from app.services.keeping_workspaces import bootstrap, create_admin_key, create_workspace, list_workspaces
from app.store import migrate
from app.store.database import Database
from tests.conftest import START, Clock

GIVEN = "hm_" + "k3Y" * 12


@pytest.fixture
async def empty(servers: Servers, database: Database) -> AsyncIterator[Database]:
    """Be a database that nobody has used."""
    async with database.engine.connect() as connection:
        alone = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await alone.execute(text("drop database if exists empty"))
        await alone.execute(text("create database empty"))
    url = servers.database_url.replace("/huoma?", "/empty?")
    await migrate.upgrade(url)
    empty = Database(url, pool_size=5, connect_seconds=5, statement_seconds=20)
    yield empty
    await empty.close()


async def test_a_workspace_comes_with_an_admin_key(database: Database, clock: Clock) -> None:
    workspace, made = await create_workspace(database, "烘焙", "Europe/Berlin", clock())
    assert (workspace.name, workspace.time_zone) == ("烘焙", "Europe/Berlin")
    caller = await KeyKeeper(database).authenticate(made.secret, clock())
    assert (caller.workspace, caller.scope) == (workspace.id, "admin")
    assert workspace in await list_workspaces(database)


async def test_an_operator_can_give_another_admin_key(database: Database, clock: Clock) -> None:
    workspace, _ = await create_workspace(database, "烘焙", "Asia/Shanghai", clock())
    made = await create_admin_key(database, workspace.id, "rescue", clock())
    assert (await KeyKeeper(database).authenticate(made.secret, clock())).workspace == workspace.id
    with pytest.raises(Refusal, match="not_found"):
        await create_admin_key(database, WorkspaceId("nowhere"), "rescue", clock())


async def test_a_zone_that_is_none_makes_no_workspace(database: Database, clock: Clock) -> None:
    with pytest.raises(Refusal, match="bad_time_zone"):
        await create_workspace(database, "n", "Mars/Base", clock())


async def test_the_first_start_makes_a_workspace_and_shows_its_key_once(empty: Database) -> None:
    secret = await bootstrap(empty, None, START)
    assert secret is not None
    assert (await KeyKeeper(empty).authenticate(secret, START)).scope == "admin"
    assert await bootstrap(empty, None, START) is None
    assert len(await list_workspaces(empty)) == 1


async def test_a_given_key_opens_the_first_workspace_at_every_start(empty: Database) -> None:
    assert await bootstrap(empty, GIVEN, START) is None
    assert await bootstrap(empty, GIVEN, START) is None
    other = "hm_" + "0therKey" * 4
    assert await bootstrap(empty, other, START) is None
    keeper = KeyKeeper(empty)
    workspaces = {(await keeper.authenticate(key, START)).workspace for key in (GIVEN, other)}
    assert workspaces == {(await list_workspaces(empty))[0].id}


async def test_a_given_key_that_was_revoked_stays_revoked(empty: Database) -> None:
    await bootstrap(empty, GIVEN, START)
    keeper = KeyKeeper(empty)
    caller = await keeper.authenticate(GIVEN, START)
    await create_admin_key(empty, caller.workspace, "next", START)
    await keeper.revoke(caller.workspace, caller.key, START)
    await bootstrap(empty, GIVEN, START)
    with pytest.raises(Refusal, match="unauthenticated"):
        await keeper.authenticate(GIVEN, START)


async def test_processes_that_start_together_make_one_workspace(empty: Database) -> None:
    shown = await asyncio.gather(*(bootstrap(empty, None, START) for _ in range(5)))
    assert sum(secret is not None for secret in shown) == 1
    assert len(await list_workspaces(empty)) == 1


@pytest.mark.parametrize("key", ["", "hm_short", "x" * 40, "hm_" + "é" * 40, "hm_" + "a" * 31, "hm_" + "-" * 40])
async def test_a_weak_key_is_refused(database: Database, key: str) -> None:
    with pytest.raises(Refusal, match="weak_key"):
        await bootstrap(database, key, START)
