"""Hold what one scan knows and wants while it asks the counters, perhaps more than once."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from app.domain.access import Declined, decline
from app.domain.code import Code, CodeId, Slug, TargetId
from app.domain.outcome import Visit
from app.domain.seat import Claimed
from app.store.snapshots import Printed


class Way(NamedTuple):
    """Say by which slug and channel a visitor came to a code, and which codes he has entered, this one last.

    Shapes: `final` when the visitor can be sent nowhere else, as the request is for a picture on a page of this code;
    `printed` is what this process remembers of the slug, None on the way from another code.
    """

    visit: Visit
    slug: Slug
    channel: int
    passed: tuple[CodeId, ...] = ()
    final: bool = False
    printed: Printed | None = None


class Moved(Exception):  # noqa: N818  # The slug is looked up once more, and no caller outside receives it.
    """Leave a scan of a code that the slug no longer stands for: it is over, or the record never had it."""


@dataclass(slots=True)
class Quest:
    """Remember what one scan wants while it asks more than once; `again` when the visitor had a place before."""

    way: Way
    visitor: str
    claimed: Claimed | None
    again: bool
    lost: TargetId | None = None
    hurried: bool = False
    # Up to which target, and through how many windows, the visitor's network has had its share of all with room.
    beyond: TargetId | None = None
    windows: int = 0


def declined_by(way: Way, code: Code, now: datetime) -> Declined | None:
    """Say what a code gives a visit without giving a place, as `decline` does."""
    return decline(way.visit, way.slug, way.channel, code, now)


def belongs(code: Code, claimed: Claimed | None) -> bool:
    """Tell whether a place is one in a target that the code has."""
    return claimed is not None and code.target(claimed.seat.target) is not None


def new_visitors() -> Iterator[str]:
    """Draw visitors' ids, 72 random bits each, many with one system call."""
    while True:
        drawn = secrets.token_urlsafe(9 * 256)
        yield from (drawn[i : i + 12] for i in range(0, len(drawn), 12))
