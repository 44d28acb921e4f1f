"""Keep the channels (渠道) of a code: where it is printed, and under which slugs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.code import CodeId, Slug, WorkspaceId
from app.store.database import Reading, Writing
from app.store.tables import channels, slugs


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    """Hold a channel as its marketer set it up."""

    code_id: CodeId
    workspace_id: WorkspaceId
    number: int
    name: str
    state: str | None
    slug: Slug
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Numbers:
    """Say how many channels a code has, and the last number that one was given."""

    count: int
    last: int


async def insert(tx: Writing, channel: ChannelRecord) -> bool:
    """Write a new channel and its slug; False, and nothing written, when the slug was ever given, in whatever case."""
    printed = await tx.execute(
        upsert(slugs)
        .values(slug=channel.slug, workspace_id=channel.workspace_id, code_id=channel.code_id, channel=channel.number)
        .on_conflict_do_nothing()
        .returning(slugs.c.slug)
    )
    if printed.one_or_none() is None:
        return False
    await tx.execute(
        sa.insert(channels).values({column.name: getattr(channel, column.name, None) for column in channels.columns})
    )
    return True


async def measure(tx: Writing, workspace: WorkspaceId, code: CodeId) -> Numbers:
    """Count the channels of a locked code, and find the last number given, to one that was removed too."""
    count = sa.select(sa.func.count()).where(*_there(workspace, code)).scalar_subquery()
    last = sa.select(sa.func.coalesce(sa.func.max(slugs.c.channel), 0)).where(slugs.c.code_id == code).scalar_subquery()
    row = (await tx.execute(sa.select(count, last))).one()
    return Numbers(row[0], row[1])


async def list_all(connection: Reading, workspace: WorkspaceId, code: CodeId) -> list[ChannelRecord]:
    """Read the channels of a code that were not removed, by number."""
    return [_record(row) for row in await connection.execute(_all(workspace, code).order_by(channels.c.number))]


async def find(
    connection: Reading | Writing, workspace: WorkspaceId, code: CodeId, number: int
) -> ChannelRecord | None:
    """Read one channel, unless it was removed."""
    row = (await connection.execute(_all(workspace, code).where(channels.c.number == number))).one_or_none()
    return None if row is None else _record(row)


async def update(tx: Writing, channel: ChannelRecord, values: Mapping[str, object]) -> None:
    """Change a channel."""
    await tx.execute(
        sa.update(channels)
        .where(channels.c.code_id == channel.code_id, channels.c.number == channel.number)
        .values(**values)
    )


def _there(workspace: WorkspaceId, code: CodeId) -> tuple[sa.ColumnElement[bool], ...]:
    return (channels.c.workspace_id == workspace, channels.c.code_id == code, channels.c.removed_at.is_(None))


def _all(workspace: WorkspaceId, code: CodeId) -> sa.Select[Any]:
    printed = sa.and_(slugs.c.code_id == channels.c.code_id, slugs.c.channel == channels.c.number)
    return sa.select(channels, slugs.c.slug).join(slugs, printed).where(*_there(workspace, code))


def _record(row: sa.Row[Any]) -> ChannelRecord:
    return ChannelRecord(
        code_id=CodeId(row.code_id),
        workspace_id=WorkspaceId(row.workspace_id),
        number=row.number,
        name=row.name,
        state=row.state,
        slug=Slug(row.slug),
        created_at=row.created_at,
    )
