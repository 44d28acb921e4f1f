"""Say what happened, as the counters tell it and the record keeps it."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.domain.code import CodeId
from app.domain.seat import Seat


class EventKind(StrEnum):
    """Name what happened, by the letter under which it travels.

    TAKEN is a place claimed and seen at once, as a link's is. OPTION is the choice of one option of a menu.
    """

    CLAIMED = "c"
    TAKEN = "t"
    RETURNED = "r"
    SEEN = "s"
    RELEASED = "x"
    FULL = "f"
    FALLBACK = "e"
    LIMITED = "l"
    MENU = "m"
    OPTION = "n"
    REBASED = "b"
    KEPT = "k"
    PREVIEW = "p"
    OUTSIDE_WECHAT = "o"
    DISABLED = "d"
    NOT_OPEN = "w"
    ENDED = "z"


# What a visitor who asks by a slug ends with, at one code. Every scan is one of these; every one of these is a scan.
OUTCOMES: Final = frozenset({
    EventKind.CLAIMED, EventKind.TAKEN, EventKind.RETURNED, EventKind.FULL, EventKind.FALLBACK, EventKind.LIMITED,
    EventKind.MENU, EventKind.OPTION, EventKind.PREVIEW, EventKind.OUTSIDE_WECHAT, EventKind.DISABLED,
    EventKind.NOT_OPEN, EventKind.ENDED,
})  # fmt: skip

AGAIN: Final = "again"

# Told of a target and not of a visitor, and so left out of the hours.
UNCOUNTED: Final = frozenset({EventKind.REBASED, EventKind.KEPT})

# What stands between the fields of a line, and what could be taken for it where lines are copied into the record.
_MARKS: Final = b"|.\n\r\\\0"
_NO_MARKS: Final = bytes(byte for byte in range(256) if byte not in _MARKS)
_MARKS_OF_A_LINE: Final = b"|||.....|\n"


class Unreadable(ValueError):  # noqa: N818  # It is what it says, and may be read by another version.
    """Say that something in the stream cannot be told as events."""


@dataclass(frozen=True, slots=True)
class Event:
    """Tell one thing that happened; its place in the stream is (entry, n), unique within one life of the stream.

    Shapes: `entry` is `ms-seq`; when re-based, `seat.number` is the head count, and when kept, how many holds
    became places for good because the counters were lost, or, with an account and without a target, how many adds the
    record did not know; `seat.target` is the target. Events
    that took no place have a seat of number 0 that only tells channel and visitor.
    `detail` is `again` where who had a place before was given another (claimed, taken); why nobody had room
    (full, fallback: a `TargetState`, `returned`, `not_open`, `ended`, `no_options`); an option's number (option).
    Units: `at_ms` milliseconds since 1970, by the clock of the process that asked.
    """

    entry: str
    n: int
    at_ms: int
    kind: EventKind
    code: CodeId
    client: str
    seat: Seat
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Packed:
    """Hold the events of one script call as they travel, a line each: `kind|code|client|seat|detail`.

    Shapes: `entry` and `at_ms` as in `Event`, whose `n` is the number of the line; the seat as `Seat` spells it.
    `numbers` has the number of each line where other lines of the same call are missing, and is empty otherwise.
    """

    entry: str
    at_ms: int
    text: str
    numbers: tuple[int, ...] = ()

    def lines(self) -> list[str]:
        """Spell each event in ten fields with a `|` between: the seat's six stand in its place.

        Raises: Unreadable — a line has too few or too many, or holds what cannot be copied as it is.
        """
        text = self.text
        lines = text.count("\n") + 1
        if _marks(text) != _MARKS_OF_A_LINE * lines:
            # A line from before events had a detail has four fields.
            text = "\n".join(line + "|" if line.count("|") == 3 else line for line in text.split("\n"))
            if _marks(text) != _MARKS_OF_A_LINE * lines:
                raise Unreadable(f"entry {self.entry} does not hold events")
        return text.replace(".", "|").split("\n")

    def numbered(self) -> list[tuple[int, str]]:
        """Pair each line, as `lines` spells it, with its number. Raises: Unreadable."""
        lines = self.lines()
        if self.numbers and len(self.numbers) != len(lines):
            raise Unreadable(f"entry {self.entry} has {len(lines)} lines and {len(self.numbers)} numbers")
        return list(zip(self.numbers or range(len(lines)), lines, strict=True))

    def apart(self) -> "list[Packed]":
        """Take each line by itself, whatever the others hold. Raises: Unreadable — there are not as many numbers."""
        lines = self.text.split("\n")
        if self.numbers and len(self.numbers) != len(lines):
            raise Unreadable(f"entry {self.entry} has {len(lines)} lines and {len(self.numbers)} numbers")
        numbered = zip(self.numbers or range(len(lines)), lines, strict=True)
        return [Packed(self.entry, self.at_ms, text, (n,)) for n, text in numbered]

    def only(self, numbers: Collection[int]) -> "Packed":
        """Keep the lines that have some numbers, and their numbers. Raises: as `apart`."""
        kept = [line for line in self.apart() if line.numbers[0] in numbers]
        return Packed(
            self.entry, self.at_ms, "\n".join(one.text for one in kept), tuple(one.numbers[0] for one in kept)
        )


def _marks(text: str) -> bytes:
    return f"{text}\n".encode().translate(None, _NO_MARKS)
