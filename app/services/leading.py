"""See to it that codes lead somewhere and never in a circle, over fallbacks (兜底) and options (选项) together.

Closed codes count: one that leads on is passed through in the record, and nobody can take its fallback away any more.
"""

from collections.abc import Collection, Sequence

from app.domain import limits
from app.domain.code import CodeId, CodeKind, WorkspaceId
from app.domain.errors import Refusal
from app.store import edges
from app.store.codes import CodeRecord
from app.store.database import Writing

_FALLBACK = "fallback.code_id"


async def check_fallback(tx: Writing, code: CodeRecord) -> None:
    """Insist that a written code falls back to an open one, in no circle and no long chain. `edges.lock` is held.

    Raises: Refusal `unknown_code`, `cyclic_fallback`, `fallback_chain_too_long`.
    Cost: a few statements for each code on the way.
    """
    goal = code.fallback and code.fallback.code
    if not goal:
        return
    if goal not in await edges.open_kinds(tx, code.workspace_id, [goal]):
        raise unknown_code(_FALLBACK)
    if await _reaches(tx, code.workspace_id, [goal], code.id):
        raise cyclic_fallback(_FALLBACK)
    if await _links_before(tx, code) + 1 + await _links_after(tx, code.workspace_id, goal) > limits.FALLBACK_CHAIN:
        raise Refusal(
            "fallback_chain_too_long",
            f"At most {limits.FALLBACK_CHAIN} fallbacks may follow each other; shorten the chain.",
            _FALLBACK,
        )


async def check_options(tx: Writing, workspace: WorkspaceId, menu: CodeId, goals: Sequence[CodeId]) -> None:
    """Insist that a menu leads to open codes that are no menus and do not lead back. `edges.lock` is held.

    Raises: Refusal `unknown_code`, `menu_of_menus`, `cyclic_fallback`.
    """
    kinds = await edges.open_kinds(tx, workspace, goals)
    for row, goal in enumerate(goals):
        if goal not in kinds:
            raise unknown_code(_option(row))
        if kinds[goal] is CodeKind.MENU:
            raise Refusal(
                "menu_of_menus", "An option leads to a group, staff or link code, not to a menu.", _option(row)
            )
    for row, goal in enumerate(goals):
        if await _reaches(tx, workspace, [goal], menu):
            raise cyclic_fallback(_option(row))


def unknown_code(where: str) -> Refusal:
    """Refuse to lead to a code that is not there, not the caller's, or closed."""
    return Refusal("unknown_code", "There is no open code with this id in this workspace.", where)


def cyclic_fallback(where: str) -> Refusal:
    """Refuse to lead visitors in a circle."""
    return Refusal("cyclic_fallback", "This code leads back here, by fallbacks or options; choose another.", where)


async def _reaches(tx: Writing, workspace: WorkspaceId, starts: Collection[CodeId], goal: CodeId) -> bool:
    seen: set[CodeId] = set()
    ahead = set(starts)
    while ahead:
        if goal in ahead:
            return True
        seen |= ahead
        ahead = await edges.goals(tx, workspace, ahead) - seen
    return False


async def _links_before(tx: Writing, code: CodeRecord) -> int:
    """Count the fallbacks of the longest chain that ends in a code."""
    number, ends = 0, {code.id}
    while number <= limits.FALLBACK_CHAIN and (ends := await edges.falling_to(tx, code.workspace_id, ends)):
        number += 1
    return number


async def _links_after(tx: Writing, workspace: WorkspaceId, code: CodeId) -> int:
    """Count the fallbacks that follow a code."""
    number, end = 0, await edges.fallback_of(tx, workspace, code)
    while number <= limits.FALLBACK_CHAIN and end is not None:
        number, end = number + 1, await edges.fallback_of(tx, workspace, end)
    return number


def _option(row: int) -> str:
    return f"options.{row}.code_id"
