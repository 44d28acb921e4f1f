"""Store the time zones that a workspace had before, so that a cap holds across a change.

Revision: 0008. Made: 2026-11-25.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0008"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Constant defaults cost no rewrite, and a process of the version before goes on without the columns.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '10min'")
    op.add_column("workspaces", sa.Column("zone_era", sa.Integer, nullable=False, server_default="0"))
    op.add_column("workspaces", sa.Column("former_zones", pg.JSONB, nullable=False, server_default="[]"))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '10min'")
    op.drop_column("workspaces", "former_zones")
    op.drop_column("workspaces", "zone_era")
