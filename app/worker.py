"""Run the worker: drain streams into the record, take late holds back, let idle codes rest, until told to stop."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial

from app import starting, telemetry
from app.domain.code import WorkspaceId
from app.domain.errors import CountersAway, StoreAway
from app.parts import Parts, build_parts
from app.services import watching
from app.services.draining import ENTRIES
from app.services.rounds import Rounds
from app.settings import Settings

# How long nothing happens when little is to do: what an event waits, at most, to be in the record. To record ten
# entries costs little more than to record one.
IDLE_SECONDS = 0.2
AWAY_SECONDS = 1.0
# Workspaces that are worked on at the same time, each with a connection to PostgreSQL.
HANDS = 2
# Entries from which on the work on a workspace may take long.
LONG = 16 * ENTRIES
# Work that fails after so long keeps no hand from the others again, until it goes well: it waits for a lock, or for a
# server that is silent.
SLOW_SECONDS = 0.5
# How long is waited between two looks for what is not urgent and may take long.
CHORES_SECONDS = 1.0


async def run(parts: Parts, stop: asyncio.Event) -> None:
    """Work until `stop`; then record what has happened so far, and return."""
    beside = [asyncio.create_task(_read_again(parts, stop)), asyncio.create_task(_let_rest(parts, stop))]
    beside += [asyncio.create_task(_keep_doing(chore, stop)) for chore in parts.chores]
    if parts.keeper is not None:
        beside.append(asyncio.create_task(parts.keeper.keep()))
    if parts.inspector is not None:
        beside.append(asyncio.create_task(parts.inspector.keep()))
    try:
        await _work(parts, stop)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)
    with contextlib.suppress(CountersAway, StoreAway):
        for workspace in await parts.reconciler.unsettled():
            # One that cannot be recorded now keeps no other from being.
            with contextlib.suppress(CountersAway, StoreAway):
                await _guarded("workspace_left_out", parts.drain.all_of(workspace, wait=False), workspace=workspace)


async def _work(parts: Parts, stop: asyncio.Event) -> None:
    crew = Crew(parts)
    try:
        while not stop.is_set():
            try:
                if parts.keeper is not None and not parts.keeper.asked:
                    # A clock that is ahead would take back holds that are not late.
                    await parts.keeper.look()
                await crew.begin()
            except (CountersAway, StoreAway) as error:
                telemetry.say(
                    "worker_waits_for_a_server",
                    level=logging.WARNING,
                    which=type(error).__name__,
                    why=starting.why(error),
                )
                await _sleep(stop, AWAY_SECONDS)
                continue
            await crew.rest(stop)
    finally:
        await crew.finish()


class Crew:
    """Work on workspaces, each by itself: what ails one, or keeps it long, is no matter of the others."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._rounds = Rounds(parts.drain, parts.redis, parts.clock)
        self._running: dict[WorkspaceId, asyncio.Task[None]] = {}
        self._hands = asyncio.Semaphore(HANDS)
        # At least one hand is left for those of which little waits.
        self._long = asyncio.Semaphore(HANDS - 1)
        # A hand more, for those whose work has failed and took long to fail.
        self._stuck = asyncio.Semaphore(1)
        self._more = asyncio.Event()

    async def begin(self) -> None:
        """Look once, and begin to work on what waits. Raises: StoreAway, CountersAway."""
        self._more.clear()
        for workspace in await self._rounds.unsettled():
            if workspace not in self._running:
                task = asyncio.create_task(self._work(workspace, long=self._rounds.entries[workspace] > LONG))
                self._running[workspace] = task
                task.add_done_callback(partial(self._ended, workspace))

    def _ended(self, workspace: WorkspaceId, _: asyncio.Task[None]) -> None:
        del self._running[workspace]

    async def rest(self, stop: asyncio.Event) -> None:
        """Wait until the next look is due: at once where more waits."""
        waiting = [asyncio.create_task(self._more.wait()), asyncio.create_task(stop.wait())]
        try:
            await asyncio.wait(waiting, timeout=IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def finish(self) -> bool:
        """Wait until nothing is under way; tell whether more waits."""
        while self._running:
            await asyncio.wait(self._running.values())
        return self._more.is_set()

    async def _work(self, workspace: WorkspaceId, *, long: bool) -> None:
        async with contextlib.AsyncExitStack() as hands:
            if self._rounds.slow(workspace):
                await hands.enter_async_context(self._stuck)
            else:
                if long:
                    await hands.enter_async_context(self._long)
                await hands.enter_async_context(self._hands)
            begun = time.monotonic()
            try:
                await self._parts.reconciler.sweep(workspace)
                if await self._parts.drain.once(workspace) >= ENTRIES:
                    self._more.set()
            except (CountersAway, StoreAway) as error:
                if self._rounds.failed(workspace, slow=time.monotonic() - begun >= SLOW_SECONDS):
                    which, why = type(error).__name__, starting.why(error)
                    telemetry.say(
                        "worker_waits_for_a_server", level=logging.WARNING, workspace=workspace, which=which, why=why
                    )
            except Exception as error:  # noqa: BLE001  # What ails one workspace must not keep the others' events waiting.
                if self._rounds.failed(workspace, slow=time.monotonic() - begun >= SLOW_SECONDS):
                    telemetry.say("workspace_left_out", level=logging.ERROR, workspace=workspace, error=error)
            else:
                self._rounds.went_well(workspace)


async def _let_rest(parts: Parts, stop: asyncio.Event) -> None:
    """Let idle codes rest beside the work, however much there is of it, until cancelled."""
    while not stop.is_set():
        pause = IDLE_SECONDS
        try:
            await let_some_rest(parts)
        except (CountersAway, StoreAway):
            # What is away is named by the work beside this.
            pause = AWAY_SECONDS
        await _sleep(stop, pause)


async def let_some_rest(parts: Parts) -> None:
    """Let the next idle codes rest. Raises: StoreAway, CountersAway."""
    await _guarded("codes_left_awake", parts.rester.some())


async def _guarded(event: str, work: Awaitable[object], **said: object) -> None:
    """Do some work; name what ails it, so that the work behind it is done. Raises: StoreAway, CountersAway."""
    try:
        await work
    except (CountersAway, StoreAway):
        raise
    except Exception as error:  # noqa: BLE001  # The work behind it must be done.
        telemetry.say(event, level=logging.ERROR, error=error, **said)


async def _keep_doing(chore: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
    """Do a chore again and again beside the work, until cancelled: half of it may be done at any time."""
    while not stop.is_set():
        await _do(chore)
        await _sleep(stop, CHORES_SECONDS)


async def chores(parts: Parts) -> None:
    """Do each chore once, if there is anything to do; none waits for another."""
    await asyncio.gather(*map(_do, parts.chores))


async def _do(chore: Callable[[], Awaitable[object]]) -> None:
    # What is away is named by the work beside this.
    with contextlib.suppress(CountersAway, StoreAway):
        await _guarded("chore_left_undone", chore())


async def _read_again(parts: Parts, stop: asyncio.Event) -> None:
    """Read once, beside the work, what was set aside before this worker started; later a chore does."""
    while not stop.is_set():
        with contextlib.suppress(CountersAway, StoreAway):
            await reread(parts)
            return
        await _sleep(stop, AWAY_SECONDS)


async def reread(parts: Parts) -> None:
    """Record what was set aside and can be recorded now: by this version, or since the record has it again."""
    await watching.reread(parts.drain, parts.watcher)


async def one_round(parts: Parts) -> bool:
    """Sweep and drain every workspace once; tell whether more may wait than what came meanwhile.

    Raises: StoreAway, CountersAway.
    """
    crew = Crew(parts)
    await crew.begin()
    return await crew.finish()


async def main(settings: Settings) -> None:
    """Run one worker process; SIGTERM and SIGINT stop it in order."""
    telemetry.set_up_logging()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    parts = build_parts(settings)
    telemetry.say("worker_started")
    try:
        await run(parts, stop)
    finally:
        await parts.close()
    telemetry.say("worker_stopped")


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
