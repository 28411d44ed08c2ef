"""What the analyst said stands beside the figures while it is fresh, as words that no rule reckons with."""

from dataclasses import replace

from src.charts.latest_analysis import chart_evidence
from src.context.analyzer import context_from
from src.domain.clock import utc_text
from src.domain.market import MarketContext
from src.storage.database import TradingDatabase
from src.storage.rows import ChartAnalysis, Owner
from src.strategy.q_state import context_code

NOW_MS = 1_795_305_600_000
HOUR_MS = 3_600_000
SAID = ChartAnalysis(
    timestamp=utc_text(NOW_MS - 12 * 60_000),
    symbol="BTCUSDT",
    interval="15m",
    candles=120,
    analyst="openai",
    model="gpt-6-luna",
    trend="bullish",
    recommendation="BUY",
    confidence="high",
    overall_score=7.5,
)
CONTEXT = MarketContext(65_000.0, -2.3, 3_200.0, -1.8, 54.2, 42, "bearish", "down_weak", "risk_off", "medium", NOW_MS)


def test_the_newest_fresh_analysis_of_each_pair_is_told_and_no_other(tmp_path):
    own = TradingDatabase(f"sqlite:///{tmp_path}/t.db", Owner("main", "paper", "synthetic"))
    own.migrate()
    other = TradingDatabase(f"sqlite:///{tmp_path}/t.db", Owner("main", "paper", "live"))
    own.save_chart_analysis(replace(SAID, timestamp=utc_text(NOW_MS - 20 * 60_000), recommendation="SELL"))
    own.save_chart_analysis(SAID)
    own.save_chart_analysis(replace(SAID, timestamp=utc_text(NOW_MS - 60_000), status="error", recommendation=None))
    own.save_chart_analysis(replace(SAID, timestamp=utc_text(NOW_MS + 60_000), recommendation="SELL"))
    own.save_chart_analysis(replace(SAID, symbol="ETHUSDT", timestamp=utc_text(NOW_MS - 2 * HOUR_MS)))
    other.save_chart_analysis(replace(SAID, symbol="SOLUSDT"))
    told = chart_evidence(own, ("BTCUSDT", "ETHUSDT", "SOLUSDT"), NOW_MS, HOUR_MS)
    assert told == (("BTCUSDT", "BUY, confidence high, bullish, 7.5 of 10, by gpt-6-luna, 12 min old"),)


def test_a_database_without_tables_tells_nothing(tmp_path):
    assert chart_evidence(TradingDatabase(f"sqlite:///{tmp_path}/new.db"), ("BTCUSDT",), NOW_MS, HOUR_MS) == ()


def test_evidence_travels_with_the_context_and_changes_nothing_the_agent_perceives():
    with_charts = replace(CONTEXT, charts=(("BTCUSDT", "BUY, confidence high"),))
    assert with_charts.as_dict()["charts"] == {"BTCUSDT": "BUY, confidence high"}
    assert context_from(with_charts.as_dict()) == with_charts
    assert context_code(with_charts) == context_code(CONTEXT)
