"""POSTs that come twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from app.domain.workspace import Workspace
from app.store import idempotency
from app.store.database import Database
from tests.conftest import Clock
from tests.web.api.steps import done, make_code, make_target, payload, refused

KEY = {"Idempotency-Key": "order-4711"}


async def test_a_repeat_is_answered_as_before_and_changes_nothing(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    target = await make_target(api, code)
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/codes", {"name": "n", "landing": {"title": "t"}}),
        (f"/codes/{code['id']}/channels", {"name": "n"}),
        (f"/codes/{code['id']}/targets", {"payload": payload(), "members": 7}),
        (f"/codes/{code['id']}/targets/batch", {"targets": [{"payload": payload()}, {"payload": payload()}]}),
        (f"/targets/{target['id']}/members", {"count": 9}),
        ("/accounts", {"name": "n", "kind": "wechat", "special_dates": [{"date": "2026-10-01", "windows": []}]}),
    ]
    for number, (path, body) in enumerate(asked):
        headers = {"Idempotency-Key": f"k{number}"}
        first = await api.post(path, json=body, headers=headers)
        again = await api.post(path, json=body, headers=headers)
        assert first.status_code in {200, 201}
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers.get("etag") == first.headers.get("etag")
        assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert len(done(await api.get("/codes"))["items"]) == 2
    assert len(done(await api.get(f"/codes/{code['id']}/channels"))["items"]) == 1
    assert len(done(await api.get("/accounts"))["items"]) == 1
    assert len(done(await api.get(f"/codes/{code['id']}/targets"))["items"]) == 4


async def test_a_repeat_is_answered_as_before_even_when_it_would_now_be_refused(
    api: httpx.AsyncClient, samples: Path, clock: Clock, workspace: Workspace
) -> None:
    slug = f"once-{workspace.id}"
    code = done(await api.post("/codes", json={"name": "n", "slug": slug}, headers=KEY), 201)
    # The boundary between the parts is another one each time, and the picture's date passes meanwhile.
    image = (samples / "group_zh_3_days_left.jpg").read_bytes()
    url, headers = f"/codes/{code['id']}/targets", {"Idempotency-Key": "picture"}
    first = done(await api.post(url, files={"image": image}, data={"members": "3"}, headers=headers), 201)
    clock.forward(hours=23)
    assert done(await api.post(url, files={"image": image}, data={"members": "3"}, headers=headers), 201) == first
    await api.delete(f"/codes/{code['id']}")
    assert done(await api.post("/codes", json={"name": "n", "slug": slug}, headers=KEY), 201) == code


async def test_a_key_stands_for_one_request_only(api: httpx.AsyncClient, samples: Path) -> None:
    code = done(await api.post("/codes", json={"name": "n"}, headers=KEY), 201)
    url = f"/codes/{code['id']}/targets"
    refused(await api.post("/codes", json={"name": "m"}, headers=KEY), 422, "idempotency_key_reused")
    refused(await api.post(url, json={"payload": payload()}, headers=KEY), 422, "idempotency_key_reused")
    image = {"image": (samples / "group_en.png").read_bytes()}
    other = {"image": (samples / "group_zh.jpg").read_bytes()}
    headers = {"Idempotency-Key": "picture"}
    done(await api.post(url, files=image, headers=headers), 201)
    refused(await api.post(url, files=other, headers=headers), 422, "idempotency_key_reused")


async def test_no_cap_is_another_question_than_the_default_cap(api: httpx.AsyncClient) -> None:
    body = {"name": "n", "kind": "wecom"}
    done(await api.post("/accounts", json=body, headers=KEY), 201)
    refused(await api.post("/accounts", json=body | {"daily_cap": None}, headers=KEY), 422, "idempotency_key_reused")


async def test_a_key_means_nothing_in_another_workspace(
    api: httpx.AsyncClient, stranger_api: httpx.AsyncClient
) -> None:
    one = done(await api.post("/codes", json={"name": "n"}, headers=KEY), 201)
    other = done(await stranger_api.post("/codes", json={"name": "n"}, headers=KEY), 201)
    assert one["id"] != other["id"]


async def test_a_refused_request_may_be_repeated_with_its_key(api: httpx.AsyncClient) -> None:
    code = await make_code(api)
    target = await make_target(api, code)
    body = {"payload": target["payload"]}
    refused(await api.post(f"/codes/{code['id']}/targets", json=body, headers=KEY), 409, "same_qr")
    await api.delete(f"/targets/{target['id']}")
    done(await api.post(f"/codes/{code['id']}/targets", json=body, headers=KEY), 201)


async def test_a_request_that_is_being_answered_is_not_answered_twice(
    api: httpx.AsyncClient, database: Database, workspace: Workspace
) -> None:
    async with being_answered(database, workspace):
        refused(await api.post("/codes", json={"name": "n"}, headers=KEY), 409, "idempotency_key_in_use")
    done(await api.post("/codes", json={"name": "n"}, headers=KEY), 201)
    sent = [api.post("/codes", json={"name": "m"}, headers={"Idempotency-Key": "m"}) for _ in range(8)]
    answers = await asyncio.gather(*sent)
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    assert len(done(await api.get("/codes"))["items"]) == 2


async def test_the_secret_of_a_key_is_not_told_twice(api: httpx.AsyncClient, database: Database) -> None:
    body = {"name": "n", "scope": "read"}
    first = done(await api.post("/keys", json=body, headers=KEY), 201)
    again = done(await api.post("/keys", json=body, headers=KEY), 201)
    assert again == first | {"key": None}
    assert len(done(await api.get("/keys"))["items"]) == 3


async def test_a_key_is_forgotten_after_a_day(
    api: httpx.AsyncClient, clock: Clock, database: Database, workspace: Workspace
) -> None:
    one = done(await api.post("/codes", json={"name": "n"}, headers=KEY), 201)
    clock.forward(hours=24)
    other = done(await api.post("/codes", json={"name": "n"}, headers=KEY), 201)
    assert one["id"] != other["id"]
    async with database.reading() as connection:
        kept = await connection.execute(
            sa.text("select count(*) from idempotency where workspace_id = :w"), {"w": workspace.id}
        )
        assert kept.scalar_one() == 1


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256])
async def test_a_key_has_bounds(api: httpx.AsyncClient, key: str) -> None:
    response = await api.post("/codes", json={"name": "n"}, headers=[(b"Idempotency-Key", key.encode("latin-1"))])
    refused(response, 422, "bad_idempotency_key")


@asynccontextmanager
async def being_answered(database: Database, workspace: Workspace) -> AsyncIterator[None]:
    async with database.writing() as tx:
        assert await idempotency.try_lock(tx, workspace.id, KEY["Idempotency-Key"])
        yield
