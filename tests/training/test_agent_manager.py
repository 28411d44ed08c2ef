"""What the bot says of an agent that would never open a position, and of one that makes random trades."""

import logging

import pytest

from src.apps.console_output import BotConsole
from src.domain.costs import CostRates
from src.runtime.console import Console
from src.runtime.settings import Settings
from src.strategy.q_agent import QLearningAgent
from src.strategy.q_table import LEAST_LESSONS
from src.strategy.rules import DecisionRules
from src.training.agent_manager import AgentManager

NEEDED, VETO_ONLY = DecisionRules(name="needed"), DecisionRules(name="veto_only", agent_must_agree=False)


@pytest.fixture
def settings(tmp_path):
    return Settings.load(tmp_path / ".env").model_copy(
        update={"model_path": tmp_path / "model.pkl", "trading_mode": "paper", "rules": "safety_first"}
    )


def manager_of(settings, rules, returns):
    """Return a manager whose agent saw each return once on the way from state 1 to state 2."""
    pupil = QLearningAgent.for_rules(rules, 0.0006)
    for each in returns:
        pupil.learn(1, 0, each, 2)
    pupil.save(settings.model_path, 1)
    manager = AgentManager(settings, CostRates(), rules)
    assert "Loaded" in manager.load_or_train(lambda *_asked: [], ["BTCUSDT"], 1)
    return manager


@pytest.mark.parametrize(
    ("rules", "meaning"),
    [(NEEDED, "under needed, which needs its agreement, no position will be opened"), (VETO_ONLY, "can only veto")],
)
def test_an_agent_whose_costs_exceed_every_gain_is_said_to_open_nothing(settings, rules, meaning):
    manager = manager_of(settings, rules, [0.0001, -0.0001] * 20)
    assert "HOLD in each of the 1 market states it knows" in manager.outlook()
    assert meaning in manager.outlook()


def test_an_agent_that_a_strategy_of_targets_does_not_ask_is_not_said_to_veto(settings):
    under_targets = settings.model_copy(update={"rules": "trend_portfolio"})
    assert manager_of(under_targets, VETO_ONLY, [0.0001, -0.0001] * 20).outlook() == ""


def test_an_agent_that_would_enter_somewhere_says_nothing(settings):
    manager = manager_of(settings, NEEDED, [0.01, 0.011] * 20)
    assert manager.agent.recommend(1, 0, 0).confidence > NEEDED.min_confidence
    assert manager.outlook() == ""


def test_an_agent_that_would_enter_but_never_surely_enough_opens_nothing(settings):
    wavering = [0.02, -0.0175] * 20
    manager = manager_of(settings, NEEDED, wavering)
    advice = manager.agent.recommend(1, 0, 0)
    assert (advice.action.name, 0 < advice.confidence < NEEDED.min_confidence) == ("BUY", True)
    assert "no position will be opened" in manager.outlook()


def test_an_agent_with_too_few_lessons_knows_nothing_yet(settings):
    manager = manager_of(settings, NEEDED, [0.01] * (LEAST_LESSONS - 1))
    assert "knows no market state well enough yet" in manager.outlook()


def test_a_short_only_agent_counts_only_where_shorts_are_allowed(settings):
    falling = [-0.01, -0.011] * 20
    assert "no position will be opened" in manager_of(settings, NEEDED, falling).outlook()
    assert manager_of(settings, DecisionRules(name="short", allow_short=True), falling).outlook() == ""


@pytest.mark.parametrize(("rate", "warned"), [(0.0, False), (0.02, True)])
def test_the_start_warns_of_random_trades_and_names_what_a_silent_agent_means(settings, caplog, rate, warned):
    with_rate = settings.model_copy(update={"exploration_rate": rate})
    manager = manager_of(with_rate, NEEDED, [0.0001] * 20)
    with caplog.at_level(logging.INFO):
        BotConsole(Console(logging.getLogger("bot"))).agent("Loaded", manager.outlook(), with_rate)
    assert "no position will be opened" in caplog.text
    assert ("makes random trades" in caplog.text) == warned
