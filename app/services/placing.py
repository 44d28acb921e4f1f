"""Put targets (子码) behind a code, change them, give them fresh QRs, and take them away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from app.domain import limits
from app.domain.code import (
    NO_ACCOUNT,
    AccountId,
    CodeId,
    CodeKind,
    Display,
    Origin,
    Target,
    TargetId,
    TargetStatus,
    WorkspaceId,
)
from app.domain.errors import Refusal
from app.domain.expiry import check_expiry
from app.domain.payload import FACTS, TargetKind
from app.domain.shifts import SaidDate, SaidShift, check_shifts
from app.domain.workspace import Workspace
from app.qr.reader import Reader
from app.services.editing import Edit, Editing, Versions, check_seen, new_id, not_found, open_code
from app.services.keeping_accounts import with_shifts
from app.services.levelling import level_newcomers, relevel
from app.services.once import Once
from app.services.uploading import (
    Qr,
    Source,
    Taker,
    expiry_of,
    expiry_source,
    lives_until,
    name_source,
    qr_of_text,
    read_source,
    where_of,
)
from app.services.viewing import TargetView, look_around, view_of
from app.store import accounts, codes, targets, workspaces
from app.store.codes import CodeRecord
from app.store.database import Writing
from app.store.targets import Revision, TargetRecord


@dataclass(frozen=True, slots=True)
class TargetDraft:
    """Hold what a marketer says about a new target; None is the kind's default."""

    source: Source
    name: str | None = None
    member_limit: int | None = None
    members: int = 0
    expires_at: datetime | None = None
    weight: int = 1
    position: int | None = None
    display: Display = "drawn"
    account_id: AccountId | None = None
    weekly: Sequence[SaidShift] = ()
    special: Sequence[SaidDate] = ()


class BatchRefusal(Refusal):
    """Refuse a batch as a whole, with every row that is at fault.

    Shapes: `rows` maps the row's number, from 0, to its refusal.
    """

    def __init__(self, rows: Mapping[int, Refusal]) -> None:
        super().__init__("batch_refused", "Nothing was saved, because some rows are at fault; see errors.", "targets")
        self.rows = dict(rows)


class TargetEditor:
    """Add, change, renew and remove targets."""

    def __init__(self, editing: Editing, reader: Reader, public_url: str) -> None:
        self._editing = editing
        self._reader = reader
        self._public_url = public_url

    async def add(
        self, workspace: WorkspaceId, code: CodeId, draft: TargetDraft, now: datetime, once: Once[list[TargetView]]
    ) -> TargetView:
        """Add one target.

        Raises: as `Editing.edit` and `read_source`; Refusal `no_targets_in_menu`, `same_qr`, `already_expired`,
        `expires_too_late`, `no_picture`, `too_many_targets`, `unknown_account`, and as `check_shifts`.
        """
        # Whose code it is comes first: nobody may make us decode pictures for a code that is not his.
        taker = await self._taker(workspace, code)
        qr = await read_source(self._reader, draft.source, taker, now)
        try:
            return (await self._add([_prepare(draft, qr, taker.workspace, code, now)], now, once))[0]
        except BatchRefusal as refusal:
            raise refusal.rows[0] from None

    async def add_many(
        self,
        workspace: WorkspaceId,
        code: CodeId,
        drafts: Sequence[TargetDraft],
        now: datetime,
        once: Once[list[TargetView]],
    ) -> list[TargetView]:
        """Add all of many targets given as text, or none.

        Raises: as `Editing.edit`; BatchRefusal; Refusal `no_targets_in_menu`, `too_many_targets`.
        Cost: eight statements, whatever the number of targets; beside these what `look_around` and `level_newcomers`
        cost, and two where they name accounts.
        """
        taker = await self._taker(workspace, code)
        prepared: list[_Prepared] = []
        refused: dict[int, Refusal] = {}
        for row, draft in enumerate(drafts):
            try:
                prepared.append(_prepare(draft, qr_of_text(draft.source, taker), taker.workspace, code, now))
            except Refusal as refusal:
                refused[row] = refusal
        if refused:
            raise BatchRefusal(refused)
        return await self._add(prepared, now, once)

    async def change(
        self, workspace: WorkspaceId, target: TargetId, values: Mapping[str, object], now: datetime, seen: Versions
    ) -> TargetRecord:
        """Change what a marketer may change of a target; a `member_limit` or `expires_at` of None is the default again.

        Shapes: `weekly` and `special` are hours as `check_shifts` takes them.
        Raises: as `Editing.edit`; Refusal `already_expired`, `expires_too_late`, `no_picture`, `unknown_account`, and
        as `check_shifts`.
        """
        values = dict(values)
        if isinstance(expires_at := values.get("expires_at"), datetime):
            check_expiry(expires_at, now)
        offered = AccountId(str(values.get("account_id") or NO_ACCOUNT))

        async def lock(tx: Writing) -> CodeRecord | None:
            await _hold_accounts(tx, workspace, [offered])
            return await codes.lock_of_target(tx, workspace, target)

        async with self._editing.edit(lock, now) as edit:
            record = await self._locked(edit, target, seen)
            if offered and not await accounts.find_some(edit.tx, workspace, [offered]):
                raise unknown_account()
            values = with_shifts(record.target, values)
            dies_at, origin, pictured = await targets.find_revision(edit.tx, record)
            if values.get("display") == "original" and not pictured:
                raise no_picture()
            if "name" in values:
                values["name_source"] = Origin.GIVEN
            if "expires_at" in values:
                values["expires_at_source"] = origin if values["expires_at"] is None else Origin.GIVEN
                values["expires_at"] = values["expires_at"] or dies_at
            if "member_limit" in values and values["member_limit"] is None:
                settings = await workspaces.find(edit.tx, workspace)
                values["member_limit"] = default_limit(record.target.kind, settings)
            values = await relevel(self._editing.redis, edit, record, values, now)
            return _kept(await targets.update(edit.tx, record, now, values))

    async def renew(
        self,
        workspace: WorkspaceId,
        target: TargetId,
        source: Source,
        expires_at: datetime | None,
        now: datetime,
        seen: Versions,
    ) -> TargetRecord:
        """Give a target a fresh QR: a new revision and a new life; its places and its visitors stay.

        Raises: as `Editing.edit` and `read_source`; Refusal `same_qr`, `other_kind`, `already_expired`,
        `expires_too_late`, `no_picture`.
        """
        async with self._editing.database.reading() as connection:
            record = await targets.find(connection, workspace, target)
            if record is None:
                raise not_found()
        taker = await self._taker(workspace, record.code_id)
        qr = await read_source(self._reader, source, taker, now)
        dies_at = expiry_of(qr, taker.workspace, now)
        ends = lives_until(expires_at, qr, dies_at, now)
        async with self._editing.edit(lambda tx: codes.lock_of_target(tx, workspace, target), now) as edit:
            record = await self._locked(edit, target, seen)
            _check_renewal(record.target, qr)
            if await targets.payloads_there(edit.tx, workspace, edit.code.id, [qr.payload]):
                raise same_qr(edit.code.kind, where_of(qr))
            number = record.target.revision + 1
            await targets.insert_revision(edit.tx, workspace, _revision(target, number, qr, dies_at, now))
            origin = expiry_source(expires_at, qr, ends)
            values = {"payload": qr.payload, "revision": number, "expires_at": ends, "expires_at_source": origin}
            return _kept(await targets.update(edit.tx, record, now, values))

    async def remove(self, workspace: WorkspaceId, target: TargetId, now: datetime, seen: Versions) -> None:
        """Take a target away for good; who has a place in it is given another at the next scan.

        Raises: as `Editing.edit`.
        """
        async with self._editing.edit(lambda tx: codes.lock_of_target(tx, workspace, target), now) as edit:
            record = await self._locked(edit, target, seen)
            await targets.update(edit.tx, record, now, {"removed_at": now})

    async def _taker(self, workspace: WorkspaceId, code: CodeId) -> Taker:
        async with self._editing.database.reading() as connection:
            kind = open_code(await codes.find(connection, workspace, code)).kind
            if kind is CodeKind.MENU:
                raise Refusal("no_targets_in_menu", "A menu has options and no targets; put them behind its options.")
            return Taker(await workspaces.find(connection, workspace), kind, self._public_url)

    async def _locked(self, edit: Edit, target: TargetId, seen: Versions) -> TargetRecord:
        record = await targets.find(edit.tx, edit.code.workspace_id, target)
        if record is None:
            raise not_found()
        check_seen(record.version, seen)
        return record

    async def _add(
        self, prepared: "Sequence[_Prepared]", now: datetime, once: Once[list[TargetView]]
    ) -> list[TargetView]:
        workspace, code = prepared[0].record.workspace_id, prepared[0].record.code_id
        offered = [one.record.target.account for one in prepared]

        async def lock(tx: Writing) -> CodeRecord | None:
            await _hold_accounts(tx, workspace, offered)
            return await codes.lock(tx, workspace, code)

        async with self._editing.edit(lock, now, once=once) as edit:
            row = await targets.measure(edit.tx, workspace, code)
            if row.count + len(prepared) > limits.TARGETS_PER_CODE:
                raise Refusal("too_many_targets", f"A code has at most {limits.TARGETS_PER_CODE} targets.")
            await _check_accounts(edit.tx, workspace, offered)
            payloads = [one.revision.payload for one in prepared]
            there = await targets.payloads_there(edit.tx, workspace, code, payloads)
            _check_fresh(payloads, there, edit.code.kind)
            records = _in_row([one.record for one in prepared], row)
            records = await level_newcomers(self._editing.redis, edit, records, now)
            await targets.insert(edit.tx, records, [one.revision for one in prepared])
            around = await look_around(edit.tx, self._editing.redis, records, now)
            # Nobody can have scanned them yet.
            views = [view_of(record, None, around) for record in records]
            await once.keep(edit.tx, views)
        return views


@dataclass(frozen=True, slots=True)
class _Prepared:
    record: TargetRecord
    revision: Revision


def default_limit(kind: TargetKind, workspace: Workspace) -> int:
    """Give the places a target of a kind has when nobody says otherwise."""
    return limits.UNLIMITED if FACTS[kind].member_limit is None else workspace.defaults.member_limit


def same_qr(kind: CodeKind, where: str | None = None) -> Refusal:
    """Refuse a QR that is there already: it would not be fresh."""
    if kind is CodeKind.LINK:
        return Refusal(
            "same_qr", "This very link is there already; to have it given more often, raise its weight.", where
        )
    return Refusal(
        "same_qr", "This very QR code is there already; open the group's QR page again and upload the new one.", where
    )


def no_picture() -> Refusal:
    """Refuse to show the original of a QR that came as text."""
    return Refusal("no_picture", "This QR code did not come as a picture, so it can only be drawn.", "display")


def unknown_account() -> Refusal:
    """Refuse an account that is not there, was removed, or is another workspace's, in the same words."""
    return Refusal("unknown_account", "There is no such account in this workspace.", "account_id")


def _prepare(draft: TargetDraft, qr: Qr, workspace: Workspace, code: CodeId, now: datetime) -> _Prepared:
    dies_at = expiry_of(qr, workspace, now)
    ends = lives_until(draft.expires_at, qr, dies_at, now)
    if draft.display == "original" and qr.picture is None:
        raise no_picture()
    target = Target(
        id=TargetId(new_id(now)),
        name=draft.name or qr.name or "",
        kind=qr.kind,
        payload=qr.payload,
        status=TargetStatus.LIVE,
        member_limit=default_limit(qr.kind, workspace) if draft.member_limit is None else draft.member_limit,
        weight=draft.weight,
        expires_at=ends,
        display=draft.display,
        account=draft.account_id or NO_ACCOUNT,
        shifts=check_shifts(draft.weekly, draft.special),
    )
    record = TargetRecord(
        target=target,
        workspace_id=workspace.id,
        code_id=code,
        position=-1 if draft.position is None else draft.position,
        version=1,
        created_at=now,
        updated_at=now,
        members=draft.members,
        name_source=name_source(draft.name, qr),
        expires_at_source=expiry_source(draft.expires_at, qr, ends),
    )
    return _Prepared(record, _revision(target.id, 1, qr, dies_at, now))


def _revision(target: TargetId, number: int, qr: Qr, dies_at: datetime | None, now: datetime) -> Revision:
    source = expiry_source(None, qr, dies_at)
    return Revision(target, number, qr.payload, dies_at, qr.picture, qr.picture_media_type, now, source)


def _in_row(records: Sequence[TargetRecord], row: targets.Row) -> list[TargetRecord]:
    """Put targets without a place of their own at the end of the row, and give those without a name a number."""
    placed, last = [], row.last_position
    for number, record in enumerate(records, row.count + 1):
        named = replace(record.target, name=record.target.name or f"#{number}")
        position = record.position if record.position >= 0 else last + limits.POSITION_STEP
        last = max(last, position)
        placed.append(replace(record, target=named, position=position))
    return placed


async def _hold_accounts(tx: Writing, workspace: WorkspaceId, offered: Sequence[AccountId]) -> None:
    """Hold the accounts that targets are about to offer, before their code is locked.

    Who edits an account locks it first and its codes then: the other way round, both could wait for each other.
    """
    if wanted := set(offered) - {NO_ACCOUNT}:
        await accounts.lock_shared(tx, workspace, sorted(wanted))


async def _check_accounts(tx: Writing, workspace: WorkspaceId, offered: Sequence[AccountId]) -> None:
    """Insist that accounts, one a row, are there. Raises: BatchRefusal."""
    if wanted := set(offered) - {NO_ACCOUNT}:
        missing = wanted - (await accounts.find_some(tx, workspace, sorted(wanted))).keys()
        if missing:
            raise BatchRefusal({row: unknown_account() for row, one in enumerate(offered) if one in missing})


def _check_fresh(payloads: Sequence[str], there: frozenset[str], kind: CodeKind) -> None:
    seen = set(there)
    refused = {}
    for row, payload in enumerate(payloads):
        if payload in seen:
            refused[row] = same_qr(kind)
        seen.add(payload)
    if refused:
        raise BatchRefusal(refused)


def _check_renewal(target: Target, qr: Qr) -> None:
    if qr.kind is not target.kind:
        raise Refusal("other_kind", f"This target is a {target.kind} and stays one; add a new target instead.")
    if target.display == "original" and qr.picture is None:
        raise no_picture()


def _kept(record: TargetRecord | None) -> TargetRecord:
    assert record is not None
    return record
