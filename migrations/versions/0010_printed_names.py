"""Store the name that a target's picture prints, and find a QR anywhere in a workspace.

Revision: 0010. Made: 2026-11-25.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Neither index is unique: the same QR may stand twice in rows of an older version, or because a caller allowed it.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '10min'")
    op.add_column("targets", sa.Column("printed_name", sa.Text, nullable=True))
    op.create_index(
        op.f("ix_targets_code_id_printed_name"),
        "targets",
        ["code_id", "printed_name"],
        postgresql_where=sa.text("printed_name is not null and removed_at is null"),
    )
    op.create_index(
        op.f("ix_targets_workspace_id_payload"),
        "targets",
        ["workspace_id", "payload"],
        postgresql_where=sa.text("removed_at is null and kind <> 'link'"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '10min'")
    op.drop_index("ix_targets_workspace_id_payload", "targets")
    op.drop_index("ix_targets_code_id_printed_name", "targets")
    op.drop_column("targets", "printed_name")
