"""Signals of other programs, each once."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of external signals."""
    op.create_table(
        "external_signals",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
        sa.Column("source", sa.String(length=24), nullable=False),
        sa.Column("message_key", sa.String(length=64), nullable=False),
        sa.Column("direction", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.String(length=24), nullable=False),
        sa.Column("note", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_external_signals")),
        sa.UniqueConstraint("source", "message_key", name=op.f("uq_external_signals_source_message_key")),
    )
    op.create_index("ix_external_signals_time", "external_signals", ["timestamp", "id"])
    op.create_index("ix_external_signals_symbol_time", "external_signals", ["symbol", "timestamp", "id"])


def downgrade() -> None:
    """Drop the table with its indexes."""
    op.drop_table("external_signals")
