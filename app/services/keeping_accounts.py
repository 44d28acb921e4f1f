"""Keep accounts (员工号). A change of one is an edit of every open code that offers it, in one transaction."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from app.counters import versions
from app.domain import limits
from app.domain.code import Account, AccountId, AccountKind, CodeId, Target, TargetState, WorkspaceId
from app.domain.errors import Refusal
from app.domain.shifts import SaidDate, SaidShift, check_shifts
from app.services.editing import Editing, Versions, check_seen, new_id, not_found
from app.services.once import Once
from app.services.viewing import Adds, count_adds
from app.store import accounts, workspaces
from app.store.accounts import AccountRecord
from app.store.database import Reading, Writing
from app.store.snapshots import read_days

# Codes that are published before an edit of an account is answered.
_PUBLISHED: Final = 20


@dataclass(frozen=True, slots=True)
class AccountDraft:
    """Hold what a marketer says about a new account.

    Shapes: `daily_cap` None is no cap; with `default_cap` the workspace says it.
    """

    name: str
    kind: AccountKind
    daily_cap: int | None = None
    default_cap: bool = True
    weekly: Sequence[SaidShift] = ()
    special: Sequence[SaidDate] = ()


@dataclass(frozen=True, slots=True)
class AccountView:
    """Show one account with its adds of today."""

    record: AccountRecord
    time_zone: str
    adds: Adds

    def state(self, now: datetime) -> TargetState:
        """Say what a scan at `now` would find."""
        return self.record.account.state(now, self.time_zone, self.adds.number)


class AccountKeeper:
    """Keep the accounts of workspaces."""

    def __init__(self, editing: Editing) -> None:
        self._editing = editing

    async def create(
        self, workspace: WorkspaceId, draft: AccountDraft, now: datetime, once: Once[AccountView]
    ) -> AccountView:
        """Create an account. No code offers it yet, so none is edited.

        Raises: Refusal as `check_shifts`; StoreAway.
        """
        shifts = check_shifts(draft.weekly, draft.special)
        async with self._editing.database.editing(workspace) as tx:
            await once.begin(tx)
            settings = await workspaces.find(tx, workspace)
            cap = settings.defaults.daily_cap if draft.default_cap else draft.daily_cap
            account = Account(AccountId(new_id(now)), draft.name, limits.UNLIMITED if cap is None else cap, shifts)
            view = AccountView(
                AccountRecord(account, workspace, draft.kind, version=1, created_at=now, updated_at=now),
                settings.time_zone,
                Adds(0, live=False),
            )
            await accounts.insert(tx, view.record)
            await once.keep(tx, view)
        return view

    async def read(self, workspace: WorkspaceId, account: AccountId, now: datetime) -> AccountView:
        """Show one account.

        Raises: Refusal `not_found`; StoreAway.
        """
        async with self._editing.database.viewing(workspace) as connection:
            record = _there(await accounts.find(connection, workspace, account))
            return (await self._views(connection, [record], now))[0]

    async def page(
        self, workspace: WorkspaceId, before: AccountId | None, size: int, now: datetime
    ) -> list[AccountView]:
        """Show some accounts, newest first. Raises: StoreAway."""
        async with self._editing.database.viewing(workspace) as connection:
            return await self._views(connection, await accounts.page(connection, workspace, before, size), now)

    async def change(
        self, workspace: WorkspaceId, account: AccountId, values: Mapping[str, object], now: datetime, seen: Versions
    ) -> AccountView:
        """Change what a marketer may change of an account.

        Shapes: a `daily_cap` of None is no cap; `weekly` and `special` are hours as `check_shifts` takes them.
        Raises: Refusal as `check_shifts`, `not_found`, `changed_meanwhile`; CountersAway, StoreAway — nothing was
        changed.
        """
        async with self._edit(workspace, account, now, seen) as (tx, record):
            return await self._written(tx, record, now, with_shifts(record.account, values))

    async def set_availability(
        self,
        workspace: WorkspaceId,
        account: AccountId,
        now: datetime,
        seen: Versions,
        *,
        available: bool,
        until: datetime | None,
    ) -> AccountView:
        """Take an account out of every code from the next scan on, until some instant or until it is put back.

        Raises: Refusal `bad_until`, and as `change`.
        """
        if until is not None and (available or until <= now):
            raise Refusal("bad_until", "Give a time in the future, and only with available: false.", "until")
        async with self._edit(workspace, account, now, seen) as (tx, record):
            return await self._written(tx, record, now, {"available": available, "until": until})

    async def remove(self, workspace: WorkspaceId, account: AccountId, now: datetime, seen: Versions) -> None:
        """Remove an account that no open code offers any more.

        Raises: Refusal `not_found`, `changed_meanwhile`, `account_in_use`; StoreAway.
        """
        async with self._editing.database.editing(workspace) as tx:
            record = _there(await accounts.lock(tx, workspace, account))
            check_seen(record.version, seen)
            if await accounts.is_offered(tx, workspace, account):
                raise Refusal("account_in_use", "Targets of open codes offer this account; remove them or move them.")
            await accounts.update(tx, record, now, {"removed_at": now})

    @asynccontextmanager
    async def _edit(
        self, workspace: WorkspaceId, account: AccountId, now: datetime, seen: Versions
    ) -> AsyncIterator[tuple[Writing, AccountRecord]]:
        """Open an edit of every open code that offers an account, and publish them when the block has ended well.

        Shapes: of many codes, only some are published; the others are by their next scans, which find the mark.
        Cost: as `accounts.bump_codes` and `versions.mark_all`; scans of a code wait from its mark to the commit.
        """
        edited: list[CodeId] = []
        async with self._editing.database.editing(workspace) as tx:
            record = _there(await accounts.lock(tx, workspace, account))
            check_seen(record.version, seen)
            edited += await accounts.bump_codes(tx, workspace, account, now)
            yield tx, record
            # Last, so that scans of these codes wait for the commit and for nothing else.
            await versions.mark_all(self._editing.redis, workspace, edited)
        for code in edited[:_PUBLISHED]:
            await self._editing.refresh(code)

    async def _written(
        self, tx: Writing, record: AccountRecord, now: datetime, values: Mapping[str, object]
    ) -> AccountView:
        return (await self._views(tx, [await accounts.update(tx, record, now, values)], now))[0]

    async def _views(
        self, connection: Reading | Writing, records: Sequence[AccountRecord], now: datetime
    ) -> list[AccountView]:
        """Add the adds to accounts of one workspace. Cost: two or three queries and a round trip to Redis."""
        if not records:
            return []
        workspace = records[0].workspace_id
        days = await read_days(connection, workspace)
        ids = [record.account.id for record in records]
        adds = await count_adds(connection, self._editing.redis, workspace, days.span(now), ids)
        return [AccountView(record, days.time_zone, adds[record.account.id]) for record in records]


def with_shifts(before: Account | Target, values: Mapping[str, object]) -> dict[str, object]:
    """Put the hours that `weekly` and `special` among some values make of those before in their place.

    Raises: Refusal as `check_shifts`.
    """
    values = dict(values)
    weekly: Any = values.pop("weekly", None)
    special: Any = values.pop("special", None)
    if weekly is not None or special is not None:
        values["shifts"] = check_shifts(weekly, special, before.shifts)
    return values


def _there(record: AccountRecord | None) -> AccountRecord:
    if record is None:
        raise not_found()
    return record
