"""Events, which can only be added, and leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "events",
        sa.Column("number", whole, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("rollout", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("device", sa.String(80)),
        sa.Column("runs", sa.String(120)),
        sa.Column("data", sa.JSON(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_rollout", "events", ["rollout"])
    op.create_index("ix_events_device", "events", ["device"])
    op.create_table(
        "leases",
        sa.Column("device", sa.String(400), primary_key=True),
        sa.Column("holder", sa.String(40), nullable=False),
        sa.Column("rollout", sa.String(40), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("boot", sa.String(40), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("beat", sa.Float(53), nullable=False),
    )
    op.create_index("ix_leases_rollout", "leases", ["rollout"])
    for statement in _ONLY_ADDED[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("a ledger is not taken back to an older form")


_ONLY_ADDED = {
    "sqlite": [
        "CREATE TRIGGER events_not_updated BEFORE UPDATE ON events "
        "BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END",
        "CREATE TRIGGER events_not_deleted BEFORE DELETE ON events "
        "BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END",
    ],
    "postgresql": [
        "CREATE FUNCTION jetlane_events_only_added() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'events are only ever added'; END $$",
        "CREATE TRIGGER events_only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON events "
        "FOR EACH STATEMENT EXECUTE FUNCTION jetlane_events_only_added()",
    ],
}
