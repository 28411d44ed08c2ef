"""The trend of longer candles in the agent's state: the same live, in the past and in lessons; never the future's."""

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from src.apps import bot_builder
from src.backtest.past_timeframes import PastCandleAggregator, PastHigherTimeframeTrend, longer, trends_known
from src.backtest.training import teach_past
from src.domain.costs import CostRates
from src.domain.errors import ExchangeUnavailable
from src.domain.market import INTERVAL_MS, Candle
from src.domain.risk import ActiveLimits, RiskLimits
from src.market_data.columns import Candles, CandleView
from src.runtime.settings import Settings
from src.strategy.higher_timeframes import HigherTimeframeTrend
from src.strategy.q_agent import QLearningAgent
from src.strategy.q_state import STATES, states_of, trends_code
from src.strategy.rules import DecisionRules
from src.strategy.timeframes import CandleAggregator
from src.training.agent_manager import AgentManager, teach
from tests.candles import random_candles

TRENDS = ("5m", "15m")
RULES = DecisionRules(name="seeing", trend_intervals=TRENDS)
QUARTER_MS = 900_000


def minutes_of(count: int, seed: int = 4) -> list[Candle]:
    """Return random minutes that begin on a full quarter of an hour."""
    made = random_candles(count, seed=seed)
    shift = made[0].open_ms % QUARTER_MS
    return [each._replace(open_ms=each.open_ms - shift) for each in made]


MINUTES = minutes_of(1_500)
PAST = Candles.of(MINUTES)


def history_until(now_ms: int):
    """Return what the exchange answers at an instant: the last closed candles of any interval."""

    def ask(_symbol: str, interval: str, count: int) -> Sequence[Candle]:
        made = longer(PAST, INTERVAL_MS[interval]) if interval != "1m" else PAST
        closed = made.between(0, now_ms - INTERVAL_MS[interval] + 1)
        return list(CandleView(closed, 0, len(closed)))[-count:]

    return ask


def zones_by_definition(at: int) -> tuple[int, ...]:
    """Return the zones after so many minutes by the trader's own fold over whole candles."""
    return HigherTimeframeTrend([PastCandleAggregator(PAST, INTERVAL_MS[each]) for each in TRENDS]).look(MINUTES[:at])


def test_live_and_past_know_the_same_trend_at_every_minute():
    first = 1_000
    live = HigherTimeframeTrend(
        [CandleAggregator("BTCUSDT", each, history_until(PAST.open_ms[first - 1] + 60_000)) for each in TRENDS]
    )
    past = PastHigherTimeframeTrend(PAST, TRENDS)
    seen = set()
    for at in range(first, len(MINUTES)):
        zones = live.look(MINUTES[at - 300 : at])
        assert zones == past.look(MINUTES[:at])
        assert trends_code(zones) == past.codes[at - 1]
        seen.add(zones)
    assert len(seen) >= 5


def test_a_trend_is_unknown_until_there_are_fifty_of_its_candles():
    codes = PastHigherTimeframeTrend(PAST, ("15m",)).codes
    assert (codes[: 50 * 15 - 1] == 0).all() and (codes[50 * 15 - 1 :] > 0).all()
    assert zones_by_definition(50 * 15 - 1)[1] == 0 < zones_by_definition(50 * 15)[1]
    assert HigherTimeframeTrend([]).look(MINUTES) == () and PastHigherTimeframeTrend(PAST, ()).look(MINUTES) == ()


def test_no_later_minute_changes_a_trend():
    cut = 1_000
    raised = (
        each._replace(open=each.open * 1.3, high=each.high * 1.3, low=each.low * 1.3, close=each.close * 1.3)
        for each in MINUTES[cut:]
    )
    other = Candles.of([*MINUTES[:cut], *raised])
    before, after = PastHigherTimeframeTrend(PAST, TRENDS).codes, PastHigherTimeframeTrend(other, TRENDS).codes
    np.testing.assert_array_equal(before[:cut], after[:cut])
    assert (before != after).any()


def test_an_exchange_that_is_away_makes_the_trend_unknown():
    def away(*_question):
        raise ExchangeUnavailable("away")

    assert HigherTimeframeTrend([CandleAggregator("BTCUSDT", "15m", away)]).look(MINUTES[:100]) == (0,)


def test_a_first_training_of_the_bot_and_one_from_past_minutes_teach_the_same_table():
    first, second = (QLearningAgent.for_rules(RULES, 0.0006) for _ in range(2))
    end_ms = int(PAST.open_ms[-1]) + 60_000
    ask = history_until(end_ms)
    teach(first, MINUTES, [ask("BTCUSDT", each, 1_000) for each in TRENDS])
    teach_past(second, PAST)
    for name in ("value", "mean_square", "visits"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.visits[STATES:].sum() > 0, "no lesson was heard with a trend known"


def test_lessons_begin_where_they_are_told_to():
    whole, later, none = (QLearningAgent.for_rules(RULES, 0.0006) for _ in range(3))
    teach_past(whole, PAST)
    teach_past(later, PAST, int(PAST.open_ms[1_000]))
    assert teach_past(none, PAST, int(PAST.open_ms[-1]) + 1) == 0 == none.lessons
    assert later.lessons == 3 * (len(PAST) - 1_001) < whole.lessons
    assert later.training.first_ms == PAST.open_ms[1_000]


def test_what_is_known_at_an_instant_is_of_candles_that_are_closed():
    at_ms = PAST.open_ms + 60_000
    np.testing.assert_array_equal(trends_known(PAST, TRENDS, at_ms), PastHigherTimeframeTrend(PAST, TRENDS).codes)
    a_moment_before = trends_known(PAST, TRENDS, at_ms - 1)
    np.testing.assert_array_equal(a_moment_before, trends_known(PAST, TRENDS, at_ms - 60_000))


@pytest.fixture
def settings(tmp_path):
    return Settings.load(tmp_path / ".env").model_copy(
        update={"model_path": tmp_path / "model.pkl", "trading_mode": "paper"}
    )


def test_the_bot_trains_keeps_and_loads_a_model_that_sees_the_trends(settings):
    end_ms = int(PAST.open_ms[-1]) + 60_000
    manager = AgentManager(settings, CostRates(), RULES)
    assert "Trained" in manager.load_or_train(history_until(end_ms), ["BTCUSDT"], end_ms)
    again = AgentManager(settings, CostRates(), RULES)
    assert "Loaded" in again.load_or_train(history_until(end_ms), ["BTCUSDT"], end_ms)
    assert again.agent.trend_intervals == TRENDS and len(again.agent.visits) == states_of(TRENDS)
    np.testing.assert_array_equal(again.agent.value, manager.agent.value)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (DecisionRules(), "perceives the trend of 5m, 15m candles, the rules ask for no trend of other candles"),
        (DecisionRules(trend_intervals=("1h",)), "the rules ask for the trend of 1h candles"),
        (DecisionRules(trend_intervals=TRENDS, allow_short=True), "allow_short = false, the rules say true"),
        (DecisionRules(candle_interval="15m"), "trained on 1m candles, the rules look at 15m ones"),
    ],
)
def test_a_model_made_with_another_state_is_refused_and_entries_halt(settings, rules, words):
    QLearningAgent.for_rules(RULES, 0.0006).save(settings.model_path, 1)
    with_money = settings.model_copy(update={"trading_mode": "testnet"})
    manager = AgentManager(with_money, CostRates(), rules)
    said = manager.load_or_train(history_until(0), ["BTCUSDT"], 0)
    assert words in said and "retrain_rl_model.py --force" in said
    assert manager.agent.refusal == manager.refusal != ""


def test_on_paper_a_model_of_other_rules_steps_aside_and_comes_back_with_them(settings, tmp_path):
    end_ms = int(PAST.open_ms[-1]) + 60_000

    def begin(rules):
        manager = AgentManager(settings, CostRates(), rules)
        return manager, manager.load_or_train(history_until(end_ms), ["BTCUSDT"], end_ms)

    first, said = begin(RULES)
    assert "Trained" in said
    other, said = begin(DecisionRules(allow_short=True))
    assert "Trained" in said and other.refusal == ""
    assert {each.name for each in tmp_path.glob("*.pkl")} == {"model.pkl", "model_1m-5m-15m.pkl"}
    again, said = begin(RULES)
    assert "Loaded" in said and again.agent.trend_intervals == TRENDS
    np.testing.assert_array_equal(again.agent.value, first.agent.value)
    assert {each.name for each in tmp_path.glob("*.pkl")} == {"model.pkl", "model_1m-short.pkl"}
    assert {each.name for each in tmp_path.glob("*.sha256")} == {"model.pkl.sha256", "model_1m-short.pkl.sha256"}

    kept = tmp_path / "model_1m-short.pkl"
    kept.write_bytes(kept.read_bytes()[:-9])
    _, said = begin(DecisionRules(allow_short=True))
    assert "Trained" in said, "a damaged model was taken for a good one"
    assert kept.exists()


def test_a_damaged_model_stays_where_it_is_also_on_paper(settings, tmp_path):
    QLearningAgent.for_rules(RULES, 0.0006).save(settings.model_path, 1)
    damaged = settings.model_path.read_bytes()[:-9]
    settings.model_path.write_bytes(damaged)
    manager = AgentManager(settings, CostRates(), DecisionRules())
    assert "refused" in manager.load_or_train(history_until(0), ["BTCUSDT"], 0)
    assert settings.model_path.read_bytes() == damaged
    assert [each.name for each in tmp_path.glob("*.pkl")] == ["model.pkl"]


def test_the_bot_hands_its_trader_the_trends_that_the_rules_ask_for(settings, monkeypatch):
    given = {}
    monkeypatch.setattr(bot_builder, "Trader", lambda *_parts, **named: given.update(named))
    for part in ("PairSettings", "OrderManager", "PositionManager"):
        monkeypatch.setattr(bot_builder, part, lambda *_parts, **_named: None)
    exchange = SimpleNamespace()
    nobody = SimpleNamespace(agent=None, is_set=None, mark_price=None)
    history = history_until(int(PAST.open_ms[-1]) + 60_000)
    bot_builder.build_trader(
        settings, "BTCUSDT", exchange, nobody, nobody, nobody, nobody, RULES, nobody, nobody, nobody, history,
        limits=ActiveLimits(RiskLimits()),
    )  # fmt: skip
    assert given["trends"](MINUTES) == zones_by_definition(len(MINUTES)) != (0, 0)
