"""Routes of statistics (统计), as JSON or CSV."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from app.services.reporting import CodeBy, Report, Span, WorkspaceBy
from app.web.api.asking import CodePath, Context, Reading
from app.web.api.docs import problems
from app.web.fields import StatsMoment
from app.web.reports import CSV_EXAMPLE, StatsOut, file_name, spell_csv, wants_csv

router = APIRouter(tags=["stats"])

_BOTH_FORMS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The report; as CSV with `Accept: text/csv`.",
        "content": {"text/csv": {"schema": {"type": "string", "examples": [CSV_EXAMPLE]}}},
    }
}
_FROM: Final = (
    "The first day, as a date in the workspace's time zone, or an instant with an offset. Six days before the last day "
    "when left out."
)
_TO: Final = (
    "The last day, as a date, that day included; or an instant, the first that is left out. The end of this hour when "
    "left out."
)


def _span(
    since: Annotated[StatsMoment | None, Query(alias="from", description=_FROM, examples=["2026-11-15"])] = None,
    until: Annotated[StatsMoment | None, Query(alias="to", description=_TO, examples=["2026-11-21"])] = None,
) -> Span:
    return Span(since, until)


Asked = Annotated[Span, Depends(_span)]


@router.get(
    "/codes/{code_id}/stats",
    summary="Count what happened at a live code",
    response_model=StatsOut,
    responses=_BOTH_FORMS | problems("not_found", "bad_range", "invalid"),
)
async def code_stats(
    code_id: CodePath,
    request: Request,
    context: Context,
    caller: Reading,
    span: Asked,
    by: Annotated[CodeBy, Query(examples=["day"])] = "day",
) -> Response:
    """Count scans and places of one code in whole local hours; the last seven days when nothing is said.

    Quiet hours and days have rows, too; other rows come with most scans first. Follows what happens within a second or
    so. As CSV with `Accept: text/csv`.
    """
    return await _answer(
        await context.reporter.code(caller.workspace, code_id, by, span, context.clock()), request, code_id
    )


@router.get(
    "/stats",
    summary="Count what happened in the workspace",
    response_model=StatsOut,
    responses=_BOTH_FORMS | problems("bad_range", "invalid"),
)
async def workspace_stats(
    request: Request,
    context: Context,
    caller: Reading,
    span: Asked,
    by: Annotated[WorkspaceBy, Query(examples=["day"])] = "day",
) -> Response:
    """Count scans and places of all codes together, closed ones too, in whole local hours.

    Quiet hours and days have rows, too; other rows come with most scans first. Follows what happens within a second or
    so. As CSV with `Accept: text/csv`.
    """
    return await _answer(await context.reporter.workspace(caller.workspace, by, span, context.clock()), request, None)


async def _answer(report: Report, request: Request, code: str | None) -> Response:
    # In a thread, since a code may have fifty thousand targets and scans are served beside it.
    headers = {"Vary": "Accept"}
    if wants_csv(request.headers.get("accept", "")):
        headers["Content-Disposition"] = f'attachment; filename="{file_name(report, code)}"'
        return Response(await asyncio.to_thread(spell_csv, report), headers=headers, media_type="text/csv")
    return Response(await asyncio.to_thread(_json, report), headers=headers, media_type="application/json")


def _json(report: Report) -> str:
    return StatsOut.of(report).model_dump_json(by_alias=True)
