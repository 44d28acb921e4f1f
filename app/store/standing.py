"""Find the targets that stand in the way of a new one: with the same QR, or with a picture of the same group."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from zlib import crc32

import sqlalchemy as sa

from app.domain.code import NO_ACCOUNT, AccountId, CodeId, WorkspaceId
from app.domain.payload import PERSONS, person_of
from app.domain.placement import There, qr_key, spellings
from app.store.database import Writing
from app.store.tables import codes, targets

# Few, since a batch may take them all; enough that two uploads of a workspace rarely meet.
_BUCKETS: Final = 16
# What stands between the host and the query.
_PATH: Final = sa.func.regexp_replace(targets.c.payload, "^[^:]*://[^/?#]*|[?#].*$", "", "g")


@dataclass(frozen=True, slots=True)
class Standing:
    """Hold a target that is in the way; `payload` is what its QR says now."""

    there: There
    payload: str
    account: AccountId


async def lock_qrs(tx: Writing, workspace: WorkspaceId, payloads: Collection[str]) -> None:
    """Let one transaction at a time put a QR anywhere in a workspace, so that two cannot put the same one.

    Taken after the code's row is locked, and always in the same order.
    Cost: one statement.
    """
    buckets = sorted({crc32(qr_key(payload).encode()) % _BUCKETS for payload in payloads})
    await tx.execute(
        sa.text(
            "select pg_advisory_xact_lock(hashtextextended(name, 0)) from unnest(cast(:names as text[])) as one(name)"
        ),
        {"names": [f"huoma:qr:{workspace}:{bucket:02}" for bucket in buckets]},
    )


async def with_qrs(tx: Writing, workspace: WorkspaceId, payloads: Collection[str]) -> list[Standing]:
    """Find the targets of open codes whose QR leads to the same group or person as one of these; no links.

    Cost: one query by index. That of persons reads the QRs of the workspace.
    """
    wanted = {qr_key(payload) for payload in payloads}
    spelt = sorted({one for payload in payloads for one in spellings(payload)})
    alike = targets.c.payload == sa.func.any(sa.cast(spelt, sa.ARRAY(sa.Text)))
    persons = sorted({person for payload in payloads if (person := person_of(payload))})
    if persons:
        paths = [f"/{person.split('/', 3)[3]}" for person in persons]
        alike |= sa.and_(targets.c.kind.in_(sorted(PERSONS)), _PATH.in_(paths))
    found = await _find(
        tx,
        targets.c.workspace_id == workspace,
        alike,
        # Spelt out, as in the index, which is found by it.
        targets.c.kind != sa.literal_column("'link'"),
    )
    return [one for one in found if qr_key(one.payload) in wanted]


async def with_name(tx: Writing, workspace: WorkspaceId, code: CodeId, printed: str) -> list[Standing]:
    """Find the targets of a code whose picture prints a name, as `group_key` spells it.

    Cost: one query by index.
    """
    return await _find(
        tx, targets.c.workspace_id == workspace, targets.c.code_id == code, targets.c.printed_name == printed
    )


async def _find(tx: Writing, *conditions: sa.ColumnElement[bool]) -> list[Standing]:
    query = (
        sa.select(
            targets.c.code_id,
            codes.c.name.label("code_name"),
            targets.c.id,
            targets.c.name,
            targets.c.payload,
            targets.c.account_id,
        )
        .select_from(targets.join(codes, codes.c.id == targets.c.code_id))
        .where(*conditions, targets.c.removed_at.is_(None), codes.c.closed_at.is_(None))
        .order_by(targets.c.id)
    )
    return [
        Standing(
            There(row.code_id, row.code_name, row.id, row.name),
            row.payload,
            NO_ACCOUNT if row.account_id is None else AccountId(row.account_id),
        )
        for row in await tx.execute(query)
    ]
