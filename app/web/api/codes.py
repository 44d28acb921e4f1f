"""Routes of live codes (活码)."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from app.domain import ids
from app.domain.code import CodeId
from app.services.once import Once
from app.store.codes import CodeRecord
from app.web.api.asking import CodePath, Context, Cutting, IfMatch, Reading, Repeating, Writing, tag
from app.web.api.context import ApiContext
from app.web.api.docs import problems
from app.web.code_answers import CodeOut, CodePage
from app.web.code_schemas import CodeChange, NewCode

router = APIRouter(prefix="/codes", tags=["codes"])
_REFUSALS = (
    "bad_link", "bad_window", "body", "cyclic_fallback", "fallback_chain_too_long", "needs_qr", "only_for_links",
    "own_address", "unknown_code", "unsupported_qr_kind",
)  # fmt: skip


@router.post(
    "",
    status_code=201,
    summary="Create a live code",
    responses=problems(*_REFUSALS, "bad_slug", "reserved_slug", "slug_taken", "idempotency", "counters_away"),
)
async def create_code(body: NewCode, context: Context, caller: Writing, ask: Repeating, response: Response) -> CodeOut:
    """Create a code and the URL that is printed. Its kind and its slug never change.

    A slug is unique without regard to case and is never given twice, not even after its code was closed. Groups and
    staff have targets with QRs, links have targets with URLs, menus have options.
    """
    once: Once[CodeRecord] = await ask.once(body.model_dump(mode="json"), lambda code: _json(context, code))
    code = await context.codes.create(caller.workspace, body.draft(), context.clock(), once)
    tag(response, code.version)
    return _out(context, code)


@router.get("", summary="List live codes", responses=problems("bad_cursor", "invalid"))
async def list_codes(
    context: Context,
    caller: Reading,
    cut: Cutting,
    *,
    closed: Annotated[bool, Query(description="List those that were closed instead.", examples=[False])] = False,
) -> CodePage:
    """List the codes of the workspace, newest first."""
    after = cut.after(ids.PATTERN)
    before = CodeId(after[0]) if after else None
    found = await context.viewer.codes(caller.workspace, before, cut.size + 1, closed=closed)
    page, following = cut.pages(found, lambda code: code.id)
    return CodePage(items=[_out(context, code) for code in page], next=following)


@router.get("/{code_id}", summary="Read a live code", responses=problems("not_found"))
async def get_code(code_id: CodePath, context: Context, caller: Reading, response: Response) -> CodeOut:
    """Read one code, a closed one too."""
    code = await context.viewer.code(caller.workspace, code_id)
    tag(response, code.version)
    return _out(context, code)


@router.patch(
    "/{code_id}",
    summary="Change a live code",
    responses=problems(*_REFUSALS, "not_found", "closed", "changed_meanwhile", "counters_away"),
)
async def change_code(
    code_id: CodePath, body: CodeChange, context: Context, caller: Writing, seen: IfMatch, response: Response
) -> CodeOut:
    """Change a code; the next scan sees it. What is left out stays as it is.

    A fallback names an open code of the workspace, a link, or the text of a QR. Codes that fall back to each other, or
    lead there as options of a menu, may form no circle.
    """
    code = await context.codes.change(caller.workspace, code_id, body.values(), context.clock(), seen)
    tag(response, code.version)
    return _out(context, code)


@router.delete(
    "/{code_id}",
    status_code=204,
    summary="Close a live code",
    responses=problems("not_found", "closed", "changed_meanwhile", "counters_away"),
)
async def close_code(code_id: CodePath, context: Context, caller: Writing, seen: IfMatch) -> None:
    """Close a code for good: its print answers 410 from the next scan on, and its slug is never given again."""
    await context.codes.close(caller.workspace, code_id, context.clock(), seen)


def _out(context: ApiContext, code: CodeRecord) -> CodeOut:
    return CodeOut.of(code, context.printer)


def _json(context: ApiContext, code: CodeRecord) -> Any:
    return _out(context, code).model_dump(mode="json")
