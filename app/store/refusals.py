"""Say in one sentence what PostgreSQL, or its driver, has refused. The only table of such sentences."""

import ssl
from collections.abc import Iterator
from typing import Final

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

TAKES_NO_WRITES: Final = "PostgreSQL takes no writes here, as a standby does (name the primary in HUOMA_DATABASE_URL)"
# By the beginning of SQLSTATE, the longest first. Source: PostgreSQL manual, appendix A, read 2026-11-25.
_SAYS: Final = {
    "42501": "PostgreSQL forbids the database user what huoma does",
    "42P01": "The database lacks what this version of huoma needs (run `huoma migrate`)",
    "42703": "The database lacks what this version of huoma needs (run `huoma migrate`)",
    "3F": "The database lacks what this version of huoma needs (run `huoma migrate`)",
    "28": "PostgreSQL refuses the user or the password of HUOMA_DATABASE_URL",
    "3D": "PostgreSQL does not have the database of HUOMA_DATABASE_URL",
    "25006": TAKES_NO_WRITES,
}
# Faults of PostgreSQL's machine or of its files, and of PostgreSQL itself.
FAULTS: Final = ("58", "XX")
# What waiting does not mend, and an operator must.
REFUSED: Final = tuple(_SAYS)
_TLS: Final = "PostgreSQL and HUOMA_DATABASE_URL do not agree on TLS"
_AWAY: Final = "PostgreSQL cannot be reached"


def why(error: BaseException) -> str | None:
    """Say what the driver has met; None when the error comes from elsewhere. No sentence holds a password."""
    for one in _chain(error):
        if _is_tls(one):
            return f"{_TLS}: {_line(one)}."
        state = getattr(one, "sqlstate", None)
        if isinstance(one, asyncpg.PostgresError):
            says = next((says for start, says in _SAYS.items() if str(state).startswith(start)), "PostgreSQL refuses")
            return f"{says}: {_line(one)}."
        if isinstance(one, asyncpg.InterfaceError | asyncpg.InternalClientError):
            return f"PostgreSQL, or what answers in its place, is not understood: {_line(one)}."
    if isinstance(error, SQLAlchemyError):
        return f"{_AWAY}: {_line(error)}."
    causes = [one for one in _chain(error) if isinstance(one, OSError | SQLAlchemyError) and str(one)]
    return f"{_AWAY}: {_line(causes[-1])}." if causes else None


def lasting(error: BaseException) -> bool:
    """Return whether the error stays until an operator does something, as a wrong password does."""
    return any(_is_tls(one) or str(getattr(one, "sqlstate", "")).startswith(REFUSED) for one in _chain(error))


def _is_tls(error: BaseException) -> bool:
    return isinstance(error, ssl.SSLError) or (isinstance(error, ConnectionError) and "SSL upgrade" in str(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [getattr(one, "orig", None), one.__cause__]


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")
