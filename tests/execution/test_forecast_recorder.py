"""Forecasts of real turns: written once, judged by later candles, kept over a restart, also behind an absence."""

from dataclasses import asdict
from decimal import Decimal
from itertools import pairwise

import pytest
from sqlalchemy import select, update

from src.domain.clock import DAY_MS, MINUTE_MS, utc_text
from src.domain.errors import ExchangeUnavailable
from src.execution.forecast_recorder import ForecastRecorder, last_before
from src.storage.forecast_repository import ForecastRepository
from src.storage.rows import ChartAnalysis, NewsArticle
from src.storage.tables import forecasts
from src.strategy.q_agent import Action
from src.strategy.votes import VOTE_NAMES, vote_values
from tests.execution.test_trader import advise, trader_of
from tests.stores import STORES, new_store
from tests.world import START_MS, SYMBOL, World, walk

QUARTER_MS = 15 * MINUTE_MS
COST = 0.0006


class Bot:
    """A trader whose turns are recorded in a real database."""

    def __init__(self, database, minutes=2_000, seed=1):
        self.world, self.database = World(walk(minutes, seed=seed)), database
        self.trader, self.agent = trader_of(self.world)
        self.asked = []
        self.start()

    def start(self):
        """Start the recorder anew, as after a restart of the process."""
        self.recorder = ForecastRecorder(
            ForecastRepository(self.database), self.world.feed, self.history, MINUTE_MS, COST
        )

    def history(self, symbol, interval, count):
        self.asked.append(count)
        return self.world.candles[: len(self.world.history[SYMBOL])][-count:]

    def run(self, first, last):
        turns = []
        for minute in range(first, last):
            self.world.at(minute)
            turns.append(self.trader.run_trading_cycle())
            self.recorder.take(turns[-1:])
        self.database.flush()
        return turns

    def rows(self, *conditions):
        with self.database.read() as connection:
            query = select(forecasts).where(*conditions).order_by(forecasts.c.timestamp, forecasts.c.forecaster)
            return [dict(row) for row in connection.execute(query).mappings()]


@pytest.fixture(params=STORES)
def bot(request, tmp_path):
    made = Bot(new_store(request.param, tmp_path))
    yield made
    made.database.close()


def close_at(world, instant_ms):
    """The close of the minute that ends then, found by looking through all candles."""
    return next(each.close for each in world.candles if each.open_ms + MINUTE_MS == instant_ms)


def test_each_voice_has_one_open_forecast_which_the_candle_of_its_end_judges(bot):
    bot.agent.advice = advise(Action.BUY, 0.8)
    turns = bot.run(300, 420)
    rows = bot.rows()
    spoken = {row["forecaster"] for row in rows}
    assert {"agent", "signal"} < spoken and spoken - {"agent", "signal"} <= {f"vote:{name}" for name in VOTE_NAMES}
    for name in spoken:
        mine = [row for row in rows if row["forecaster"] == name]
        assert all(b["timestamp"] >= a["due_at"] for a, b in pairwise(mine)), "two rest on one hour"
        assert sum(row["status"] == "open" for row in mine) <= 1
    settled = [row for row in rows if row["status"] == "settled"]
    assert len(settled) > 30
    by_text = {utc_text(each.open_ms + MINUTE_MS): each.open_ms + MINUTE_MS for each in bot.world.candles}
    for row in settled:
        begin, end = by_text[row["timestamp"]], by_text[row["due_at"]]
        moved = close_at(bot.world, end) / close_at(bot.world, begin) - 1.0
        assert end - begin == row["horizon_s"] * 1_000 == QUARTER_MS
        assert row["price"] == close_at(bot.world, begin)
        assert row["return_share"] == pytest.approx(moved, abs=1e-12)
        assert row["net_share"] == pytest.approx(row["direction"] * moved - 2 * COST, abs=1e-12)
        assert (row["probability"] - 0.5) * row["direction"] > 0
    said = {utc_text(turn.observation.candle.open_ms + MINUTE_MS): turn.observation for turn in turns}
    for row in rows:
        seen = said[row["timestamp"]]
        if row["forecaster"].startswith("vote:"):
            place = VOTE_NAMES.index(row["forecaster"].removeprefix("vote:"))
            assert vote_values(seen.indicators)[place] == row["direction"]
        if row["forecaster"] == "signal":
            assert (seen.signal.side.sign, 0.5 + row["direction"] * 0.01 * seen.signal.strength) == (
                row["direction"], row["probability"],
            )  # fmt: skip


def test_a_restart_goes_on_with_what_was_open_and_asks_for_the_candles_that_it_missed(bot):
    bot.agent.advice = advise(Action.BUY, 0.8)
    bot.run(300, 305)
    opened = bot.rows()
    assert opened and {row["status"] for row in opened} == {"open"}
    bot.start()
    bot.run(305, 310)
    assert [row for row in bot.rows() if row["id"] in {each["id"] for each in opened}] == opened
    bot.start()
    kept = bot.world.history[SYMBOL]
    bot.world.at(900)
    bot.world.history[SYMBOL] = kept  # the feed begins anew: what fell due meanwhile is no longer in it
    recent = bot.world.candles[895:900]
    bot.world.feed.candles = lambda _symbol: recent
    bot.recorder.take([bot.trader.run_trading_cycle()])
    turns = bot.run(900, 902)
    bot.recorder.take(turns)
    bot.database.flush()
    first = [row for row in bot.rows() if row["id"] in {each["id"] for each in opened}]
    assert {row["status"] for row in first} == {"settled"}
    due = {utc_text(each.open_ms + MINUTE_MS): each.close for each in bot.world.candles}
    assert all(row["outcome_price"] == due[row["due_at"]] for row in first)
    assert bot.asked


def test_an_exchange_that_is_away_leaves_them_open_until_it_is_back(bot):
    bot.agent.advice = advise(Action.BUY, 0.8)
    bot.run(300, 302)
    opened = {row["id"] for row in bot.rows()}
    feed = bot.world.feed.candles
    bot.world.feed.candles = lambda _symbol: []

    def away(*_asked):
        raise ExchangeUnavailable("no answer")

    bot.recorder = ForecastRecorder(ForecastRepository(bot.database), bot.world.feed, away, MINUTE_MS, COST)
    bot.run(340, 342)
    assert {row["status"] for row in bot.rows()} == {"open"}
    bot.world.feed.candles = feed
    bot.run(343, 344)
    assert {row["status"] for row in bot.rows() if row["id"] in opened} == {"settled"}


def test_a_forecast_whose_end_no_candle_tells_is_missed_and_its_voice_speaks_again(bot):
    bot.agent.advice = advise(Action.BUY, 0.8)
    bot.run(300, 301)
    opened = {row["id"] for row in bot.rows()}
    hole = {START_MS + minute * MINUTE_MS for minute in range(301, 330)}
    whole = bot.world.feed.candles
    bot.world.feed.candles = lambda symbol: [each for each in whole(symbol) if each.open_ms not in hole]
    bot.run(330, 332)
    rows = bot.rows()
    assert {(row["status"], row["return_share"]) for row in rows if row["id"] in opened} == {("missed", None)}
    assert {row["status"] for row in rows if row["id"] not in opened} == {"open"}


def test_chart_news_and_fear_and_greed_speak_with_what_they_said(bot):
    now = START_MS + 300 * MINUTE_MS
    analysis = ChartAnalysis(
        timestamp=utc_text(now - 4 * MINUTE_MS), symbol=SYMBOL, interval="15m", candles=200, analyst="openai",
        model="gpt-x", price=1.0, trend="bullish", recommendation="SELL", confidence="high", cost_usd=Decimal("0.01"),
    )  # fmt: skip
    old = asdict(analysis) | {"timestamp": utc_text(now - DAY_MS), "model": "older", "recommendation": "BUY"}
    bot.database.save_chart_analysis(ChartAnalysis(**old))
    bot.database.save_chart_analysis(analysis)
    scores = [("LOCAL (Cost-Saving)", 0.5), ("LOCAL (Fallback)", 0.3), ("LOCAL (Cost-Saving)", 0.1)]
    articles = [
        NewsArticle(
            timestamp=utc_text(now - MINUTE_MS), published_at=utc_text(now - 60 * MINUTE_MS), url_hash=f"h{number}",
            url=f"https://e.org/{number}", source="s", title="t", symbols=[], world=bot.database.owner.world,
            sentiment="bullish", score=score, sentiment_mode=mode,
        )
        for number, (mode, score) in enumerate([*scores, ("OPENAI (Premium)", -0.9)])
    ]  # fmt: skip
    bot.database.save_news(articles)
    bot.run(300, 302)
    found = {row["forecaster"]: row for row in bot.rows()}
    chart, news = found["chart"], found["news"]
    assert (chart["model"], chart["direction"], chart["probability"]) == ("gpt-x", -1, 0.4)
    assert (chart["horizon_s"], chart["cost_usd"]) == (3_600, Decimal("0.01"))
    assert (news["model"], news["direction"], news["horizon_s"]) == ("local", 1, 86_400)
    assert news["probability"] == pytest.approx(0.5 + 0.1 * 0.3), "the model read one article: too few to speak"
    assert len(bot.rows(forecasts.c.forecaster == "chart")) == 1


def test_a_database_that_is_gone_stops_no_turn(bot):
    bot.run(300, 301)
    bot.database.close()
    bot.start()
    bot.world.at(301)
    turn = bot.trader.run_trading_cycle()
    bot.recorder.take([turn])
    assert turn.decision.reason


def test_settling_touches_one_statement_alone(bot):
    bot.agent.advice = advise(Action.BUY, 0.8)
    bot.run(300, 301)
    other = update(forecasts).where(forecasts.c.forecaster == "agent").values(source="past")
    bot.database.write(lambda connection: connection.execute(other))
    bot.run(301, 330)
    assert [row["status"] for row in bot.rows(forecasts.c.source == "past")] == ["open"]


def test_the_last_candle_before_an_instant_is_the_one_that_has_closed_by_it():
    candles = walk(5)
    assert last_before(candles, START_MS) is None
    assert last_before(candles, START_MS + MINUTE_MS - 1) is None
    assert last_before(candles, START_MS + MINUTE_MS) is candles[0]
    assert last_before(candles, START_MS + 99 * MINUTE_MS) is candles[4]
