"""Deposits and withdrawals, each once, and the equity without them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of payments; say beside each balance how much of it was paid in (null: nobody looked)."""
    op.create_table(
        "transfers",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("transaction_id", sa.String(length=40), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("asset", sa.String(length=16), nullable=False),
        sa.Column("moved_at", sa.String(length=24), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfers")),
        sa.UniqueConstraint(
            "bot_id",
            "mode",
            "world",
            "kind",
            "transaction_id",
            name=op.f("uq_transfers_bot_id_mode_world_kind_transaction_id"),
        ),
    )
    op.add_column("account_balance", sa.Column("transferred", sa.Numeric(), nullable=True))
    op.add_column("daily_performance", sa.Column("high_earned", sa.Numeric(), nullable=True))


def downgrade() -> None:
    """Drop the table and both columns."""
    op.drop_column("daily_performance", "high_earned")
    op.drop_column("account_balance", "transferred")
    op.drop_table("transfers")
