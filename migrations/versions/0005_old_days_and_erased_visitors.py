"""Remember what dropped days had counted, and whom to forget.

Revision: 0005. Made: 2026-11-22.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '10min'")
    op.create_table(
        "past_places",
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("target_id", sa.Text, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.Column("rebased_ms", sa.BigInteger, nullable=False),
        sa.Column("rebased_seq", sa.BigInteger, nullable=False),
        sa.Column("rebased_n", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "target_id", name=op.f("pk_past_places")),
    )
    op.create_table(
        "past_kinds",
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("code_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "code_id", "kind", name=op.f("pk_past_kinds")),
    )
    op.create_table(
        "past_adds",
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("adds", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "account_id", "day", name=op.f("pk_past_adds")),
    )
    op.create_table(
        "erasures",
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("tombstone", sa.Text, nullable=False),
        sa.Column("names", pg.ARRAY(sa.Text), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_erasures_workspace_id")),
        sa.PrimaryKeyConstraint("workspace_id", "tombstone", name=op.f("pk_erasures")),
    )
    op.create_index(
        op.f("ix_events_workspace_id_target_id"),
        "events",
        ["workspace_id", "target_id"],
        postgresql_where=sa.text("kind = 'b'"),
    )


def downgrade() -> None:
    # Of days that were dropped nothing is left to recount: an older `huoma verify` names them.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '10min'")
    op.drop_index("ix_events_workspace_id_target_id", "events")
    for table in ("erasures", "past_adds", "past_kinds", "past_places"):
        op.drop_table(table)
