"""Prometheus metrics: the bots' state from the database, and the calls of this server."""

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from src.api.bot_operations import bot_ids, processes
from src.api.context import ApiContext
from src.api.serializers import Json
from src.domain.clock import DAY_MS, instant_of
from src.domain.errors import StoreCorrupt, StoreUnavailable
from src.domain.version import VERSION
from src.reporting.service import ReportService

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Moment = tuple[str, int]

_BOT = ["bot_id"]
_LOOP = ["bot_id", "process"]


class Metrics:
    """Prometheus's view of one source; the library is loaded with the first look."""

    def __init__(self, source: ApiContext) -> None:
        self._source = source
        self._turn = threading.Lock()
        self._kept: tuple[Moment, bytes] | None = None

    def text(self) -> bytes:
        """Return the metrics in the text form 0.0.4; the same within a second in which nothing was written."""
        with self._turn:  # who asks meanwhile gets the same
            moment = self._moment()
            if moment is not None and self._kept is not None and self._kept[0] == moment:
                return self._kept[1]
            text = self._text()
            self._kept = None if moment is None else (moment, text)
            return text

    def _moment(self) -> Moment | None:
        """The present second of the present state; None where the database cannot name it."""
        try:
            version = self._source.version()
        except (StoreUnavailable, StoreCorrupt):
            return None
        return (version, self._source.wall.now_ms() // 1_000) if version else None

    def _text(self) -> bytes:
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return bytes(generate_latest(registry))

    def collect(self) -> Iterator["Metric"]:
        """Yield what is known now; where the database cannot be read, only that (``suite_up`` 0)."""
        yield _gauge("suite_build", "The server's version.", ["version"], [([VERSION], 1)])
        try:
            with self._source.reports.at_one_instant() as reports:
                families = [*self._loops(), *self._bots(reports)]
        except (StoreUnavailable, StoreCorrupt):
            yield _gauge("suite_up", "Whether the database can be read.", [], [([], 0)])
            return
        yield _gauge("suite_up", "Whether the database can be read.", [], [([], 1)])
        yield from families

    def _loops(self) -> Iterator["Metric"]:
        rows = processes(self._source)
        told = [([row["bot_id"], row["process"]], row) for row in rows]
        yield _gauge("bot_up", "Whether the process is well.", _LOOP, [(names, row["well"]) for names, row in told])
        beats = [(names, instant_of(row["beat_at"]) / 1000) for names, row in told]
        yield _gauge("bot_last_beat_timestamp_seconds", "The last sign of life, machine's time.", _LOOP, beats)
        cycles = [
            (names, instant_of(row["cycle_finished"]) / 1000)
            for names, row in told
            if row["cycle_finished"] is not None
        ]
        yield _gauge("bot_last_cycle_timestamp_seconds", "The end of the last cycle, market's time.", _LOOP, cycles)
        ages = [(names, row["market_age_s"]) for names, row in told if row["market_age_s"] is not None]
        yield _gauge("bot_market_data_age_seconds", "Since the last market data, market's seconds.", _LOOP, ages)
        turns = [
            ([*names, symbol], float(ms) / 1000)
            for names, row in told
            for symbol, ms in dict(row["details"].get("cycle_ms", {})).items()
        ]
        yield _gauge("bot_cycle_duration_seconds", "How long the last turn took.", [*_LOOP, "symbol"], turns)

    def _bots(self, reports: ReportService) -> Iterator["Metric"]:
        now_ms = self._source.now_ms()
        bots = [(bot_id, self._source.scope(bot_id)) for bot_id in bot_ids(self._source)]
        stats = [(bot_id, reports.signal_stats(scope)) for bot_id, scope in bots]
        kinds = ("buy", "sell", "hold", "acted", "vetoed")
        counts = [([bot_id, kind], getattr(each, kind)) for bot_id, each in stats for kind in kinds]
        yield _counter("bot_signals", "Turns by what came of them.", [*_BOT, "kind"], counts)
        figures = [(bot_id, reports.performance(scope)) for bot_id, scope in bots]
        results = [
            ([bot_id, kind], getattr(each.figures, kind)) for bot_id, each in figures for kind in ("wins", "losses")
        ]
        yield _counter("bot_trades", "Closed round trips.", [*_BOT, "result"], results)
        yield _gauge(
            "bot_net_pnl", "Net result of closed trades.", _BOT, [([b], each.figures.net_pnl) for b, each in figures]
        )
        known = [([b], each.equity) for b, each in figures if each.equity is not None]
        yield _gauge("bot_equity", "What the account is worth.", _BOT, known)
        falls = [([b], each.present_drawdown_share) for b, each in figures if each.present_drawdown_share is not None]
        yield _gauge("bot_drawdown_share", "Below the highest equity.", _BOT, falls)
        tripped = [([b], reports.breaker(b, now_ms).tripped) for b, _ in bots]
        yield _gauge("bot_circuit_breaker_tripped", "1 stops entries.", _BOT, tripped)
        yield from _positions([row for _, scope in bots for row in reports.open_positions(scope)])
        yield from _costs(reports.api_costs(now_ms - 30 * DAY_MS))


def _positions(rows: list[Json]) -> Iterator["Metric"]:
    names = [*_BOT, "symbol", "side"]
    told = [([row["bot_id"], row["symbol"], row["side"]], row) for row in rows]
    worth = [(each, row["quantity"] * row["mark_price"]) for each, row in told]
    yield _gauge("bot_position_notional", "Open positions at the mark price.", names, worth)
    naked = [(each, row["own"] and row["stop_price"] is None) for each, row in told]
    yield _gauge("bot_position_without_stop", "1 is an own position without a stop.", names, naked)
    near = [
        (each, abs(1 - row["liquidation_price"] / row["mark_price"]))
        for each, row in told
        if row["liquidation_price"] and row["mark_price"]
    ]
    yield _gauge("bot_liquidation_distance_share", "From mark price to liquidation.", names, near)


def _costs(rows: list[Json]) -> Iterator["Metric"]:
    names = ["service", "model"]
    told = [([row["service"], row["model"]], row) for row in rows]
    yield _gauge("suite_service_calls_30d", "Calls to limited services.", names, [(n, row["calls"]) for n, row in told])
    yield _gauge("suite_service_failures_30d", "Of them failed.", names, [(n, row["failed"]) for n, row in told])
    yield _gauge("suite_service_cost_usd_30d", "What they cost.", names, [(n, row["cost_usd"]) for n, row in told])


def _gauge(name: str, told: str, labels: list[str], samples: list[tuple[list[str], Any]]) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, told, labels=labels)
    for values, value in samples:
        family.add_metric(values, float(value))
    return family


def _counter(name: str, told: str, labels: list[str], samples: list[tuple[list[str], Any]]) -> "Metric":
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, told, labels=labels)
    for values, value in samples:
        family.add_metric(values, float(value))
    return family
