"""Refuse what stands in the way of a target (子码): its QR elsewhere, its group under another QR, a wrong account.

Asked within the edit, when the code is locked, so that two requests cannot both be first.
"""

from collections.abc import Collection, Mapping, Sequence

from app.domain.code import NO_ACCOUNT, AccountId, CodeKind, Target, WorkspaceId
from app.domain.errors import Refusal
from app.domain.payload import TargetKind
from app.domain.placement import Allowance, TakenRefusal, There, check_carrier, plainly, qr_key, spell_qr
from app.services.drafting import Prepared, no_picture, printed_name
from app.services.editing import Edit
from app.services.uploading import Qr, where_of
from app.store import accounts, standing, targets
from app.store.database import Writing
from app.store.standing import Standing
from app.store.targets import TargetRecord


class BatchRefusal(Refusal):
    """Refuse a batch as a whole, with every row that is at fault.

    Shapes: `rows` maps the row's number, from 0, to its refusal.
    """

    def __init__(self, rows: Mapping[int, Refusal]) -> None:
        super().__init__("batch_refused", "Nothing was saved, because some rows are at fault; see errors.", "targets")
        self.rows = dict(rows)


async def check_new(edit: Edit, prepared: Sequence[Prepared]) -> None:
    """Insist that new targets, one a row, are none that stand already.

    Raises: BatchRefusal of `unknown_account`, `other_kind`, `same_qr`, `qr_in_use`, `same_group`.
    Cost: one query where accounts are named, two for QRs, one for each picture that prints a name.
    """
    refused = await _wrong_accounts(edit, prepared)
    for row, refusal in (await _taken(edit, prepared)).items():
        refused.setdefault(row, refusal)
    for row, one in enumerate(prepared):
        if row not in refused and one.record.printed_name and Allowance.SAME_GROUP not in one.allow:
            found = await standing.with_name(edit.tx, edit.code.workspace_id, edit.code.id, one.record.printed_name)
            if found:
                refused[row] = _same_group(one, found[0])
    if refused:
        raise BatchRefusal(dict(sorted(refused.items())))


async def check_renewal(edit: Edit, record: TargetRecord, qr: Qr, allow: Collection[Allowance]) -> None:
    """Insist that a fresh QR is of the kind, and of the group, of the target that it is for.

    Raises: Refusal `other_kind`, `no_picture`, `same_qr`, `qr_in_use`, `other_group`.
    """
    target = record.target
    if qr.kind is not target.kind:
        raise Refusal("other_kind", f"This target is a {plainly(target.kind)} and stays one; add a new target instead.")
    if target.display == "original" and qr.picture is None:
        raise no_picture()
    await check_qr(edit, target, qr.payload, where_of(qr), allow)
    if Allowance.OTHER_GROUP in allow:
        return
    printed = printed_name(qr)
    if printed is None or printed == record.printed_name:
        return
    others = await standing.with_name(edit.tx, edit.code.workspace_id, edit.code.id, printed)
    if others or record.printed_name is not None:
        raise _other_group(record, qr, others[0] if others else None)


async def check_qr(edit: Edit, target: Target, payload: str, where: str | None, allow: Collection[Allowance]) -> None:
    """Insist that a QR stands nowhere yet, unless the caller allows it to stand in another code.

    Another QR of the person that the target already shows stands nowhere new.
    Raises: Refusal `same_qr`, `qr_in_use`.
    """
    shown = target.payload
    if spell_qr(payload) != spell_qr(shown) and qr_key(payload) == qr_key(shown):
        return
    for refusal in await _refused(edit, [(payload, target.account, where, allow)]):
        if refusal is not None:
            raise refusal


async def check_move(edit: Edit, target: Target, account: AccountId, allow: Collection[Allowance]) -> None:
    """Insist that a target whose QR stands elsewhere, too, goes on sharing an account with it.

    Raises: Refusal `qr_in_use`.
    """
    if account == target.account or edit.code.kind is CodeKind.LINK or Allowance.QR_IN_USE in allow:
        return
    await standing.lock_qrs(edit.tx, edit.code.workspace_id, [target.payload])
    for one in await standing.with_qrs(edit.tx, edit.code.workspace_id, [target.payload]):
        if one.there.target_id != target.id and not _shares(account, one):
            raise _qr_in_use(one, "account_id")


def _shares(account: AccountId, other: Standing) -> bool:
    """Check whether the adds of a target that names an account are counted together with those of another."""
    return account != NO_ACCOUNT and account == other.account


async def hold_accounts(tx: Writing, workspace: WorkspaceId, offered: Sequence[AccountId]) -> None:
    """Hold the accounts that targets are about to offer, before their code is locked.

    Who edits an account locks it first and its codes then: the other way round, both could wait for each other.
    """
    if wanted := set(offered) - {NO_ACCOUNT}:
        await accounts.lock_shared(tx, workspace, sorted(wanted))


async def check_account(edit: Edit, account: AccountId, kind: TargetKind, allow: Collection[Allowance]) -> None:
    """Insist that an account is there and can own a QR of a kind.

    Raises: Refusal `unknown_account`, `other_kind`.
    """
    found = await accounts.kinds_of(edit.tx, edit.code.workspace_id, [account])
    if account not in found:
        raise unknown_account()
    check_carrier(kind, found[account], allow)


def unknown_account() -> Refusal:
    """Refuse an account that is not there, was removed, or is another workspace's, in the same words."""
    return Refusal("unknown_account", "There is no such account in this workspace.", "account_id")


def same_qr(kind: CodeKind, where: str | None = None, there: There | None = None) -> Refusal:
    """Refuse a QR that is there already, in the target `there`: it would not be fresh."""
    if kind is CodeKind.LINK:
        said = "This very link is there already; to have it given more often, raise its weight."
    else:
        said = "This very QR code is there already; open the group's QR page again and upload the new one."
    return TakenRefusal("same_qr", said, where, there)


_Wanted = tuple[str, AccountId, str | None, Collection[Allowance]]


async def _taken(edit: Edit, prepared: Sequence[Prepared]) -> dict[int, Refusal]:
    wanted: list[_Wanted] = [(one.revision.payload, one.record.target.account, None, one.allow) for one in prepared]
    found = await _refused(edit, wanted)
    return {row: refusal for row, refusal in enumerate(found) if refusal is not None}


async def _refused(edit: Edit, wanted: Sequence[_Wanted]) -> list[Refusal | None]:
    """Find what stands in the way of each of some QRs, those before it included."""
    payloads = [one[0] for one in wanted]
    # A row before, which is no target yet, is None.
    in_code: dict[str, There | None]
    elsewhere: Mapping[str, list[Standing]] = {}
    if edit.code.kind is CodeKind.LINK:
        code = edit.code
        shown = await targets.payloads_there(edit.tx, code.workspace_id, code.id, payloads)
        in_code = {payload: There(code.id, code.name, *target) for payload, target in shown.items()}
    else:
        await standing.lock_qrs(edit.tx, edit.code.workspace_id, payloads)
        in_code, elsewhere = await _by_key(edit, payloads)
    refusals: list[Refusal | None] = []
    for payload, account, where, allow in wanted:
        key = payload if edit.code.kind is CodeKind.LINK else qr_key(payload)
        refusals.append(None)
        if key in in_code:
            refusals[-1] = same_qr(edit.code.kind, where, in_code[key])
        elif Allowance.QR_IN_USE not in allow:
            others = [one for one in elsewhere.get(key, ()) if not _shares(account, one)]
            if others:
                refusals[-1] = _qr_in_use(others[0], where)
        in_code.setdefault(key)
    return refusals


async def _by_key(edit: Edit, payloads: Sequence[str]) -> tuple[dict[str, There | None], Mapping[str, list[Standing]]]:
    """Tell which QRs stand in the code itself, and which elsewhere."""
    in_code: dict[str, There | None] = {}
    elsewhere: dict[str, list[Standing]] = {}
    for one in await standing.with_qrs(edit.tx, edit.code.workspace_id, payloads):
        if one.there.code_id == edit.code.id:
            in_code.setdefault(qr_key(one.payload), one.there)
        else:
            elsewhere.setdefault(qr_key(one.payload), []).append(one)
    return in_code, elsewhere


async def _wrong_accounts(edit: Edit, prepared: Sequence[Prepared]) -> dict[int, Refusal]:
    wanted = {one.record.target.account for one in prepared} - {NO_ACCOUNT}
    if not wanted:
        return {}
    kinds = await accounts.kinds_of(edit.tx, edit.code.workspace_id, sorted(wanted))
    refused: dict[int, Refusal] = {}
    for row, one in enumerate(prepared):
        account = one.record.target.account
        if account and account not in kinds:
            refused[row] = unknown_account()
        elif account:
            try:
                check_carrier(one.record.target.kind, kinds[account], one.allow)
            except Refusal as refusal:
                refused[row] = refusal
    return refused


def _qr_in_use(other: Standing, where: str | None) -> Refusal:
    there = other.there
    return TakenRefusal(
        "qr_in_use",
        f"This QR code is in use: as target {_quoted(there.target_name)} of the code {_quoted(there.code_name)}, whose "
        "places are counted apart from these. Remove it there, name the same account for both, let the codes fall back "
        'to each other, or repeat with allow: ["qr_in_use"].',
        where,
        there,
    )


def _same_group(one: Prepared, other: Standing) -> Refusal:
    there = other.there
    return TakenRefusal(
        "same_group",
        f"The picture is of the group {_quoted(one.printed)}, and the target {_quoted(there.target_name)} is of that "
        "group. Give that target the fresh picture (PUT /targets/{id}/qr), so that its places count on; if this is "
        'another group of the same name, repeat with allow: ["same_group"].',
        "image",
        there,
    )


def _other_group(record: TargetRecord, qr: Qr, other: Standing | None) -> Refusal:
    is_of = f"which is the target {_quoted(other.there.target_name)}" if other else "and this target showed another one"
    return TakenRefusal(
        "other_group",
        f"The picture is of the group {_quoted(qr.name)}, {is_of}. Upload it to the right target instead of "
        f"{_quoted(record.target.name)}; if the group has been renamed, repeat with "
        'allow: ["other_group"].',
        "image",
        other.there if other else None,
    )


def _quoted(name: str | None) -> str:
    return f"“{name}”"
