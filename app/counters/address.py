"""Read where Redis is: one server, a cluster's nodes, or the sentinels that know a master. Asks nobody."""

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from redis.asyncio.connection import Connection, SSLConnection, parse_url

Host = tuple[str, int]

FORMS: Final = (
    "redis://host:6379/0, rediss://… (TLS), unix:///path, redis+cluster://host:6379,host:6379 or "
    "redis+sentinel://host:26379,host:26379/master"
)
_MANY: Final = re.compile(r"(rediss?)\+(cluster|sentinel)://(?:([^@/?]*)@)?([^/?@]*)(?:/([^?]*))?(?:\?(.*))?")
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s\[\]:]+)(?::(\d{1,5}))?")
_PORTS: Final = {"cluster": 6379, "sentinel": 26379}
# Options of an address that are for the sentinels, and what redis-py calls them.
_FOR_SENTINELS: Final = {"sentinel_username": "username", "sentinel_password": "password"}


class Kind(Enum):
    """Name what is behind an address."""

    ONE = auto()
    CLUSTER = auto()
    SENTINEL = auto()


@dataclass(frozen=True, slots=True)
class Address:
    """Hold what an address says.

    Shapes: `hosts` are a cluster's nodes or the sentinels, none for one server; `options` are what redis-py dials a
    server with, and a sentinel with `sentinel_options`; `master` is what the sentinels call it.
    """

    kind: Kind
    options: dict[str, Any]
    hosts: tuple[Host, ...] = ()
    master: str = ""
    sentinel_options: dict[str, Any] | None = None

    @property
    def tls(self) -> bool:
        """Tell whether servers are spoken to behind TLS."""
        return self.options.get("connection_class") is SSLConnection


def read_address(text: str) -> Address:
    """Read an address in one of `FORMS`.

    Raises: ValueError — it cannot be one; the message has nothing of a password.
    """
    many = _MANY.fullmatch(text)
    if many:
        return _read_many(*many.groups(default=""))
    scheme, _, rest = text.partition("://")
    if scheme not in ("redis", "rediss", "unix"):
        raise ValueError(f"must look like {FORMS}")
    if scheme != "unix" and "," in rest.partition("?")[0].rpartition("@")[2]:
        raise ValueError(f"names several servers, but neither a cluster nor sentinels; it must look like {FORMS}")
    return Address(Kind.ONE, _options(text))


def _read_many(scheme: str, kind: str, user: str, hosts: str, path: str, query: str) -> Address:
    named = tuple(_host(one, _PORTS[kind]) for one in hosts.split(","))
    login = f"{user}@" if user else ""
    if kind == "cluster":
        if path not in ("", "0"):
            raise ValueError("names a database, and a cluster has only database 0")
        options = _options(f"{scheme}://{login}cluster/0?{query}")
        if options.pop("db", 0):
            raise ValueError("names a database, and a cluster has only database 0")
        return Address(Kind.CLUSTER, _without_host(options), named)
    master, _, database = path.partition("/")
    if not master or (database and not database.isdecimal()):
        raise ValueError("must end with the name of the master and perhaps a database: /mymaster or /mymaster/0")
    options = _without_host(_options(f"{scheme}://{login}sentinel/{database or 0}?{query}"))
    shared = {name: value for name, value in options.items() if name.startswith("ssl_")}
    own = {ours: options.pop(name) for name, ours in _FOR_SENTINELS.items() if name in options}
    return Address(Kind.SENTINEL, options, named, master, {**shared, **own})


def _options(url: str) -> dict[str, Any]:
    options: dict[str, Any] = dict(parse_url(url))
    known = {name: value for name, value in options.items() if name not in (*_FOR_SENTINELS, "connection_class")}
    try:
        # Never connected: it only knows which options there are.
        options.get("connection_class", Connection)(**known)
    except TypeError:
        raise ValueError(f"has options that nobody knows, among {', '.join(sorted(known))}") from None
    return options


def _without_host(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in ("host", "port")}


def _host(text: str, port: int) -> Host:
    found = _HOST.fullmatch(text)
    if not found or int(found[2] or port) not in range(1, 65_536):
        raise ValueError(f"has {text!r} where host:port should be")
    return found[1].strip("[]"), int(found[2] or port)
