"""Run the worker: drain streams into the record, take late holds back, let idle codes rest, until told to stop."""

import asyncio
import contextlib
import logging
import signal

from app import starting, telemetry
from app.domain.errors import CountersAway, StoreAway
from app.parts import Parts, build_parts
from app.services import watching
from app.services.draining import ENTRIES
from app.settings import Settings

# How long nothing happens when little is to do: what an event waits, at most, to be in the record. To record ten
# entries costs little more than to record one.
IDLE_SECONDS = 0.2
AWAY_SECONDS = 1.0
# How long is waited between two looks for what is not urgent and may take long.
CHORES_SECONDS = 1.0


async def run(parts: Parts, stop: asyncio.Event) -> None:
    """Work until `stop`; then record what has happened so far, and return."""
    beside = [asyncio.create_task(_do_chores(parts, stop))]
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
        for workspace in await parts.drain.workspaces():
            await parts.drain.all_of(workspace)


async def _work(parts: Parts, stop: asyncio.Event) -> None:
    looked = False
    while not stop.is_set():
        try:
            if parts.keeper is not None and not parts.keeper.asked:
                # A clock that is ahead would take back holds that are not late.
                await parts.keeper.look()
            if not looked:
                # Nobody's events wait for what could not be recorded before: where one server is away, others are not.
                with contextlib.suppress(CountersAway, StoreAway):
                    await reread(parts)
                    looked = True
            busy = await one_round(parts)
        except (CountersAway, StoreAway) as error:
            telemetry.say(
                "worker_waits_for_a_server", level=logging.WARNING, which=type(error).__name__, why=starting.why(error)
            )
            await _sleep(stop, AWAY_SECONDS)
            continue
        if not busy:
            await _sleep(stop, IDLE_SECONDS)


async def _do_chores(parts: Parts, stop: asyncio.Event) -> None:
    """Do beside the work what the work must not wait for, until cancelled: half of it may be done at any time."""
    while not stop.is_set():
        await chores(parts)
        await _sleep(stop, CHORES_SECONDS)


async def chores(parts: Parts) -> None:
    """Do each chore once, if there is anything to do."""
    for chore in parts.chores:
        # Who is away is told by the work beside this.
        with contextlib.suppress(CountersAway, StoreAway):
            try:
                await chore()
            except (CountersAway, StoreAway):
                raise
            except Exception as error:  # noqa: BLE001  # What ails one chore must not keep the others from being done.
                telemetry.say("chore_left_undone", level=logging.ERROR, error=error)


async def reread(parts: Parts) -> None:
    """Record what was set aside and can be recorded now: by this version, or since the record has it again."""
    await watching.reread(parts.drain, parts.watcher)


async def one_round(parts: Parts) -> bool:
    """Sweep and drain every workspace once; tell whether more may wait than what came meanwhile.

    If not, let idle codes rest.
    """
    busy = False
    for workspace in await parts.reconciler.unsettled():
        try:
            busy |= await parts.reconciler.sweep(workspace) > 0
            busy |= await parts.drain.once(workspace) >= ENTRIES
        except (CountersAway, StoreAway):
            raise
        except Exception as error:  # noqa: BLE001  # What ails one workspace must not keep the others' events waiting.
            telemetry.say("workspace_left_out", level=logging.ERROR, workspace=workspace, error=error)
    if not busy:
        try:
            await parts.rester.some()
        except (CountersAway, StoreAway):
            raise
        except Exception as error:  # noqa: BLE001  # Nor must a code that cannot rest.
            telemetry.say("codes_left_awake", level=logging.ERROR, error=error)
    return busy


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
