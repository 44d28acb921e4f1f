"""Say whether the code can use a database as it is: migrated far enough, not too far, and permitted (库结构).

Law: migrations only add, so that code runs on a database that is newer than it is. One that takes something away says
in a comment on `alembic_version` which code it needs at least: `oldest code: 0007`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from app.store.database import Reading
from app.store.refusals import TAKES_NO_WRITES
from app.store.tables import metadata

MIGRATIONS: Final = Path(__file__).parents[2] / "migrations" / "versions"
_SHOWN: Final = 3
_NAMES: Final = re.compile(r"""^(revision|down_revision)\b.*=\s*["'](\w+)["']""", re.MULTILINE)
_OLDEST: Final = re.compile(r"oldest code: (\d+)")

# What the database has is asked of its catalogs, which raises no error where a table is missing.
_LOOK: Final = sa.text("""
    with needed as (
        select t, c, to_regclass(t) as id from unnest(cast(:tables as text[]), cast(:columns as text[])) as named (t, c)
    )
    select to_regclass('alembic_version') is not null as migrated,
        obj_description(to_regclass('alembic_version'), 'pg_class') as comment,
        array(select t || '.' || c from needed where not exists (
            select from pg_attribute where attrelid = id and attname = c and attnum > 0 and not attisdropped
        ) order by 1) as missing,
        array(select distinct t from needed where not (
            has_table_privilege(id, 'select') and has_table_privilege(id, 'insert')
            and has_table_privilege(id, 'update') and has_table_privilege(id, 'delete')
        ) order by 1) as forbidden
""")
# A worker makes and drops days of events, and copies events into a table of its own first.
_RIGHTS: Final = sa.text("""
    select pg_is_in_recovery() or current_setting('transaction_read_only')::boolean as read_only,
        pg_has_role(relowner, 'usage') and has_schema_privilege(relnamespace, 'create') as makes_days,
        has_database_privilege(current_database(), 'temporary') as makes_temporary
    from pg_class where oid = to_regclass('events')
""")


class SchemaError(RuntimeError):
    """Refuse to work on a database that the code cannot use, in one sentence."""


def known(folder: Path = MIGRATIONS) -> dict[str, str | None]:
    """Read which migrations the code comes with, and which one each follows: alembic takes long to import.

    Numbers are no order, since what was written side by side follows as it was merged.
    """
    found: dict[str, str | None] = {}
    for path in folder.glob("[0-9]*_*.py"):
        said = dict(_NAMES.findall(path.read_text(encoding="utf-8")))
        found[said["revision"]] = said.get("down_revision")
    return found


# As of the start of the process: a new version may be put in place while this one runs.
KNOWN: Final = known()
[NEEDED] = KNOWN.keys() - KNOWN.values()


async def problem(connection: Reading) -> str | None:
    """Say in one sentence why the database cannot be used; None when it can.

    Cost: two queries of the catalogs, whatever the database holds. Raises: StoreAway.
    """
    names = [(table.name, column.name) for table in metadata.sorted_tables for column in table.columns]
    found = (
        await connection.execute(
            _LOOK, {"tables": [table for table, _ in names], "columns": [column for _, column in names]}
        )
    ).one()
    if not found.migrated:
        return "The database has not been migrated: run `huoma migrate`."
    revision = await connection.scalar(sa.text("select max(version_num) from alembic_version"))
    return _by_revision(revision, found.comment or "") or _by_look(found.missing, found.forbidden)


async def unwritable(connection: Reading, *, records: bool = False) -> str | None:
    """Say in one sentence why nothing can be written; None when it can. `records` asks for what a worker does, too.

    A standby that becomes the primary mends this by itself, so it is no `problem`. Cost: one query. Raises: StoreAway.
    """
    found = (await connection.execute(_RIGHTS)).one_or_none()
    if found is None:
        return None
    if found.read_only:
        return f"{TAKES_NO_WRITES}."
    if records and not found.makes_days:
        return (
            "The database user of a worker must own the table events and may create tables beside it: let it migrate."
        )
    if records and not found.makes_temporary:
        return "The database user of a worker must be granted TEMPORARY on the database."
    return None


async def insist(connection: Reading) -> None:
    """Refuse a database that the code cannot use. Raises: SchemaError, StoreAway."""
    if said := await problem(connection):
        raise SchemaError(said)


def too_new(revision: str) -> str:
    """Say that another version has migrated the database."""
    return (
        f"The database is at migration {revision}, and this version of huoma knows none after {NEEDED}: "
        "run the version that migrated it, or a newer one."
    )


def _by_revision(revision: str | None, comment: str) -> str | None:
    if not revision:
        return "The database has not been migrated: run `huoma migrate`."
    if revision in KNOWN and revision != NEEDED:
        return (
            f"The database is at migration {revision}, and this version of huoma needs {NEEDED}: run `huoma migrate`."
        )
    oldest = _OLDEST.search(comment)
    if oldest and oldest[1] not in KNOWN:
        return too_new(revision)
    return None


def _by_look(missing: Sequence[str], forbidden: Sequence[str]) -> str | None:
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        named = ", ".join(missing[:_SHOWN]) + more
        return f"The database lacks {named}: restore it, or run `huoma migrate` on an empty one."
    if forbidden:
        return (
            f"The database user may not read and change {', '.join(forbidden[:_SHOWN])}: "
            "grant it SELECT, INSERT, UPDATE and DELETE on the tables of huoma."
        )
    return None
