"""Routes of the options (选项) of menus."""

from fastapi import APIRouter, Response

from app.services.printing import Printer
from app.web.api.asking import CodePath, Context, IfMatch, Reading, Writing, tag
from app.web.api.docs import problems
from app.web.api.prints import add_prints
from app.web.code_answers import OptionsOut
from app.web.code_schemas import Options

router = APIRouter(prefix="/codes/{code_id}/options", tags=["menus"])


@router.get("", summary="List the options of a menu", responses=problems("not_found", "not_a_menu"))
async def list_options(code_id: CodePath, context: Context, caller: Reading, response: Response) -> OptionsOut:
    """List the options of a menu in their order. The ETag is that of the code."""
    menu, found = await context.menus.read(caller.workspace, code_id)
    tag(response, menu.version)
    return OptionsOut.of(menu, found, context.printer)


@router.put(
    "",
    summary="Set the options of a menu",
    responses=problems(
        "not_found", "closed", "not_a_menu", "unknown_code", "menu_of_menus", "cyclic_fallback", "unknown_option",
        "repeated_option", "too_many_options", "changed_meanwhile", "body", "counters_away",
    ),
)  # fmt: skip
async def set_options(
    code_id: CodePath, body: Options, context: Context, caller: Writing, seen: IfMatch, response: Response
) -> OptionsOut:
    """Set all options of a menu, in order; the next scan sees them. Those left out are removed.

    The number of an option is part of its link, which may be printed: it never changes and is never given again. To
    lead the link elsewhere, or to reword it, send the option with its number.
    """
    drafts = [option.draft() for option in body.options]
    menu, arranged = await context.menus.arrange(caller.workspace, code_id, drafts, context.clock(), seen)
    tag(response, menu.version)
    return OptionsOut.of(menu, arranged, context.printer)


add_prints(router, "an option", "the link that leads past the menu to one of its options", Printer.draw_option)
