"""Let the drain write less: an index that nothing reads goes, and rows that change often get room to change in place.

Revision: 0004. Made: 2026-11-22.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COUNTED = ("stat_hours", "target_totals")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '10min'")
    op.drop_index("ix_events_code_id_at", "events")
    op.drop_constraint("fk_stat_hours_workspace_id", "stat_hours", type_="foreignkey")
    for table in COUNTED:
        op.execute(f"ALTER TABLE {table} SET (fillfactor = 50)")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '10min'")
    for table in COUNTED:
        op.execute(f"ALTER TABLE {table} RESET (fillfactor)")
    op.create_foreign_key("fk_stat_hours_workspace_id", "stat_hours", "workspaces", ["workspace_id"], ["id"])
    op.create_index("ix_events_code_id_at", "events", ["code_id", "at"])
