"""Past candles fill the ledger with what the live loop would have said, judged alike, and never by the future."""

import csv
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pytest
from sqlalchemy import func, select

from src.backtest.__main__ import main
from src.backtest.forecast_replay import ForecastReplay, PastEvidence, read_fear_greed, read_headlines
from src.backtest.portfolio_setup import closed_candles
from src.domain.clock import DAY_MS, MINUTE_MS, instant_of
from src.domain.errors import DataRefused
from src.domain.forecasts import HORIZONS_MS
from src.execution.forecast_recorder import ForecastRecorder
from src.market_data.columns import Candles
from src.market_data.store import MarketStore
from src.news.lexicon import LocalSentimentAnalyzer, parse_lexicon
from src.storage.database import TradingDatabase
from src.storage.forecast_repository import ForecastRepository
from src.storage.tables import forecasts
from src.strategy.decision import DecisionRules
from src.strategy.q_agent import QLearningAgent
from tests.candles import random_candles
from tests.execution.test_trader import trader_of
from tests.shared_data import ROOT
from tests.stores import new_store
from tests.world import SYMBOL, World, walk

COST = 0.0006
ONE_MINUTE = DecisionRules(name="minutes")


def replay(minutes, from_ms, to_ms, evidence=None, rules=ONE_MINUTE):
    agent = QLearningAgent.for_rules(rules, COST)
    return ForecastReplay(
        symbol=SYMBOL, minutes=minutes, rules=rules, agent=agent, one_way_share=COST, evidence=evidence
    ).run(from_ms, to_ms)


def said(judged):
    return [
        (each.forecaster, each.model, each.made_ms, each.horizon_ms, each.direction, each.probability, each.price)
        for each, _ in judged
    ]


def test_votes_and_signal_are_those_of_the_live_recorder_with_the_same_outcomes(tmp_path):
    """The same candles through the real trader and recorder, and through the replay."""
    world = World(walk(1_400, seed=3))
    trader, _ = trader_of(world, ONE_MINUTE)
    with closing(new_store("sqlite", tmp_path)) as database:
        recorder = ForecastRecorder(ForecastRepository(database), world.feed, lambda *_asked: [], MINUTE_MS, COST)
        for minute in range(300, 1_400):
            world.at(minute)
            recorder.take([trader.run_trading_cycle()])
        database.flush()
        with database.read() as connection:
            live = connection.execute(select(forecasts).where(forecasts.c.status == "settled")).mappings().all()
    live = [row for row in live if row["forecaster"] != "agent"]
    minutes = Candles.of(world.candles)
    first_ms, last_ms = int(minutes.open_ms[299]) + MINUTE_MS, int(minutes.open_ms[-1])
    past = [
        (forecast, outcome)
        for forecast, outcome in replay(minutes, first_ms, last_ms)
        if forecast.forecaster.startswith(("vote", "signal")) and forecast.due_ms <= last_ms
    ]
    key = lambda row: (row["forecaster"], row["timestamp"])  # noqa: E731
    assert len(live) == len(past) > 100
    for row, (forecast, outcome) in zip(
        sorted(live, key=key), sorted(past, key=lambda each: (each[0].forecaster, each[0].made_ms)), strict=True
    ):
        assert (row["forecaster"], instant_of(row["timestamp"])) == (forecast.forecaster, forecast.made_ms)
        assert (row["direction"], row["probability"], row["price"]) == (
            forecast.direction, forecast.probability, forecast.price,
        )  # fmt: skip
        assert (row["return_share"], row["net_share"]) == (outcome.return_share, outcome.net_share)


def test_nothing_said_changes_when_the_future_does():
    candles = random_candles(6_000, seed=5)
    whole = Candles.of(candles)
    cut = 4_500
    other = [each._replace(high=each.high * 2, close=each.close * 1.5) for each in candles[cut:]]
    changed = Candles.of([*candles[:cut], *other])
    first, now = int(whole.open_ms[1_500]), int(whole.open_ms[cut])
    before = [each for each in said(replay(whole, first, now)) if each[2] <= now]
    after = [each for each in said(replay(changed, first, now)) if each[2] <= now]
    assert {each[0] for each in before} >= {"signal", "agent", "chart"}
    assert before == after


def test_no_voice_has_two_forecasts_of_the_same_hours_and_each_is_judged_by_the_close_at_its_end():
    minutes = Candles.of(random_candles(6_000, seed=6))
    judged = replay(minutes, int(minutes.open_ms[1_200]), int(minutes.open_ms[-1]))
    ends = dict(zip((minutes.open_ms + MINUTE_MS).tolist(), minutes.close.tolist(), strict=True))
    last = {}
    for forecast, outcome in judged:
        assert forecast.made_ms >= last.get(forecast.key, 0)
        last[forecast.key] = forecast.due_ms
        assert outcome.price == ends[forecast.due_ms]
        assert forecast.horizon_ms in HORIZONS_MS.values()
        assert outcome.net_share == pytest.approx(
            forecast.direction * (outcome.price / forecast.price - 1) - 2 * COST, abs=1e-12
        )
    assert len(judged) > 500


def test_no_chart_is_read_whose_candles_are_shorter_than_the_record_s():
    minutes = Candles.of(random_candles(4_000, seed=5))
    agent = QLearningAgent.for_rules(ONE_MINUTE, COST)
    span = int(minutes.open_ms[2_500]), int(minutes.open_ms[-1])
    for source_ms, read in ((MINUTE_MS, True), (HORIZONS_MS["15m"], True), (HORIZONS_MS["1h"], False)):
        judged = ForecastReplay(
            symbol=SYMBOL, minutes=minutes, rules=ONE_MINUTE, agent=agent, one_way_share=COST, source_ms=source_ms
        ).run(*span)
        assert any(forecast.forecaster == "chart" for forecast, _ in judged) == read


def test_a_hole_in_the_record_leaves_forecasts_unjudged():
    whole = Candles.of(random_candles(3_000, seed=7))
    keep = np.ones(3_000, bool)
    keep[2_000:2_100] = False
    holed = Candles(*(getattr(whole, name)[keep] for name in whole.__slots__))
    judged = replay(holed, int(whole.open_ms[1_500]), int(whole.open_ms[2_500]))
    missed = [forecast for forecast, outcome in judged if outcome is None]
    assert missed
    hole = range(int(whole.open_ms[2_000]), int(whole.open_ms[2_100]))
    assert all(forecast.due_ms - MINUTE_MS in hole for forecast in missed if forecast.horizon_ms == 900_000)


def test_headlines_and_index_speak_of_the_day_after_them(tmp_path):
    minutes = Candles.of(random_candles(6 * 1_440, seed=8))
    day = (int(minutes.open_ms[0]) // DAY_MS + 2) * DAY_MS
    with (tmp_path / "news.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["date", "headline"])
        told = datetime.fromtimestamp(day / 1_000, UTC).date().isoformat()
        rows.writerows([told, "Bitcoin surges to record high as adoption soars"] for _ in range(4))
    (tmp_path / "index.csv").write_text(f"date,value\n{told},80\n", encoding="utf-8")
    lexicon = LocalSentimentAnalyzer(parse_lexicon((ROOT / "config" / "sentiment_lexicon.toml").read_text()))
    evidence = PastEvidence(read_fear_greed(tmp_path / "index.csv"), read_headlines(tmp_path / "news.csv", lexicon))
    judged = replay(minutes, day - DAY_MS, day + 3 * DAY_MS, evidence)
    found = {each.forecaster: each for each, _ in judged if each.horizon_ms == DAY_MS}
    assert found["fear_greed"].made_ms == day, "the index of a day is known when it begins"
    assert found["news"].made_ms == day + DAY_MS, "the headlines of a day are known when it is over"
    assert (found["fear_greed"].probability, found["news"].direction, found["news"].model) == (0.56, 1, "local")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("day,headline\n2021-01-01,x\n", "missing: date"),
        ("date,headline\nyesterday,x\n", "'yesterday' is no date"),
        ("", "needs the columns"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_problem(tmp_path, text, problem):
    path = tmp_path / "news.csv"
    path.write_text(text, encoding="utf-8")
    lexicon = LocalSentimentAnalyzer(parse_lexicon((ROOT / "config" / "sentiment_lexicon.toml").read_text()))
    with pytest.raises(DataRefused, match=problem):
        read_headlines(path, lexicon)


def test_the_command_fills_the_ledger_once_and_the_scores_are_those_of_the_rows(tmp_path, capsys, monkeypatch):
    url = f"sqlite:///{tmp_path}/ledger.db"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("RULES", "safety_first")
    MarketStore(tmp_path / "data").merge_candles("BTCUSDT", "1m", Candles.of(random_candles(7_000, seed=9)))
    command = [
        "forecasts", "--pair", "BTCUSDT", "--data", str(tmp_path / "data"), "--train-days", "1", "--markdown",
    ]  # fmt: skip
    assert main(command) == 0
    first = capsys.readouterr().out
    assert main(command) == 0
    again = capsys.readouterr().out
    assert " 0 of them new in the ledger" in again and " 0 of them new" not in first
    table = [line for line in first.splitlines() if line.startswith("|")]
    assert table == [line for line in again.splitlines() if line.startswith("|")]
    with closing(TradingDatabase(url)) as database, database.read() as connection:
        counts = dict(
            connection.execute(
                select(forecasts.c.forecaster, func.count())
                .where(forecasts.c.status == "settled", forecasts.c.source == "past")
                .group_by(forecasts.c.forecaster)
            ).all()
        )
    shown = {line.split("|")[1].strip().removesuffix(":local"): line.split("|")[3].strip() for line in table[2:]}
    assert shown == {name: f"{count:,}" for name, count in counts.items()}


def test_the_trend_is_that_of_the_portfolio_and_live_the_same(tmp_path):
    """Ninety days of minutes: the reader, the strategy over them, the replay and the live source say one signal."""
    from src.apps.forecasts import PairTrends
    from src.strategy.targets import PortfolioObservation
    from src.strategy.trend_portfolio import TrendPortfolio
    from tests.backtest.portfolio_past import made_minutes

    minutes = made_minutes(90)["BTCUSDT"]
    eight_hours = closed_candles(minutes, "8h")
    live = PairTrends(lambda _symbol, _interval, count: eight_hours[:250][-count:])
    strategy, last = TrendPortfolio(), eight_hours[249].open_ms + 28_800_000
    expected = strategy.targets(PortfolioObservation(last, {SYMBOL: eight_hours[:250]}))[0].signal
    now = minutes.place(last - MINUTE_MS)
    assert live.look(SYMBOL, [minutes.candle(now)]) == pytest.approx(expected, abs=1e-9)
    found = [
        forecast
        for forecast, _ in replay(minutes, last, last + 1, rules=DecisionRules(candle_interval="4h"))
        if forecast.forecaster == "trend"
    ]
    assert [each.made_ms for each in found] == ([last] if expected > 0 else [])
    assert all(each.probability == pytest.approx(0.5 + 0.05 * expected, abs=1e-9) for each in found)
    assert expected > 0, "the market was made to rise"
