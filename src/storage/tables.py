"""All tables, declared once; ``storage`` writes them, ``reporting`` reads them."""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.types import TypeEngine

from src.strategy.indicators import Indicators

REVISION = "0008"  # the newest file of migrations/versions; a test compares the two
EVERY = "*"  # a row that concerns every bot, or every symbol of one bot
_DIGITS = Context(prec=15, rounding=ROUND_HALF_EVEN)
_JSON = JSON(none_as_null=True)


class Money(TypeDecorator[Decimal]):
    """Decimal in, the same Decimal out, and still a number to SQL (``SUM``, ``ORDER BY``, ``<``).

    Exact for 15 significant digits, which holds every figure the exchange sends (a wallet of 9,999,999 USDT has
    15 with its 8 decimals). SQLite keeps a double there, and each decimal of 15 digits has a double of its own
    whose shortest text is that decimal again. What has more digits (a mean price of three fills, say) is rounded
    half to even to 15, on every database alike. NaN and infinity are no money: ``ValueError``.
    """

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return NUMERIC; read back as it lies on SQLite, which has no decimals of its own."""
        return dialect.type_descriptor(Numeric(asdecimal=False) if dialect.name == "sqlite" else Numeric())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return what is written for ``value`` (Decimal or int; a float would bring its error along)."""
        if value is None:
            return None
        if not isinstance(value, Decimal | int) or not Decimal(value).is_finite():
            raise ValueError(f"money must be a finite Decimal, not {value!r}")
        rounded = _DIGITS.create_decimal(value)
        return float(rounded) if dialect.name == "sqlite" else rounded

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Return the Decimal that was written."""
        if value is None or isinstance(value, Decimal):
            return value
        return _DIGITS.create_decimal(repr(value))  # takes off what adding doubles left behind a SUM, too


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _instant(name: str = "timestamp", nullable: bool = False) -> Column[str]:
    """UTC text with milliseconds (``2026-11-22T10:30:15.000Z``): sorts by time, and SQL's DATE() reads it."""
    return Column(name, String(24), nullable=nullable)


def _id() -> Column[int]:
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


def _owner() -> list[Column[Any]]:
    """The owner of the row: the bot, its mode (paper, testnet, live) and its market (``world``)."""
    return [
        Column("bot_id", String(64), nullable=False),
        Column("mode", String(8), nullable=False),
        Column("world", String(12), nullable=False),
        Column("symbol", String(24), nullable=False),
    ]


def _money(name: str, nullable: bool = True, start: str | None = None) -> Column[Any]:
    return Column(name, Money(), nullable=nullable, server_default=text(start) if start else None)


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text("0"))


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=false())


def _words(name: str, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable, server_default=None if nullable else text("''"))


def _newest_first(table: str, *keys: str, and_so: tuple[str, ...] = ()) -> list[Index]:
    """One index for each key (and one for all rows) in the order of time: a page needs no sorting.

    ``and_so`` are columns by which an index filters rows before it looks them up.
    """
    leads: list[tuple[str, ...]] = [(), *((key,) for key in keys)]
    return [
        Index(
            f"ix_{table}_{'_'.join((*lead, 'time'))}",
            *(*lead, "timestamp", "id"),
            *(each for each in and_so if each not in lead),
        )
        for lead in leads
    ]


signals = Table(
    "signals",
    metadata,
    _id(),
    _instant(),
    Column("instant_ms", BigInteger, nullable=False),
    *_owner(),
    Column("price", Float),
    *(Column(name, Float) for name in Indicators._fields),
    Column("signal_type", String(4), nullable=False),
    Column("strength", Integer, nullable=False),
    Column("votes", _JSON, nullable=False),
    Column("rl_state", _JSON),
    Column("rl_action", String(4), nullable=False),
    Column("confidence", Float, nullable=False),
    _flag("explored"),
    Column("gates", _JSON, nullable=False),
    _count("gates_failed"),
    _words("veto"),
    Column("decision", String(12), nullable=False),
    _words("reason"),
    _flag("acted"),
    _words("outcome"),
    Column("client_id", String(36)),
    Column("position_side", String(5)),
    _money("pnl_unrealized"),
    Column("cycle_ms", Float),
    Column("context_id", BigInteger),
    Column("candle_interval", String(4)),  # of the candles behind the indicators; null in rows older than the column
    *_newest_first(
        "signals",
        *("symbol", "bot_id", "signal_type", "strength", "acted"),
        and_so=("mode", "world", "symbol", "signal_type", "strength", "acted"),
    ),
    Index("ix_signals_client_id", "client_id"),
)

trades = Table(
    "trades",
    metadata,
    _id(),
    _instant(),  # of the exit; while the trade is open, of the entry
    *_owner(),
    Column("side", String(5), nullable=False),
    _money("entry_price", nullable=False),
    _money("exit_price"),
    _money("quantity", nullable=False),
    Column("leverage", Integer, nullable=False),
    _money("pnl"),
    _money("pnl_percent"),
    _money("gross_pnl"),
    _money("fees", nullable=False, start="0"),
    _money("funding", nullable=False, start="0"),
    _words("exit_reason"),
    Column("status", String(6), nullable=False),
    _instant("entry_time"),
    _instant("exit_time", nullable=True),
    _money("stop_price"),
    _money("target_price"),
    Column("signal_id", BigInteger),
    Column("entry_client_id", String(36), nullable=False),
    *(
        Column(name, String(36), nullable=False, server_default=text("''"))
        for name in ("exit_client_id", "stop_client_id", "target_client_id")
    ),
    UniqueConstraint("bot_id", "mode", "world", "entry_client_id"),
    *_newest_first(
        "trades",
        *("symbol", "bot_id", "status", "side"),
        and_so=("mode", "world", "symbol", "status", "side", "pnl"),
    ),
)

orders = Table(
    "orders",
    metadata,
    _id(),
    _instant(),  # of the decision
    _instant("sent_at", nullable=True),
    _instant("updated_at"),
    *_owner(),
    Column("client_id", String(36), nullable=False),
    Column("purpose", String(8), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("side", String(4), nullable=False),
    _money("quantity", nullable=False),
    _money("trigger_price"),
    _flag("reduce_only"),
    _flag("close_position"),
    Column("status", String(16), nullable=False),
    _flag("finished"),
    Column("order_id", String(32), nullable=False, server_default=text("''")),
    Column("spawned_id", String(32), nullable=False, server_default=text("''")),
    _money("executed_quantity", nullable=False, start="0"),
    _money("average_price", nullable=False, start="0"),
    _money("fees", nullable=False, start="0"),
    _words("reason"),
    _words("refusal"),
    UniqueConstraint("bot_id", "mode", "world", "client_id"),
    *_newest_first("orders", "symbol", "bot_id", "status", "finished", "purpose"),
)

positions = Table(
    "positions",
    metadata,
    _id(),
    _instant(),
    *_owner(),
    Column("side", String(5), nullable=False),
    _money("quantity", nullable=False),
    _money("entry_price", nullable=False),
    _money("mark_price", nullable=False),
    _money("unrealized_pnl", nullable=False),
    Column("leverage", Integer, nullable=False),
    Column("margin_type", String(8), nullable=False),
    Column("position_side", String(5), nullable=False),
    _money("liquidation_price"),
    _money("stop_price"),
    _money("target_price"),
    Column("own", Boolean, nullable=False),
    UniqueConstraint("bot_id", "mode", "world", "symbol", "position_side"),
)

account_balance = Table(
    "account_balance",
    metadata,
    _id(),
    _instant(),
    *_owner(),
    _money("wallet_balance", nullable=False),
    _money("available_balance", nullable=False),
    _money("unrealized_pnl", nullable=False),
    _money("equity", nullable=False),
    _money("transferred"),  # net transfers so far; null: not queried
    *_newest_first("account_balance", "bot_id"),
)

# What other programs said of a contract (bot_id "*": of every bot), each message once.
external_signals = Table(
    "external_signals",
    metadata,
    _id(),
    _instant(),  # when it was received, in the market's time
    *_owner(),
    Column("source", String(24), nullable=False),
    Column("message_key", String(64), nullable=False),
    Column("direction", Integer, nullable=False),
    _instant("sent_at"),  # what the sender's own clock said
    _words("note"),
    UniqueConstraint("source", "message_key"),
    *_newest_first("external_signals", "symbol"),
)

# Deposits and withdrawals of an account (symbol "*"), identified by the exchange's own id. Transfers before the bot's
# very first start are part of its starting balance and are not counted.
transfers = Table(
    "transfers",
    metadata,
    _id(),
    _instant(),  # when the bot noticed it; counts in ``transfers`` of that day
    *_owner(),
    Column("kind", String(40), nullable=False),
    Column("transaction_id", String(40), nullable=False),
    _money("amount", nullable=False),
    Column("asset", String(16), nullable=False),
    _instant("moved_at"),
    Column("counted", Boolean, nullable=False),
    UniqueConstraint("bot_id", "mode", "world", "kind", "transaction_id"),
)

# One row a day for the account (symbol "*": equity) and one for each symbol (running counts, kept in the same
# transaction as what they count): a summary of a million signals reads a few hundred rows.
daily_performance = Table(
    "daily_performance",
    metadata,
    _id(),
    _instant(),
    *_owner(),
    Column("day", String(10), nullable=False),
    _money("start_balance"),
    _money("end_equity"),
    _money("high_equity"),
    _money("low_equity"),
    _money("high_earned"),  # the highest equity without deposits and withdrawals
    Column("drawdown_share", Float, nullable=False, server_default=text("0")),
    _money("transfers", nullable=False, start="0"),
    _flag("limit_hit"),
    _money("realized_pnl", nullable=False, start="0"),
    _money("won", nullable=False, start="0"),
    _money("lost", nullable=False, start="0"),
    _money("fees", nullable=False, start="0"),
    _money("funding", nullable=False, start="0"),
    _count("trades"),
    _count("wins"),
    _count("losses"),
    _count("cycles"),
    _count("buy_signals"),
    _count("sell_signals"),
    _count("hold_signals"),
    _count("acted"),
    _count("vetoed"),
    _count("strength_sum"),
    Column("confidence_sum", Float, nullable=False, server_default=text("0")),
    UniqueConstraint("bot_id", "mode", "world", "symbol", "day"),
    Index("ix_daily_performance_day", "day", "symbol"),
)

market_context = Table(
    "market_context",
    metadata,
    _id(),
    _instant(),
    *_owner(),
    *(Column(name, Float) for name in ("btc_price", "btc_change_24h", "eth_price", "eth_change_24h")),
    Column("btc_dominance", Float),
    Column("fear_greed_index", Integer),
    *(
        Column(name, String(16), nullable=False)
        for name in ("market_trend", "btc_trend", "market_regime", "volatility_level")
    ),
    Column("sources", _JSON, nullable=False),
    Column("unknown", _JSON, nullable=False),
    *_newest_first("market_context", "bot_id"),
)

chart_analyses = Table(
    "chart_analyses",
    metadata,
    _id(),
    _instant(),
    *_owner(),
    Column("interval", String(4), nullable=False),
    Column("candles", Integer, nullable=False),
    Column("price", Float),
    Column("analyst", String(8), nullable=False),
    Column("model", String(64), nullable=False, server_default=text("''")),
    Column("status", String(8), nullable=False),
    Column("trend", String(8)),
    Column("recommendation", String(4)),
    Column("confidence", String(8)),
    Column("overall_score", Float),
    Column("support_levels", _JSON),
    Column("resistance_levels", _JSON),
    Column("technical_signals", _JSON),
    _words("summary"),
    _words("chart_file"),
    _words("error"),
    _count("input_tokens"),
    _count("output_tokens"),
    _money("cost_usd", nullable=False, start="0"),
    Column("latency_ms", Float),
    Column("prompt", String(64), nullable=False, server_default=text("''")),  # of the model: name and version
    _words("counter_argument"),
    Column("disagreement", Float),  # the share of a panel that recommends otherwise; null: no panel
    *_newest_first("chart_analyses", "symbol"),
)

# What each analyst of a panel said of one chart: rows of one analysis share ``analysis_id``.
panel_answers = Table(
    "panel_answers",
    metadata,
    _id(),
    _instant(),
    *_owner(),
    Column("analysis_id", BigInteger, nullable=False),
    Column("role", String(16), nullable=False),
    Column("model", String(64), nullable=False, server_default=text("''")),
    Column("prompt", String(64), nullable=False, server_default=text("''")),
    Column("status", String(8), nullable=False),
    Column("recommendation", String(4)),
    Column("confidence", String(8)),
    Column("probability_up", Float),
    _words("reason"),
    _words("counter_argument"),
    _words("error"),
    _count("input_tokens"),
    _count("output_tokens"),
    _money("cost_usd", nullable=False, start="0"),
    Column("latency_ms", Float),
    Index("ix_panel_answers_analysis_id", "analysis_id"),
    *_newest_first("panel_answers", "symbol"),
)

news_articles = Table(
    "news_articles",
    metadata,
    _id(),
    _instant(),  # when it was fetched
    _instant("published_at", nullable=True),
    Column("url_hash", String(64), nullable=False, unique=True),
    Column("url", Text, nullable=False),
    Column("source", String(64), nullable=False),
    Column("title", Text, nullable=False),
    _words("summary"),
    Column("symbols", _JSON, nullable=False),
    Column("world", String(12), nullable=False),
    Column("sentiment", String(8)),
    Column("confidence", Float),
    Column("score", Float),
    _words("sentiment_reason"),
    Column("sentiment_mode", String(40), nullable=False, server_default=text("''")),
    Column("prompt", String(64), nullable=False, server_default=text("''")),
    Index("ix_news_articles_published", "published_at", "id"),
    *_newest_first("news_articles", "source", "sentiment"),
)

forecasts = Table(
    "forecasts",
    metadata,
    _id(),
    _instant(),  # the close of the last candle that was known
    *_owner(),
    Column("source", String(8), nullable=False),  # live, or past: filled from past candles
    Column("forecaster", String(24), nullable=False),
    Column("model", String(64), nullable=False, server_default=text("''")),
    Column("horizon_s", Integer, nullable=False),
    Column("direction", Integer, nullable=False),
    Column("probability", Float, nullable=False),
    Column("price", Float, nullable=False),
    _money("cost_usd", nullable=False, start="0"),
    _instant("due_at"),
    Column("status", String(8), nullable=False),  # open, settled, missed
    Column("outcome_price", Float),
    Column("return_share", Float),
    Column("net_share", Float),
    UniqueConstraint(
        *("bot_id", "mode", "world", "source", "symbol", "forecaster", "model", "horizon_s", "timestamp"),
        name="uq_forecasts_statement",
    ),
    Index("ix_forecasts_scored", "mode", "world", "source", "status", "timestamp"),
    *_newest_first("forecasts", "symbol", "forecaster"),
)

training_runs = Table(
    "training_runs",
    metadata,
    _id(),
    _instant(),  # of its start
    _instant("finished_at", nullable=True),
    *_owner(),
    Column("source", String(200), nullable=False),
    Column("status", String(8), nullable=False),
    Column("episodes", Integer, nullable=False),
    _count("samples"),
    Column("seed", BigInteger, nullable=False),
    Column("data_hash", String(64), nullable=False, server_default=text("''")),
    _instant("data_start", nullable=True),
    _instant("data_end", nullable=True),
    Column("accepted", Boolean),
    _words("verdict"),
    Column("metrics", _JSON),
    _words("model_file"),
    Column("model_sha256", String(64), nullable=False, server_default=text("''")),
    *_newest_first("training_runs", "bot_id"),
)

training_episodes = Table(
    "training_episodes",
    metadata,
    _id(),
    _instant(),
    Column("run_id", BigInteger().with_variant(Integer, "sqlite"), ForeignKey("training_runs.id"), nullable=False),
    Column("episode", Integer, nullable=False),
    Column("exploration", Float, nullable=False),
    Column("reward_mean", Float, nullable=False),
    Column("win_rate", Float),
    Column("trades", Integer, nullable=False),
    Column("net_return", Float),
    UniqueConstraint("run_id", "episode"),
)

bot_status = Table(
    "bot_status",
    metadata,
    _id(),
    _instant(),  # of the last heartbeat, in the exchange's time
    *_owner(),
    Column("process", String(32), nullable=False),
    _instant("beat_at"),  # the same moment by the machine's clock
    Column("speed", Float, nullable=False, server_default=text("1")),
    Column("pid", Integer, nullable=False),
    _instant("started_at"),
    Column("phase", String(24), nullable=False),
    _count("cycle_no"),
    _instant("cycle_started", nullable=True),
    _instant("cycle_finished", nullable=True),
    Column("interval_s", Float, nullable=False),
    _instant("last_market", nullable=True),
    _instant("last_private", nullable=True),
    _words("last_error"),
    _instant("last_error_at", nullable=True),
    Column("version", String(32), nullable=False),
    Column("config_hash", String(64), nullable=False),
    Column("details", _JSON, nullable=False),
    UniqueConstraint("bot_id", "process"),
)

circuit_breaker_events = Table(
    "circuit_breaker_events",
    metadata,
    _id(),
    _instant(),
    *_owner(),
    Column("version", Integer, nullable=False),
    Column("status", String(8), nullable=False),
    Column("trigger", String(32), nullable=False),
    _words("reason"),
    Column("since_ms", BigInteger, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("reset_requested_by", String(64), nullable=False, server_default=text("''")),
    Column("reset_requested_ms", BigInteger, nullable=False, server_default=text("0")),
    UniqueConstraint("bot_id", "version"),
)

api_usage = Table(
    "api_usage",
    metadata,
    _id(),
    _instant(),
    *_owner(),
    Column("process", String(32), nullable=False),
    Column("service", String(32), nullable=False),
    Column("operation", String(64), nullable=False),
    Column("model", String(64), nullable=False, server_default=text("''")),
    _count("input_tokens"),
    _count("output_tokens"),
    _money("cost_usd", nullable=False, start="0"),
    _flag("cached"),
    Column("latency_ms", Float),
    Column("outcome", String(16), nullable=False),
    _words("error"),
    *_newest_first("api_usage", "service"),
)

# The command queue: the dashboard writes a command, the bot executes it and writes the result into the row.
control_requests = Table(
    "control_requests",
    metadata,
    _id(),
    _instant(),  # of the command, by the machine's clock, as all instants of this table
    *_owner(),
    Column("request_key", String(64), nullable=False, unique=True),
    Column("action", String(24), nullable=False),
    Column("target", String(64), nullable=False, server_default=text("''")),
    Column("actor", String(64), nullable=False),
    Column("origin", String(64), nullable=False, server_default=text("''")),
    _instant("expires_at"),
    Column("status", String(8), nullable=False, server_default=text("'waiting'")),
    _instant("taken_at", nullable=True),
    _instant("finished_at", nullable=True),
    _words("state_before"),
    _words("state_after"),
    _words("answer"),
    Index("ix_control_requests_bot_id_status", "bot_id", "status"),
)

dashboard_sessions = Table(
    "dashboard_sessions",
    metadata,
    _id(),
    _instant(),  # of the log-in
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("origin", String(64), nullable=False),
    _instant("last_seen"),
    _instant("ended_at", nullable=True),
)

login_attempts = Table(
    "login_attempts",
    metadata,
    _id(),
    _instant(),
    Column("origin", String(64), nullable=False),
    Column("outcome", String(8), nullable=False),
    Index("ix_login_attempts_time", "timestamp", "id"),
)

# The candles that the bot itself received: the dashboard draws these and needs no exchange.
candles = Table(
    "candles",
    metadata,
    _id(),
    _instant(),  # of its first moment
    *_owner(),
    Column("interval", String(4), nullable=False),
    Column("open_ms", BigInteger, nullable=False),
    *(Column(name, Float, nullable=False) for name in ("open", "high", "low", "close", "volume")),
    UniqueConstraint("bot_id", "mode", "world", "symbol", "interval", "open_ms"),
)

# A person's note on a trade: one row per trade, replaced by the next edit.
trade_notes = Table(
    "trade_notes",
    metadata,
    _id(),
    _instant(),  # of the last edit, by the machine's clock
    Column("trade_id", BigInteger, nullable=False, unique=True),
    _words("note"),
    Column("tags", _JSON, nullable=False),
    Column("actor", String(64), nullable=False),
)
