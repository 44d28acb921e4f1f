"""Look at the servers before a process starts to work on them, and say in one sentence what is wrong with them."""

import logging

from app.counters import refusals as counters
from app.counters.probing import probe
from app.domain.errors import CountersAway, StoreAway
from app.parts import build_parts
from app.settings import Settings
from app.store import refusals as store
from app.store import schema
from app.telemetry import say, set_up_logging


class UnfitError(RuntimeError):
    """Refuse to start, in one sentence: waiting would mend nothing."""


async def check(settings: Settings, *, records: bool = False) -> None:
    """Refuse servers that would stay unfit until an operator does something; `records` is for a worker.

    One that is merely away is waited for by the process itself, which says so: where many start together, as under an
    orchestrator, the order of starts is anybody's.
    Raises: UnfitError — a password, a database, a permission or TLS is wrong, or PostgreSQL takes no writes;
    SchemaError — the database is not what this version needs.
    Cost: a round trip to Redis, up to four queries.
    """
    set_up_logging()
    parts = build_parts(settings)
    try:
        try:
            async with parts.database.reading() as connection:
                await schema.insist(connection)
                if said := await schema.unwritable(connection, records=records):
                    raise UnfitError(said)
        except StoreAway as error:
            if store.lasting(error):
                raise UnfitError(store.why(error)) from None
            say("waits_for_a_server", level=logging.WARNING, which="postgresql", why=why(error))
        try:
            await probe(parts.redis)
        except CountersAway as error:
            if counters.lasting(error):
                raise UnfitError(counters.why(error)) from None
            say("waits_for_a_server", level=logging.WARNING, which="redis", why=why(error))
    finally:
        await parts.close()


def why(error: BaseException) -> str | None:
    """Say in one sentence what a server, a driver or the system has met; None for a fault of our own."""
    if isinstance(error, StoreAway):
        return store.why(error) or "PostgreSQL cannot be reached."
    if isinstance(error, CountersAway):
        return counters.why(error) or "Redis cannot be reached."
    if isinstance(error, OSError):
        return str(error) or type(error).__name__
    return store.why(error) or counters.why(error)
