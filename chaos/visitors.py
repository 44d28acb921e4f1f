"""Send people to a running service, and remember every answer: each with cookies of his own, each coming back.

Open loop: people come on a schedule, whatever the service does meanwhile, so that nobody is left out of what is told.
"""

import asyncio
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, count
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from bench.load import PICTURE, PNG
from bench.loopback import PHONE
from bench.wire import Connection, Reply, connected

# Longer than any timeout of the service: who is not answered by then never will be.
ANSWER_SECONDS: Final = 30.0
# A browser that could not connect is told to try again by its owner.
AGAIN_SECONDS: Final = 0.5
# What is told while nothing can be given; the page comes again by itself.
WAITING: Final = frozenset({"unavailable", "limited"})
GIVEN: Final = frozenset({"claimed", "returned", "fallback"})

Asked = Literal["page", "picture"]


@dataclass(frozen=True, slots=True)
class Crowd:
    """Say how many people come, and what they do.

    Shapes: each comes back so many times. Units: `every_seconds` one comes back; he tries for `patience_seconds` to be
    served, as often as the page says.
    """

    people: int
    per_second: float
    returns: int = 3
    every_seconds: float = 2.0
    patience_seconds: float = 60.0

    @property
    def seconds(self) -> float:
        """Tell for how long new people come."""
        return self.people / self.per_second


class Answer(NamedTuple):
    """Tell one thing asked for and what came back.

    Shapes: `person` counts from 0; `new` when he had been shown nothing before; `status` is 0 and `outcome` the name
    of an error when nothing came back; `seat` is the place on the page or of the picture, '' for none.
    Units: `at` is the machine's monotonic clock when it was asked, `took` seconds.
    """

    person: int
    new: bool
    at: float
    took: float
    asked: Asked
    status: int
    outcome: str
    seat: str

    @property
    def given(self) -> bool:
        """Tell whether it shows a place."""
        return self.status == 200 and self.outcome in GIVEN and bool(self.seat)

    @property
    def failed(self) -> bool:
        """Tell whether nothing came back, or an error that is no page of ours."""
        return self.status == 0 or (self.status >= 500 and self.outcome not in {"unavailable", "full", "not_open"})


@dataclass
class Met:
    """Remember every answer, in the order in which they came."""

    answers: list[Answer] = field(default_factory=list)
    faults: list[tuple[float, float]] = field(default_factory=list)
    # Targets that may not be shown any more after the fault.
    gone: set[str] = field(default_factory=set)

    @property
    def told(self) -> dict[str, int]:
        """Count answers by outcome, those of pictures apart."""
        return dict(
            sorted(Counter(f"{'' if a.asked == 'page' else 'picture '}{a.outcome}" for a in self.answers).items())
        )

    @property
    def failed(self) -> list[Answer]:
        """Name what was not answered, or with an error of ours."""
        return [answer for answer in self.answers if answer.failed]

    @property
    def slowest_seconds(self) -> float:
        """Tell how long somebody waited for an answer at most."""
        return max((answer.took for answer in self.answers), default=0.0)

    @property
    def shown(self) -> dict[str, set[int]]:
        """Name who was shown the QR of which seat."""
        shown: dict[str, set[int]] = {}
        for answer in self.answers:
            if answer.asked == "picture" and answer.given:
                shown.setdefault(answer.seat, set()).add(answer.person)
        return shown

    @property
    def not_kept(self) -> list[Answer]:
        """Name the pages on which somebody who had seen his QR was not given the same place again."""
        has: dict[int, str] = {}
        missed = []
        for answer in self.answers:
            kept = has.get(answer.person)
            if kept and answer.asked == "page" and answer.status and answer.seat != kept:
                missed.append(answer)
            if answer.asked == "picture" and answer.given and target_of(answer.seat) not in self.gone:
                has[answer.person] = answer.seat
        return missed

    @property
    def in_flight(self) -> int:
        """Count the requests that waited for an answer together, at most."""
        steps = sorted([(a.at, 1) for a in self.answers] + [(a.at + a.took, -1) for a in self.answers])
        return max(accumulate(step for _, step in steps), default=0)

    def back_seconds(self) -> float | None:
        """Tell how long after the last fault somebody new was given a place; None when there was none."""
        if not self.faults:
            return None
        over = self.faults[-1][1]
        since = [a.at + a.took - over for a in self.answers if a.new and a.given and a.at + a.took >= over]
        return min(since, default=ANSWER_SECONDS)

    def gap_seconds(self, *, new: bool) -> float:
        """Tell how long, at most, nobody was given a page with a place though somebody had asked for one."""
        pages = [a for a in self.answers if a.asked == "page" and a.new is new]
        given = sorted(a.at + a.took for a in pages if a.given)
        end = max((a.at + a.took for a in pages), default=0.0)
        after = (given[i] if (i := bisect_left(given, a.at)) < len(given) else end for a in pages)
        return max((until - a.at for a, until in zip(pages, after, strict=True)), default=0.0)


def target_of(seat: str) -> str:
    """Read the target of a seat."""
    return seat.split(".", 2)[1]


def seat_of(token: str) -> str:
    """Read the seat that a token names, without its proof, date and signature."""
    return token.rsplit(".", 3)[0]


@dataclass
class Person:
    """Be one visitor: a browser with cookies."""

    number: int
    path: str
    address: tuple[str, int]
    met: Met
    cookies: dict[str, str] = field(default_factory=dict)
    new: bool = True

    async def live(self, crowd: Crowd) -> None:
        """Come, and come back."""
        for left in range(crowd.returns, -1, -1):
            if not await self._come(crowd.patience_seconds):
                return
            self.new = False
            if left:
                await asyncio.sleep(crowd.every_seconds)

    async def _come(self, patience: float) -> bool:
        """Try until something is shown that does not go away by itself; tell whether it is a place."""
        until = time.monotonic() + patience
        while True:
            again = AGAIN_SECONDS
            try:
                async with asyncio.timeout(ANSWER_SECONDS), connected(*self.address, PHONE) as connection:
                    shown, again = await self._visit(connection)
            except (OSError, EOFError, TimeoutError) as error:
                self._note("page", time.monotonic(), None, type(error).__name__, "")
                shown = None
            if shown is not None:
                return shown
            if time.monotonic() + again > until:
                return False
            await asyncio.sleep(again)

    async def _visit(self, connection: Connection) -> tuple[bool | None, float]:
        """Open the page and load its picture; tell what is shown, None when it is worth another try, and when."""
        page = await self._ask(connection, "page", self.path)
        if page is None:
            return None, AGAIN_SECONDS
        again = float(page.headers.get("retry-after", AGAIN_SECONDS))
        found = PICTURE.search(page.body)
        if found is None:
            return (None if page.outcome in WAITING else False), again
        picture = await self._ask(connection, "picture", found[1].decode())
        if picture is not None and picture.body.startswith(PNG) and "x-huoma-seat" in picture.headers:
            return True, 0.0
        return None, again

    async def _ask(self, connection: Connection, asked: Asked, path: str) -> Reply | None:
        at = time.monotonic()
        carried = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        try:
            reply = await connection.get(path, **(carried if self.cookies else {}))
        except (OSError, EOFError, TimeoutError) as error:
            self._note(asked, at, None, type(error).__name__, "")
            return None
        self._keep(reply.cookies)
        self._note(asked, at, reply, reply.outcome, _seat(reply))
        return reply

    def _keep(self, cookies: Sequence[str]) -> None:
        for cookie in cookies:
            value, *attributes = cookie.split("; ")
            name, _, text = value.partition("=")
            self.cookies[name] = text
            if "Max-Age=0" in attributes:
                del self.cookies[name]

    def _note(self, asked: Asked, at: float, reply: Reply | None, outcome: str, seat: str) -> None:
        took = time.monotonic() - at
        status = reply.status if reply else 0
        self.met.answers.append(Answer(self.number, self.new, at, took, asked, status, outcome, seat))


def _seat(reply: Reply) -> str:
    if "x-huoma-seat" in reply.headers:
        return seat_of(reply.headers["x-huoma-seat"])
    found = PICTURE.search(reply.body) if reply.status == 200 else None
    return seat_of(found[1].decode().rsplit("/", 1)[1].removesuffix(".png")) if found else ""


Going = Callable[[], bool]


def _no_longer() -> bool:
    return False


async def send(
    url: str, slug: str, crowd: Crowd, met: Met, *, numbers: Iterator[int] | None = None, going_on: Going = _no_longer
) -> None:
    """Send a crowd to a code, more people at the same rate while `going_on`; return when the last has gone home."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    numbers, began = numbers or count(), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for nth in count():
            await asyncio.sleep(began + nth / crowd.per_second - time.monotonic())
            if nth >= crowd.people and not going_on():
                return
            person = Person(next(numbers), f"/{slug}", (parts.hostname, parts.port), met)
            group.create_task(person.live(crowd))


async def during(met: Met, work: Callable[[], object]) -> None:
    """Do what breaks something and repairs it, outside of the loop, and note when it began and ended."""
    began = time.monotonic()
    await asyncio.to_thread(work)
    met.faults.append((began, time.monotonic()))
