"""Routes of accounts (员工号)."""

from datetime import datetime

from fastapi import APIRouter, Response

from app.domain import ids
from app.domain.code import AccountId
from app.services.keeping_accounts import AccountView
from app.services.once import Once
from app.web.account_answers import AccountOut, AccountPage
from app.web.account_schemas import AccountChange, Availability, NewAccount
from app.web.api.asking import AccountPath, Context, Cutting, IfMatch, Reading, Repeating, Writing, tag
from app.web.api.docs import problems

router = APIRouter(prefix="/accounts", tags=["accounts"])


@router.post("", status_code=201, summary="Create an account", responses=problems("hours", "body", "idempotency"))
async def create_account(
    body: NewAccount, context: Context, caller: Writing, ask: Repeating, response: Response
) -> AccountOut:
    """Create an account that targets of any code may offer. Its cap counts over all of them.

    A shift that ends before it starts ends on the next day and belongs to the day it starts on. A special date decides
    alone, and ends the night before at its midnight; without windows it is a day off. All by the workspace's clocks.
    """
    now = context.clock()
    once: Once[AccountView] = await ask.once(
        body.content(), lambda view: AccountOut.of(view, now).model_dump(mode="json")
    )
    return _shown(await context.accounts.create(caller.workspace, body.draft(), now, once), now, response)


@router.get("", summary="List accounts", responses=problems("bad_cursor", "invalid"))
async def list_accounts(context: Context, caller: Reading, cut: Cutting) -> AccountPage:
    """List the accounts of the workspace, newest first, each as a scan would find it now."""
    after = cut.after(ids.PATTERN)
    now = context.clock()
    before = AccountId(after[0]) if after else None
    found = await context.accounts.page(caller.workspace, before, cut.size + 1, now)
    page, following = cut.pages(found, lambda view: view.record.account.id)
    return AccountPage(items=[AccountOut.of(view, now) for view in page], next=following)


@router.get("/{account_id}", summary="Read an account", responses=problems("not_found"))
async def get_account(account_id: AccountPath, context: Context, caller: Reading, response: Response) -> AccountOut:
    """Read one account as a scan would find it now. Its ETag is that of its settings; the adds move without it."""
    now = context.clock()
    return _shown(await context.accounts.read(caller.workspace, account_id, now), now, response)


@router.patch(
    "/{account_id}",
    summary="Change an account",
    responses=problems("not_found", "hours", "changed_meanwhile", "body", "counters_away"),
)
async def change_account(
    account_id: AccountPath, body: AccountChange, context: Context, caller: Writing, seen: IfMatch, response: Response
) -> AccountOut:
    """Change an account: an edit of every open code that offers it, and seen by the next scan of each."""
    now = context.clock()
    view = await context.accounts.change(caller.workspace, account_id, body.values(), now, seen)
    return _shown(view, now, response)


@router.put(
    "/{account_id}/availability",
    summary="Take an account out, or put it back",
    responses=problems("not_found", "bad_until", "changed_meanwhile", "body", "counters_away"),
)
async def set_account_availability(
    account_id: AccountPath, body: Availability, context: Context, caller: Writing, seen: IfMatch, response: Response
) -> AccountOut:
    """Take an account out of every code by the next scan; at `until`, if that is said, it is back by itself."""
    now = context.clock()
    view = await context.accounts.set_availability(
        caller.workspace, account_id, now, seen, available=body.available, until=body.until
    )
    return _shown(view, now, response)


@router.delete(
    "/{account_id}",
    status_code=204,
    summary="Remove an account",
    responses=problems("not_found", "account_in_use", "changed_meanwhile"),
)
async def remove_account(account_id: AccountPath, context: Context, caller: Writing, seen: IfMatch) -> None:
    """Remove an account for good. While a target of an open code offers it, it stays."""
    await context.accounts.remove(caller.workspace, account_id, context.clock(), seen)


def _shown(view: AccountView, now: datetime, response: Response) -> AccountOut:
    tag(response, view.record.version)
    return AccountOut.of(view, now)
