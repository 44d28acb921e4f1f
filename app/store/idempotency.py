"""Keep the answers to POSTs that carried an Idempotency-Key, for a day."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.domain import limits
from app.domain.code import WorkspaceId
from app.store.database import Reading, Writing
from app.store.tables import idempotency


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what was answered to which question.

    Shapes: `fingerprint` is a SHA-256 of the question; `body` is JSON.
    """

    fingerprint: bytes
    status: int
    body: Any


async def try_lock(tx: Writing, workspace: WorkspaceId, key: str) -> bool:
    """Take the right to answer for a key until the transaction ends; False when somebody is at it."""
    name = sa.func.hashtextextended(f"huoma:idempotency:{workspace}:{key}", 0)
    return bool((await tx.execute(sa.select(sa.func.pg_try_advisory_xact_lock(name)))).scalar_one())


async def find(connection: Reading | Writing, workspace: WorkspaceId, key: str, now: datetime) -> Answer | None:
    """Read what was answered for a key in the last day."""
    query = sa.select(idempotency.c.fingerprint, idempotency.c.status, idempotency.c.body).where(
        idempotency.c.workspace_id == workspace, idempotency.c.key == key, idempotency.c.created_at > _since(now)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Answer(*row)


async def insert(tx: Writing, workspace: WorkspaceId, key: str, answer: Answer, now: datetime) -> None:
    """Write an answer, and drop those of the workspace that are older than a day."""
    await tx.execute(
        sa.delete(idempotency).where(idempotency.c.workspace_id == workspace, idempotency.c.created_at <= _since(now))
    )
    await tx.execute(
        sa.insert(idempotency).values(
            workspace_id=workspace,
            key=key,
            fingerprint=answer.fingerprint,
            status=answer.status,
            body=answer.body,
            created_at=now,
        )
    )


def _since(now: datetime) -> datetime:
    return now - timedelta(hours=limits.IDEMPOTENCY_HOURS)
