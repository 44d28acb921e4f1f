"""Answer those who run the service: is the process alive, can it serve, what has it counted."""

import os
from collections.abc import Callable
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic import BaseModel
from redis.asyncio import Redis

from app.counters import refusals as counters
from app.counters.probing import probe
from app.domain.errors import CountersAway, StoreAway
from app.services.inspecting import Inspector
from app.services.timekeeping import Timekeeper
from app.services.watching import Watcher
from app.store import refusals as store
from app.store import schema
from app.store.database import Database

State = Literal["up", "away"]


class Waiting(BaseModel):
    """Say how far the record is behind: stream entries, the age of the oldest, and those that could not be recorded."""

    entries: int
    seconds: float
    unreadable: int


class Readiness(BaseModel):
    """Say which servers answer, how far the record is behind (null when that is unknown), and how far clocks differ.

    Shapes: `reason` says why it cannot serve, null when it can; `warnings` say how Redis is set up to lose counters.
    Units: `clocks` are seconds by which the machine's, Redis's and PostgreSQL's are ahead of the time that is used.
    """

    redis: State
    postgresql: State
    reason: str | None = None
    behind: Waiting | None = None
    clocks: dict[str, float] = {}
    warnings: list[str] = []


class Readier:
    """Tell whether this process can serve scans, and will for a while.

    Redis and PostgreSQL must have answered once and taken a write, the database must be one that `store/schema.py` has
    no objection to, and the process must not be about to stop. No server's absence takes it out of service after that:
    known codes are scanned without PostgreSQL, and without Redis a page that retries by itself is better than none.
    """

    def __init__(
        self,
        database: Database,
        redis: Redis,
        watcher: Watcher,
        leaving: Callable[[], bool],
        keeper: Timekeeper | None = None,
        inspector: Inspector | None = None,
    ) -> None:
        self._database = database
        self._redis = redis
        self._watcher = watcher
        self._leaving = leaving
        self._keeper = keeper
        self._inspector = inspector
        self._met: set[str] = set()
        # As of PostgreSQL's last answer.
        self._schema: str | None = None

    async def ask(self) -> tuple[bool, Readiness]:
        """Ask both servers. Cost: a round trip to Redis, three queries, and now and then what `Watcher.look` costs."""
        unanswered = {"redis": await self._ask_redis(), "postgresql": await self._ask_database()}
        answers = {name: "up" if said is None else "away" for name, said in unanswered.items()}
        store_away = answers["postgresql"] == "away"
        behind = None
        if answers["redis"] == "up" and self._schema is None:
            behind = await self.behind(store_away=store_away)
        self._met |= {name for name, state in answers.items() if state == "up"}
        reason = self._schema or next((said for name, said in unanswered.items() if name not in self._met), None)
        if self._leaving():
            reason = "The process was told to stop."
        skews = self._keeper.skews() if self._keeper else {}
        clocks = {name: round(skew, 3) for name, skew in skews.items()}
        warnings = list(self._inspector.warnings) if self._inspector else []
        return reason is None, Readiness.model_validate(
            {**answers, "reason": reason, "behind": behind, "clocks": clocks, "warnings": warnings}
        )

    async def behind(self, *, store_away: bool = False) -> Waiting | None:
        """Tell how far the record is behind; None when nobody can tell."""
        try:
            told = await self._watcher.behind(store_away=store_away)
        except (CountersAway, StoreAway):
            return None
        return Waiting(entries=told.entries, seconds=round(told.seconds, 1), unreadable=told.unreadable)

    async def _ask_redis(self) -> str | None:
        try:
            await probe(self._redis)
        except CountersAway as error:
            return counters.why(error) or "Redis cannot be reached."
        return None

    async def _ask_database(self) -> str | None:
        try:
            async with self._database.reading() as connection:
                self._schema = await schema.problem(connection)
                return None if self._schema else await schema.unwritable(connection)
        except StoreAway as error:
            return store.why(error) or "PostgreSQL cannot be reached."


def _readier(request: Request) -> Readier:
    readier: Readier = request.app.state.readier
    return readier


router: Final = APIRouter(tags=["operations"])


@router.get("/healthz", summary="Is the process alive?", response_description="It is.")
async def healthz() -> Literal["ok"]:
    """Answer without asking anybody."""
    return "ok"


@router.get(
    "/readyz",
    summary="Can it serve scans?",
    responses={
        503: {
            "model": Readiness,
            "description": "A server has not answered yet, the database is unfit, or the process is to stop.",
        }
    },
)
async def readyz(readier: Annotated[Readier, Depends(_readier)], response: Response) -> Readiness:
    """Ask Redis and PostgreSQL."""
    ready, readiness = await readier.ask()
    response.status_code = 200 if ready else 503
    return readiness


@router.get(
    "/metrics",
    summary="What has it counted?",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"example": "huoma_scans_total 1.0"}}, "description": "Prometheus."}},
)
async def metrics(readier: Annotated[Readier, Depends(_readier)]) -> Response:
    """Show every metric of every web process here, in the text format of Prometheus."""
    # Sets its gauges.
    await readier.behind()
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/favicon.ico", include_in_schema=False)
async def favicon() -> Response:
    """Have no icon, and say so once: browsers ask for one with every first page."""
    return Response(status_code=204, headers={"Cache-Control": "public, max-age=31536000, immutable"})


@router.get("/robots.txt", include_in_schema=False)
async def robots() -> Response:
    """Keep crawlers out: a live code is for who stands in front of it."""
    return Response("User-agent: *\nDisallow: /\n", media_type="text/plain")


def install_operations(
    app: FastAPI,
    database: Database,
    redis: Redis,
    watcher: Watcher,
    leaving: Callable[[], bool] = lambda: False,
    keeper: Timekeeper | None = None,
    inspector: Inspector | None = None,
) -> None:
    """Add the routes of this file to the API; `leaving` returns whether the process is to stop."""
    app.state.readier = Readier(database, redis, watcher, leaving, keeper, inspector)
    app.include_router(router)
