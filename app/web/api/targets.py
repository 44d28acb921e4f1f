"""Routes of targets (子码)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response

from app.domain import ids
from app.domain.code import TargetId
from app.services.once import Once
from app.services.viewing import TargetView
from app.web.answers import TargetOut, TargetPage, TargetsOut
from app.web.api.asking import CodePath, Context, Cutting, IfMatch, Reading, Repeating, TargetPath, Writing, tag
from app.web.api.bodies import content_of, read_upload
from app.web.api.docs import TEXT_REFUSALS, UPLOAD_REFUSALS, problems, takes_upload
from app.web.schemas import (
    FreshPicture,
    FreshQr,
    HeadCount,
    NewTarget,
    NewTargets,
    Restoration,
    TargetChange,
    TargetFields,
)

router = APIRouter(tags=["targets"])
_REFUSALS = ("not_found", "closed", "same_qr", "already_expired", "expires_too_late", "body", "counters_away")

_AS_IT_WAS = Restoration()
_NEW_REFUSALS = ("other_kind", "qr_in_use", "too_many_targets", "unknown_account")


@router.post(
    "/codes/{code_id}/targets",
    status_code=201,
    summary="Add a target",
    responses=problems(*_REFUSALS, *UPLOAD_REFUSALS, *_NEW_REFUSALS, "same_group", "hours", "idempotency"),
    openapi_extra=takes_upload("NewTargetPicture", "NewTarget"),
)
async def add_target(
    code_id: CodePath, request: Request, context: Context, caller: Writing, ask: Repeating, response: Response
) -> TargetOut:
    """Add a target from a screenshot (multipart, `image`) or from the text of its QR (JSON, `payload`).

    A link code takes a `url` instead.
    What the screenshot prints is used unless you say otherwise: its title as the name, its date as the expiry. A
    group's QR expires seven days after the upload, or at the end of the day printed on it if that comes first, less the
    workspace's margin.
    """
    said, source = await read_upload(request, TargetFields, NewTarget)
    now = context.clock()
    once: Once[list[TargetView]] = await ask.once(
        content_of(said, source), lambda made: _made(made, now).items[0].model_dump(mode="json")
    )
    view = await context.targets.add(caller.workspace, code_id, said.draft(source), now, once)
    tag(response, view.record.version)
    return TargetOut.of(view, now)


@router.post(
    "/codes/{code_id}/targets/batch",
    status_code=201,
    summary="Add up to 1,000 targets",
    responses=problems(*_REFUSALS, *TEXT_REFUSALS, *_NEW_REFUSALS, "batch_refused", "idempotency"),
)
async def add_targets(
    code_id: CodePath, body: NewTargets, context: Context, caller: Writing, ask: Repeating
) -> TargetsOut:
    """Add many targets from the text of their QRs, or links: all of them, or none and an error for each row at fault.

    Rows that repeat a QR are named once all rows can be read.
    """
    now = context.clock()
    once: Once[list[TargetView]] = await ask.once(
        body.model_dump(mode="json"), lambda made: _made(made, now).model_dump(mode="json")
    )
    drafts = [row.draft(row.source()) for row in body.targets]
    return _made(await context.targets.add_many(caller.workspace, code_id, drafts, now, once), now)


@router.get(
    "/codes/{code_id}/targets",
    summary="List the targets of a code",
    responses=problems("not_found", "bad_cursor", "invalid"),
)
async def list_targets(
    code_id: CodePath,
    context: Context,
    caller: Reading,
    cut: Cutting,
    *,
    removed: Annotated[bool, Query(description="List those that were removed instead.", examples=[False])] = False,
) -> TargetPage:
    """List targets in the order in which they fill, each as a scan would find it now."""
    spelt = cut.after(rf"([0-9]{{1,18}})\.({ids.PATTERN[1:-1]})")
    after = (int(spelt[1]), TargetId(spelt[2])) if spelt else None
    now = context.clock()
    found = await context.viewer.targets(caller.workspace, code_id, after, cut.size + 1, now, removed=removed)
    page, following = cut.pages(found, lambda view: f"{view.record.position}.{view.record.target.id}")
    return TargetPage(items=[TargetOut.of(view, now) for view in page], next=following)


@router.get("/targets/{target_id}", summary="Read a target", responses=problems("not_found"))
async def get_target(target_id: TargetPath, context: Context, caller: Reading, response: Response) -> TargetOut:
    """Read one target as a scan would find it now. Its ETag is that of its settings; the counts move without it."""
    now = context.clock()
    return _shown(await context.viewer.target(caller.workspace, target_id, now), now, response)


@router.patch(
    "/targets/{target_id}",
    summary="Change a target",
    responses=problems(
        *(set(_REFUSALS) - {"same_qr"}), "no_picture", "unknown_account", "other_kind", "hours", "changed_meanwhile"
    ),
)
async def change_target(
    target_id: TargetPath, body: TargetChange, context: Context, caller: Writing, seen: IfMatch, response: Response
) -> TargetOut:
    """Change a target; the next scan sees it. `null` for `member_limit` or `expires_at` is the default again.

    In a code of strategy `balance`, a target that was paused begins again where the least of the others stands, and
    another weight leaves it where it stood: it is not given everybody until it has caught up.
    """
    now = context.clock()
    record = await context.targets.change(caller.workspace, target_id, body.values(), now, seen, frozenset(body.allow))
    return _shown((await context.viewer.views([record], now))[0], now, response)


@router.delete(
    "/targets/{target_id}",
    status_code=204,
    summary="Remove a target",
    responses=problems("not_found", "closed", "changed_meanwhile", "counters_away"),
)
async def remove_target(target_id: TargetPath, context: Context, caller: Writing, seen: IfMatch) -> None:
    """Remove a target. Who has a place in it is given another at the next scan; it can be restored."""
    await context.targets.remove(caller.workspace, target_id, context.clock(), seen)


@router.post(
    "/targets/{target_id}/restore",
    summary="Restore a removed target",
    responses=problems(
        "not_found", "closed", "same_qr", "qr_in_use", "other_kind", "too_many_targets", "unknown_account", "body",
        "counters_away", "idempotency",
    ),
)  # fmt: skip
async def restore_target(
    target_id: TargetPath,
    context: Context,
    caller: Writing,
    ask: Repeating,
    response: Response,
    body: Annotated[Restoration, Body()] = _AS_IT_WAS,
) -> TargetOut:
    """Bring a removed target back: its places, its visitors and its QRs are as they were, and an expiry is kept, too.

    A target that is there is answered as it is. Refused while its QR stands elsewhere, unless `allow` says so. When the
    account that it offered was removed, name another, or null for none.
    """
    now = context.clock()
    once: Once[TargetView] = await ask.once(
        body.model_dump(mode="json", exclude_unset=True),
        lambda view: TargetOut.of(view, now).model_dump(mode="json"),
        200,
    )
    return _shown(await context.targets.restore(caller.workspace, target_id, body.draft(), now, once), now, response)


@router.put(
    "/targets/{target_id}/qr",
    summary="Give a target a fresh QR",
    responses=problems(*_REFUSALS, *UPLOAD_REFUSALS, "other_group", "other_kind", "qr_in_use", "changed_meanwhile"),
    openapi_extra=takes_upload("FreshQrPicture", "FreshQr"),
)
async def renew_target(
    target_id: TargetPath, request: Request, context: Context, caller: Writing, seen: IfMatch, response: Response
) -> TargetOut:
    """Replace the QR or the URL of a target: a new revision with a new life. Its places and its visitors stay."""
    said, source = await read_upload(request, FreshPicture, FreshQr)
    now = context.clock()
    record = await context.targets.renew(caller.workspace, target_id, said.draft(source), now, seen)
    return _shown((await context.viewer.views([record], now))[0], now, response)


@router.post(
    "/targets/{target_id}/members",
    summary="Report the true head count",
    responses=problems("not_found", "closed", "body", "counters_away", "idempotency"),
)
async def recount_target(
    target_id: TargetPath, body: HeadCount, context: Context, caller: Writing, ask: Repeating, response: Response
) -> TargetOut:
    """Say how many are really inside: seats seen before now are among them, open holds come on top."""
    now = context.clock()
    once: Once[TargetView] = await ask.once(
        body.model_dump(mode="json"), lambda view: TargetOut.of(view, now).model_dump(mode="json"), 200
    )
    view = await context.recounter.recount(caller.workspace, target_id, body.count, now, once)
    return _shown(view, now, response)


def _made(views: Sequence[TargetView], now: datetime) -> TargetsOut:
    return TargetsOut(items=[TargetOut.of(view, now) for view in views])


def _shown(view: TargetView, now: datetime, response: Response) -> TargetOut:
    tag(response, view.record.version)
    return TargetOut.of(view, now)
