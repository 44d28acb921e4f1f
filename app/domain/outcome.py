"""Say what a scan is judged by, and what its visitor is told (结果). Knows no page and no HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from app.domain.code import Code, CodeId, Fallback, Slug, Target
from app.domain.openings import Shortage
from app.domain.payload import opens_by_tap, pass_query, with_channel
from app.domain.seat import Claimed
from app.domain.visitor import Browser


class Visit(NamedTuple):
    """Tell all that a scan is judged by.

    Shapes: `tokens` has the seat tokens a visitor carries by code id, and under '' one for whatever code is scanned;
    `preview` when nobody is looking; `option` the number of a menu's option that was chosen; `query` as it came;
    `network` the visitor's, '' when it is not known; `json` for a client that asks for JSON.
    """

    slug: Slug
    browser: Browser
    preview: bool
    tokens: Mapping[str, str]
    option: int | None = None
    query: str = ""
    network: str = ""
    json: bool = False

    def token(self, code: CodeId) -> str:
        """Find what he carries for a code; '' when nothing."""
        return self.tokens.get(code) or self.tokens.get("", "")


class Given(NamedTuple):
    """A place, and the target to show for it; `returned` when it was the visitor's before.

    Shapes: `slug` is one that leads to the code by itself; `sent_by` names the codes that had no room and sent him on.
    """

    code: Code
    target: Target
    claimed: Claimed
    returned: bool
    slug: Slug
    sent_by: tuple[CodeId, ...] = ()

    def payload(self) -> str:
        """Give what the QR says, or where the link leads, for the channel through which he came."""
        channels = self.code.channels
        channel = channels.get(self.claimed.seat.channel) if channels else None
        return with_channel(self.target.payload, channel.state) if channel else self.target.payload


@dataclass(frozen=True, slots=True)
class Menu:
    """A choice to be made. Shapes: `slug` as in `Given`."""

    code: Code
    slug: Slug
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Nobody had room, and the code names a URL or a static QR for that."""

    code: Code
    goal: Fallback


@dataclass(frozen=True, slots=True)
class Full:
    """No target may be given. Units: `opens_at` is the aware UTC instant at which one next may, where that is known."""

    code: Code
    why: Shortage = Shortage.FULL
    opens_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Limited:
    """Too many have come from one network within a minute. Units: `seconds` until the next one."""

    code: Code
    seconds: int


@dataclass(frozen=True, slots=True)
class Preview:
    """Nobody is looking: the page without a QR, and no place."""

    code: Code


@dataclass(frozen=True, slots=True)
class OutsideWechat:
    """The code wants WeChat on a phone, and this is something else."""

    code: Code


@dataclass(frozen=True, slots=True)
class Disabled:
    """The code was disabled by its owner, who may enable it again."""

    code: Code


@dataclass(frozen=True, slots=True)
class NotOpen:
    """The code opens later. Units: `opens_at` is an aware UTC instant."""

    code: Code
    opens_at: datetime


@dataclass(frozen=True, slots=True)
class Ended:
    """The code's time is over, or the channel was removed."""

    code: Code


@dataclass(frozen=True, slots=True)
class Closed:
    """The code was closed by its owner."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """No such slug was ever printed."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Somebody who must be asked is away."""


Outcome = (
    Given
    | Menu
    | Elsewhere
    | Full
    | Limited
    | Preview
    | OutsideWechat
    | Disabled
    | NotOpen
    | Ended
    | Closed
    | Unknown
    | Unavailable
)


def goal_of(code: Code, url: str, visit: Visit) -> tuple[str, bool]:
    """Tell where a link of a code leads for one visit, and whether only a tap opens it."""
    return (pass_query(url, visit.query) if code.pass_query else url), opens_by_tap(url)
