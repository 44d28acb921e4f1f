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
        self._kept: OrderedDict[tuple[TargetId, int, str], Picture] = OrderedDict()
        self._bytes = 0

    async def of(self, target: Target) -> Picture:
        """Show what a visitor shall long-press.

        Cost: nothing for a picture shown before; else some ms of drawing off the event loop, and one query for an
        original.
        """
        key = (target.id, target.revision, target.display)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        picture = await self._original(target) if target.display == "original" else await self._drawn(target)
        if picture is None:
            # The drawn code leads to the same group. It is only less pretty, and not kept in the other's place.
            return await self._drawn(target)
        self._keep(key, picture)
        return picture

    async def _drawn(self, target: Target) -> Picture:
        return Picture(await asyncio.to_thread(target_png, target.payload), "image/png")

    async def _original(self, target: Target) -> Picture | None:
        try:
            async with self._database.reading() as connection:
                found = await read_picture(connection, target.id, target.revision)
        except StoreAway:
            return None
        return Picture(*found) if found else None

    def _keep(self, key: tuple[TargetId, int, str], picture: Picture) -> None:
        if key not in self._kept:
            self._bytes += len(picture.data)
        self._kept[key] = picture
        while self._bytes > PICTURES_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= len(dropped.data)
