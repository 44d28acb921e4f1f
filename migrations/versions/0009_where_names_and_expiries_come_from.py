"""Store where the name and the expiry of a target come from.

Revision: 0009. Made: 2026-11-25.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Columns without a default cost no rewrite, and a process of the version before goes on without them.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '10min'")
    op.add_column("targets", sa.Column("name_source", sa.Text, nullable=True))
    op.add_column("targets", sa.Column("expires_at_source", sa.Text, nullable=True))
    op.add_column("qr_revisions", sa.Column("expires_at_source", sa.Text, nullable=True))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '10min'")
    op.drop_column("qr_revisions", "expires_at_source")
    op.drop_column("targets", "expires_at_source")
    op.drop_column("targets", "name_source")
