"""External signals in real turns: they make a signal stronger, every gate is asked as before, forecasts are noted."""

import pytest

from src.domain.clock import MINUTE_MS
from src.domain.external_signals import ExternalSignal
from src.domain.market import MarketContext
from src.storage.forecast_repository import ForecastRepository
from src.strategy.decision import DecisionRules, Verdict
from src.strategy.q_agent import Action
from src.strategy.signals import SignalSide
from tests.execution.test_forecast_recorder import Bot
from tests.execution.test_trader import advise
from tests.stores import new_store
from tests.world import SYMBOL

FIRST, LAST = 300, 700


def run(tmp_path, direction, rules=None, **paused):
    """Take turns in which one source says ``direction`` each minute; return the bot and its turns."""
    bot = Bot(new_store("sqlite", tmp_path))
    trader, world = bot.trader, bot.world

    def context():
        now = world.clock.now_ms()
        words = dict.fromkeys(("market_trend", "btc_trend", "market_regime", "volatility_level"), "unknown")
        said = (ExternalSignal("tv", SYMBOL, direction, now - 1_000),) if direction else ()
        return MarketContext(None, None, None, None, None, None, **words, as_of_ms=now, external=said)

    trader._context = context
    trader._rules = rules or DecisionRules(min_signal_strength=3, external_votes=("tv:2",))
    trader._risk.pause_reason = paused.get("pause", "")
    bot.agent.advice = advise(Action.BUY, 0.9)
    turns = bot.run(FIRST, LAST)
    bot.database.close()
    return bot, turns


def entries(turns):
    return [turn for turn in turns if turn.decision.verdict is Verdict.ENTER_LONG]


def test_a_counted_source_makes_entries_that_the_market_alone_does_not(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    with_source, without = run(tmp_path / "a", 1)[1], run(tmp_path / "b", 0)[1]
    assert len(entries(with_source)) > len(entries(without))
    first = entries(with_source)[0].observation.signal
    assert first.side is SignalSide.BUY and first.votes[-1].name == "external:tv"
    assert any(vote.vote == 1 for vote in first.votes[:-1]), "one vote of the suite's own must agree"


def test_uncounted_it_changes_no_turn(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    rules = DecisionRules(min_signal_strength=3)
    with_source, without = run(tmp_path / "a", 1, rules)[1], run(tmp_path / "b", 0, rules)[1]
    assert [turn.decision for turn in with_source] == [turn.decision for turn in without]


def test_no_gate_gives_way(tmp_path):
    turns = run(tmp_path, 1, pause="entries are paused by a person")[1]
    wanted = [turn for turn in turns if turn.decision.veto]
    assert wanted and not entries(turns)
    assert {turn.decision.veto for turn in wanted} == {"halt"}
    names = {gate.name for turn in wanted for gate in turn.decision.gates}
    assert {"breaker", "settings", "daily_loss", "exposure", "protection", "quantity"} <= names


@pytest.mark.parametrize("direction", [1, -1])
def test_each_source_has_a_line_of_its_own_in_the_scoreboard(tmp_path, direction):
    run(tmp_path, direction, DecisionRules(min_signal_strength=3))
    database = new_store("sqlite", tmp_path)
    rows = [each for each in ForecastRepository(database).open() if each.forecaster == "external"]
    database.close()
    assert rows and {(each.model, each.direction) for each in rows} == {("tv", direction)}
    assert all(each.horizon_ms >= 15 * MINUTE_MS for each in rows)
