"""Prepares another set of rules for a running bot: its candles and its agent first, then the switch in one turn.

Nothing is changed before everything is ready: history of the other candles for each pair, indicators warmed up on it,
an agent that learnt on such candles (on paper it is trained now where there is none).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from src.domain.clock import Clock
from src.domain.errors import ModelRefused, SettingsError
from src.domain.market import Candle
from src.execution.trader import Trader
from src.strategy.higher_timeframes import HigherTimeframeTrend
from src.strategy.indicators import IndicatorFold, ready
from src.strategy.rules import DecisionRules
from src.strategy.timeframes import CandleAggregator, History, remembered_once
from src.training.agent_manager import AgentManager

log = logging.getLogger(__name__)

MINUTES: Final = "1m"


@dataclass(frozen=True, slots=True)
class _View:
    """What one pair's trader looks at under the other rules."""

    slow: CandleAggregator | None
    trends: HigherTimeframeTrend


class RuleSwitch:
    """Switches all traders of a bot to rules that may look at other candles or sell short.

    Args:
        traders: of all pairs.
        agents: holds the agent and its file.
        history: asks the exchange for closed candles.
        minutes: the closed one-minute candles of a pair, as they flow in.
        clock: the exchange's.
        present: the rules in force.
    """

    def __init__(
        self,
        *,
        traders: Sequence[Trader],
        agents: AgentManager,
        history: History,
        minutes: Callable[[str], Sequence[Candle]],
        clock: Clock,
        present: DecisionRules,
    ) -> None:
        self._traders, self._agents = traders, agents
        self._history, self._minutes = history, minutes
        self._clock = clock
        self._present = present

    def prepare(self, rules: DecisionRules) -> str:
        """Make candles and agent of the other rules ready and hand them to the traders; return how, in words.

        Raises:
            SettingsError: there are too few candles, or no model of these rules; everything stays as it is.
            ExchangeError: the exchange cannot be asked; everything stays as it is.
        """
        if _looks_alike(rules, self._present):
            self._present = rules
            return ""
        history = remembered_once(self._history)
        views = {trader.symbol: self._warmed(trader.symbol, rules, history) for trader in self._traders}
        try:
            said = self._agents.switch(rules, history, list(views), self._clock.now_ms())
        except ModelRefused as error:
            raise SettingsError((f"{error}",)) from error
        for trader in self._traders:
            view = views[trader.symbol]
            trader.replace_timeframe(self._agents.agent, view.slow, view.trends.look)
        self._present = rules
        log.warning("decision candles changed: interval=%s agent=%s", rules.candle_interval, said)
        return said

    def _warmed(self, symbol: str, rules: DecisionRules, history: History) -> _View:
        """Return what the pair's trader will look at, with enough history behind it to decide on."""
        minutes = self._minutes(symbol)
        slow = None if rules.candle_interval == MINUTES else CandleAggregator(symbol, rules.candle_interval, history)
        seen = minutes if slow is None else slow.look(minutes)
        indicators = IndicatorFold().look(seen)
        if indicators is None or not ready(indicators):
            raise SettingsError(
                (
                    f"{symbol} has only {len(seen)} closed {rules.candle_interval} candles, too few for indicators: "
                    "keep the present rules, or trade another pair.",
                )
            )
        trends = HigherTimeframeTrend([CandleAggregator(symbol, each, history) for each in rules.trend_intervals])
        trends.look(minutes)
        return _View(slow, trends)


def _looks_alike(rules: DecisionRules, present: DecisionRules) -> bool:
    """Return whether agent and candles serve both sets of rules."""
    return (rules.candle_interval, rules.trend_intervals, rules.allow_short) == (
        present.candle_interval,
        present.trend_intervals,
        present.allow_short,
    )
