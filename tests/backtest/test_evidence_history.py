"""The evidence of the past is what was known then, said by the live functions, and decides as it does live."""

from dataclasses import replace

import pytest

from src.backtest.__main__ import main
from src.backtest.config import BreakerPolicy
from src.backtest.engine import run_backtest
from src.backtest.evidence_history import EvidenceHistory, PastCharts, past_contexts, read_news_events
from src.backtest.past_timeframes import longer
from src.backtest.portfolio_engine import run_portfolio
from src.backtest.portfolio_setup import PortfolioSetup
from src.charts.analysis_schema import view_of
from src.charts.rule_based_analyst import read_chart
from src.context.classify import market_regime
from src.domain.clock import DAY_MS, MINUTE_MS
from src.domain.evidence import EVERY_COIN, NewsEvent, NewsEventKind
from src.domain.market import INTERVAL_MS
from src.market_data.columns import Candles
from src.market_data.store import MarketStore
from src.strategy.evidence import EvidenceRules
from src.strategy.trend_portfolio import TrendPortfolio
from tests.backtest.past import busy, explorer, facts
from tests.backtest.portfolio_past import made_minutes
from tests.backtest.test_portfolio_engine import SHORT
from tests.candles import random_candles
from tests.world import SYMBOL

QUARTER_MS = INTERVAL_MS["15m"]


def candles_of(count: int, seed: int = 5) -> Candles:
    return Candles.of(random_candles(count, seed=seed))


def hack(at_ms: int, coins: tuple[str, ...] = ("BTC",)) -> NewsEvent:
    return NewsEvent(NewsEventKind.HACK, "Bitcoin bridge hacked", "Wire", at_ms, at_ms, coins)


def test_a_past_opinion_is_that_of_the_live_analyst_on_the_candles_closed_by_then():
    minutes = candles_of(4_000)
    charts, closed = PastCharts(SYMBOL, minutes), longer(minutes, QUARTER_MS)
    assert charts.opinion(int(closed.open_ms[118]) + QUARTER_MS) is None, "a chart needs 120 candles"
    for place in range(119, len(closed), 7):
        now = int(closed.open_ms[place]) + QUARTER_MS
        found = charts.opinion(now + 14 * MINUTE_MS)
        live = read_chart(view_of(SYMBOL, "15m", [closed.candle(row) for row in range(place + 1)]))
        assert (found.recommendation, found.confidence) == (live.recommendation, live.confidence)
        assert (found.made_ms, found.symbol, found.interval) == (now, SYMBOL, "15m")


def test_nothing_known_changes_when_the_future_does():
    minutes = candles_of(5_000)
    cut = 4_000
    changed = Candles.of(
        [minutes.candle(row) for row in range(cut)]
        + [minutes.candle(row)._replace(high=9e5, close=8e5) for row in range(cut, 5_000)]
    )
    now = int(minutes.open_ms[cut])
    known = []
    for each in (minutes, changed):
        contexts = past_contexts(each, each, {}, int(each.open_ms[0]), now + 1)
        known.append(EvidenceHistory(contexts, [hack(now), hack(now + 1)], [PastCharts(SYMBOL, each)]).observed_at(now))
    assert known[0] == known[1]
    assert [each.known_ms for each in known[0].events] == [now]


def test_the_regime_of_each_hour_follows_the_changes_of_24_hours_and_the_day_s_index():
    btc, eth = candles_of(3 * 1_440, 1), candles_of(3 * 1_440, 2)
    day = -(-(int(btc.open_ms[0]) + DAY_MS) // DAY_MS) * DAY_MS
    found = past_contexts(btc, eth, {day: 20}, day, day + DAY_MS)
    assert len(found) == 24
    closes = dict(zip((btc.open_ms + MINUTE_MS).tolist(), btc.close.tolist(), strict=True))
    others = dict(zip((eth.open_ms + MINUTE_MS).tolist(), eth.close.tolist(), strict=True))
    for each in found:
        at = each.as_of_ms
        bitcoin, ether = ((closed[at] / closed[at - DAY_MS] - 1) * 100 for closed in (closes, others))
        assert each.market_regime == market_regime(bitcoin, ether, 20)
    assert past_contexts(btc, None, {}, day, day + 1)[0].market_regime == "unknown"


def test_headlines_of_a_day_are_known_when_it_is_over(tmp_path):
    path = tmp_path / "news.csv"
    path.write_text("date,headline\n2023-03-01,Solana network halted\n2023-03-01,Bitcoin rises\n", encoding="utf-8")
    events = read_news_events(path, {"SOL": ["solana"], "BTC": ["bitcoin"]})
    assert [(each.coins, each.kind.value) for each in events] == [(("SOL",), "halt")]
    assert events[0].known_ms == 1_677_715_200_000  # 2023-03-02


@pytest.mark.long
@pytest.mark.parametrize("effect", ["size", "veto"])
def test_passing_over_quiet_minutes_changes_nothing_where_evidence_counts(effect):
    minutes = candles_of(5_000, 9)
    counted = EvidenceRules(news="veto", news_hours=3, regime=effect, chart=effect, chart_confidence="low")
    setup = busy()
    first = int(minutes.open_ms[0])
    contexts = past_contexts(minutes, candles_of(5_000, 4), {}, first, int(minutes.open_ms[-1]))
    known = EvidenceHistory(contexts, [hack(first + 2_000 * MINUTE_MS)], [PastCharts(SYMBOL, minutes)])
    setup = setup.with_rules(replace(setup.rules, evidence=counted))
    fast = run_backtest(minutes, setup, explorer(0.5, True), contexts=known)
    turns = []
    slow = run_backtest(minutes, setup, explorer(0.5, True), contexts=known, every_turn=True, on_turn=turns.append)
    assert facts(fast) == facts(slow) and fast.trades
    failed = {gate.name for turn in turns if turn.decision.veto for gate in turn.decision.gates if not gate.passed}
    assert "news" in failed and (effect == "size" or {"regime", "chart"} <= failed)
    without = run_backtest(minutes, busy(), explorer(0.5, True), contexts=known)
    assert facts(without) != facts(fast)


def increases(outcome, from_ms: int, to_ms: int) -> list[int]:
    """Return the instants at which a pair was entered or increased."""
    return [
        each.now_ms
        for each in outcome.decisions
        for pair in each.pairs
        for order in pair.orders
        if not order.reduces and from_ms <= each.now_ms < to_ms
    ]


def test_a_portfolio_increases_nothing_while_evidence_stops_it_and_goes_on_after_it():
    minutes = made_minutes(16)
    first, last = (int(minutes["BTCUSDT"].open_ms[row]) for row in (0, -1))
    plain = PortfolioSetup(breaker_policy=BreakerPolicy.OFF)
    free = run_portfolio(minutes, TrendPortfolio(SHORT), plain)
    began = increases(free, first, last)[0]
    until = began + 24 * 3_600_000
    known = EvidenceHistory((), [hack(began - MINUTE_MS, (EVERY_COIN,))])
    counted = replace(plain, evidence_rules=EvidenceRules(news="veto"), evidence=known)
    stopped = run_portfolio(minutes, TrendPortfolio(SHORT), counted)
    assert increases(free, began, until) and not increases(stopped, began, until)
    assert increases(stopped, until, last)
    said = [pair.reason for each in stopped.decisions if began <= each.now_ms < until for pair in each.pairs]
    assert any("Bitcoin bridge hacked" in each for each in said)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence")
    for symbol, seed in (("BTCUSDT", 9), ("ETHUSDT", 4)):
        MarketStore(folder / "data").merge_candles(symbol, "1m", candles_of(7_000, seed))
    (folder / "news.csv").write_text("date,headline\n2023-11-16,Bitcoin exchange hacked\n", encoding="utf-8")
    return folder


def run(stored, *words, record="run"):
    place = ["--data", str(stored / "data"), "--train-days", "1", "--exploration", "0.5", "--breaker", "off"]
    return main(["--reports", str(stored / "reports"), record, *place, *words])


@pytest.mark.long
def test_the_command_counts_the_evidence_it_is_told(stored, capsys):
    assert run(stored, "--name", "plain") == 0
    told = ["--evidence", "regime=veto", "chart=size", "news=veto", "--news", str(stored / "news.csv")]
    assert run(stored, "--name", "counted", *told) == 0
    pages = [(stored / "reports" / name / "trades.csv").read_text() for name in ("plain", "counted")]
    assert pages[0] != pages[1]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--evidence", "news=veto"], 65, "no headlines: give a CSV with --news"),
        (["--evidence", "mood=veto"], 78, "unknown figure mood"),
        (["--evidence", "news_hours=soon"], 78, "is no value of news_hours"),
        (["--evidence", "regime=maybe"], 78, "must each be off, size or veto"),
    ],
)
def test_evidence_that_cannot_count_is_refused_with_one_sentence(stored, capsys, words, code, said):
    assert run(stored, *words) == code
    assert said in capsys.readouterr().err


def test_a_regime_that_nothing_tells_is_refused(tmp_path, capsys):
    MarketStore(tmp_path / "data").merge_candles("BTCUSDT", "1m", candles_of(4_000))
    assert run(tmp_path, "--evidence", "regime=size") == 65
    assert "nothing tells it" in capsys.readouterr().err


def test_a_sweep_refuses_rules_that_count_evidence(stored, capsys, monkeypatch):
    from src.backtest import __main__ as command

    rules = busy().rules
    monkeypatch.setattr(
        command, "setup_of", lambda *_: busy().with_rules(replace(rules, evidence=EvidenceRules(regime="veto")))
    )
    assert run(stored, "--grid", "min_signal_strength=2,3", record="sweep") == 78
    assert "sweep knows no evidence" in capsys.readouterr().err
