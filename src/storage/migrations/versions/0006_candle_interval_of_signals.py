"""The timeframe of a signal's indicators, and a person's notes on trades."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the candle interval to signals (null: not recorded) and create the table of trade notes."""
    op.add_column("signals", sa.Column("candle_interval", sa.String(length=4), nullable=True))
    op.create_table(
        "trade_notes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("trade_id", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("tags", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trade_notes")),
        sa.UniqueConstraint("trade_id", name=op.f("uq_trade_notes_trade_id")),
    )


def downgrade() -> None:
    """Drop the table and the column."""
    op.drop_table("trade_notes")
    op.drop_column("signals", "candle_interval")
