"""Read every knob from the environment. Only the roots read this; everybody else is handed what he needs."""

import inspect
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from app.counters.address import read_address
from app.domain.token import SECRET_BYTES_MIN

PREFIX = "HUOMA_"
# What may stand behind the `?` of a database address: what asyncpg connects with, and what SQLAlchemy adds to it.
_DATABASE_OPTIONS: Final = frozenset(inspect.signature(asyncpg.connect).parameters) | {
    "prepared_statement_cache_size",
    "prepared_statement_name_func",
}


class Server(StrEnum):
    """Name a web server that the web processes may run under."""

    UVICORN = "uvicorn"
    GRANIAN = "granian"


def _knob(default: Any, says: str, between: tuple[float, float] | None = None) -> Any:
    """Describe a setting; `between` holds the least and the greatest value of a number, and every number has both."""
    return field(default=default, metadata={"says": says, "between": between})


_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold the settings; each is the variable `HUOMA_` and its name in capitals."""

    database_url: str = _knob(
        "", "PostgreSQL, `postgresql+asyncpg://…`; empty starts a private one in the data directory."
    )
    redis_url: str = _knob(
        "",
        "Redis ≥ 6.2: `redis://host:6379/0`, `redis+cluster://host:6379,host:6379` or "
        "`redis+sentinel://host:26379,host:26379/mymaster`; `rediss` for TLS; empty starts a private one in the data "
        "directory.",
    )
    data_dir: Path = _knob(Path("data"), "Where the private servers and the secret are kept.")
    host: str = _knob("127.0.0.1", "Address to listen on.")
    port: int = _knob(8000, "Port to listen on; 0 takes a free one.", (0, 65_535))
    public_url: str = _knob("", "What is printed in front of every slug; `http://host:port` when empty.")
    bootstrap_key: str = _knob("", "Admin key of the first workspace; made and shown once when empty.")
    secret: str = _knob(
        "",
        "Signs seats; at least 16 characters. Several, comma-separated: the first signs, all are believed. Needed with "
        "servers of your own; private ones keep one beside them.",
    )
    server: Server = _knob(Server.UVICORN, "Web server: `uvicorn`, or `granian` where it is installed.")
    workers: int = _knob(1, "Web processes.", (1, 1_000))
    redis_connections: int = _knob(8, "Redis connections of one process.", (2, 10_000))
    redis_timeout_seconds: float = _knob(1.0, "Time for one Redis reply before it counts as away.", (0.05, 60))
    redis_replicas: int = _knob(
        0,
        "Replicas that must have what was counted before a visitor is told; half of the time for a reply is waited.",
        (0, 100),
    )
    # With fewer than four, edits, codes that are read, and reports may take all of them.
    database_connections: int = _knob(
        10, "PostgreSQL connections of one process; edits, codes that are read and reports have shares.", (4, 10_000)
    )
    database_connect_seconds: float = _knob(
        2.0, "Time for a PostgreSQL connection before it counts as away.", (0.1, 60)
    )
    database_statement_seconds: float = _knob(30.0, "Time for one statement.", (0.1, _DAY))
    verify_statement_seconds: float = _knob(
        3_600.0,
        "Time for one statement of `huoma verify` and `huoma rebuild`, which read all events of a workspace.",
        (0.1, 7 * _DAY),
    )
    slugs_remembered: int = _knob(100_000, "Slugs one process remembers.", (1, 100_000_000))
    codes_remembered: int = _knob(2_000, "Codes one process remembers.", (1, 10_000_000))
    rest_after_seconds: int = _knob(
        3_600,
        "Time without a scan after which a code's counters leave Redis for PostgreSQL; 0 leaves them there.",
        (0, 366 * _DAY),
    )
    events_days: int = _knob(
        90, "Days after which the worker drops a day of events; counts stay. 0 keeps all.", (0, 36_500)
    )
    verification_files: str = _knob(
        "",
        "Texts that WeChat and WeCom ask for at the root of the domain, comma-separated: "
        "`MP_verify_AbCd1234.txt=AbCd1234,WW_verify_….txt=…`.",
    )
    caption_font: str = _knob(
        "",
        "Font file (TTF, OTF, TTC) that draws captions below PNG prints; empty looks for Noto Sans CJK and others with "
        "Chinese letters where systems keep them.",
    )
    trusted_proxies: str = _knob(
        "127.0.0.1,::1",
        "Addresses or networks, comma-separated, whose `X-Forwarded-For` is believed; from anybody else it is ignored.",
    )
    keep_alive_seconds: int = _knob(
        30, "Time an idle HTTP connection stays open, and that a request's head may take.", (1, 3_600)
    )
    body_seconds: float = _knob(120.0, "Time that the body of a request to the API may take.", (1, 3_600))
    linger_seconds: float = _knob(
        3.0,
        "Time a web process goes on serving when told to stop, telling each visitor that his connection ends. With 0, "
        "a request that is on its way by then fails.",
        (0, 900),
    )
    shutdown_seconds: float = _knob(10.0, "Time for what is in flight when the process is told to stop.", (0, 900))

    def __post_init__(self) -> None:
        """Refuse a number out of its bounds, and a secret that can be guessed. Raises: ValueError."""
        for knob in fields(self):
            if between := knob.metadata["between"]:
                _check_number(PREFIX + knob.name.upper(), getattr(self, knob.name), *between)
        # A secret is not repeated.
        if any(len(one) < SECRET_BYTES_MIN for one in (self.secrets() if self.secret else ())):
            raise ValueError(f"Each secret in {PREFIX}SECRET must have {SECRET_BYTES_MIN} characters or more.")

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read what is set.

        Raises: ValueError — a value that cannot be read or lies out of its bounds, or an unknown variable `HUOMA_…`.
        """
        known = {PREFIX + knob.name.upper(): knob for knob in fields(cls)}
        values: dict[str, Any] = {}
        for name, text in environment.items():
            if name.startswith(PREFIX) and name not in known:
                raise ValueError(f"There is no setting {name}. There are: {', '.join(known)}.")
            if name in known and text:
                values[known[name].name] = _convert(name, known[name].type, text)
        if "public_url" in values:
            values["public_url"] = _origin(PREFIX + "PUBLIC_URL", values["public_url"])
        if "database_url" in values:
            _check_database(PREFIX + "DATABASE_URL", values["database_url"])
        if "redis_url" in values:
            _check_address(PREFIX + "REDIS_URL", values["redis_url"])
        _read_files(PREFIX + "VERIFICATION_FILES", values.get("verification_files", ""))
        for one in _listed(values.get("trusted_proxies", "")):
            _check_network(PREFIX + "TRUSTED_PROXIES", one)
        return cls(**values)

    def environment(self) -> dict[str, str]:
        """Spell the settings as the environment of a child process, beside what is there."""
        ours = {PREFIX + knob.name.upper(): str(getattr(self, knob.name)) for knob in fields(self)}
        return {**os.environ, **ours}

    @property
    def url(self) -> str:
        """Name what stands in front of every slug."""
        return self.public_url or self.local_url

    @property
    def local_url(self) -> str:
        """Name where this machine reaches the service; one that listens everywhere is reached on loopback."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def proxies(self) -> list[str]:
        """Name the proxies that are believed."""
        return _listed(self.trusted_proxies)

    def files(self) -> dict[str, bytes]:
        """Return the texts served at the root of the domain, by their paths."""
        return _read_files(PREFIX + "VERIFICATION_FILES", self.verification_files)

    def secrets(self) -> list[bytes]:
        """Name the signing secrets, the one that signs first.

        Raises: ValueError — there is none: processes on several machines would each make their own, and a visitor of
        one would be a stranger to the next.
        """
        if not self.secret:
            raise ValueError(f"Set {PREFIX}SECRET to the same random text, 16 characters or more, for every process.")
        return [part.strip().encode() for part in self.secret.split(",")]

    def kept_secret(self) -> str:
        """Tell the secret that the data directory keeps; make it, if it is not there."""
        path = self.data_dir / "secret"
        if not path.exists():
            self.data_dir.mkdir(parents=True, exist_ok=True)
            _write_once(path, secrets.token_urlsafe(32))
        return path.read_text().strip()


def _write_once(path: Path, text: str) -> None:
    """Write a file that only its owner may read; the first of two writers wins."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text)
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()


def _origin(name: str, text: str) -> str:
    """Accept what will be printed in front of every slug: scheme and host, perhaps a port, and nothing else."""
    parts = urlsplit(text)
    bare = f"{parts.scheme}://{parts.netloc}"
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in parts.netloc
        or text.rstrip("/") != bare
        or re.search(r"\s", text)
    ):
        raise ValueError(
            f"{name}={text!r} must look like https://qr.example.com: it is printed in front of every slug."
        )
    return bare


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


_FILE = re.compile(r"((?:MP|WW)_verify_[A-Za-z0-9]{1,64}\.txt)=([A-Za-z0-9_.=-]{1,200})")


def _read_files(name: str, text: str) -> dict[str, bytes]:
    """Read texts by their paths. Raises: ValueError."""
    files = {}
    for one in _listed(text):
        found = _FILE.fullmatch(one)
        if found is None:
            raise ValueError(
                f"{name} holds {one!r}; write MP_verify_….txt=text or WW_verify_….txt=text, letters and digits only."
            )
        files[f"/{found[1]}"] = found[2].encode()
    return files


def _check_number(name: str, value: float, least: float, most: float) -> None:
    # What is no number is not between them, either.
    if not least <= value <= most:
        raise ValueError(f"{name}={value} must lie between {bounds_of(least, most)}.")


def bounds_of(least: float, most: float) -> str:
    """Spell the bounds of a number for a sentence."""
    return f"{least:,} and {most:,}"


def _check_network(name: str, text: str) -> None:
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{name} holds {text!r}, which is no address and no network such as 10.0.0.0/8.") from None


def _check_address(name: str, text: str) -> None:
    # The address may hold a password, so it is not repeated.
    try:
        read_address(text)
    except ValueError as error:
        raise ValueError(f"{name} {error}.") from None


def _check_database(name: str, text: str) -> None:
    # The address may hold a password, so it is not repeated.
    form = "postgresql+asyncpg://user:password@host:5432/database"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(f"{name} must look like {form}.") from None
    if url.drivername != "postgresql+asyncpg":
        raise ValueError(f"{name} must look like {form}, and begins with {url.drivername}.")
    if odd := sorted(set(url.query) - _DATABASE_OPTIONS):
        raise ValueError(f"{name} has options that the driver does not know: {', '.join(odd)}. TLS is `ssl=require`.")


def _convert(name: str, kind: Any, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        may_be = ", ".join(kind) if issubclass(kind, StrEnum) else kind.__name__
        raise ValueError(f"{name}={text!r} cannot be read as {may_be}.") from None
