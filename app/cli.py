"""Be the command `huoma`: start things, look after them, decide nothing."""

import argparse
import asyncio
import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from app import serving, starting, worker
from app.counters import rebuilds
from app.domain.code import WorkspaceId
from app.domain.errors import CountersAway, Refusal, StoreAway
from app.embedded import EmbeddedServers, Servers, launch, running
from app.parts import Parts, build_parts
from app.services import keeping_workspaces as keeping
from app.services.preparing import DAYS_AHEAD
from app.settings import PREFIX, Server, Settings
from app.store import migrate, partitions, schema

READY_SECONDS = 60.0
STOP_MARGIN_SECONDS = 5.0
# A process that cannot live is started so often and no more.
WATCH_SECONDS = 0.5
# A server that does not live, on a full disk say, is not started all the time.
AGAIN_SECONDS = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 when it did what it says."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What a terminal cannot show is no reason to stop.
            stream.reconfigure(errors="replace")
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(Settings.read(), options) or 0)
    except (Refusal, ValueError, RuntimeError) as error:
        print(f"huoma: {error}", file=sys.stderr)
    except Exception as error:
        # What drivers raise shares no class. Only a fault of our own keeps its traceback.
        said = starting.why(error)
        if said is None:
            raise
        print(f"huoma: {said}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="huoma", description="Live codes (活码): printed once, always alive.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, says: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=says, description=says)
        one.set_defaults(run=run)
        return one

    command("up", _up, "start everything: servers of its own where none are set, web, worker, a demo code")
    serve = command("serve", _serve, "run the web processes")
    serve.add_argument("--server", type=Server, choices=[*Server])
    serve.add_argument("--host")
    serve.add_argument("--port", type=int)
    serve.add_argument("--workers", type=int)
    command("worker", _worker, "run one worker: drain events into PostgreSQL, take late holds back")
    command("migrate", _migrate, "bring PostgreSQL to the tables this version expects, and see to a first workspace")
    command("check-migrations", _check_migrations, "fail when migrations and table declarations differ")
    verify = command("verify", _verify, "prove that counters and record agree; exit 1 names every difference")
    verify.add_argument("--workspace", metavar="ID", help="this workspace only")
    rebuild = command("rebuild", _rebuild, "restore the counters of every code from the record; exit 1 names failures")
    rebuild.add_argument("--workspace", metavar="ID", help="this workspace only")
    rebuild.add_argument(
        "--from-record",
        action="store_true",
        help="give up what the counters hold beyond the record: it may be given again",
    )
    workspaces = commands.add_parser("workspaces", help="create and list workspaces").add_subparsers(required=True)
    create = workspaces.add_parser("create", help="make a workspace and print its first admin key, once")
    create.add_argument("name")
    create.add_argument("--time-zone", default=keeping.DEFAULT_TIME_ZONE)
    create.set_defaults(run=_create_workspace)
    workspaces.add_parser("list", help="list workspaces").set_defaults(run=_list_workspaces)
    keys = commands.add_parser("keys", help="create API keys").add_subparsers(required=True)
    key = keys.add_parser("create", help="make an admin key for a workspace and print it, once")
    key.add_argument("workspace")
    key.add_argument("--name", default="made by huoma keys create")
    key.set_defaults(run=_create_key)
    return parser


def _up(settings: Settings, _: argparse.Namespace) -> int:
    """Start servers, web and worker as children, say where they are, wait, and stop them in reverse order."""
    from app import greeting

    serving.check_settings(settings)
    with _signals_as_interrupts(), contextlib.ExitStack() as started:
        try:
            # It stops as a whole: there is nobody to whom a visitor could be left.
            settings = replace(settings, port=serving.free_port(settings), linger_seconds=0.0)
            owned = None if settings.database_url and settings.redis_url else EmbeddedServers(settings.data_dir)
            settings = _with(settings, started.enter_context(owned).servers) if owned else settings
            key = asyncio.run(_prepare(settings))
            if key and key != settings.bootstrap_key:
                show_key(key)
            # The worker has no port of its own: what it counts is shown by the web processes.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = started.enter_context(tempfile.TemporaryDirectory())
            children = {name: started.enter_context(_child(name, settings)) for name in ("worker", "serve")}
            _wait_until_ready(settings, children.values())
            greeting.greet(settings.url, settings.local_url, key)
            again = 0.0
            while True:
                if owned and not owned.whole and time.monotonic() >= again:
                    for said in owned.revive():
                        print(f"huoma: {said}", file=sys.stderr)
                    again = time.monotonic() + AGAIN_SECONDS
                for name, child in children.items():
                    if child.poll() is not None:
                        print(
                            f"huoma: {name} ended by itself ({child.returncode}); starting it again.", file=sys.stderr
                        )
                        children[name] = started.enter_context(_child(name, settings))
                time.sleep(WATCH_SECONDS)
        except KeyboardInterrupt:
            return 0


@contextlib.contextmanager
def _servers(settings: Settings, *, create: bool = False) -> Iterator[Settings]:
    """Join the private servers that run in the data directory, or start those whose data it holds.

    Raises: ValueError — it holds none, and `create` is false; one server is set and the other is not.
    """
    if _sets_both(settings):
        yield settings
        return
    found = running(settings.data_dir)
    if found:
        yield _with(settings, found)
        return
    embedded = EmbeddedServers(settings.data_dir)
    if not (create or embedded.has_data):
        raise ValueError(f"{settings.data_dir} holds no data; name the directory that does with {PREFIX}DATA_DIR.")
    with embedded:
        yield _with(settings, embedded.servers)


def _sets_both(settings: Settings) -> bool:
    """Return whether both servers are set.

    Raises: ValueError — only one is: the other would be that of another service, whose prints it knows nothing of.
    """
    is_set = {"DATABASE_URL": bool(settings.database_url), "REDIS_URL": bool(settings.redis_url)}
    if len(set(is_set.values())) == 2:
        [has], [lacks] = ([name for name, there in is_set.items() if there is which] for which in (True, False))
        raise ValueError(f"{PREFIX}{has} is set and {PREFIX}{lacks} is not: set both, or neither.")
    return all(is_set.values())


def _with(settings: Settings, servers: Servers) -> Settings:
    return replace(
        settings,
        secret=settings.secret or settings.kept_secret(),
        database_url=settings.database_url or servers.database_url,
        redis_url=settings.redis_url or servers.redis_url,
    )


async def _prepare(settings: Settings) -> str:
    """Migrate, and see to a first workspace; answer with its key, '' when that was shown before."""
    await migrate.upgrade(settings.database_url)
    async with _parts(settings) as parts:
        made = await keeping.bootstrap(parts.database, settings.bootstrap_key or None, parts.clock())
        # A worker makes what is missing, should a lock be in the way.
        with contextlib.suppress(StoreAway):
            await partitions.make_ahead(parts.database, DAYS_AHEAD)
    return settings.bootstrap_key or made or ""


@contextlib.contextmanager
def _child(name: str, settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of our own commands until the block ends; then ask it to stop, and make it, if it does not."""
    launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(int(signal.SIGTERM)), ""]
    command = [*launcher, sys.executable, "-m", "app.cli", name]
    # In a session of its own, so that Ctrl-C reaches only us, and the order of stopping stays ours.
    with subprocess.Popen(command, env=settings.environment(), start_new_session=True) as child:  # noqa: S603
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(settings.shutdown_seconds + STOP_MARGIN_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()


def _wait_until_ready(settings: Settings, children: Iterable[subprocess.Popen[bytes]]) -> None:
    """Wait until scans would be answered.

    Raises: RuntimeError — a child ended, or it takes too long.
    """
    import httpx

    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if any(child.poll() is not None for child in children):
            raise RuntimeError("a process ended before it was ready")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{settings.local_url}/readyz", trust_env=False).is_success:
                return
        time.sleep(0.1)
    raise RuntimeError(f"not ready after {READY_SECONDS:.0f} seconds")


@contextlib.contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program the way Ctrl-C does, once; what is sent while it ends changes nothing."""

    def interrupt(_number: int, _frame: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    for number in numbers:
        signal.signal(number, interrupt)
    yield


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    names = ("server", "host", "port", "workers")
    chosen = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    settings = _needing_servers(replace(settings, **chosen))
    asyncio.run(starting.check(settings))
    serving.serve(settings)
    return 0


def _worker(settings: Settings, _: argparse.Namespace) -> int:
    settings = _needing_servers(settings)
    asyncio.run(starting.check(settings, records=True))
    asyncio.run(worker.main(settings))
    return 0


def show_key(key: str) -> None:
    """Show a key that was just made, before anything else can go wrong: nobody can show it again."""
    print(f"API key of the first workspace, shown this once: {key}", flush=True)


def _migrate(settings: Settings, _: argparse.Namespace) -> int:
    with _servers(settings, create=True) as found:
        key = asyncio.run(_prepare(found))
    if key and key != settings.bootstrap_key:
        show_key(key)
    return 0


def _check_migrations(_settings: Settings, _: argparse.Namespace) -> int:
    """Migrate an empty database of its own, and compare it with the tables in code."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedServers(Path(folder)) as embedded:
        url = embedded.servers.database_url
        asyncio.run(migrate.upgrade(url))
        differences = asyncio.run(migrate.differences(url))
    for difference in differences:
        print(difference)
    return 1 if differences else 0


def _verify(settings: Settings, options: argparse.Namespace) -> int:
    """Print every difference as it is found."""

    async def work() -> int:
        found = 0
        async with _parts(_unhurried(here)) as parts:
            await _warn(parts)
            verifier = parts.reconciler.verifier
            for number, of, workspace in await _workspaces(parts, options.workspace):
                async for difference in verifier.differences(workspace, partial(_progress, number, of)):
                    found += _report(difference)
            if not options.workspace:
                async for difference in verifier.strays():
                    found += _report(difference)
        return found

    with _servers(settings) as here:
        found = asyncio.run(work())
    _clear_progress()
    print("Counters and record agree." if not found else f"{found} differences.")
    return 1 if found else 0


async def _warn(parts: Parts) -> None:
    """Print how Redis is set up to lose counters: no difference yet, so the exit status says nothing of it."""
    for sentence in await parts.inspector.look() if parts.inspector else ():
        print(f"warning: {sentence}")


def _unhurried(settings: Settings) -> Settings:
    return replace(settings, database_statement_seconds=settings.verify_statement_seconds)


async def _workspaces(parts: Parts, wanted: str | None) -> list[tuple[int, int, WorkspaceId]]:
    """List the workspaces to work on, numbered: all of them or the one that is wanted. Raises: ValueError."""
    found = [one for one in await parts.drain.workspaces() if wanted in (None, one)]
    if wanted and not found:
        raise ValueError(f"There is no workspace {wanted}; `huoma workspaces list` names them.")
    return [(number, len(found), one) for number, one in enumerate(found, 1)]


def _progress(number: int, of: int, step: str) -> None:
    """Show on a terminal what is being done; a file or a pipe gets results only."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K[{number} of {of}] {step}", end="", file=sys.stderr, flush=True)


def _clear_progress() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _report(difference: object) -> int:
    """Print a line of the result, and count it."""
    _clear_progress()
    print(difference, flush=True)
    return 1


def _rebuild(settings: Settings, options: argparse.Namespace) -> int:
    """Rebuild what can be, and name what was kept and what could not be."""

    async def work() -> tuple[int, int]:
        done = failed = 0
        async with _parts(_unhurried(here)) as parts:
            for number, of, workspace in await _workspaces(parts, options.workspace):
                _progress(number, of, f"{workspace}: rebuilding")
                rebuilt = await parts.reconciler.rebuild(workspace, from_record=options.from_record)
                done += rebuilt.codes
                failed += sum(map(_report, rebuilt.failed))
                for kept in rebuilt.kept:
                    _report(kept)
            if options.from_record and not options.workspace:
                async for stray in parts.reconciler.verifier.strays():
                    # Events of a lost workspace are no counters: they are kept for a newer dump.
                    if stray.code:
                        await rebuilds.forget(parts.redis, stray.workspace, stray.code)
        return done, failed

    with _servers(settings) as here:
        done, failed = asyncio.run(work())
    _clear_progress()
    print(f"Rebuilt the counters of {done} codes from the record." + (f" {failed} failures." if failed else ""))
    return 1 if failed else 0


def _create_workspace(settings: Settings, options: argparse.Namespace) -> int:
    async def work() -> None:
        async with _parts(here) as parts:
            made, key = await keeping.create_workspace(parts.database, options.name, options.time_zone, parts.clock())
        print(f"workspace {made.id}\nkey {key.secret}")

    with _servers(settings) as here:
        asyncio.run(work())
    return 0


def _list_workspaces(settings: Settings, _: argparse.Namespace) -> int:
    async def work() -> None:
        async with _parts(here) as parts:
            for one in await keeping.list_workspaces(parts.database):
                print(f"{one.id}\t{one.time_zone}\t{one.name}")

    with _servers(settings) as here:
        asyncio.run(work())
    return 0


def _create_key(settings: Settings, options: argparse.Namespace) -> int:
    async def work() -> None:
        async with _parts(here) as parts:
            made = await keeping.create_admin_key(
                parts.database, WorkspaceId(options.workspace), options.name, parts.clock()
            )
        print(f"key {made.secret}")

    with _servers(settings) as here:
        asyncio.run(work())
    return 0


@contextlib.asynccontextmanager
async def _parts(settings: Settings) -> AsyncIterator[Parts]:
    parts = build_parts(settings)
    try:
        if parts.keeper is not None:
            with contextlib.suppress(CountersAway):
                await parts.keeper.look()
        async with parts.database.reading() as connection:
            await schema.insist(connection)
        yield parts
    finally:
        await parts.close()


def _needing_servers(settings: Settings) -> Settings:
    """Insist on servers, and on the secret, for a process that is one of many and so cannot own any.

    Raises: ValueError.
    """
    if _sets_both(settings):
        settings.secrets()
        return settings
    found = running(settings.data_dir)
    if not found:
        raise ValueError(f"Set {PREFIX}DATABASE_URL and {PREFIX}REDIS_URL, or start everything with `huoma up`.")
    return _with(settings, found)


if __name__ == "__main__":
    sys.exit(main())
