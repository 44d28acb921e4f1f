"""Make room for every kind of code: accounts, channels, menus, fallbacks, access rules, statistics.

Revision: 0002. Made: 2026-11-22.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("channels", "options", "accounts", "stat_hours")
CODE_COLUMNS = ("fallback", "disabled", "opens_at", "closes_at", "new_seats_per_minute", "pass_query")
TARGET_COLUMNS = ("account_id", "shifts", "handicap")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '10min'")
    make_accounts()
    make_channels()
    widen_codes()
    widen_targets()
    op.add_column("events", sa.Column("detail", sa.Text, server_default="", nullable=False))
    make_statistics()
    count_what_happened()


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '10min'")
    op.drop_column("events", "detail")
    op.drop_index("ix_targets_account_id", "targets")
    for column in TARGET_COLUMNS:
        op.drop_column("targets", column)
    for column in CODE_COLUMNS:
        op.drop_column("codes", column)
    for table in reversed(TABLES):
        op.drop_table(table)


def make_accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("daily_cap", sa.BigInteger),
        sa.Column("shifts", pg.JSONB),
        sa.Column("available", sa.Boolean, server_default=sa.text("true"), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True)),
        sa.Column("version", sa.BigInteger, server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("kind in ('wechat', 'wecom')", name=op.f("ck_accounts_kind")),
        sa.CheckConstraint("daily_cap >= 0", name=op.f("ck_accounts_daily_cap")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_accounts_workspace_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
    )
    op.create_index(op.f("ix_accounts_workspace_id_id"), "accounts", ["workspace_id", "id"])


def make_channels() -> None:
    op.create_table(
        "channels",
        sa.Column("code_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["code_id"], ["codes.id"], name=op.f("fk_channels_code_id")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_channels_workspace_id")),
        sa.PrimaryKeyConstraint("code_id", "number", name=op.f("pk_channels")),
    )
    op.create_table(
        "options",
        sa.Column("code_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("workspace_id", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("hint", sa.Text),
        sa.Column("leads_to", sa.Text, nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["code_id"], ["codes.id"], name=op.f("fk_options_code_id")),
        sa.ForeignKeyConstraint(["leads_to"], ["codes.id"], name=op.f("fk_options_leads_to")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_options_workspace_id")),
        sa.PrimaryKeyConstraint("code_id", "number", name=op.f("pk_options")),
    )
    op.create_index(op.f("ix_options_leads_to"), "options", ["leads_to"])


def widen_codes() -> None:
    # Constant defaults: PostgreSQL rewrites no row for them.
    op.add_column("codes", sa.Column("fallback", pg.JSONB))
    op.add_column("codes", sa.Column("disabled", sa.Boolean, server_default=sa.text("false"), nullable=False))
    op.add_column("codes", sa.Column("opens_at", sa.DateTime(timezone=True)))
    op.add_column("codes", sa.Column("closes_at", sa.DateTime(timezone=True)))
    op.add_column("codes", sa.Column("new_seats_per_minute", sa.Integer, server_default="300", nullable=False))
    op.add_column("codes", sa.Column("pass_query", sa.Boolean, server_default=sa.text("false"), nullable=False))


def widen_targets() -> None:
    op.add_column("targets", sa.Column("account_id", sa.Text))
    op.create_foreign_key(op.f("fk_targets_account_id"), "targets", "accounts", ["account_id"], ["id"])
    op.add_column("targets", sa.Column("shifts", pg.JSONB))
    op.add_column("targets", sa.Column("handicap", sa.BigInteger, server_default="0", nullable=False))
    op.create_index(
        op.f("ix_targets_account_id"),
        "targets",
        ["account_id"],
        postgresql_where=sa.text("account_id is not null and removed_at is null"),
    )


def make_statistics() -> None:
    op.create_table(
        "stat_hours",
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
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name=op.f("fk_stat_hours_workspace_id")),
        sa.PrimaryKeyConstraint(
            "code_id", "hour", "kind", "target_id", "channel", "account_id", "client", "detail",
            name=op.f("pk_stat_hours"),
        ),
    )  # fmt: skip
    op.create_index(op.f("ix_stat_hours_workspace_id_hour"), "stat_hours", ["workspace_id", "hour"])


def count_what_happened() -> None:
    # `events` is locked since its new column, so that no drain can add what is not counted here.
    op.execute("""
        insert into stat_hours (
            code_id, hour, kind, target_id, channel, account_id, client, detail, workspace_id, n
        )
        select e.code_id, e.at - (l.clock - date_trunc('hour', l.clock)), e.kind, e.target_id, e.channel, e.account_id,
            e.client, e.detail, e.workspace_id, count(*)
        from events as e join workspaces as w on w.id = e.workspace_id
            cross join lateral (select e.at at time zone w.time_zone) as l (clock)
        where e.kind not in ('b', 'k')
        group by 1, 2, 3, 4, 5, 6, 7, 8, 9
    """)
