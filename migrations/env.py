"""Run migrations on the connection that app/store/migrate.py brings, or on one of our own for the alembic command."""

import asyncio

from alembic import context
from sqlalchemy.engine import Connection

from app.settings import Settings
from app.store.migrate import comparison, locked
from app.store.tables import metadata


def configure_and_run(connection: Connection) -> None:
    options = comparison(connection)
    # In a transaction that is already open, alembic would commit nothing.
    connection.rollback()
    # One transaction for each migration, so that one of them may leave it, as CREATE INDEX CONCURRENTLY must.
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True, **options)
    with context.begin_transaction():
        context.run_migrations()


async def run_by_hand() -> None:
    url = context.get_x_argument(as_dictionary=True).get("url") or Settings.read().database_url
    if not url:
        raise SystemExit("name the database: alembic -x url=postgresql+asyncpg://… or HUOMA_DATABASE_URL")
    await locked(url, configure_and_run)


if context.is_offline_mode():
    raise SystemExit("migrations need a live database: they are applied under a lock")
if (given := context.config.attributes.get("connection")) is not None:
    configure_and_run(given)
else:
    asyncio.run(run_by_hand())
