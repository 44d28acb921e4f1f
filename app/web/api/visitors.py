"""Routes of visitors (访客): nobody can be looked up, but anybody can be erased."""

from typing import Annotated

from fastapi import APIRouter, Path

from app.web.api.asking import Administering, Context
from app.web.api.docs import problems

router = APIRouter(prefix="/visitors", tags=["visitors"])

VisitorPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["q83vEjRWeJA1"])]


@router.delete("/{visitor_id}", status_code=204, summary="Erase a visitor", responses=problems("not_found"))
async def erase_visitor(visitor_id: VisitorPath, context: Context, caller: Administering) -> None:
    """Erase a visitor by the id that he carries: the sixth of the parts, divided by dots, of his seat.

    The seat is what his cookie `hm_…` holds, and `seat` in JSON. Nothing recorded from now on names him; within moments
    nothing recorded before does. Everything stays counted, and his place stays his. The answer is the same for a
    visitor whom nobody knows, and for one of another workspace, who is left alone.
    """
    await context.visitors.ask(caller.workspace, visitor_id, context.clock())
