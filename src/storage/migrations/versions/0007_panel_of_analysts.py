"""A panel's answers, and the version of the instruction behind each answer of a model."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the instruction's version to analyses and news, a panel's verdict to analyses, and the table of answers."""
    for table in ("chart_analyses", "news_articles"):
        column = sa.Column("prompt", sa.String(length=64), server_default=sa.text("''"), nullable=False)
        op.add_column(table, column)
    op.add_column(
        "chart_analyses", sa.Column("counter_argument", sa.Text(), server_default=sa.text("''"), nullable=False)
    )
    op.add_column("chart_analyses", sa.Column("disagreement", sa.Float(), nullable=True))
    op.create_table("panel_answers", *_columns(), sa.PrimaryKeyConstraint("id", name=op.f("pk_panel_answers")))
    op.create_index("ix_panel_answers_analysis_id", "panel_answers", ["analysis_id"])
    op.create_index("ix_panel_answers_time", "panel_answers", ["timestamp", "id"])
    op.create_index("ix_panel_answers_symbol_time", "panel_answers", ["symbol", "timestamp", "id"])


def downgrade() -> None:
    """Drop the table and the columns."""
    op.drop_table("panel_answers")
    op.drop_column("chart_analyses", "disagreement")
    op.drop_column("chart_analyses", "counter_argument")
    for table in ("news_articles", "chart_analyses"):
        op.drop_column(table, "prompt")


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
        sa.Column("analysis_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("prompt", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("recommendation", sa.String(length=4), nullable=True),
        sa.Column("confidence", sa.String(length=8), nullable=True),
        sa.Column("probability_up", sa.Float(), nullable=True),
        *(
            sa.Column(name, sa.Text(), server_default=sa.text("''"), nullable=False)
            for name in ("reason", "counter_argument", "error")
        ),
        sa.Column("input_tokens", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("output_tokens", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("cost_usd", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("latency_ms", sa.Float(), nullable=True),
    ]
