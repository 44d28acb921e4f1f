"""Make the first tables.

Revision: 0001. Made: 2026-11-21.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "workspaces",
    "api_keys",
    "idempotency",
    "codes",
    "slugs",
    "targets",
    "qr_revisions",
    "target_totals",
    "code_totals",
    "account_days",
    "stream_positions",
    "events",
)


def upgrade() -> None:
    # Waiting for a table lock queues every scan's reader behind us, so give up early and let the starter try again.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '10min'")
    make_workspaces()
    make_codes()
    make_targets()
    make_totals()
    make_events()


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '10min'")
    for table in reversed(TABLES):
        op.drop_table(table)


def make_workspaces() -> None:
    op.create_table(
        "workspaces",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("time_zone", sa.Text, nullable=False),
        sa.Column("defaults", pg.JSONB, server_default="{}", nullable=False),
        sa.Column("version", sa.BigInteger, server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspaces")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("scope in ('read', 'write', 'admin')", name=op.f("ck_api_keys_scope")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_api_keys_workspace_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_keys_hash")),
    )
    op.create_index(op.f("ix_api_keys_workspace_id_id"), "api_keys", ["workspace_id", "id"])
    op.create_table(
        "idempotency",
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("body", pg.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_idempotency_workspace_id")),
        sa.PrimaryKeyConstraint("workspace_id", "key", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_workspace_id_created_at"), "idempotency", ["workspace_id", "created_at"])


def make_codes() -> None:
    op.create_table(
        "codes",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("strategy", sa.Text, nullable=False),
        sa.Column("slug", sa.Text, nullable=False),
        sa.Column("hold_seconds", sa.Integer, nullable=False),
        sa.Column("sticky_days", sa.Integer, nullable=False),
        sa.Column("wechat_only", sa.Boolean, server_default=sa.text("false"), nullable=False),
        sa.Column("landing_title", sa.Text, nullable=True),
        sa.Column("landing_notice", sa.Text, nullable=True),
        sa.Column("version", sa.BigInteger, server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_codes_workspace_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_codes")),
        sa.UniqueConstraint("slug", name=op.f("uq_codes_slug")),
    )
    op.create_index(op.f("ix_codes_workspace_id_id"), "codes", ["workspace_id", "id"])
    op.create_table(
        "slugs",
        sa.Column("slug", sa.Text, nullable=False),
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("code_id", sa.Text, nullable=False),
        sa.Column("channel", sa.Integer, server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["code_id"], ["codes.id"], name=op.f("fk_slugs_code_id")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_slugs_workspace_id")),
        sa.PrimaryKeyConstraint("slug", name=op.f("pk_slugs")),
    )
    op.create_index(op.f("ix_slugs_code_id_channel"), "slugs", ["code_id", "channel"], unique=True)


def make_targets() -> None:
    op.create_table(
        "targets",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("code_id", sa.Text, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("member_limit", sa.BigInteger, nullable=False),
        sa.Column("weight", sa.Integer, nullable=False),
        sa.Column("display", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, server_default="1", nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger, server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status in ('live', 'paused')", name=op.f("ck_targets_status")),
        sa.CheckConstraint("member_limit >= 0", name=op.f("ck_targets_member_limit")),
        sa.CheckConstraint("weight > 0", name=op.f("ck_targets_weight")),
        sa.ForeignKeyConstraint(["code_id"], ["codes.id"], name=op.f("fk_targets_code_id")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_targets_workspace_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_targets")),
    )
    op.create_index(
        op.f("ix_targets_code_id_payload"),
        "targets",
        ["code_id", "payload"],
        postgresql_where=sa.text("removed_at is null"),
    )
    op.create_index(op.f("ix_targets_code_id_position_id"), "targets", ["code_id", "position", "id"])
    op.create_index(op.f("ix_targets_workspace_id_id"), "targets", ["workspace_id", "id"])
    op.create_table(
        "qr_revisions",
        sa.Column("target_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("picture", sa.LargeBinary, nullable=True),
        sa.Column("picture_media_type", sa.Text, nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["target_id"], ["targets.id"], name=op.f("fk_qr_revisions_target_id")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_qr_revisions_workspace_id")),
        sa.PrimaryKeyConstraint("target_id", "number", name=op.f("pk_qr_revisions")),
    )


def make_totals() -> None:
    op.create_table(
        "target_totals",
        sa.Column("target_id", sa.Text, nullable=False),
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("code_id", sa.Text, nullable=False),
        sa.Column("members", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("held", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("seen", sa.BigInteger, server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["code_id"], ["codes.id"], name=op.f("fk_target_totals_code_id")),
        sa.ForeignKeyConstraint(["target_id"], ["targets.id"], name=op.f("fk_target_totals_target_id")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_target_totals_workspace_id")),
        sa.PrimaryKeyConstraint("target_id", name=op.f("pk_target_totals")),
    )
    op.create_index(op.f("ix_target_totals_code_id"), "target_totals", ["code_id"])
    op.create_table(
        "code_totals",
        sa.Column("code_id", sa.Text, nullable=False),
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("seats", sa.BigInteger, server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["code_id"], ["codes.id"], name=op.f("fk_code_totals_code_id")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_code_totals_workspace_id")),
        sa.PrimaryKeyConstraint("code_id", name=op.f("pk_code_totals")),
    )
    op.create_table(
        "account_days",
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("adds", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_account_days_workspace_id")),
        sa.PrimaryKeyConstraint("workspace_id", "account_id", "day", name=op.f("pk_account_days")),
    )
    op.create_table(
        "stream_positions",
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("epoch", sa.Text, nullable=False),
        sa.Column("entry", sa.Text, nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_stream_positions_workspace_id")),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_stream_positions")),
    )


def make_events() -> None:
    # No default partition: the drain makes one for each day before it writes, and a row that has none is a mistake.
    op.create_table(
        "events",
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
        sa.PrimaryKeyConstraint("at", "workspace_id", "entry_ms", "entry_seq", "n", name=op.f("pk_events")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index(op.f("ix_events_code_id_at"), "events", ["code_id", "at"])
