"""A database in which a bot has lived for a while, and the dashboard on it, with a clock that can be moved."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import delete, insert, update

from src.dashboard.app import create_app
from src.dashboard.context import DashboardContext, make_context
from src.dashboard.server import DashboardServer
from src.domain.clock import SystemClock, utc_text
from src.domain.market import Candle
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.rows import (
    ApiUsage,
    ChartAnalysis,
    Heartbeat,
    NewsArticle,
    Owner,
    TrainingEnd,
    TrainingEpisode,
    TrainingStart,
)
from src.storage.tables import (
    account_balance,
    candles,
    circuit_breaker_events,
    daily_performance,
    market_context,
    orders,
    positions,
    signals,
    trades,
)
from src.strategy.indicators import EMPTY, Indicators, step
from tests.world import walk

PIN = "open-sesame-42"
KEY = "k" * 40
SYMBOL = "BTCUSDT"
OWNER = Owner("main", "paper", "synthetic")
MINUTE_MS = 60_000
SEEN = 720
EVIL = '<img src=x onerror="document.title=1">'


class MovedClock:
    """The machine's clock, moved ahead by as many seconds as a test wants."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now_ms(self) -> int:
        """Return the moved instant."""
        return SystemClock().now_ms() + round(self.ahead_s * 1000)

    def wait(self, stop: threading.Event, duration_ms: float) -> bool:
        """Wait in real time."""
        return stop.wait(duration_ms / 1000)


def settings_for(folder: Path, **changes: Any) -> Settings:
    """Return settings that read no file and no environment but what is given."""
    given = {
        "trading_mode": "paper",
        "bot_id": "main",
        "database_url": f"sqlite:///{folder / 'scene.db'}",
        "bot_control_pin": SecretStr(PIN),
        "flask_secret_key": SecretStr(KEY),
        "dashboard_port": 0,
        "log_dir": folder / "logs",
        "state_dir": folder / "state",
    }
    return Settings(_env_file=None, **(given | changes))


@dataclass
class Scene:
    """One database and one dashboard; ``now_ms`` is the instant at which the bot last spoke."""

    dashboard_context: DashboardContext
    clock: MovedClock
    now_ms: int
    owner: Owner = OWNER
    address: str = ""
    candles: list[Candle] = field(default_factory=list)
    indicators: list[Indicators] = field(default_factory=list)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def process(self, name: str) -> int:
        """Return the number of a process that looks like the named one, and does nothing but live."""
        if name not in self.processes:
            sleep = shutil.which("sleep")
            self.processes[name] = subprocess.Popen([f"src/{name}.py", "600"], executable=sleep)
        return self.processes[name].pid

    def end_processes(self) -> None:
        """End what stands for the bots."""
        for each in self.processes.values():
            each.kill()
            each.wait(5)

    @property
    def database(self) -> TradingDatabase:
        """The database, for writing rows."""
        return self.dashboard_context.database

    def at(self, ago_s: float) -> str:
        """Return the instant so many seconds before the bot last spoke."""
        return utc_text(self.now_ms - round(ago_s * 1000))

    def put(self, table: Any, symbol: str = SYMBOL, **row: Any) -> None:
        """Write one row of this owner's."""
        whole = self.owner.columns(symbol) | row
        self.database.write(lambda connection: connection.execute(insert(table), whole))

    def clear(self, *tables: Any) -> None:
        """Empty tables."""
        for table in tables:
            self.database.write(lambda connection, table=table: connection.execute(delete(table)))

    def change(self, table: Any, **values: Any) -> None:
        """Change every row of a table."""
        self.database.write(lambda connection: connection.execute(update(table).values(**values)))

    def beat(self, ago_s: float = 2.0, process: str = "trading_bot", **changes: Any) -> None:
        """Let a process have spoken."""
        told: dict[str, Any] = {
            "timestamp": self.at(ago_s),
            "beat_at": self.at(ago_s),
            "process": process,
            "pid": self.process(process),
            "started_at": self.at(7_200),
            "phase": "waiting",
            "version": "0.1.0",
            "config_hash": "abcdef123456",
            "interval_s": 60.0 if process == "trading_bot" else 900.0,
            "cycle_no": 120,
            "cycle_started": self.at(5),
            "cycle_finished": self.at(4),
            "last_market": self.at(3),
            "last_private": self.at(20),
            "details": self.details() if process == "trading_bot" else {},
        }
        if told["details"] and "details" in changes:
            changes["details"] = told["details"] | changes["details"]
        self.database.heartbeat(Heartbeat(**(told | changes)))
        self.database.flush()

    def details(self) -> dict[str, Any]:
        """Return what the bot says beside its columns."""
        mark = {"mark": "63120.1", "as_of": self.at(3), "funding_rate": "0.0001", "next_funding": self.at(-3_600)}
        return {
            "halts": {SYMBOL: ""},
            "cycle_ms": {SYMBOL: 0.9},
            "marks": {SYMBOL: mark},
            "instruments": {SYMBOL: {"tick": "0.1", "step": "0.001", "base": "BTC"}},
            "pause": "",
            "rules": "safety_first",
        }

    def balance(self, ago_s: float = 4.0, equity: str = "10120.55") -> None:
        """Let the account have been looked at."""
        self.put(
            account_balance,
            "*",
            timestamp=self.at(ago_s),
            wallet_balance=Decimal("10100.25"),
            available_balance=Decimal("9469.05"),
            unrealized_pnl=Decimal(equity) - Decimal("10100.25"),
            equity=Decimal(equity),
        )

    def position(self, symbol: str = SYMBOL, side: str = "LONG", **changes: Any) -> None:
        """Let a position be open at the exchange and in the journal."""
        row = {
            "timestamp": self.at(4),
            "side": side,
            "quantity": Decimal("0.1"),
            "entry_price": Decimal("62917.1"),
            "mark_price": Decimal("63120.1"),
            "unrealized_pnl": Decimal("20.3"),
            "leverage": 10,
            "margin_type": "CROSSED",
            "position_side": "BOTH",
            "liquidation_price": Decimal("40000"),
            "stop_price": Decimal("61658.7"),
            "target_price": Decimal("66062.9"),
            "own": True,
        }
        self.put(positions, symbol, **(row | changes))
        if changes.get("own", True):
            self.trade(0, symbol=symbol, status="open", side=side, entry_ago_s=1_800)

    def trade(
        self, number: int, *, symbol: str = SYMBOL, status: str = "closed", side: str = "LONG", pnl: str = "12.5",
        entry_ago_s: float = 900, reason: str = "take_profit", **changes: Any,
    ) -> None:  # fmt: skip
        """Let a round trip have been made; ``changes`` are columns."""
        ended = status == "closed"
        exit_time = self.at(entry_ago_s - 300) if ended else None
        result = Decimal(pnl)
        row: dict[str, Any] = {
            "timestamp": exit_time or self.at(entry_ago_s),
            "side": side,
            "entry_price": Decimal("62917.1"),
            "exit_price": Decimal("63042.1") if ended else None,
            "quantity": Decimal("0.1"),
            "leverage": 10,
            "pnl": result if ended else None,
            "pnl_percent": Decimal("1.9867") if ended else None,
            "gross_pnl": result + Decimal("5.04") if ended else None,
            "fees": Decimal("5.04") if ended else Decimal("2.52"),
            "exit_reason": reason if ended else "",
            "status": status,
            "entry_time": self.at(entry_ago_s),
            "exit_time": exit_time,
            "stop_price": Decimal("61658.7"),
            "target_price": Decimal("66062.9"),
            "entry_client_id": f"{symbol}-{status}-{number}",
        }
        row |= changes
        self.put(trades, symbol, **row)
        if ended:
            self._count(symbol, exit_time or "", result, row["fees"], row.get("funding", Decimal(0)))

    def _count(self, symbol: str, moment: str, pnl: Decimal, fees: Decimal, funding: Decimal) -> None:
        from src.domain.clock import instant_of, utc_day
        from src.storage.daily_repository import DailyRepository

        day, days = utc_day(instant_of(moment)), DailyRepository(self.owner, self.clock)
        sums = {
            "trades": 1, "wins": int(pnl > 0), "losses": int(pnl < 0), "realized_pnl": pnl,
            "won": max(pnl, Decimal(0)), "lost": min(pnl, Decimal(0)), "fees": fees, "funding": funding,
        }  # fmt: skip
        self.database.write(lambda connection: days.add(connection, symbol, day, sums))

    def see(self) -> None:
        """Let 720 candles have been, up to now."""
        last_open = (self.now_ms - 5_000) // MINUTE_MS * MINUTE_MS - MINUTE_MS
        series = [
            candle._replace(open_ms=last_open - (SEEN - 1 - index) * MINUTE_MS)
            for index, candle in enumerate(walk(SEEN, price=63_000.0))
        ]
        state, seen = EMPTY, []
        for candle in series:
            state, values = step(state, candle.high, candle.low, candle.close, candle.volume)
            seen.append(values)
        self.candles, self.indicators = series, seen

    def turns(self, count: int, symbol: str = SYMBOL, acted_every: int = 7) -> None:
        """Let the bot have seen 720 candles and taken ``count`` turns on the last of them."""
        self.see()
        rows = [self.owner.columns(symbol) | {"interval": "1m", "timestamp": utc_text(each.open_ms)}
                | {name: getattr(each, name) for name in ("open_ms", "open", "high", "low", "close", "volume")}
                for each in self.candles]  # fmt: skip
        self.database.write(lambda connection: connection.execute(insert(candles), rows))
        turns = [self._turn(symbol, index, index % acted_every == 0) for index in range(SEEN - count, SEEN)]
        self.database.write(lambda connection: connection.execute(insert(signals), turns))

    def _turn(self, symbol: str, index: int, acted: bool) -> dict[str, Any]:
        candle, values = self.candles[index], self.indicators[index]
        instant_ms = candle.open_ms + MINUTE_MS + 200
        votes = [
            {"name": name, "vote": vote, "because": because}
            for name, vote, because in (
                ("rsi", 1, "RSI 28 is below 30"), ("macd", -1, "x"), ("ema", 1, "EMA"), ("bollinger", 1, "bands"),
                ("volume", 1, "volume"), ("trend", 0, "ADX"),
            )
        ]  # fmt: skip
        gates = [
            {"name": "signal", "passed": True, "detail": "the signal is BUY of strength 4, needed is BUY of 3"},
            {"name": "confidence", "passed": acted, "detail": f"the agent's confidence is 0.21 {EVIL}"},
        ]
        finite = {name: value if value == value else None for name, value in values._asdict().items()}
        return finite | self.owner.columns(symbol) | {
            "timestamp": utc_text(instant_ms),
            "instant_ms": instant_ms,
            "price": candle.close,
            "signal_type": "BUY",
            "strength": 4,
            "votes": votes,
            "rl_state": {"state": 1, "values": [0.1, 0.2, 0.3]},
            "rl_action": "BUY",
            "confidence": 0.21,
            "explored": False,
            "gates": gates,
            "gates_failed": 0 if acted else 1,
            "veto": "" if acted else "confidence",
            "decision": "ENTER_LONG" if acted else "HOLD",
            "reason": "Opening a long position." if acted else f"The BUY signal is not followed: confidence. {EVIL}",
            "acted": acted,
            "outcome": "",
            "client_id": None,
            "position_side": None,
            "pnl_unrealized": None,
            "cycle_ms": 0.9,
            "candle_interval": "1m",
            "context_id": None,
        }  # fmt: skip

    def context(self, ago_s: float = 30.0, **changes: Any) -> None:
        """Let the wider market have been looked at."""
        row = {
            "timestamp": self.at(ago_s), "btc_price": 63120.0, "btc_change_24h": -1.25, "eth_price": 3400.5,
            "eth_change_24h": 0.75, "btc_dominance": None, "fear_greed_index": 38, "market_trend": "bearish",
            "btc_trend": "down", "market_regime": "risk_off", "volatility_level": "medium", "sources": {},
            "unknown": {"btc_dominance": "the source is away"},
        }  # fmt: skip
        self.put(market_context, "*", **(row | changes))

    def analysis(self, ago_s: float = 60.0, **changes: Any) -> None:
        """Let a chart have been read."""
        told: dict[str, Any] = {
            "timestamp": self.at(ago_s), "symbol": SYMBOL, "interval": "15m", "candles": 120, "analyst": "openai",
            "model": "gpt-6-luna", "price": 63100.0, "trend": "bullish", "recommendation": "BUY", "confidence": "high",
            "overall_score": 7.5, "support_levels": [62500.0, 62000.0], "resistance_levels": [64000.0],
            "summary": f"Higher lows. {EVIL}", "cost_usd": Decimal("0.0123"), "latency_ms": 900.0,
        }  # fmt: skip
        self.database.save_chart_analysis(ChartAnalysis(**(told | changes)))

    def news(self, ago_s: float = 60.0, count: int = 3) -> None:
        """Let headlines have come in."""
        moods = ("bullish", "bearish", "neutral")
        self.database.save_news([
            NewsArticle(timestamp=self.at(ago_s), url_hash=f"{number:064d}", url="https://example.org/a", source="wire",
                        title=f"Headline {number} {EVIL}", published_at=self.at(ago_s + 600), world=self.owner.world,
                        summary="Short.", sentiment=moods[number % 3], confidence=80.0,
                        score=(0.6, -0.4, 0.0)[number % 3],
                        sentiment_reason="words", sentiment_mode="lexicon")
            for number in range(count)
        ])  # fmt: skip

    def training(self, **changes: Any) -> None:
        """Let a training run have ended."""
        run = self.database.start_training(
            TrainingStart(timestamp=self.at(3_600), symbol=SYMBOL, source="database", episodes=150, seed=7,
                          samples=2_000, data_start=self.at(864_000), data_end=self.at(7_200))
        )  # fmt: skip
        self.database.record_episodes(run, [
            TrainingEpisode(timestamp=self.at(3_600 - n), episode=n, exploration=0.1, reward_mean=n / 150 - 0.3,
                            trades=20, win_rate=0.5, net_return=0.01) for n in range(150)
        ])  # fmt: skip
        end: dict[str, Any] = {
            "finished_at": self.at(3_300), "status": "done", "accepted": False, "model_sha256": "f" * 64,
            "verdict": "Out of sample the new model earned less than the old one.",
            "metrics": {"out_of_sample": {"net_return": -0.012, "trades": 31}},
        }  # fmt: skip
        self.database.finish_training(run, TrainingEnd(**(end | changes)))

    def day(self, start: str = "10000", end: str = "10120.55") -> None:
        """Let the day have begun with an equity."""
        self.put(
            daily_performance, "*", timestamp=self.at(4), day=self.at(4)[:10], start_balance=Decimal(start),
            end_equity=Decimal(end), high_equity=Decimal("10150"), low_equity=Decimal("9990"),
            drawdown_share=0.012,
        )  # fmt: skip

    def usage(self) -> None:
        """Let a model have been paid."""
        self.database.record_api_usage(
            ApiUsage(timestamp=self.at(60), process="chart_analysis_bot", service="openai", operation="chart",
                     model="gpt-6-luna", input_tokens=1_200, output_tokens=300, cost_usd=Decimal("0.0123"))
        )  # fmt: skip
        self.database.flush()

    def breaker(self, status: str, trigger: str, reason: str) -> None:
        """Let this bot's circuit breaker have come into a state five minutes ago."""
        self.put(
            circuit_breaker_events, "*", timestamp=self.at(300), status=status, trigger=trigger, actor="rule",
            version=1, reason=reason, since_ms=self.now_ms - 300_000,
        )  # fmt: skip

    def order(self, status: str = "NEW", purpose: str = "stop") -> None:
        """Let an order stand at the exchange."""
        self.put(
            orders, timestamp=self.at(1_800), updated_at=self.at(1_800), client_id=f"o-{status}-{purpose}",
            purpose=purpose, kind="STOP_MARKET", side="SELL", quantity=Decimal("0.1"), status=status,
        )  # fmt: skip

    def full(self) -> None:
        """Let everything there is have happened, moments ago."""
        self.beat()
        self.beat(process="chart_analysis_bot")
        self.balance()
        self.day()
        self.position()
        self.order()
        for number in range(12):
            self.trade(number, pnl="12.5" if number % 3 else "-8.25", entry_ago_s=3_000 - 200 * number)
        self.turns(60)
        self.context()
        self.analysis()
        self.news()
        self.training()
        self.usage()

    @contextmanager
    def speaking(self, bot_id: str, mode: str = "paper", world: str = "synthetic") -> Iterator[None]:
        """Let all that happens meanwhile happen to another bot of the same database."""
        own = self.owner
        self.owner = self.database.owner = Owner(bot_id, mode, world)
        try:
            yield
        finally:
            self.owner = self.database.owner = own

    def others(self) -> None:
        """Let three more bots have lived beside a full scene: one without a stop, one late and tripped, one stopped."""
        self.see()
        with self.speaking("alts", "testnet", "testnet"):
            self.beat()
            self.breaker("ARMED", "born", "a new database")
            self.balance(equity="5077.125")
            self.day("5100.5", "5077.125")
            self.position("ETHUSDT", "SHORT", stop_price=None)
            self.position("SOLUSDT")
            self.put(signals, **self._turn("ETHUSDT", SEEN - 1, True))
        with self.speaking("night-owl"):
            self.beat(cycle_finished=self.at(200))
            self.balance(ago_s=200, equity="10100.25")
            self.day("10090", "10100.25")
            self.put(signals, **self._turn(SYMBOL, SEEN - 2, False))
            self.breaker("TRIPPED", "losses", "4 losses in a row")
        with self.speaking("retired"):
            self.beat(ago_s=90_000, phase="stopped", cycle_finished=self.at(90_010), started_at=self.at(99_000))


@contextmanager
def scene(folder: Path, **changes: Any) -> Iterator[Scene]:
    """Lend a dashboard without a server: for Flask's own test client."""
    env_file = changes.pop("env_file", folder / ".env")
    settings, clock = settings_for(folder, **changes), MovedClock()
    database = TradingDatabase(settings.database_url, OWNER)
    database.migrate()
    dashboard_context = replace(make_context(settings, clock, database), env_file=env_file)
    made = Scene(dashboard_context, clock, SystemClock().now_ms())
    try:
        yield made
    finally:
        made.end_processes()
        database.close(30.0)


@contextmanager
def served(folder: Path, **changes: Any) -> Iterator[Scene]:
    """Lend a dashboard on a free port of loopback."""
    with scene(folder, **changes) as made:
        app, stop = create_app(made.dashboard_context), threading.Event()
        server = DashboardServer(app, "127.0.0.1", 0)
        made.address = f"http://127.0.0.1:{server.port}"
        thread = threading.Thread(target=server.serve, args=(stop,), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            stop.set()
            app.extensions["streams"].end()
            thread.join(10)


def logged_in(client: Any) -> dict[str, str]:
    """Show the PIN with a test client and return the header that writes need."""
    answer = client.post("/api/login", json={"pin": PIN})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return {"X-CSRF-Token": json.loads(answer.get_data())["csrf"]}
