"""Declare every table. The migrations must agree with this file; a check compares them."""

from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> sa.Column[str]:
    return sa.Column("id", sa.Text, primary_key=True)


def _instant(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    default = None if nullable else sa.func.now()
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=default)


# Low bits of a version that are random; the bits above are seconds since 1970. Together they fit 53 bits until 2242, so
# that a JSON parser that reads numbers as doubles returns them exactly.
VERSION_RANDOM_BITS: Final = 20


def next_version(version: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """Give what comes after a version: greater, and never a number that stood for other content before.

    PostgreSQL may lose its last commits in a failover. Counting up by one would give their versions again, and a
    process that remembers such a version would go on serving what it stood for.
    """
    second = sa.cast(sa.func.floor(sa.extract("epoch", sa.func.clock_timestamp())), sa.BigInteger)
    chance = sa.cast(sa.func.floor(sa.func.random() * 2**VERSION_RANDOM_BITS), sa.BigInteger)
    return sa.func.greatest(version, second * 2**VERSION_RANDOM_BITS) + 1 + chance


def _workspace() -> sa.Column[str]:
    return sa.Column("workspace_id", sa.Text, sa.ForeignKey("workspaces.id"), nullable=False)


workspaces = sa.Table(
    "workspaces",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("time_zone", sa.Text, nullable=False),
    # How often the zone was changed, and the zones of the last days, as `CapDays` spells them.
    sa.Column("zone_era", sa.Integer, nullable=False, server_default="0"),
    sa.Column("former_zones", pg.JSONB, nullable=False, server_default="[]"),
    sa.Column("defaults", pg.JSONB, nullable=False, server_default="{}"),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
    _instant("created_at"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    _id(),
    _workspace(),
    sa.Column("name", sa.Text, nullable=False),
    # SHA-256 of a key with 238 random bits: nothing to guess, so nothing to slow down.
    sa.Column("hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("hint", sa.Text, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    _instant("created_at"),
    _instant("expires_at", nullable=True),
    _instant("revoked_at", nullable=True),
    sa.CheckConstraint("scope in ('read', 'write', 'admin')", name="scope"),
    sa.Index(None, "workspace_id", "id"),
)

codes = sa.Table(
    "codes",
    metadata,
    _id(),
    _workspace(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("strategy", sa.Text, nullable=False),
    sa.Column("slug", sa.Text, nullable=False, unique=True),
    sa.Column("hold_seconds", sa.Integer, nullable=False),
    sa.Column("sticky_days", sa.Integer, nullable=False),
    # At most one of the two is true; neither goes by the kind of the code.
    sa.Column("wechat_only", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("everywhere", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("landing_title", sa.Text),
    sa.Column("landing_notice", sa.Text),
    # Exactly one of code_id, url and payload; message beside a payload. Null is none.
    sa.Column("fallback", pg.JSONB(none_as_null=True)),
    sa.Column("disabled", sa.Boolean, nullable=False, server_default=sa.false()),
    _instant("opens_at", nullable=True),
    _instant("closes_at", nullable=True),
    sa.Column("new_seats_per_minute", sa.Integer, nullable=False, server_default="300"),
    sa.Column("pass_query", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
    _instant("created_at"),
    _instant("updated_at"),
    _instant("closed_at", nullable=True),
    sa.Index(None, "workspace_id", "id"),
)

# Every slug ever printed, for ever: a closed code keeps its slug, so that no print can come to mean something else.
slugs = sa.Table(
    "slugs",
    metadata,
    sa.Column("slug", sa.Text, primary_key=True),
    _workspace(),
    sa.Column("code_id", sa.Text, sa.ForeignKey("codes.id"), nullable=False),
    # 0 is the code's own slug; channels count from 1.
    sa.Column("channel", sa.Integer, nullable=False, server_default="0"),
    # Differs from an older one in case only: made before slugs were unique without regard to case.
    sa.Column("twin", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index(None, "code_id", "channel", unique=True),
)
sa.Index("ix_slugs_folded", sa.func.lower(slugs.c.slug), unique=True, postgresql_where=sa.text("not twin"))

# Where a code is printed. A number is never given twice, since events name it; the slug is in `slugs`.
channels = sa.Table(
    "channels",
    metadata,
    sa.Column("code_id", sa.Text, sa.ForeignKey("codes.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    _workspace(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("state", sa.Text),
    _instant("created_at"),
    _instant("removed_at", nullable=True),
)

# The choices of a menu. A number is never given twice, since it is part of a link that may be printed.
options = sa.Table(
    "options",
    metadata,
    sa.Column("code_id", sa.Text, sa.ForeignKey("codes.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    _workspace(),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("hint", sa.Text),
    sa.Column("leads_to", sa.Text, sa.ForeignKey("codes.id"), nullable=False),
    _instant("removed_at", nullable=True),
    sa.Index(None, "leads_to"),
)

# Who can be added (员工号). `shifts` as `domain/shifts.py` spells them; null is always. `daily_cap` null is no cap.
accounts = sa.Table(
    "accounts",
    metadata,
    _id(),
    _workspace(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("daily_cap", sa.BigInteger),
    sa.Column("shifts", pg.JSONB(none_as_null=True)),
    sa.Column("available", sa.Boolean, nullable=False, server_default=sa.true()),
    # When one who is away is back by himself.
    _instant("until", nullable=True),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
    _instant("created_at"),
    _instant("updated_at"),
    _instant("removed_at", nullable=True),
    sa.CheckConstraint("kind in ('wechat', 'wecom')", name="kind"),
    sa.CheckConstraint("daily_cap >= 0", name="daily_cap"),
    sa.Index(None, "workspace_id", "id"),
)

targets = sa.Table(
    "targets",
    metadata,
    _id(),
    _workspace(),
    sa.Column("code_id", sa.Text, sa.ForeignKey("codes.id"), nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("member_limit", sa.BigInteger, nullable=False),
    sa.Column("weight", sa.Integer, nullable=False),
    sa.Column("display", sa.Text, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False, server_default="1"),
    _instant("expires_at", nullable=True),
    # Null in rows that an older version wrote, and where there is no expiry.
    sa.Column("name_source", sa.Text),
    sa.Column("expires_at_source", sa.Text),
    # What the picture of the present QR prints, as `group_key` spells it. Null where it is unknown.
    sa.Column("printed_name", sa.Text),
    sa.Column("account_id", sa.Text, sa.ForeignKey("accounts.id")),
    sa.Column("shifts", pg.JSONB(none_as_null=True)),
    # Places that `balance` counts beside those taken.
    sa.Column("handicap", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
    _instant("created_at"),
    _instant("updated_at"),
    _instant("removed_at", nullable=True),
    sa.CheckConstraint("status in ('live', 'paused')", name="status"),
    sa.CheckConstraint("member_limit >= 0", name="member_limit"),
    sa.CheckConstraint("weight > 0", name="weight"),
    sa.Index(None, "code_id", "position", "id"),
    # Asked with every upload: is this very QR there already?
    sa.Index(None, "code_id", "payload", postgresql_where=sa.text("removed_at is null")),
    # Is it in another code, or is this group there under another QR?
    sa.Index(None, "workspace_id", "payload", postgresql_where=sa.text("removed_at is null and kind <> 'link'")),
    sa.Index(
        None, "code_id", "printed_name", postgresql_where=sa.text("printed_name is not null and removed_at is null")
    ),
    sa.Index(None, "workspace_id", "id"),
    sa.Index(None, "account_id", postgresql_where=sa.text("account_id is not null and removed_at is null")),
)

# Every QR a target ever showed (实码). `picture` is the upload with all but its pixels stripped; `expires_at` is what
# the QR itself says, whatever a marketer set on the target.
qr_revisions = sa.Table(
    "qr_revisions",
    metadata,
    sa.Column("target_id", sa.Text, sa.ForeignKey("targets.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    _workspace(),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("picture", sa.LargeBinary),
    sa.Column("picture_media_type", sa.Text),
    _instant("expires_at", nullable=True),
    sa.Column("expires_at_source", sa.Text),
    _instant("created_at"),
)

# Moved by the drain only, but for `members` of a target that is born with some inside.
target_totals = sa.Table(
    "target_totals",
    metadata,
    sa.Column("target_id", sa.Text, sa.ForeignKey("targets.id"), primary_key=True),
    _workspace(),
    sa.Column("code_id", sa.Text, sa.ForeignKey("codes.id"), nullable=False),
    sa.Column("members", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("held", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("seen", sa.BigInteger, nullable=False, server_default="0"),
    sa.Index(None, "code_id"),
    # Counted up again and again: with room beside it, a row's new count touches no index.
    postgresql_with={"fillfactor": 50},
)

code_totals = sa.Table(
    "code_totals",
    metadata,
    sa.Column("code_id", sa.Text, sa.ForeignKey("codes.id"), primary_key=True),
    _workspace(),
    sa.Column("seats", sa.BigInteger, nullable=False, server_default="0"),
)

# What the counters held of a code when it went to rest. `complete` says that they are gone because of it; a row of a
# code that is in Redis again means nothing. `epoch` is the life of the stream, `counts` JSON.
rests = sa.Table(
    "rests",
    metadata,
    sa.Column("code_id", sa.Text, sa.ForeignKey("codes.id"), primary_key=True),
    _workspace(),
    # One for all codes that were tried together.
    sa.Column("token", sa.Text, nullable=False),
    sa.Column("epoch", sa.Text, nullable=False),
    sa.Column("seats", sa.BigInteger, nullable=False),
    sa.Column("base", sa.BigInteger, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("counts", sa.Text, nullable=False),
    sa.Column("seen", sa.LargeBinary, nullable=False),
    sa.Column("complete", sa.Boolean, nullable=False),
    _instant("rested_at"),
)

# Adds an account took on one local day, over all codes.
account_days = sa.Table(
    "account_days",
    metadata,
    _workspace(),
    sa.Column("account_id", sa.Text, nullable=False),
    # Days since 1970-01-01 in the workspace's zone, as the counters name them.
    sa.Column("day", sa.Integer, nullable=False),
    sa.Column("adds", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("workspace_id", "account_id", "day"),
)

# Events counted by the local hour they fall into, an instant, and by all else that a report may ask for. Moved by the
# drain only; kept when events are dropped. No foreign key: it would be looked up for every row.
stat_hours = sa.Table(
    "stat_hours",
    metadata,
    sa.Column("code_id", sa.Text, nullable=False),
    sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("target_id", sa.Text, nullable=False),
    sa.Column("channel", sa.Integer, nullable=False),
    sa.Column("account_id", sa.Text, nullable=False),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("workspace_id", sa.Text, nullable=False),
    sa.Column("n", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("code_id", "hour", "kind", "target_id", "channel", "account_id", "client", "detail"),
    sa.Index(None, "workspace_id", "hour"),
    # Counted up again and again: with room beside it, a row's new count touches no index.
    postgresql_with={"fillfactor": 50},
)

# How far into which life of a workspace's stream the record has come.
stream_positions = sa.Table(
    "stream_positions",
    metadata,
    sa.Column("workspace_id", sa.Text, sa.ForeignKey("workspaces.id"), primary_key=True),
    sa.Column("epoch", sa.Text, nullable=False),
    sa.Column("entry", sa.Text, nullable=False),
    _instant("moved_at"),
)

# Partitioned by day (UTC). No foreign keys: the drain writes it by the ten thousand and it is dropped by the day.
events = sa.Table(
    "events",
    metadata,
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("workspace_id", sa.Text, nullable=False),
    sa.Column("entry_ms", sa.BigInteger, nullable=False),
    sa.Column("entry_seq", sa.BigInteger, nullable=False),
    sa.Column("n", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("code_id", sa.Text, nullable=False),
    sa.Column("target_id", sa.Text, nullable=False),
    sa.Column("account_id", sa.Text, nullable=False),
    sa.Column("day", sa.Integer, nullable=False),
    sa.Column("seat", sa.BigInteger, nullable=False),
    sa.Column("channel", sa.Integer, nullable=False),
    sa.Column("visitor", sa.Text, nullable=False),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False, server_default=""),
    sa.PrimaryKeyConstraint("at", "workspace_id", "entry_ms", "entry_seq", "n"),
    # Few, and the last of a target decides which of its places count: asked for when a day is dropped.
    sa.Index(None, "workspace_id", "target_id", postgresql_where=sa.text("kind = 'b'")),
    postgresql_partition_by="RANGE (at)",
)

# What the events of dropped days had counted, so that the rest can still be compared with totals, hours and adds. Moved
# in the transactions that drop them. Of a target: places seen since the head count that was reported at `rebased_…`,
# its place in the stream, -1 for none.
past_places = sa.Table(
    "past_places",
    metadata,
    sa.Column("workspace_id", sa.Text, primary_key=True),
    sa.Column("target_id", sa.Text, primary_key=True),
    sa.Column("held", sa.BigInteger, nullable=False),
    sa.Column("seen", sa.BigInteger, nullable=False),
    sa.Column("rebased_ms", sa.BigInteger, nullable=False),
    sa.Column("rebased_seq", sa.BigInteger, nullable=False),
    sa.Column("rebased_n", sa.Integer, nullable=False),
)
past_kinds = sa.Table(
    "past_kinds",
    metadata,
    sa.Column("workspace_id", sa.Text, primary_key=True),
    sa.Column("code_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("n", sa.BigInteger, nullable=False),
)
past_adds = sa.Table(
    "past_adds",
    metadata,
    sa.Column("workspace_id", sa.Text, primary_key=True),
    sa.Column("account_id", sa.Text, primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("adds", sa.BigInteger, nullable=False),
)

# Whom the record must not name. `names` are those to be taken out of events, null once that is done; by `tombstone` he
# is known again in events that come later.
erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("workspace_id", sa.Text, sa.ForeignKey("workspaces.id"), primary_key=True),
    sa.Column("tombstone", sa.Text, primary_key=True),
    sa.Column("names", pg.ARRAY(sa.Text)),
    _instant("asked_at"),
)

# Answers to POSTs that carried an Idempotency-Key, so that a repeat changes nothing. A row is written in the
# transaction of what it answers for; no key in clear is ever in a body.
idempotency = sa.Table(
    "idempotency",
    metadata,
    _workspace(),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    # JSON, not JSONB: the repeat is answered with the same fields in the same order.
    sa.Column("body", pg.JSON, nullable=False),
    _instant("created_at"),
    sa.PrimaryKeyConstraint("workspace_id", "key"),
    sa.Index(None, "workspace_id", "created_at"),
)
