"""Draw the print (印刷码) of a code, a channel or an option: the QR of its URL, which never changes."""

import asyncio
from dataclasses import dataclass
from typing import Final, Literal

from app.domain.code import CodeId, Slug, WorkspaceId
from app.domain.errors import Refusal
from app.qr.draw import PrintStyle, draw_png, draw_svg
from app.qr.lettering import CaptionFont
from app.services.editing import not_found, open_code
from app.sharing import Shares
from app.store import channels, codes, options
from app.store.codes import CodeRecord
from app.store.database import Database

Format = Literal["png", "svg"]

# Drawing is the one thing here that costs a core; scans in the same process must get most of it.
_AT_ONCE: Final = 2
# Of one workspace, and of all, that wait; each may hold a logo of 2 MB in memory.
PRINTS_WAITING: Final = 50
PRINTS_WAITING_ALL: Final = 100


@dataclass(frozen=True, slots=True)
class Print:
    """Hold a print, the name of what it leads to, as the marketer typed it, and one in ASCII for the same file."""

    data: bytes
    name: str
    plain_name: str


class Printer:
    """Draw prints, off the event loop and few at a time; `font` draws their captions."""

    def __init__(self, database: Database, public_url: str, font: CaptionFont) -> None:
        self._font = font
        self._database = database
        self._public_url = public_url
        self._turns = Shares(_AT_ONCE, 1, _too_many_prints, waiting_each=PRINTS_WAITING, waiting_all=PRINTS_WAITING_ALL)

    async def draw(self, workspace: WorkspaceId, code: CodeId, style: PrintStyle, form: Format) -> Print:
        """Draw the print of an open code; the same style gives the same bytes.

        Raises: Refusal `not_found`, `closed`, `unreadable_style`, `bad_style`, `no_font`, `too_many_prints`,
        `too_many_reads`; StoreAway.
        """
        async with self._database.viewing(workspace) as connection:
            record = open_code(await codes.find(connection, workspace, code))
        return Print(await self._draw(workspace, self.url(record), style, form), record.name, record.slug)

    async def draw_channel(
        self, workspace: WorkspaceId, code: CodeId, number: int, style: PrintStyle, form: Format
    ) -> Print:
        """Draw the print of a channel.

        Raises: as `draw`.
        """
        async with self._database.viewing(workspace) as connection:
            record = open_code(await codes.find(connection, workspace, code))
            channel = await channels.find(connection, workspace, code, number)
        if channel is None:
            raise not_found()
        data = await self._draw(workspace, self.slug_url(channel.slug), style, form)
        return Print(data, f"{record.name} {channel.name}", channel.slug)

    async def draw_option(
        self, workspace: WorkspaceId, menu: CodeId, number: int, style: PrintStyle, form: Format
    ) -> Print:
        """Draw the print of the link to one option of a menu.

        Raises: as `draw`; a code that is no menu has no options.
        """
        async with self._database.viewing(workspace) as connection:
            record = open_code(await codes.find(connection, workspace, menu))
            there = await options.list_all(connection, workspace, menu)
        labels = {option.number: option.label for option in there}
        if number not in labels:
            raise not_found()
        data = await self._draw(workspace, self.option_url(record, number), style, form)
        return Print(data, f"{record.name} {labels[number]}", f"{record.slug}-{number}")

    def url(self, code: CodeRecord) -> str:
        """Give the URL that is printed."""
        return self.slug_url(code.slug)

    def slug_url(self, slug: Slug) -> str:
        """Give the URL that is printed for a slug."""
        return f"{self._public_url}/{slug}"

    def option_url(self, menu: CodeRecord, number: int) -> str:
        """Give the URL that leads to one option of a menu."""
        return f"{self.url(menu)}/{number}"

    async def _draw(self, workspace: WorkspaceId, url: str, style: PrintStyle, form: Format) -> bytes:
        async with self._turns.turn(workspace):
            return await asyncio.to_thread(draw_png if form == "png" else draw_svg, url, style, self._font)


def _too_many_prints() -> Refusal:
    return Refusal("too_many_prints", "Other prints of this workspace are being drawn; ask again in a moment.")
