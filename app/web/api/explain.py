"""Route that explains what a scan would be given (诊断)."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.web.api.asking import CodePath, Context, Reading
from app.web.api.docs import problems
from app.web.explained import ExplanationOut
from app.web.fields import AskedInstant

router = APIRouter(prefix="/codes/{code_id}", tags=["codes"])


@router.get(
    "/explain",
    summary="Explain what a scan would be given",
    responses=problems("not_found", "closed", "unknown_channel", "invalid"),
)
async def explain_code(
    code_id: CodePath,
    context: Context,
    caller: Reading,
    at: Annotated[
        AskedInstant | None, Query(description="Now when left out.", examples=["2026-11-22T10:00:00+08:00"])
    ] = None,
    channel: Annotated[int, Query(ge=0, le=2**31 - 1, description="0 is the code's own slug.", examples=[0])] = 0,
) -> ExplanationOut:
    """Tell who would be given at an instant, also one to come, and one reason for each target that would not.

    Runs the rules of the scan and takes nothing. For `random` it gives every chance; for the others the one target.
    """
    now = context.clock()
    explanation = await context.explainer.explain(caller.workspace, code_id, at or now, now, channel)
    return ExplanationOut.of(explanation, at or now, channel)
