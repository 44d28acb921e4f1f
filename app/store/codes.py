"""Keep live codes (活码) and the slugs they are printed under."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain import limits
from app.domain.code import CodeId, CodeKind, Fallback, Slug, Strategy, TargetId, WorkspaceId
from app.domain.payload import pictured
from app.store.database import Reading, Writing
from app.store.tables import codes, next_version, slugs, targets

# Codes that one statement gives their next version.
BUMPED_TOGETHER: Final = 5_000


@dataclass(frozen=True, slots=True)
class CodeRecord:
    """Hold a code as its marketer set it up; `version` grows with every edit of it and of its targets."""

    id: CodeId
    workspace_id: WorkspaceId
    name: str
    kind: CodeKind
    strategy: Strategy
    slug: Slug
    hold_seconds: int
    sticky_days: int
    wechat_only: bool | None
    landing_title: str | None
    landing_notice: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    fallback: Fallback | None = None
    disabled: bool = False
    opens_at: datetime | None = None
    closes_at: datetime | None = None
    new_seats_per_minute: int = limits.NEW_SEATS_PER_MINUTE_DEFAULT
    pass_query: bool = False


async def insert(tx: Writing, code: CodeRecord) -> bool:
    """Write a new code and its slug; False when the slug was ever given before, and the transaction must be undone."""
    values = {column.name: getattr(code, column.name, None) for column in codes.columns}
    values |= spell_wechat_only(code.wechat_only)
    values["fallback"] = spell_fallback(code.fallback)
    made = await tx.execute(upsert(codes).values(values).on_conflict_do_nothing().returning(codes.c.id))
    if made.one_or_none() is None:
        return False
    printed = await tx.execute(
        upsert(slugs)
        .values(slug=code.slug, workspace_id=code.workspace_id, code_id=code.id, channel=0)
        .on_conflict_do_nothing()
        .returning(slugs.c.slug)
    )
    return printed.one_or_none() is not None


async def find(connection: Reading | Writing, workspace: WorkspaceId, code: CodeId) -> CodeRecord | None:
    """Read one code of a workspace, a closed one too."""
    row = (await connection.execute(_one(workspace, code))).one_or_none()
    return None if row is None else _record(row)


async def lock(tx: Writing, workspace: WorkspaceId, code: CodeId) -> CodeRecord | None:
    """Read one code and keep everybody else from editing or publishing it until the transaction ends."""
    # NO KEY UPDATE: the drain, whose totals refer to the code, must not wait for an edit.
    row = (await tx.execute(_one(workspace, code).with_for_update(key_share=True))).one_or_none()
    return None if row is None else _record(row)


async def lock_of_target(
    tx: Writing, workspace: WorkspaceId, target: TargetId, *, removed: bool = False
) -> CodeRecord | None:
    """Lock the code that a target is part of; with `removed`, also of one that was removed."""
    query = sa.select(targets.c.code_id).where(targets.c.workspace_id == workspace, targets.c.id == target)
    code = await tx.scalar(query if removed else query.where(targets.c.removed_at.is_(None)))
    return None if code is None else await lock(tx, workspace, CodeId(code))


async def page(
    connection: Reading, workspace: WorkspaceId, before: CodeId | None, size: int, *, closed: bool
) -> list[CodeRecord]:
    """Read a page of a workspace's codes, newest first: those open, or those closed."""
    query = sa.select(codes).where(codes.c.workspace_id == workspace)
    query = query.where(codes.c.closed_at.is_not(None) if closed else codes.c.closed_at.is_(None))
    if before is not None:
        query = query.where(codes.c.id < before)
    return [_record(row) for row in await connection.execute(query.order_by(codes.c.id.desc()).limit(size))]


async def bump(tx: Writing, code: CodeRecord, now: datetime, values: Mapping[str, object] | None = None) -> CodeRecord:
    """Change a locked code and give it its next version; with no values, something of it was changed elsewhere."""
    query = (
        sa.update(codes)
        .where(codes.c.workspace_id == code.workspace_id, codes.c.id == code.id)
        .values(**_columns(values or {}), version=next_version(codes.c.version), updated_at=now)
        .returning(codes)
    )
    return _record((await tx.execute(query)).one())


async def bump_all(tx: Writing, chosen: Sequence[sa.ColumnElement[bool]], **values: object) -> list[CodeId]:
    """Lock the open codes that are chosen, always in the same order, and give each its next version.

    No two transactions that lock codes in the same order wait for each other.
    Cost: two statements for each `BUMPED_TOGETHER` codes, so that none comes near its bound; about 2 s for 50,000.
    """
    bumped: list[CodeId] = []
    while True:
        page = await _bump_some(tx, [*chosen, codes.c.id > (bumped[-1] if bumped else "")], values)
        bumped += sorted(page)
        if len(page) < BUMPED_TOGETHER:
            return bumped


async def _bump_some(
    tx: Writing, chosen: Sequence[sa.ColumnElement[bool]], values: Mapping[str, object]
) -> list[CodeId]:
    locked = (
        sa.select(codes.c.id)
        .where(*chosen, codes.c.closed_at.is_(None))
        .order_by(codes.c.id)
        .limit(BUMPED_TOGETHER)
        .with_for_update(key_share=True)
    )
    page = [CodeId(row[0]) for row in await tx.execute(locked)]
    # As a list and not by a join, which is slow where PostgreSQL still takes the table for a small one.
    listed = codes.c.id == sa.any_(sa.cast(page, pg.ARRAY(sa.Text)))
    await tx.execute(sa.update(codes).where(listed).values(**values, version=next_version(codes.c.version)))
    return page


def _columns(values: Mapping[str, object]) -> dict[str, object]:
    columns, fallback = dict(values), values.get("fallback")
    if isinstance(fallback, Fallback):
        columns["fallback"] = spell_fallback(fallback)
    if "wechat_only" in values:
        columns |= spell_wechat_only(values["wechat_only"])
    return columns


def _one(workspace: WorkspaceId, code: CodeId) -> sa.Select[Any]:
    return sa.select(codes).where(codes.c.workspace_id == workspace, codes.c.id == code)


def _record(row: sa.Row[Any]) -> CodeRecord:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    del values["everywhere"]
    return CodeRecord(
        **values
        | {
            "kind": CodeKind(row.kind),
            "strategy": Strategy(row.strategy),
            "fallback": read_fallback(row.fallback),
            "wechat_only": read_wechat_only(row),
        }
    )


def spell_wechat_only(only: object) -> dict[str, bool]:
    """Write whether a code gives something outside WeChat, too, as its two columns; None goes by its kind."""
    return {"wechat_only": only is True, "everywhere": only is False}


def read_wechat_only(row: sa.Row[Any]) -> bool | None:
    """Read what `spell_wechat_only` wrote."""
    return True if row.wechat_only else False if row.everywhere else None


def spell_fallback(fallback: Fallback | None) -> dict[str, str] | None:
    """Write a fallback as JSON: `code_id`, `url`, or `payload` with a `message`."""
    if fallback is None:
        return None
    spelt = {
        "code_id": fallback.code, "url": fallback.url, "payload": fallback.payload, "message": fallback.message,
    }  # fmt: skip
    return {name: text for name, text in spelt.items() if text is not None}


def read_fallback(spelt: Mapping[str, Any] | None) -> Fallback | None:
    """Read what `spell_fallback` wrote.

    A URL that was written before such were refused, and that opens from a QR only, is read as a payload.
    """
    if spelt is None:
        return None
    code, url = spelt.get("code_id"), spelt.get("url")
    shown = pictured(url) if url else None
    if shown is not None and shown.kind is not None:
        return Fallback(payload=shown.payload)
    return Fallback(code and CodeId(code), url, spelt.get("payload"), spelt.get("message"))
