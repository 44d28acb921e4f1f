"""Put targets (子码) behind a code, change them, give them fresh QRs, take them away and bring them back."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from app.counters import counts
from app.domain import limits
from app.domain.code import NO_ACCOUNT, AccountId, CodeId, CodeKind, Origin, TargetId, WorkspaceId
from app.domain.errors import Refusal
from app.domain.expiry import check_expiry
from app.domain.placement import Allowance
from app.qr.reader import Reader
from app.services.drafting import (
    Prepared,
    RenewalDraft,
    RestorationDraft,
    TargetDraft,
    default_limit,
    in_row,
    no_picture,
    prepare,
    printed_name,
    revision_of,
)
from app.services.editing import Edit, Editing, Versions, check_seen, not_found, open_code
from app.services.keeping_accounts import with_shifts
from app.services.levelling import level_newcomers, level_returning, relevel
from app.services.once import Once
from app.services.standing import (
    BatchRefusal,
    check_account,
    check_move,
    check_new,
    check_qr,
    check_renewal,
    hold_accounts,
)
from app.services.uploading import Taker, expiry_of, expiry_source, lives_until, qr_of_text, read_source
from app.services.viewing import TargetView, look_around, view_of
from app.store import codes, targets, workspaces
from app.store.codes import CodeRecord
from app.store.database import Reading, Writing
from app.store.targets import TargetRecord


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

        Raises: as `Editing.edit` and `read_source`; Refusal `no_targets_in_menu`, `too_many_targets`, and as
        `prepare` and `check_new`.
        """
        # Whose code it is comes first: nobody may make us decode pictures for a code that is not his.
        taker = await self._taker(workspace, code)
        qr = await read_source(self._reader, draft.source, taker, now)
        try:
            return (await self._add([prepare(draft, qr, taker, code, now)], now, once))[0]
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
        Cost: nine statements, whatever the number of targets; beside these what `look_around` and `level_newcomers`
        cost, and two where they name accounts.
        """
        taker = await self._taker(workspace, code)
        prepared: list[Prepared] = []
        refused: dict[int, Refusal] = {}
        for row, draft in enumerate(drafts):
            try:
                prepared.append(prepare(draft, qr_of_text(draft.source, taker), taker, code, now))
            except Refusal as refusal:
                refused[row] = refusal
        if refused:
            raise BatchRefusal(refused)
        return await self._add(prepared, now, once)

    async def change(
        self,
        workspace: WorkspaceId,
        target: TargetId,
        values: Mapping[str, object],
        now: datetime,
        seen: Versions,
        allow: frozenset[Allowance] = frozenset(),
    ) -> TargetRecord:
        """Change what a marketer may change of a target; a `member_limit` or `expires_at` of None is the default again.

        Shapes: `weekly` and `special` are hours as `check_shifts` takes them.
        Raises: as `Editing.edit`; Refusal `already_expired`, `expires_too_late`, `no_picture`, and as
        `check_account`, `check_move` and `check_shifts`.
        """
        values = dict(values)
        if isinstance(expires_at := values.get("expires_at"), datetime):
            check_expiry(expires_at, now)
        offered = AccountId(str(values.get("account_id") or NO_ACCOUNT))

        async def lock(tx: Writing) -> CodeRecord | None:
            await hold_accounts(tx, workspace, [offered])
            return await codes.lock_of_target(tx, workspace, target)

        async with self._editing.edit(workspace, lock, now) as edit:
            record = await self._locked(edit, target, seen)
            if offered:
                await check_account(edit, offered, record.target.kind, allow)
            if "account_id" in values:
                await check_move(edit, record.target, offered, allow)
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
        draft: RenewalDraft,
        now: datetime,
        seen: Versions,
    ) -> TargetRecord:
        """Give a target a fresh QR: a new revision and a new life; its places and its visitors stay.

        Raises: as `Editing.edit`, `read_source`, `check_renewal` and `lives_until`.
        """
        async with self._editing.database.reading() as connection:
            record = await targets.find(connection, workspace, target)
            if record is None:
                raise not_found()
        taker = await self._taker(workspace, record.code_id)
        qr = await read_source(self._reader, draft.source, taker, now)
        dies_at = expiry_of(qr, taker.workspace, now)
        ends = lives_until(draft.expires_at, qr, dies_at, now)
        async with self._editing.edit(workspace, lambda tx: codes.lock_of_target(tx, workspace, target), now) as edit:
            record = await self._locked(edit, target, seen)
            await check_renewal(edit, record, qr, draft.allow)
            number = record.target.revision + 1
            await targets.insert_revision(edit.tx, workspace, revision_of(target, number, qr, dies_at, now))
            values = {
                "payload": qr.payload,
                "revision": number,
                "expires_at": ends,
                "expires_at_source": expiry_source(draft.expires_at, qr, ends),
                # A picture that cannot be read, or a text, leaves open which group it is.
                "printed_name": printed_name(qr) or record.printed_name,
            }
            if values["printed_name"] != record.printed_name and record.name_source is Origin.PRINTED:
                # The group was renamed: the name that was read from its picture follows.
                values["name"] = qr.name
            return _kept(await targets.update(edit.tx, record, now, values))

    async def remove(self, workspace: WorkspaceId, target: TargetId, now: datetime, seen: Versions) -> None:
        """Take a target away until it is restored; who has a place in it is given another at the next scan.

        Raises: as `Editing.edit`.
        """
        async with self._editing.edit(workspace, lambda tx: codes.lock_of_target(tx, workspace, target), now) as edit:
            record = await self._locked(edit, target, seen)
            await targets.update(edit.tx, record, now, {"removed_at": now})

    async def restore(
        self, workspace: WorkspaceId, target: TargetId, draft: RestorationDraft, now: datetime, once: Once[TargetView]
    ) -> TargetView:
        """Bring a removed target back as it was: its places, its visitors and its QRs. One that is there stays so.

        What it counts was never thrown away: the counters and the record keep it by target, removed or not.
        Raises: as `Editing.edit`; Refusal `not_found`, `too_many_targets`, and as `check_qr` and `check_account`.
        """
        async with self._editing.database.reading() as connection:
            record = await targets.find(connection, workspace, target, removed=True)
            if record is None:
                raise not_found()
            if record.removed_at is None:
                return await self._view(connection, record, now)
        offered = record.target.account if draft.account is None else draft.account

        async def lock(tx: Writing) -> CodeRecord | None:
            await hold_accounts(tx, workspace, [offered])
            return await codes.lock_of_target(tx, workspace, target, removed=True)

        async with self._editing.edit(workspace, lock, now, once=once) as edit:
            record = await targets.find(edit.tx, workspace, target, removed=True)
            assert record is not None
            if record.removed_at is not None:
                record = await self._restored(edit, record, replace(draft, account=offered), now)
            view = await self._view(edit.tx, record, now)
            await once.keep(edit.tx, view)
        return view

    async def _restored(self, edit: Edit, record: TargetRecord, draft: RestorationDraft, now: datetime) -> TargetRecord:
        offered, target = draft.account or NO_ACCOUNT, record.target
        row = await targets.measure(edit.tx, edit.code.workspace_id, edit.code.id)
        if row.count >= limits.TARGETS_PER_CODE:
            raise too_many_targets()
        if offered:
            await check_account(edit, offered, target.kind, draft.allow)
        await check_qr(edit, replace(target, account=offered), target.payload, None, draft.allow)
        values = await level_returning(self._editing.redis, edit, record, now)
        values |= {"removed_at": None, "account_id": offered or None}
        return _kept(await targets.update(edit.tx, record, now, values))

    async def _view(self, connection: Reading | Writing, record: TargetRecord, now: datetime) -> TargetView:
        redis = self._editing.redis
        places = await counts.read(redis, record.workspace_id, record.code_id, [record.target.id])
        return view_of(record, places.get(record.target.id), await look_around(connection, redis, [record], now))

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

    async def _add(self, prepared: Sequence[Prepared], now: datetime, once: Once[list[TargetView]]) -> list[TargetView]:
        workspace, code = prepared[0].record.workspace_id, prepared[0].record.code_id
        offered = [one.record.target.account for one in prepared]

        async def lock(tx: Writing) -> CodeRecord | None:
            await hold_accounts(tx, workspace, offered)
            return await codes.lock(tx, workspace, code)

        async with self._editing.edit(workspace, lock, now, once=once) as edit:
            row = await targets.measure(edit.tx, workspace, code)
            if row.count + len(prepared) > limits.TARGETS_PER_CODE:
                raise too_many_targets()
            await check_new(edit, prepared)
            records = in_row([one.record for one in prepared], row)
            records = await level_newcomers(self._editing.redis, edit, records, now)
            await targets.insert(edit.tx, records, [one.revision for one in prepared])
            around = await look_around(edit.tx, self._editing.redis, records, now)
            # Nobody can have scanned them yet.
            views = [view_of(record, None, around) for record in records]
            await once.keep(edit.tx, views)
        return views


def too_many_targets() -> Refusal:
    """Refuse a target that would be one too many."""
    return Refusal("too_many_targets", f"A code has at most {limits.TARGETS_PER_CODE} targets.")


def _kept(record: TargetRecord | None) -> TargetRecord:
    assert record is not None
    return record
