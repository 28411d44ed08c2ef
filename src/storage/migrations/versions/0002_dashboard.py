"""Tables of the dashboard: operator commands, log-ins, and the candles that the bot saw."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the four tables."""
    _create_candles()
    _create_control_requests()
    _create_dashboard_sessions()
    _create_login_attempts()


def downgrade() -> None:
    """Drop the four tables and all that is in them."""
    op.drop_table("login_attempts")
    op.drop_table("dashboard_sessions")
    op.drop_table("control_requests")
    op.drop_table("candles")


def _head(name: str) -> list[SchemaItem]:
    return [
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
    ]


def _owner() -> list[sa.Column[Any]]:
    return [
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
    ]


def _create_candles() -> None:
    op.create_table(
        "candles",
        *_head("candles"),
        *_owner(),
        sa.Column("interval", sa.String(length=4), nullable=False),
        sa.Column("open_ms", sa.BigInteger(), nullable=False),
        sa.Column("open", sa.Float(), nullable=False),
        sa.Column("high", sa.Float(), nullable=False),
        sa.Column("low", sa.Float(), nullable=False),
        sa.Column("close", sa.Float(), nullable=False),
        sa.Column("volume", sa.Float(), nullable=False),
        sa.UniqueConstraint(
            "bot_id",
            "mode",
            "world",
            "symbol",
            "interval",
            "open_ms",
            name=op.f("uq_candles_bot_id_mode_world_symbol_interval_open_ms"),
        ),
    )


def _create_control_requests() -> None:
    op.create_table(
        "control_requests",
        *_head("control_requests"),
        *_owner(),
        sa.Column("request_key", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=24), nullable=False),
        sa.Column("target", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("expires_at", sa.String(length=24), nullable=False),
        sa.Column("status", sa.String(length=8), server_default=sa.text("'waiting'"), nullable=False),
        sa.Column("taken_at", sa.String(length=24), nullable=True),
        sa.Column("finished_at", sa.String(length=24), nullable=True),
        sa.Column("state_before", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("state_after", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("answer", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.UniqueConstraint("request_key", name=op.f("uq_control_requests_request_key")),
    )
    op.create_index("ix_control_requests_bot_id_status", "control_requests", ["bot_id", "status"], unique=False)


def _create_dashboard_sessions() -> None:
    op.create_table(
        "dashboard_sessions",
        *_head("dashboard_sessions"),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.String(length=64), nullable=False),
        sa.Column("last_seen", sa.String(length=24), nullable=False),
        sa.Column("ended_at", sa.String(length=24), nullable=True),
        sa.UniqueConstraint("token_hash", name=op.f("uq_dashboard_sessions_token_hash")),
    )


def _create_login_attempts() -> None:
    op.create_table(
        "login_attempts",
        *_head("login_attempts"),
        sa.Column("origin", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=8), nullable=False),
    )
    op.create_index("ix_login_attempts_time", "login_attempts", ["timestamp", "id"], unique=False)
