"""Show the picture of a target: drawn from its payload, or the upload itself."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from app.domain.code import Target, TargetId
from app.domain.errors import StoreAway
from app.qr.draw import placeholder_png, target_png
from app.store.database import Database
from app.store.snapshots import read_picture

PICTURES_BYTES: Final = 64 * 1024 * 1024


# A drawn picture is known by what it says, an uploaded one by its target, revision and payload: a PostgreSQL that lost
# its last commit gives the number of a revision again.
_Key = str | tuple[TargetId, int, str]


@dataclass(frozen=True, slots=True)
class Picture:
    """An image and its media type."""

    data: bytes
    media_type: str


def placeholder() -> Picture:
    """Show what stands where a QR would be, had there been a place."""
    return Picture(placeholder_png(), "image/png")


class Pictures:
    """Keep the pictures shown last, up to a number of bytes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[_Key, Picture] = OrderedDict()
        self._bytes = 0

    async def of(self, target: Target, payload: str) -> Picture:
        """Show what a visitor shall long-press; `payload` is the target's, perhaps with its channel.

        Cost: nothing for a picture shown before; else some ms of drawing off the event loop, and one query for an
        original.
        """
        # A picture that was uploaded cannot tell a channel.
        if target.display == "original" and payload == target.payload:
            key = (target.id, target.revision, target.payload)
            picture = self._kept.get(key) or await self._original(target)
            if picture is not None:
                return self._keep(key, picture)
            # The drawn code leads to the same group. It is only less pretty.
        return await self.drawn(payload)

    async def drawn(self, payload: str) -> Picture:
        """Draw the QR that says `payload`. Cost: as `of`."""
        picture = self._kept.get(payload)
        if picture is None:
            picture = Picture(await asyncio.to_thread(target_png, payload), "image/png")
        return self._keep(payload, picture)

    async def _original(self, target: Target) -> Picture | None:
        try:
            async with self._database.reading() as connection:
                found = await read_picture(connection, target.id, target.revision)
        except StoreAway:
            return None
        return Picture(*found) if found else None

    def _keep(self, key: _Key, picture: Picture) -> Picture:
        if key not in self._kept:
            self._bytes += len(picture.data)
        self._kept[key] = picture
        self._kept.move_to_end(key)
        while self._bytes > PICTURES_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= len(dropped.data)
        return picture
