"""What the chat answers to questions: short texts from the same figures as the page and the API."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from src.domain.clock import DAY_MS, Clock, instant_of
from src.monitoring.health import heartbeat_health
from src.reporting.pages import OrderFilter, Scope, SignalFilter
from src.reporting.service import ReportService
from src.runtime.log_reader import LOG_NAMES, read_log
from src.storage.database import TradingDatabase
from src.strategy.rules import load_rules

TRADING: Final = ("trading_bot", "rl_bot")
_DAYS: Final = 7
_LINES: Final = 10
_CHART_NAME: Final = 120


class ChatReports:
    """Answers about one bot, each as one text. Methods may raise ``StoreUnavailable`` and ``StoreCorrupt``.

    Args:
        database: opened to read; its owner is the bot.
        clock: the machine's.
        rules: the folder of the rule sets.
        logs: the folder of the log files.
        charts: the folder of the chart pictures.
    """

    def __init__(self, database: TradingDatabase, clock: Clock, *, rules: Path, logs: Path, charts: Path) -> None:
        owner = database.owner
        self.scope = Scope(owner.bot_id, owner.mode, owner.world)
        self._reports = ReportService(database)
        self._clock = clock
        self._rules, self._logs, self._charts = rules, logs, charts

    @property
    def label(self) -> str:
        """Whose figures these are: bot, mode and world."""
        return f"{self.scope.bot_id} ({self.scope.mode}, {self.scope.world})"

    def beat(self) -> Mapping[str, Any] | None:
        """Return the trading bot's last sign of life, None before the first."""
        rows = self._reports.bot_status(self._clock.now_ms())
        mine = [row for row in rows if row["bot_id"] == self.scope.bot_id and row["process"] in TRADING]
        return max(mine, key=lambda row: str(row["beat_at"]), default=None)

    def symbols(self) -> list[str]:
        """Return the contracts that the bot takes turns of."""
        beat = self.beat()
        return sorted((beat["details"].get("cycle_ms") or {}) if beat else ())

    def held(self) -> list[str]:
        """Return the contracts in which the bot holds a position of its own."""
        return [row["symbol"] for row in self._reports.open_positions(self.scope) if row["own"]]

    def rule_sets(self) -> dict[str, str]:
        """Return the sets that a running bot can be switched to, with their descriptions."""
        found = {}
        for path in sorted(self._rules.glob("*.toml")):
            try:
                found[path.stem] = load_rules(path.read_text(encoding="utf-8")).description
            except (OSError, ValueError):
                continue  # a set of another kind, or one that the bot itself will complain of
        return found

    def status(self, _: str = "") -> str:
        """How the bot is: alive, paused, circuit breaker, equity, positions."""
        beat, balance = self.beat(), self._reports.balance(self.scope)
        if beat is None:
            return f"{self.label}: the bot has not reported yet."
        health = heartbeat_health(dict(beat), self._clock.now_ms())
        breaker = self._reports.breaker(str(self.scope.bot_id), self._now_ms(beat))
        pause = beat["details"].get("pause") or "entries allowed"
        halts = [f"{symbol}: {why}" for symbol, why in sorted((beat["details"].get("halts") or {}).items()) if why]
        return _lines(
            f"{self.label}: {'running' if health.healthy else 'DOWN'}, {health.reason}",
            f"Entries: {pause}",
            f"Circuit breaker: {breaker.status}{f', {breaker.reason}' if breaker.tripped else ''}",
            f"Rules: {beat['details'].get('rules') or 'unknown'}",
            f"Equity: {_money(balance['equity'])} as of {balance['timestamp']}" if balance else "Equity: unknown",
            f"Positions: {len(self._reports.open_positions(self.scope))}",
            *halts,
        )

    def why(self, symbol: str = "") -> str:
        """Why the last turn of each contract did what it did."""
        found = []
        for each in [symbol] if symbol else self.symbols():
            page = self._reports.signals(SignalFilter(scope=self._of(each)), limit=1)
            if not page.rows:
                found.append(f"{each}: no turn is recorded.")
                continue
            row = page.rows[0]
            failed = [f"- {gate['name']}: {gate['detail']}" for gate in row["gates"] if not gate["passed"]]
            head = f"{each} at {row['timestamp']}: {row['decision']}. {row['reason']}"
            found.append(_lines(head, *(["Gates not passed:", *failed] if failed else [])))
        return "\n\n".join(found) or "No turn is recorded yet."

    def positions(self, _: str = "") -> str:
        """The open positions with stop and target."""
        rows = self._reports.open_positions(self.scope)
        return "\n".join(map(_position_line, rows)) or "No open position."

    def orders(self, _: str = "") -> str:
        """The orders with which something can still happen."""
        page = self._reports.orders(OrderFilter(scope=self.scope, finished=False), limit=20)
        lines = [
            f"{row['symbol']} {row['purpose']} {row['side']} {_plain(row['quantity'])} {row['kind']} "
            f"{_plain(row['trigger_price'])} {row['status']}"
            for row in page.rows
        ]
        return "\n".join(lines) or "No open order."

    def profit(self, _: str = "") -> str:
        """What closed trades brought, in all and in the last day."""
        beat = self.beat()
        since_ms = self._now_ms(beat) - DAY_MS if beat else None
        parts = [("All", self._reports.performance(self.scope))]
        if since_ms is not None:
            parts.append(("24 h", self._reports.performance(self.scope, since_ms)))
        lines = [
            f"{name}: net {_money(each.figures.net_pnl)} in {each.figures.trades} trades, "
            f"{each.figures.wins} won, fees {_money(each.figures.fees)}, funding {_money(each.figures.funding)}"
            for name, each in parts
        ]
        return _lines(self.label, *lines)

    def daily(self, _: str = "") -> str:
        """The net result of each of the last days with trades."""
        rows = self._reports.daily_pnl(self.scope, most=_DAYS)
        lines = [f"{row['day']}: {_money(row['pnl'])} in {row['trades']} trades" for row in rows]
        return "\n".join(lines) or "No trade is closed yet."

    def performance(self, _: str = "") -> str:
        """The net result of each contract."""
        sums: dict[str, list[Decimal]] = defaultdict(list)
        for row in self._reports.closed_trades(self.scope):
            sums[row["symbol"]].append(row["pnl"])
        ordered = sorted(sums.items(), key=lambda each: -sum(each[1]))
        lines = [f"{symbol}: {_money(sum(each, Decimal(0)))} in {len(each)} trades" for symbol, each in ordered]
        return "\n".join(lines) or "No trade is closed yet."

    def forecasts(self, _: str = "") -> str:
        """The scoreboard of the forecasters, those with most settled forecasts first."""
        scores = sorted(self._reports.forecast_scores(self.scope), key=lambda each: -each.score.settled)[:15]
        lines = [
            f"{each.name} {each.horizon_s // 60} min: {_percent(each.score.hit_rate)} of {each.score.settled}, "
            f"{each.score.verdict}"
            for each in scores
        ]
        return "\n".join(lines) or "No forecast is recorded yet."

    def strategies(self, _: str = "") -> str:
        """The rule sets; the one in force is marked."""
        beat = self.beat()
        current = beat["details"].get("rules") if beat else ""
        lines = [f"{'▶ ' if name == current else ''}{name}: {told}" for name, told in self.rule_sets().items()]
        return "\n".join(lines)

    def logs(self, name: str = "") -> str:
        """The newest warnings and errors of a service's log."""
        wanted = name.lower() or "rl_bot"
        if wanted not in LOG_NAMES:
            return f"The logs are {', '.join(LOG_NAMES)}."
        try:
            tail = read_log(self._logs, wanted, "WARNING", "", _LINES)
        except OSError as error:
            return f"The log cannot be read: {error.strerror}."
        lines = [f"{line.time} {line.level} {line.event}" for line in reversed(tail.lines)] if tail else []
        return "\n".join(lines) or f"No warning in the log of {wanted}."

    def chart(self, symbol: str = "") -> tuple[str, Path | None]:
        """The newest chart picture of a contract with what was said of it."""
        row = self._reports.chart_analysis(self._of(symbol) if symbol else self.scope, only_good=True)
        if row is None:
            return "No chart has been analysed yet.", None
        text = f"{row['symbol']} {row['interval']} at {row['timestamp']}: {row['recommendation']}, {row['trend']}"
        path = self._charts / Path(row["chart_file"]).name[:_CHART_NAME]
        return text, path if row["chart_file"] and path.is_file() and not path.is_symlink() else None

    def _of(self, symbol: str) -> Scope:
        return Scope(self.scope.bot_id, self.scope.mode, self.scope.world, symbol)

    def _now_ms(self, beat: Mapping[str, Any]) -> int:
        age_ms = self._clock.now_ms() - instant_of(str(beat["beat_at"]))
        return instant_of(str(beat["timestamp"])) + int(age_ms * float(beat["speed"]))


def _position_line(row: Mapping[str, Any]) -> str:
    whose = "" if row["own"] else " (not of this bot)"
    return (
        f"{row['side']} {_plain(row['quantity'])} {row['symbol']}{whose} from {_plain(row['entry_price'])}, "
        f"mark {_plain(row['mark_price'])}, result {_money(row['unrealized_pnl'])}, "
        f"stop {_plain(row['stop_price'])}, target {_plain(row['target_price'])}"
    )


def _lines(*lines: str) -> str:
    return "\n".join(each for each in lines if each)


def _money(value: Decimal | None) -> str:
    return "unknown" if value is None else f"{value:+,.2f}"


def _plain(value: Decimal | None) -> str:
    return "none" if value is None else f"{value.normalize():f}"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0%}"


def names_of(rows: Sequence[str]) -> str:
    """Return names as a person reads them."""
    return ", ".join(rows) or "none"
