"""Read screenshots in child processes: what a stranger sent is decoded where there is no secret and no connection.

A child has little memory, is killed when it takes too long, and is believed no more than what it read.
"""

import asyncio
import json
import math
import os
import signal
import sys
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, Final

from app.domain.errors import Refusal, UploadRefusal
from app.domain.payload import TargetKind
from app.qr.read import MAX_BYTES, Screenshot, read_screenshot
from app.sharing import Shares

# The child's end of the line: one JSON header per message, then as many bytes as the header says. No pickles, since the
# child has handled hostile bytes and its word is not to be executed.
_CHILD: Final = "from app.qr.reader import serve; serve()"
# Each holds a picture of up to 10 MB in memory.
WAITING_MAX: Final = 16
# Of one workspace.
WAITING_EACH: Final = 4
# A machine that is busy takes long to load what reads captions.
START_SECONDS: Final = 60
# What a decoder needs of our environment; a secret is not among it.
_CHILD_ENVIRONMENT: Final = ("PATH", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")


class Reader:
    """Read screenshots off the event loop, each in a child process that can be killed.

    Children start with the first picture, and are replaced after ``reads_per_child`` pictures and after any failure.
    One reader serves one event loop. So many pictures wait for their turn; the limit of time counts from then on.
    """

    def __init__(
        self,
        *,
        children: int = 1,
        time_limit_s: float = 20.0,
        reads_per_child: int = 200,
        memory_limit_bytes: int = 2 * 1024**3,
    ) -> None:
        self._time_limit_s = time_limit_s
        self._reads_per_child = reads_per_child
        self._memory_limit_bytes = memory_limit_bytes
        self._turns = Shares(children, children, _too_many_uploads, waiting_each=WAITING_EACH, waiting_all=WAITING_MAX)
        self._idle: list[_Child] = []
        self._alive: set[_Child] = set()
        self._closed = False

    @property
    def pids(self) -> frozenset[int]:
        """Name the child processes that exist now."""
        return frozenset(child.process.pid for child in self._alive)

    async def read(self, data: bytes, uploaded_on: date, owner: str = "") -> Screenshot:
        """Read one uploaded picture as ``read_screenshot`` does; the owner who was served longest ago comes first.

        Raises: UploadRefusal — also ``unreadable_image`` when a picture takes too long or brings its child down;
        Refusal ``too_many_uploads`` — others of the owner, or of all, wait already;
        RuntimeError — the reader is closed, or a child cannot start at all.
        Cost: one child's 0.1 to 0.5 s, and 0.5 s to start one.
        """
        if len(data) > MAX_BYTES:
            raise UploadRefusal("image_too_large", f"The file is too large; upload at most {MAX_BYTES // 1024} kB.")
        async with self._turns.turn(owner):
            return await self._read(data, uploaded_on)

    async def _read(self, data: bytes, uploaded_on: date) -> Screenshot:
        child = await self._child()
        healthy = False
        try:
            async with asyncio.timeout(self._time_limit_s):
                header, picture = await child.ask(data, uploaded_on)
            healthy = child.reads < self._reads_per_child and not self._closed
        except (TimeoutError, EOFError, ConnectionError, ValueError) as error:
            detail = "The image could not be read in time; upload a plain screenshot of the code."
            raise UploadRefusal("unreadable_image", detail) from error
        finally:
            if healthy:
                self._idle.append(child)
            else:
                await self._end(child)
        return _screenshot(header, picture)

    async def close(self) -> None:
        """Kill every child and wait until none is left; a picture being read is refused."""
        self._closed = True
        self._idle.clear()
        await asyncio.gather(*(self._end(child) for child in tuple(self._alive)))

    async def _child(self) -> "_Child":
        while self._idle:
            child = self._idle.pop()
            # One that died while idle (out of memory, say) says nothing about the picture that comes next.
            if child.process.returncode is None:
                return child
            await self._end(child)
        return await self._start()

    async def _start(self) -> "_Child":
        if self._closed:
            raise RuntimeError("The reader is closed.")
        environment = {name: os.environ[name] for name in _CHILD_ENVIRONMENT if name in os.environ}
        environment |= {
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # Every thread reserves address space, of which a child has little, and one core is what it is meant to use.
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-c", _CHILD, str(self._memory_limit_bytes), str(math.ceil(self._time_limit_s) + 5)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
            # Ctrl-C at a terminal is meant for the service, which closes its children itself.
            start_new_session=True,
        )
        child = _Child(process)
        self._alive.add(child)
        try:
            async with asyncio.timeout(START_SECONDS):
                ready = await child.output.readline()
        except TimeoutError:
            await self._end(child)
            raise RuntimeError("The screenshot reader does not start.") from None
        except BaseException:
            await self._end(child)
            raise
        if ready != _READY:
            await self._end(child)
            raise RuntimeError("The screenshot reader cannot start; its last words are in the log.")
        return child

    async def _end(self, child: "_Child") -> None:
        with suppress(ProcessLookupError):
            child.process.kill()
        await child.process.wait()
        self._alive.discard(child)


def _too_many_uploads() -> Refusal:
    return Refusal("too_many_uploads", "Too many pictures are being read; send yours again in a moment.", "image")


_READY: Final = b"ready\n"


class _Child:
    """Talk to one child process, one picture at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.input = process.stdin
        self.output = process.stdout
        self.reads = 0

    async def ask(self, data: bytes, uploaded_on: date) -> tuple[dict[str, Any], bytes]:
        self.reads += 1
        self.input.write(_header({"uploaded_on": uploaded_on.isoformat(), "size": len(data)}) + data)
        await self.input.drain()
        line = await self.output.readline()
        if not line:
            raise EOFError
        header = json.loads(line)
        return header, await self.output.readexactly(header["size"])


def _header(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def _screenshot(header: dict[str, Any], picture: bytes) -> Screenshot:
    if "refusal" in header:
        raise UploadRefusal(*header["refusal"])
    expires_on = date.fromisoformat(header["expires_on"]) if header["expires_on"] else None
    kind = TargetKind(header["kind"])
    return Screenshot(header["payload"], kind, expires_on, header["name"], picture, header["media_type"])


def serve() -> None:
    """Be a child: read pictures from standard input until it ends, never more than the memory and the time given.

    Shapes: ``sys.argv`` holds the bytes of address space and the seconds one picture may take.
    """
    import resource

    memory, seconds = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Only Linux both offers this limit and keeps it.
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # A library that prints would break the line, so what it prints goes to the log.
    os.dup2(2, 1)
    answers.write(_READY)
    answers.flush()
    while line := questions.readline():
        # Should our parent be gone, nobody else would end a decoder that hangs. The default action is to die.
        signal.alarm(seconds)
        header = json.loads(line)
        answers.write(_answer(questions.read(header["size"]), date.fromisoformat(header["uploaded_on"])))
        answers.flush()
        signal.alarm(0)


def _answer(data: bytes, uploaded_on: date) -> bytes:
    try:
        seen = read_screenshot(data, uploaded_on)
    except UploadRefusal as refusal:
        return _header({"refusal": refusal.args, "size": 0})
    fields = {
        "payload": seen.payload,
        "kind": seen.kind,
        "expires_on": seen.expires_on and seen.expires_on.isoformat(),
        "name": seen.name,
        "media_type": seen.picture_media_type,
        "size": len(seen.picture),
    }
    return _header(fields) + seen.picture
