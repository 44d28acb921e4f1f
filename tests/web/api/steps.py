"""The steps that stories about the API begin with."""

import asyncio
import secrets
from typing import Any

import httpx
import sqlalchemy as sa

from app.store.database import Database


def payload() -> str:
    """Make the text of a WeChat group QR that nobody else has."""
    return f"https://weixin.qq.com/g/AwYAA{secrets.token_hex(24)}"


def contact() -> str:
    """Make the text of a personal WeChat QR that nobody else has."""
    return f"https://u.wechat.com/M{secrets.token_hex(11)}"


async def make_code(api: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    return done(await api.post("/codes", json={"name": "群活码"} | fields), 201)


async def make_target(api: httpx.AsyncClient, code: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Make a target with a QR that suits the kind of its code."""
    qr = contact() if code.get("kind") == "staff" else payload()
    return done(await api.post(f"/codes/{code['id']}/targets", json={"payload": qr} | fields), 201)


async def make_account(api: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    return done(await api.post("/accounts", json={"name": "小春", "kind": "wechat"} | fields), 201)


def done(response: httpx.Response, status: int = 200) -> dict[str, Any]:
    assert response.status_code == status, response.text
    body = response.json()
    assert isinstance(body, dict)
    return body


def refused(response: httpx.Response, status: int, code: str, where: str | None = None) -> dict[str, Any]:
    """Insist on a whole problem, of one kind."""
    body = response.json()
    assert (response.status_code, body["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert body["type"] == f"urn:huoma:problem:{code}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    if where is not None:
        assert body["where"] == where
    assert isinstance(body, dict)
    return body


async def blocked(database: Database, number: int, *tasks: "asyncio.Task[httpx.Response]") -> None:
    """Return when so many transactions wait for a lock, or when nothing is left that could."""
    waiting = sa.text(
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    )
    found = 0
    while found < number and not all(task.done() for task in tasks):
        async with database.reading() as connection:
            found = (await connection.execute(waiting)).scalar_one()
