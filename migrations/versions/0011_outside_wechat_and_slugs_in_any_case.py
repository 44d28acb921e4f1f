"""Say which codes give something outside WeChat, too; find slugs in any case of letters.

Codes that stored `wechat_only = false` stored yesterday's default, which nothing tells from a choice: they go by their
kind from now on.

Revision: 0011. Made: 2026-11-25.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '10min'")
    op.add_column("codes", sa.Column("everywhere", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("slugs", sa.Column("twin", sa.Boolean, nullable=False, server_default=sa.false()))
    # Ids of codes grow with time: the oldest of several that differ in case only is found in any case.
    op.execute(
        "UPDATE slugs SET twin = true FROM (SELECT slug, row_number() OVER "
        "(PARTITION BY lower(slug) ORDER BY code_id, channel, slug) AS place FROM slugs) AS family "
        "WHERE family.slug = slugs.slug AND family.place > 1"
    )
    op.create_index(
        "ix_slugs_folded", "slugs", [sa.text("lower(slug)")], unique=True, postgresql_where=sa.text("not twin")
    )


def downgrade() -> None:
    # Codes that were to give something everywhere do so by the version before.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_slugs_folded", "slugs")
    op.drop_column("slugs", "twin")
    op.drop_column("codes", "everywhere")
