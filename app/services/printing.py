"""Draw the print (印刷码) of a code: the QR of its URL, which never changes."""

import asyncio
from typing import Final, Literal

from app.domain.code import CodeId, WorkspaceId
from app.qr.draw import PrintStyle, draw_png, draw_svg
from app.services.editing import open_code
from app.store import codes
from app.store.codes import CodeRecord
from app.store.database import Database

Format = Literal["png", "svg"]

# Drawing is the one thing here that costs a core; scans in the same process must get most of it.
_AT_ONCE: Final = 2


class Printer:
    """Draw prints, off the event loop and few at a time."""

    def __init__(self, database: Database, public_url: str) -> None:
        self._database = database
        self._public_url = public_url
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def draw(self, workspace: WorkspaceId, code: CodeId, style: PrintStyle, form: Format) -> bytes:
        """Draw the print of an open code; the same style gives the same bytes.

        Raises: Refusal `not_found`, `closed`, `unreadable_style`; StoreAway.
        """
        async with self._database.reading() as connection:
            record = open_code(await codes.find(connection, workspace, code))
        async with self._turn:
            return await asyncio.to_thread(draw_png if form == "png" else draw_svg, self.url(record), style)

    def url(self, code: CodeRecord) -> str:
        """Give the URL that is printed."""
        return f"{self._public_url}/{code.slug}"
