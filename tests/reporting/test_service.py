"""What people read is true, complete page by page, and found by an index."""

import random
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from src.domain.clock import DAY_MS, ManualClock, utc_text
from src.domain.metrics import TradeResult, daily_returns, sharpe, sum_trades, trade_figures
from src.domain.portfolio import Account
from src.domain.ports import Income
from src.reporting.pages import (
    NewsFilter,
    OrderFilter,
    Page,
    Scope,
    SignalFilter,
    TradeFilter,
    news_queries,
    order_queries,
    page_statement,
    signal_queries,
    trade_queries,
)
from src.reporting.service import ReportService
from src.storage.database import TradingDatabase
from src.storage.journal_repository import JournalRepository
from src.storage.rows import ApiUsage, ChartAnalysis, Heartbeat, Owner
from src.storage.tables import news_articles, orders, signals, trades
from tests.storage.test_journal_repository import CONTEXT, ended, intent, turn
from tests.stores import STORES, new_store, same_store

NOON = 1_795_348_800_000  # 2026-11-22T12:00:00Z
ROWS = 1_200
PAPER = Scope("main", "paper", "synthetic")


@pytest.fixture(params=STORES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TradingDatabase]:
    with closing(new_store(request.param, tmp_path)) as database:
        yield database


@pytest.fixture
def journal(database: TradingDatabase) -> JournalRepository:
    return JournalRepository(database, ManualClock(NOON))


@pytest.fixture
def reports(database: TradingDatabase) -> ReportService:
    return ReportService(database)


def signal_row(number: int, **changes: Any) -> dict[str, Any]:
    chance = random.Random(number)
    instant_ms = NOON + number * 60_000
    kind = chance.choices(("HOLD", "BUY", "SELL"), (90, 6, 4))[0]
    row = {
        "timestamp": utc_text(instant_ms),
        "instant_ms": instant_ms,
        "bot_id": "main",
        "mode": "paper",
        "world": "synthetic",
        "symbol": chance.choice(("BTCUSDT", "ETHUSDT", "SOLUSDT")),
        "price": 65_000.0 + number,
        "signal_type": kind,
        "strength": chance.choice((0, 1)) if kind == "HOLD" else chance.choice((2, 2, 3, 4)),
        "votes": [],
        "rl_action": "HOLD",
        "confidence": 0.5,
        "gates": [],
        "decision": "HOLD",
        "acted": kind == "BUY" and chance.random() < 0.05,
    }
    return row | changes


def trade_row(number: int) -> dict[str, Any]:
    chance = random.Random(number)
    instant = utc_text(NOON + number * 300_000)
    return {
        "timestamp": instant,
        "bot_id": "main",
        "mode": "paper",
        "world": "synthetic",
        "symbol": chance.choice(("BTCUSDT", "ETHUSDT")),
        "side": chance.choice(("LONG", "LONG", "SHORT")),
        "entry_price": Decimal(65_000),
        "quantity": Decimal("0.01"),
        "leverage": 10,
        "pnl": Decimal(chance.randrange(-5000, 5000)) / 100,
        "status": "closed",
        "entry_time": instant,
        "entry_client_id": f"e{number}",
    }


def fill(database: TradingDatabase, table: Any, rows: Iterator[dict[str, Any]]) -> None:
    while piece := list(islice(rows, 5_000)):
        database.write(lambda connection, piece=piece: connection.execute(insert(table), piece))


def all_pages(read: Any, wanted: Any, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page: Page = read(wanted, limit=limit)
    for _ in range(1_000):
        found += page.rows
        if page.cursor is None:
            return found
        page = read(wanted, limit=limit, cursor=page.cursor)
    raise AssertionError("the pages do not end")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradingDatabase]:
    with closing(TradingDatabase(f"sqlite:///{tmp_path_factory.mktemp('reports')}/t.db")) as database:
        database.migrate()
        fill(database, signals, (signal_row(number // 2) for number in range(ROWS)))  # instants come in pairs
        fill(database, trades, (trade_row(number) for number in range(500)))
        yield database


@cache
def numbered_rows() -> list[tuple[int, dict[str, Any]]]:
    """Return the signals of a filled store with their numbers."""
    return [(number + 1, signal_row(number // 2)) for number in range(ROWS)]


kinds = st.sampled_from((None, "BUY", "SELL", "HOLD"))
instants = st.none() | st.integers(0, ROWS // 2).map(lambda number: utc_text(NOON + number * 60_000))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds, st.none() | st.integers(0, 7), st.none() | st.booleans(), instants, instants, st.integers(20, 400))
def test_pages_together_are_what_the_filter_asks_for(
    filled: TradingDatabase, kind: Any, strength: Any, acted: Any, start: Any, end: Any, limit: int
) -> None:
    wanted = SignalFilter(scope=PAPER, signal_type=kind, min_strength=strength, acted=acted, start=start, end=end)
    expected = [
        number
        for number, row in numbered_rows()
        if (kind is None or row["signal_type"] == kind)
        and (strength is None or row["strength"] >= strength)
        and (acted is None or row["acted"] == acted)
        and (start is None or row["timestamp"] >= start)
        and (end is None or row["timestamp"] < end)
    ]
    found = all_pages(ReportService(filled).signals, wanted, limit)
    assert [row["id"] for row in found] == expected[::-1]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from((None, "LONG", "SHORT")), st.none() | st.integers(-50, 50), st.none() | st.integers(-50, 50))
def test_trades_are_filtered_by_side_and_result(filled: TradingDatabase, side: Any, low: Any, high: Any) -> None:
    bounds = {"min_pnl": None if low is None else Decimal(low), "max_pnl": None if high is None else Decimal(high)}
    found = all_pages(ReportService(filled).trades, TradeFilter(scope=PAPER, status="closed", side=side, **bounds), 60)
    expected = [
        row["entry_client_id"]
        for row in map(trade_row, range(500))
        if (side is None or row["side"] == side)
        and (low is None or row["pnl"] >= low)
        and (high is None or row["pnl"] <= high)
    ]
    assert [row["entry_client_id"] for row in found] == expected[::-1]


def test_rows_written_while_paging_neither_repeat_nor_push_others_out(database: TradingDatabase) -> None:
    fill(database, signals, (signal_row(number) for number in range(50)))
    reports = ReportService(database)
    first = reports.signals(limit=20)
    fill(database, signals, (signal_row(number) for number in range(50, 60)))
    second = reports.signals(limit=20, cursor=first.cursor)
    assert [row["id"] for row in (*first.rows, *second.rows)] == list(range(50, 10, -1))


def test_an_offset_skips_and_a_merged_page_takes_it_too(filled: TradingDatabase) -> None:
    reports = ReportService(filled)
    for wanted in (SignalFilter(), SignalFilter(min_strength=2)):
        whole = reports.signals(wanted, limit=100).rows
        assert reports.signals(wanted, limit=30, offset=40).rows == whole[40:70]


@pytest.mark.parametrize(
    ("limit", "cursor"), [(0, None), (1_001, None), (10, "x"), (10, "2026_1; DROP TABLE"), (10, "")]
)
def test_a_page_that_makes_no_sense_is_refused(filled: TradingDatabase, limit: int, cursor: str | None) -> None:
    with pytest.raises(ValueError, match=r"limit|cursor|isoformat"):
        ReportService(filled).signals(limit=limit, cursor=cursor)


def test_totals_are_exact_where_counters_know_and_bounded_where_not(
    database: TradingDatabase, journal: JournalRepository, reports: ReportService
) -> None:
    for number in range(7):
        journal.record_turn(turn(NOON + number))
    database.flush(60.0)
    assert reports.signals(limit=2).total == 7
    assert reports.signals(SignalFilter(signal_type="SELL")).total == 0
    assert reports.signals(SignalFilter(acted=False)).total == 7
    assert reports.signals(SignalFilter(start=utc_text(NOON + 3))).total == 4
    fill(database, signals, (signal_row(number) for number in range(2_500)))
    page = reports.signals(SignalFilter(start="2026-11-22"), limit=1)
    assert (page.total, page.more) == (1_000, True)


TABLE_QUERIES = {
    "signals": (signals, signal_queries),
    "trades": (trades, trade_queries),
    "orders": (orders, order_queries),
    "news_articles": (news_articles, news_queries),
}
BTC = Scope(symbol="BTCUSDT")
FILTERS = [
    ("signals", SignalFilter()),
    ("signals", SignalFilter(scope=BTC)),
    ("signals", SignalFilter(scope=PAPER)),
    ("signals", SignalFilter(signal_type="BUY")),
    ("signals", SignalFilter(signal_type="BUY", min_strength=3)),
    ("signals", SignalFilter(min_strength=4)),
    ("signals", SignalFilter(acted=True)),
    ("signals", SignalFilter(scope=BTC, min_strength=3, start="2026-11-22")),
    ("signals", SignalFilter(scope=PAPER, signal_type="SELL")),
    ("signals", SignalFilter(scope=Scope("main", "paper", "synthetic", "ETHUSDT"), min_strength=4, acted=False)),
    ("signals", SignalFilter(scope=PAPER, min_strength=1, acted=True)),
    ("signals", SignalFilter(start="2026-11-22", end="2026-11-23")),
    ("trades", TradeFilter()),
    ("trades", TradeFilter(scope=BTC)),
    ("trades", TradeFilter(scope=PAPER)),
    ("trades", TradeFilter(status="open")),
    ("trades", TradeFilter(side="SHORT")),
    ("trades", TradeFilter(min_pnl=Decimal(40))),
    ("trades", TradeFilter(min_pnl=Decimal(-1), max_pnl=Decimal(1))),
    ("trades", TradeFilter(start="2026-11-22", end="2026-11-23")),
    ("orders", OrderFilter(scope=BTC)),
    ("orders", OrderFilter(status="FILLED")),
    ("orders", OrderFilter(purpose="stop")),
    ("orders", OrderFilter(finished=False)),
    ("news_articles", NewsFilter(source="x")),
    ("news_articles", NewsFilter(sentiment="bullish")),
]


@pytest.mark.parametrize(("name", "wanted"), FILTERS)
def test_every_filter_reads_along_an_index(filled: TradingDatabase, name: str, wanted: Any) -> None:
    table, queries = TABLE_QUERIES[name]
    cursor = f"{utc_text(NOON)}_5"
    with filled.read() as connection:
        for place in (None, cursor):
            statement = page_statement(table, queries(wanted), 101, place, 0)
            text = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
            plan = [row[3] for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + text.replace("%", "%%"))]
            of_table = [step for step in plan if name in step]
            assert of_table and not any(step.startswith(f"SCAN {name}") and "INDEX" not in step for step in of_table), (
                plan
            )
            merged = len(queries(wanted)) > 1  # a few hundred rows of the parts may be sorted once
            assert merged or not any("TEMP B-TREE" in step for step in plan), plan


def test_a_bots_open_trades_are_looked_for_among_the_open_ones(filled: TradingDatabase) -> None:
    table, queries = TABLE_QUERIES["trades"]
    with filled.read() as connection:
        statement = page_statement(table, queries(TradeFilter(scope=PAPER, status="open")), 101, None, 0)
        text = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
        plan = [row[3] for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + text)]
    assert any("trades" in step and "(status=" in step for step in plan), plan


def test_stats_since_an_instant_equal_a_count_row_by_row(
    database: TradingDatabase, journal: JournalRepository, reports: ReportService
) -> None:
    instants = [NOON + number * 7 * 3_600_000 for number in range(20)]  # over six days
    for number, instant in enumerate(instants):
        journal.record_turn(turn(instant, veto="mark" if number % 3 == 0 else None, strength=2 + number % 3))
    journal.settle_turn(turn(instants[8]), acted=True, outcome="")
    database.flush(60.0)
    for since in (None, 0, *instants, NOON + 9 * DAY_MS):
        picked = [number for number, instant in enumerate(instants) if since is None or instant >= since]
        stats = reports.signal_stats(PAPER, since)
        assert (stats.total, stats.buy, stats.hold) == (len(picked), len(picked), 0)
        assert stats.vetoed == sum(number % 3 == 0 for number in picked)
        assert stats.acted == (8 in picked)
        strengths = [2 + number % 3 for number in picked]
        assert stats.mean_strength == (pytest.approx(sum(strengths) / len(strengths)) if strengths else None)


def test_performance_since_an_instant_equals_the_metrics_of_its_trades(
    database: TradingDatabase, journal: JournalRepository, reports: ReportService
) -> None:
    chance = random.Random(4)
    done = [
        ended(intent(decided_ms=NOON + number), gross=str(chance.randrange(-900, 1_000) / 100), fees="0.77",
              exit_ms=NOON + number * 5 * 3_600_000)
        for number in range(30)
    ]  # fmt: skip
    for each in done:
        journal.close_trade(each)
    database.flush(60.0)
    for since in (None, 0, *(each.exit_ms for each in done), NOON + 99 * DAY_MS):
        picked = [each for each in done if since is None or each.exit_ms >= since]
        results = [TradeResult(each.entry_client_id, each.pnl, each.fees, each.funding) for each in picked]
        assert reports.performance(PAPER, since).figures == trade_figures(sum_trades(results))


def test_the_ratio_rests_on_daily_equity_and_a_missing_day_stood_still(
    database: TradingDatabase, journal: JournalRepository, reports: ReportService
) -> None:
    chance = random.Random(3)
    equity, ends = Decimal(10_000), []
    journal.day_start("2026-11-22", equity)
    paid_ms = NOON + 38 * DAY_MS
    for day in range(40):
        equity = round(equity * Decimal(1 + chance.gauss(0.001, 0.01)), 2)
        if day == 38:
            journal.transfers.note(Income("TRANSFER", "", Decimal(100), "USDT", paid_ms, "1"), paid_ms, counted=True)
            equity += 100
        if day != 17:
            moved = Decimal(100 if day >= 38 else 0)
            journal.record_account(Account(equity, equity, Decimal(0), NOON + day * DAY_MS, (), moved))
        ends.append(float(equity) if day != 17 else ends[-1])
    database.flush(60.0)
    told = reports.performance(PAPER)
    paid = [0.0] * 41
    paid[39] = 100.0
    expected = sharpe(daily_returns([10_000.0, *ends], paid))
    assert (told.sharpe.n, told.sharpe.value) == (40, pytest.approx(expected.value, rel=1e-9))
    assert (told.start_equity, told.equity, told.transfers) == (Decimal(10_000), equity, Decimal(100))
    highest, worst = 0.0, 0.0
    for day, point in enumerate(ends):
        highest = max(highest + paid[day + 1], point)
        worst = max(worst, 1 - point / highest)
    assert told.max_drawdown_share == pytest.approx(worst, rel=1e-9)
    assert told.present_drawdown_share == pytest.approx(1 - ends[-1] / highest, abs=1e-9)
    assert set(told.as_dict()) >= {"win_rate", "sharpe", "sortino", "fees", "open_trades"}


def test_equity_of_a_period_begins_at_its_instant_and_not_with_the_day(
    database: TradingDatabase, journal: JournalRepository, reports: ReportService
) -> None:
    chance, equity, moved = random.Random(5), Decimal(10_000), Decimal(0)
    points: list[tuple[int, float, float]] = []
    journal.day_start("2026-11-22", equity)
    for number in range(100):  # two days and a half, from noon, with a gap of hours; money comes and goes
        if not 40 <= number < 50:
            instant = NOON + number * 2_400_000
            paid = Decimal({10: 3_000, 30: -2_500, 70: 1_000, 90: -4_000}.get(number, 0))
            if paid:
                journal.transfers.note(
                    Income("TRANSFER", "", paid, "USDT", instant, str(number)), instant, counted=True
                )
            moved += paid
            equity = round(equity * Decimal(1 + chance.gauss(0, 0.01)), 2) + paid
            journal.record_account(Account(equity, equity, Decimal(0), instant, (), moved))
            points.append((instant, float(equity), float(moved)))
    database.flush(60.0)
    for since_ms in range(NOON + 1, NOON + 100 * 2_400_000, 7 * 1_000_003):
        told = reports.performance(PAPER, since_ms)
        start = max(place for place, (instant_ms, _, _) in enumerate(points) if instant_ms <= since_ms)
        highest, worst = max(each - part for _, each, part in points[: start + 1]), 0.0
        for _, each, part in points[start:]:
            highest = max(highest, each - part)
            worst = max(worst, 1 - each / (highest + part))
        assert float(told.start_equity or 0) == pytest.approx(points[start][1], abs=1e-8)
        assert told.max_drawdown_share == pytest.approx(worst, abs=1e-9)
        assert told.present_drawdown_share is not None
        assert told.present_drawdown_share <= told.max_drawdown_share + 1e-12
    later = reports.performance(PAPER, NOON + 99 * DAY_MS)
    assert later.start_equity == later.equity == equity
    assert later.max_drawdown_share == later.present_drawdown_share is not None


def test_what_has_no_meaning_is_unknown_and_says_why(reports: ReportService) -> None:
    told = reports.performance(PAPER)
    assert (told.sharpe.value, told.max_drawdown_share, told.equity) == (None, None, None)
    assert told.equity_reason == "no balance is recorded yet"
    assert reports.performance(Scope(symbol="BTCUSDT")).equity_reason.startswith("equity is the account's")
    assert (reports.market_context(), reports.chart_analysis(), reports.balance()) == (None, None, None)
    assert (reports.signal(1), reports.trade(1), reports.open_positions(), reports.bot_status(NOON)) == (
        None,
        None,
        [],
        [],
    )


def test_two_accounts_are_not_added_up(
    database: TradingDatabase, journal: JournalRepository, reports: ReportService
) -> None:
    journal.record_account(Account(Decimal(10), Decimal(10), Decimal(0), NOON))
    database.flush(60.0)
    with closing(same_store(database, Owner("main", "live", "live"))) as real:
        JournalRepository(real, ManualClock(NOON)).record_account(Account(Decimal(99), Decimal(99), Decimal(0), NOON))
    assert reports.performance().equity_reason.startswith("several accounts")
    assert reports.performance(Scope("main", "live", "live")).equity == 99


def test_a_trade_is_told_with_its_orders_and_its_signal(
    database: TradingDatabase, journal: JournalRepository, reports: ReportService
) -> None:
    entry = intent()
    journal.plan_order(entry)
    journal.close_trade(ended(entry))
    database.flush(60.0)
    told = reports.trade(1)
    assert told is not None
    assert ([row["client_id"] for row in told["orders"]], told["signal"]) == ([entry.client_id], None)


def test_context_and_analysis_are_the_newest(database: TradingDatabase, reports: ReportService) -> None:
    database.save_market_context(CONTEXT)
    for minute, status in ((1, "ok"), (2, "error")):
        stamp = utc_text(NOON + minute * 60_000)
        database.save_chart_analysis(
            ChartAnalysis(
                timestamp=stamp, symbol="BTCUSDT", interval="15m", candles=100, analyst="local", status=status
            )
        )
    database.flush(60.0)
    context = reports.market_context(Scope(symbol="BTCUSDT"))
    assert context is not None
    assert (context["fear_greed_index"], context["eth_price"], context["unknown"]) == (42, None, {"eth_price": "away"})
    assert [row["id"] for row in reports.context_history(PAPER, 0)] == [context["id"]]
    newest, good = reports.chart_analysis(), reports.chart_analysis(only_good=True)
    assert newest is not None and good is not None
    assert (newest["status"], good["status"]) == ("error", "ok")


def beat(**changes: Any) -> Heartbeat:
    fields = {
        "timestamp": utc_text(NOON + 600_000),
        "beat_at": utc_text(NOON),
        "process": "trading_bot",
        "pid": 7,
        "started_at": utc_text(NOON),
        "phase": "trading",
        "version": "1",
        "config_hash": "ab",
        "interval_s": 60.0,
        "speed": 10.0,
        "cycle_finished": utc_text(NOON + 590_000),
        "last_market": utc_text(NOON + 599_000),
    }
    return Heartbeat(**(fields | changes))


@pytest.mark.parametrize(("passed_s", "overdue"), [(1, False), (10, False), (12, True)])
def test_ages_are_told_in_the_exchange_s_time(
    database: TradingDatabase, reports: ReportService, passed_s: int, overdue: bool
) -> None:
    database.heartbeat(beat())
    database.heartbeat(beat(process="mcp_server", cycle_finished=None))
    database.flush(60.0)
    (_, told) = reports.bot_status(NOON + passed_s * 1000)
    assert (told["age_s"], told["private_age_s"]) == (passed_s, None)
    assert told["cycle_age_s"] == pytest.approx(10 + 10 * passed_s)
    assert told["market_age_s"] == pytest.approx(1 + 10 * passed_s)
    assert told["overdue"] == overdue


def test_a_process_that_never_finished_a_cycle_is_overdue_from_its_start(
    database: TradingDatabase, reports: ReportService
) -> None:
    database.heartbeat(beat(cycle_finished=None))
    database.flush(60.0)
    assert reports.bot_status(NOON)[0]["overdue"]


def test_curves_and_daily_results_run_forward(
    database: TradingDatabase, journal: JournalRepository, reports: ReportService
) -> None:
    for minute in range(1_200):
        money = Decimal(10_000 + minute)
        journal.record_account(Account(money, money, Decimal(0), NOON + minute * 60_000))
    journal.close_trade(ended(intent()))
    database.flush(60.0)
    curve = reports.equity_curve(PAPER, NOON, NOON + DAY_MS, most=100)
    assert (len(curve), curve[0][1], curve[-1][1]) == (101, Decimal(10_000), Decimal(11_199))
    assert curve == sorted(curve)
    long_curve = reports.equity_curve(PAPER, NOON - 30 * DAY_MS, NOON + DAY_MS)
    assert long_curve == [("2026-11-22", Decimal(10_719), 0), ("2026-11-23", Decimal(11_199), 0)]
    assert reports.daily_pnl(PAPER) == [{"day": "2026-11-22", "pnl": Decimal("11.72"), "trades": 1}]


def test_costs_are_told_by_service(database: TradingDatabase, reports: ReportService) -> None:
    for cost, outcome in (("0.0012", "ok"), ("0.0003", "error")):
        stamp = utc_text(NOON)
        usage = ApiUsage(
            timestamp=stamp, process="c", service="openai", operation="x", cost_usd=Decimal(cost), outcome=outcome
        )
        database.record_api_usage(usage)
    database.flush(60.0)
    (told,) = reports.api_costs(NOON)
    assert (told["calls"], told["failed"], told["cached"], told["cost_usd"]) == (2, 1, 0, Decimal("0.0015"))
    assert database.month_cost_usd("2026-11", "openai") == Decimal("0.0015")
    assert database.month_cost_usd("2026-12", "openai") == 0


def test_the_breaker_is_read_and_its_history_kept(reports: ReportService) -> None:
    assert not reports.breaker("main", NOON).tripped
    assert [row["actor"] for row in reports.breaker_history()] == ["system"]


def test_a_database_that_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    with closing(TradingDatabase(f"sqlite:///{tmp_path}/none.db", read_only=True)) as database:
        assert "cannot be opened" in ReportService(database).trouble()
    assert not (tmp_path / "none.db").exists()
