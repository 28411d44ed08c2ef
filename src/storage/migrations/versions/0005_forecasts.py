"""What votes, agent, analysts and news said would happen, and what did."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of forecasts."""
    op.create_table(
        "forecasts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("forecaster", sa.String(length=24), nullable=False),
        sa.Column("model", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("horizon_s", sa.Integer(), nullable=False),
        sa.Column("direction", sa.Integer(), nullable=False),
        sa.Column("probability", sa.Float(), nullable=False),
        sa.Column("price", sa.Float(), nullable=False),
        sa.Column("cost_usd", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", sa.String(length=24), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("outcome_price", sa.Float(), nullable=True),
        sa.Column("return_share", sa.Float(), nullable=True),
        sa.Column("net_share", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forecasts")),
        sa.UniqueConstraint(
            *("bot_id", "mode", "world", "source", "symbol", "forecaster", "model", "horizon_s", "timestamp"),
            name="uq_forecasts_statement",
        ),
    )
    op.create_index("ix_forecasts_scored", "forecasts", ["mode", "world", "source", "status", "timestamp"])
    op.create_index("ix_forecasts_time", "forecasts", ["timestamp", "id"])
    op.create_index("ix_forecasts_symbol_time", "forecasts", ["symbol", "timestamp", "id"])
    op.create_index("ix_forecasts_forecaster_time", "forecasts", ["forecaster", "timestamp", "id"])


def downgrade() -> None:
    """Drop the table with its indexes."""
    op.drop_table("forecasts")
