"""The first fourteen tables, and the circuit breaker's initial row."""

import sqlalchemy as sa
from alembic import op

from src.domain.clock import SystemClock, utc_text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; only here, in a new database, is the breaker armed by anybody but a person."""
    _create_account_balance()
    _create_api_usage()
    _create_bot_status()
    _create_chart_analyses()
    _create_circuit_breaker_events()
    _create_daily_performance()
    _create_market_context()
    _create_news_articles()
    _create_orders()
    _create_positions()
    _create_signals()
    _create_trades()
    _create_training_runs()
    _create_training_episodes()
    _arm_breaker()


def downgrade() -> None:
    """Drop the tables and all that is in them."""
    op.drop_table("training_episodes")
    op.drop_table("training_runs")
    op.drop_table("trades")
    op.drop_table("signals")
    op.drop_table("positions")
    op.drop_table("orders")
    op.drop_table("news_articles")
    op.drop_table("market_context")
    op.drop_table("daily_performance")
    op.drop_table("circuit_breaker_events")
    op.drop_table("chart_analyses")
    op.drop_table("bot_status")
    op.drop_table("api_usage")
    op.drop_table("account_balance")


def _create_account_balance() -> None:
    op.create_table(
        "account_balance",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
        sa.Column("wallet_balance", sa.Numeric(), nullable=False),
        sa.Column("available_balance", sa.Numeric(), nullable=False),
        sa.Column("unrealized_pnl", sa.Numeric(), nullable=False),
        sa.Column("equity", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_balance")),
    )
    op.create_index("ix_account_balance_bot_id_time", "account_balance", ["bot_id", "timestamp", "id"], unique=False)
    op.create_index("ix_account_balance_time", "account_balance", ["timestamp", "id"], unique=False)


def _create_api_usage() -> None:
    op.create_table(
        "api_usage",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
        sa.Column("process", sa.String(length=32), nullable=False),
        sa.Column("service", sa.String(length=32), nullable=False),
        sa.Column("operation", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("input_tokens", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("output_tokens", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("cost_usd", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("cached", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("latency_ms", sa.Float(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_usage")),
    )
    op.create_index("ix_api_usage_service_time", "api_usage", ["service", "timestamp", "id"], unique=False)
    op.create_index("ix_api_usage_time", "api_usage", ["timestamp", "id"], unique=False)


def _create_bot_status() -> None:
    op.create_table(
        "bot_status",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
        sa.Column("process", sa.String(length=32), nullable=False),
        sa.Column("beat_at", sa.String(length=24), nullable=False),
        sa.Column("speed", sa.Float(), server_default=sa.text("1"), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.String(length=24), nullable=False),
        sa.Column("phase", sa.String(length=24), nullable=False),
        sa.Column("cycle_no", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("cycle_started", sa.String(length=24), nullable=True),
        sa.Column("cycle_finished", sa.String(length=24), nullable=True),
        sa.Column("interval_s", sa.Float(), nullable=False),
        sa.Column("last_market", sa.String(length=24), nullable=True),
        sa.Column("last_private", sa.String(length=24), nullable=True),
        sa.Column("last_error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("last_error_at", sa.String(length=24), nullable=True),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("config_hash", sa.String(length=64), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bot_status")),
        sa.UniqueConstraint("bot_id", "process", name=op.f("uq_bot_status_bot_id_process")),
    )


def _create_chart_analyses() -> None:
    op.create_table(
        "chart_analyses",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
        sa.Column("interval", sa.String(length=4), nullable=False),
        sa.Column("candles", sa.Integer(), nullable=False),
        sa.Column("price", sa.Float(), nullable=True),
        sa.Column("analyst", sa.String(length=8), nullable=False),
        sa.Column("model", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("trend", sa.String(length=8), nullable=True),
        sa.Column("recommendation", sa.String(length=4), nullable=True),
        sa.Column("confidence", sa.String(length=8), nullable=True),
        sa.Column("overall_score", sa.Float(), nullable=True),
        sa.Column("support_levels", sa.JSON(), nullable=True),
        sa.Column("resistance_levels", sa.JSON(), nullable=True),
        sa.Column("technical_signals", sa.JSON(), nullable=True),
        sa.Column("summary", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("chart_file", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("input_tokens", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("output_tokens", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("cost_usd", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("latency_ms", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chart_analyses")),
    )
    op.create_index("ix_chart_analyses_symbol_time", "chart_analyses", ["symbol", "timestamp", "id"], unique=False)
    op.create_index("ix_chart_analyses_time", "chart_analyses", ["timestamp", "id"], unique=False)


def _create_circuit_breaker_events() -> None:
    op.create_table(
        "circuit_breaker_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("trigger", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("reset_requested_by", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("reset_requested_ms", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_circuit_breaker_events")),
        sa.UniqueConstraint("bot_id", "version", name=op.f("uq_circuit_breaker_events_bot_id_version")),
    )


def _create_daily_performance() -> None:
    op.create_table(
        "daily_performance",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("start_balance", sa.Numeric(), nullable=True),
        sa.Column("end_equity", sa.Numeric(), nullable=True),
        sa.Column("high_equity", sa.Numeric(), nullable=True),
        sa.Column("low_equity", sa.Numeric(), nullable=True),
        sa.Column("drawdown_share", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("transfers", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("limit_hit", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("realized_pnl", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("won", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("lost", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("fees", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("funding", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("trades", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("wins", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("losses", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("cycles", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("buy_signals", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("sell_signals", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("hold_signals", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("acted", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("vetoed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("strength_sum", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("confidence_sum", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_daily_performance")),
        sa.UniqueConstraint(
            "bot_id", "mode", "world", "symbol", "day", name=op.f("uq_daily_performance_bot_id_mode_world_symbol_day")
        ),
    )
    op.create_index("ix_daily_performance_day", "daily_performance", ["day", "symbol"], unique=False)


def _create_market_context() -> None:
    op.create_table(
        "market_context",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
        sa.Column("btc_price", sa.Float(), nullable=True),
        sa.Column("btc_change_24h", sa.Float(), nullable=True),
        sa.Column("eth_price", sa.Float(), nullable=True),
        sa.Column("eth_change_24h", sa.Float(), nullable=True),
        sa.Column("btc_dominance", sa.Float(), nullable=True),
        sa.Column("fear_greed_index", sa.Integer(), nullable=True),
        sa.Column("market_trend", sa.String(length=16), nullable=False),
        sa.Column("btc_trend", sa.String(length=16), nullable=False),
        sa.Column("market_regime", sa.String(length=16), nullable=False),
        sa.Column("volatility_level", sa.String(length=16), nullable=False),
        sa.Column("sources", sa.JSON(), nullable=False),
        sa.Column("unknown", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_market_context")),
    )
    op.create_index("ix_market_context_bot_id_time", "market_context", ["bot_id", "timestamp", "id"], unique=False)
    op.create_index("ix_market_context_time", "market_context", ["timestamp", "id"], unique=False)


def _create_news_articles() -> None:
    op.create_table(
        "news_articles",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("published_at", sa.String(length=24), nullable=True),
        sa.Column("url_hash", sa.String(length=64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("symbols", sa.JSON(), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("sentiment", sa.String(length=8), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("sentiment_reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("sentiment_mode", sa.String(length=40), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_news_articles")),
        sa.UniqueConstraint("url_hash", name=op.f("uq_news_articles_url_hash")),
    )
    op.create_index("ix_news_articles_published", "news_articles", ["published_at", "id"], unique=False)
    op.create_index("ix_news_articles_sentiment_time", "news_articles", ["sentiment", "timestamp", "id"], unique=False)
    op.create_index("ix_news_articles_source_time", "news_articles", ["source", "timestamp", "id"], unique=False)
    op.create_index("ix_news_articles_time", "news_articles", ["timestamp", "id"], unique=False)


def _create_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("sent_at", sa.String(length=24), nullable=True),
        sa.Column("updated_at", sa.String(length=24), nullable=False),
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
        sa.Column("client_id", sa.String(length=36), nullable=False),
        sa.Column("purpose", sa.String(length=8), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("side", sa.String(length=4), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("trigger_price", sa.Numeric(), nullable=True),
        sa.Column("reduce_only", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("close_position", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("finished", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("order_id", sa.String(length=32), server_default=sa.text("''"), nullable=False),
        sa.Column("spawned_id", sa.String(length=32), server_default=sa.text("''"), nullable=False),
        sa.Column("executed_quantity", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("average_price", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("fees", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("refusal", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
        sa.UniqueConstraint("bot_id", "mode", "world", "client_id", name=op.f("uq_orders_bot_id_mode_world_client_id")),
    )
    op.create_index("ix_orders_bot_id_time", "orders", ["bot_id", "timestamp", "id"], unique=False)
    op.create_index("ix_orders_finished_time", "orders", ["finished", "timestamp", "id"], unique=False)
    op.create_index("ix_orders_purpose_time", "orders", ["purpose", "timestamp", "id"], unique=False)
    op.create_index("ix_orders_status_time", "orders", ["status", "timestamp", "id"], unique=False)
    op.create_index("ix_orders_symbol_time", "orders", ["symbol", "timestamp", "id"], unique=False)
    op.create_index("ix_orders_time", "orders", ["timestamp", "id"], unique=False)


def _create_positions() -> None:
    op.create_table(
        "positions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
        sa.Column("side", sa.String(length=5), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("entry_price", sa.Numeric(), nullable=False),
        sa.Column("mark_price", sa.Numeric(), nullable=False),
        sa.Column("unrealized_pnl", sa.Numeric(), nullable=False),
        sa.Column("leverage", sa.Integer(), nullable=False),
        sa.Column("margin_type", sa.String(length=8), nullable=False),
        sa.Column("position_side", sa.String(length=5), nullable=False),
        sa.Column("liquidation_price", sa.Numeric(), nullable=True),
        sa.Column("stop_price", sa.Numeric(), nullable=True),
        sa.Column("target_price", sa.Numeric(), nullable=True),
        sa.Column("own", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_positions")),
        sa.UniqueConstraint(
            "bot_id",
            "mode",
            "world",
            "symbol",
            "position_side",
            name=op.f("uq_positions_bot_id_mode_world_symbol_position_side"),
        ),
    )


_INDICATORS = (
    "rsi", "macd", "macd_signal", "macd_histogram", "ema_9", "ema_21", "ema_50", "ema_200", "sma_20",
    "bollinger_upper", "bollinger_middle", "bollinger_lower", "atr", "vwap", "stochastic_k", "stochastic_d",
    "volume_mean", "adx", "close", "volume",
)  # fmt: skip


def _create_signals() -> None:
    op.create_table(
        "signals",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("instant_ms", sa.BigInteger(), nullable=False),
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
        sa.Column("price", sa.Float(), nullable=True),
        *(sa.Column(name, sa.Float(), nullable=True) for name in _INDICATORS),
        sa.Column("signal_type", sa.String(length=4), nullable=False),
        sa.Column("strength", sa.Integer(), nullable=False),
        sa.Column("votes", sa.JSON(), nullable=False),
        sa.Column("rl_state", sa.JSON(), nullable=True),
        sa.Column("rl_action", sa.String(length=4), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("explored", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("gates", sa.JSON(), nullable=False),
        sa.Column("gates_failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("veto", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("decision", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("acted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("outcome", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("client_id", sa.String(length=36), nullable=True),
        sa.Column("position_side", sa.String(length=5), nullable=True),
        sa.Column("pnl_unrealized", sa.Numeric(), nullable=True),
        sa.Column("cycle_ms", sa.Float(), nullable=True),
        sa.Column("context_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signals")),
    )
    op.create_index("ix_signals_acted_time", "signals", ["acted", "timestamp", "id"], unique=False)
    op.create_index("ix_signals_bot_id_time", "signals", ["bot_id", "timestamp", "id"], unique=False)
    op.create_index("ix_signals_client_id", "signals", ["client_id"], unique=False)
    op.create_index("ix_signals_signal_type_time", "signals", ["signal_type", "timestamp", "id"], unique=False)
    op.create_index("ix_signals_strength_time", "signals", ["strength", "timestamp", "id"], unique=False)
    op.create_index("ix_signals_symbol_time", "signals", ["symbol", "timestamp", "id"], unique=False)
    op.create_index("ix_signals_time", "signals", ["timestamp", "id"], unique=False)


def _create_trades() -> None:
    op.create_table(
        "trades",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
        sa.Column("side", sa.String(length=5), nullable=False),
        sa.Column("entry_price", sa.Numeric(), nullable=False),
        sa.Column("exit_price", sa.Numeric(), nullable=True),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("leverage", sa.Integer(), nullable=False),
        sa.Column("pnl", sa.Numeric(), nullable=True),
        sa.Column("pnl_percent", sa.Numeric(), nullable=True),
        sa.Column("gross_pnl", sa.Numeric(), nullable=True),
        sa.Column("fees", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("funding", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("exit_reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("status", sa.String(length=6), nullable=False),
        sa.Column("entry_time", sa.String(length=24), nullable=False),
        sa.Column("exit_time", sa.String(length=24), nullable=True),
        sa.Column("stop_price", sa.Numeric(), nullable=True),
        sa.Column("target_price", sa.Numeric(), nullable=True),
        sa.Column("signal_id", sa.BigInteger(), nullable=True),
        sa.Column("entry_client_id", sa.String(length=36), nullable=False),
        sa.Column("exit_client_id", sa.String(length=36), server_default=sa.text("''"), nullable=False),
        sa.Column("stop_client_id", sa.String(length=36), server_default=sa.text("''"), nullable=False),
        sa.Column("target_client_id", sa.String(length=36), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trades")),
        sa.UniqueConstraint(
            "bot_id", "mode", "world", "entry_client_id", name=op.f("uq_trades_bot_id_mode_world_entry_client_id")
        ),
    )
    op.create_index("ix_trades_bot_id_time", "trades", ["bot_id", "timestamp", "id", "pnl"], unique=False)
    op.create_index("ix_trades_side_time", "trades", ["side", "timestamp", "id", "pnl"], unique=False)
    op.create_index("ix_trades_status_time", "trades", ["status", "timestamp", "id", "pnl"], unique=False)
    op.create_index("ix_trades_symbol_time", "trades", ["symbol", "timestamp", "id", "pnl"], unique=False)
    op.create_index("ix_trades_time", "trades", ["timestamp", "id", "pnl"], unique=False)


def _create_training_runs() -> None:
    op.create_table(
        "training_runs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("finished_at", sa.String(length=24), nullable=True),
        sa.Column("bot_id", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("world", sa.String(length=12), nullable=False),
        sa.Column("symbol", sa.String(length=24), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("episodes", sa.Integer(), nullable=False),
        sa.Column("samples", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("data_hash", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("data_start", sa.String(length=24), nullable=True),
        sa.Column("data_end", sa.String(length=24), nullable=True),
        sa.Column("accepted", sa.Boolean(), nullable=True),
        sa.Column("verdict", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=True),
        sa.Column("model_file", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("model_sha256", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_runs")),
    )
    op.create_index("ix_training_runs_bot_id_time", "training_runs", ["bot_id", "timestamp", "id"], unique=False)
    op.create_index("ix_training_runs_time", "training_runs", ["timestamp", "id"], unique=False)


def _create_training_episodes() -> None:
    op.create_table(
        "training_episodes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.String(length=24), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("exploration", sa.Float(), nullable=False),
        sa.Column("reward_mean", sa.Float(), nullable=False),
        sa.Column("win_rate", sa.Float(), nullable=True),
        sa.Column("trades", sa.Integer(), nullable=False),
        sa.Column("net_return", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["training_runs.id"], name=op.f("fk_training_episodes_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_episodes")),
        sa.UniqueConstraint("run_id", "episode", name=op.f("uq_training_episodes_run_id_episode")),
    )


def _arm_breaker() -> None:
    """Written out here, not asked of today's code: what happened to a database stays what it was."""
    now_ms = SystemClock().now_ms()
    birth = {
        "bot_id": "*",
        "mode": "*",
        "world": "*",
        "symbol": "*",
        "timestamp": utc_text(now_ms),
        "version": 1,
        "status": "ARMED",
        "trigger": "start",
        "reason": "The circuit breaker was set up.",
        "since_ms": now_ms,
        "actor": "system",
        "reset_requested_by": "",
        "reset_requested_ms": 0,
    }
    op.bulk_insert(sa.table("circuit_breaker_events", *(sa.column(name) for name in birth)), [birth])
