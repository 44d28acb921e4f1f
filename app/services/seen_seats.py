"""Compare the bitmaps of seen places with the events that set their bits.

A bit is all that proves a visitor's place while the token does not: one that is gone takes the place from the visitor.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from redis.asyncio import Redis

from app.counters import audit, stream
from app.domain.code import CodeId, WorkspaceId
from app.services.comparing import NO_TARGET, Difference
from app.services.draining import Drain
from app.store import records, rests, retellings
from app.store.database import Database

# Codes of one pass over the events; their bitmaps are in memory.
_TOGETHER: Final = 20_000
_ASKED_TOGETHER: Final = 200

_Bits = dict[CodeId, tuple[int, bytes]]


class SeenSeats:
    """Compare seen seats without locking anything.

    Bits are only ever added while a code has one base. So those that were set before all events were recorded have an
    event, and each event has a bit that is set when they are read again.
    """

    def __init__(self, database: Database, redis: Redis, drain: Drain) -> None:
        self._database = database
        self._redis = redis
        self._drain = drain

    async def differences(self, workspace: WorkspaceId) -> AsyncIterator[Difference]:
        """Name the codes whose bits and sightings differ.

        Cost: one pass over the events of the workspace for each 20,000 codes, and two readings of their bitmaps.
        Raises: StoreAway, CountersAway.
        """
        page: list[CodeId] = []
        async for codes in records.pages_of_codes(self._database, workspace):
            page += codes
            if len(page) >= _TOGETHER:
                for difference in await self._page(workspace, page):
                    yield difference
                page = []
        for difference in await self._page(workspace, page) if page else []:
            yield difference

    async def _page(self, workspace: WorkspaceId, codes: Sequence[CodeId]) -> list[Difference]:
        before = await self._bits(workspace, codes)
        await self._drain.all_of(workspace)
        told = {code: bytearray(len(bits)) for code, (_, bits) in before.items()}
        gone: list[tuple[CodeId, int]] = []
        events = dict.fromkeys(before, 0)
        async with self._database.reading() as connection:
            dropped = await retellings.dropped_sightings(connection, workspace)
            async for code, seat in retellings.seats_seen(connection, workspace, codes[0], codes[-1]):
                if code not in before or seat <= before[code][0]:
                    continue
                events[code] += 1
                byte, bit = divmod(seat - before[code][0] - 1, 8)
                if byte < len(told[code]):
                    told[code][byte] |= 0x80 >> bit
                if byte >= len(told[code]) or not before[code][1][byte] & 0x80 >> bit:
                    # Not there when the bits were read: it may have been seen since.
                    gone.append((code, seat))
        after = await self._bits(workspace, sorted({code for code, _ in gone}))
        missing = dict.fromkeys(before, 0)
        for code, seat in gone:
            if code in after and after[code][0] == before[code][0] and not _is_set(*after[code], seat):
                missing[code] += 1
        found = []
        for code, (_, bits) in before.items():
            extra = _count(bits) - _count(bytes(a & b for a, b in zip(bits, told[code], strict=True)))
            if missing[code]:
                found.append(
                    _difference(workspace, code, "bits of seen seats", events[code] - missing[code], events[code])
                )
            if extra > dropped.get(code, 0):
                what = "bits of seats that were never seen"
                found.append(_difference(workspace, code, what, extra, dropped.get(code, 0)))
        return found

    async def _bits(self, workspace: WorkspaceId, codes: Sequence[CodeId]) -> _Bits:
        """Read base and bitmap of every code, in Redis or at rest; those whose counters are gone are left out."""
        found: _Bits = {}
        for start in range(0, len(codes), _ASKED_TOGETHER):
            some = codes[start : start + _ASKED_TOGETHER]
            found |= await audit.seen_bits(self._redis, workspace, some)
            epoch = await stream.epoch_of(self._redis, workspace)
            resting = [code for code in some if code not in found]
            async with self._database.reading() as connection:
                for code, rest in (await rests.find_all(connection, resting)).items():
                    if rest.complete and rest.epoch == epoch:
                        found[code] = rest.base, rest.seen
        return found


def _is_set(base: int, bits: bytes, seat: int) -> bool:
    byte, bit = divmod(seat - base - 1, 8)
    return byte < len(bits) and bool(bits[byte] & 0x80 >> bit)


def _count(bits: bytes) -> int:
    return int.from_bytes(bits, "big").bit_count()


def _difference(workspace: WorkspaceId, code: CodeId, what: str, counted: int, recorded: int) -> Difference:
    return Difference(workspace, code, NO_TARGET, what, counted, recorded)
