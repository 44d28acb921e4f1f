"""Arrange the options (选项) of menus: what stands in them, in which order, and where each leads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain.code import CodeId, CodeKind, Option, WorkspaceId
from app.domain.errors import Refusal
from app.domain.menu import number_options
from app.services.editing import Editing, Versions, not_found
from app.services.leading import check_options
from app.store import codes, edges, options
from app.store.codes import CodeRecord
from app.store.database import Writing


@dataclass(frozen=True, slots=True)
class OptionDraft:
    """Hold what a marketer says about one option; `number` is that of an option that is there."""

    number: int | None
    label: str
    hint: str | None
    code: CodeId


class MenuEditor:
    """Show and set the options of menus."""

    def __init__(self, editing: Editing) -> None:
        self._editing = editing

    async def read(self, workspace: WorkspaceId, menu: CodeId) -> tuple[CodeRecord, list[Option]]:
        """Show the options of a menu, and the menu, in a version no newer than they are.

        Raises: Refusal `not_found`, `not_a_menu`; StoreAway.
        """
        async with self._editing.database.viewing(workspace) as connection:
            found = await codes.find(connection, workspace, menu)
            if found is None:
                raise not_found()
            check_menu(found)
            return found, await options.list_all(connection, workspace, menu)

    async def arrange(
        self, workspace: WorkspaceId, menu: CodeId, drafts: Sequence[OptionDraft], now: datetime, seen: Versions
    ) -> tuple[CodeRecord, list[Option]]:
        """Set all options of a menu; those left out are removed, and their numbers never given again.

        Raises: as `Editing.edit`, `check_options` and `number_options`; Refusal `not_a_menu`.
        """

        async def lock(tx: Writing) -> CodeRecord | None:
            await edges.lock(tx, workspace)
            return await codes.lock(tx, workspace, menu)

        async with self._editing.edit(workspace, lock, now, seen=seen) as edit:
            check_menu(edit.code)
            await check_options(edit.tx, workspace, menu, [draft.code for draft in drafts])
            present = {option.number: option.code for option in await options.list_all(edit.tx, workspace, menu)}
            last = await options.last_number(edit.tx, menu)
            numbers = number_options(present, [(draft.number, draft.code) for draft in drafts], last)
            arranged = [
                Option(number, draft.label, draft.hint, draft.code)
                for number, draft in zip(numbers, drafts, strict=True)
            ]
            await options.replace_all(edit.tx, workspace, menu, arranged, now)
            return edit.code, arranged


def check_menu(code: CodeRecord) -> None:
    """Insist on a code that is a menu.

    Raises: Refusal `not_a_menu`.
    """
    if code.kind is not CodeKind.MENU:
        raise Refusal("not_a_menu", f"This code is a {code.kind} code; only menus have options.")
