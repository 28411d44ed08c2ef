"""Loads the agent, trains it at a first start, saves it, and reloads it when the model is replaced.

An untrusted model file is left unchanged and means HOLD: a null agent is used instead. A file that another process put
in place of ours (a promoted model) is loaded at the next turn and never overwritten. On paper a model for other rules
is renamed (``NAME_4h.pkl``) and restored with its rules, so that trying another rule set loses nothing. On testnet and
live such a model is refused.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.domain.clock import monotonic_s
from src.domain.costs import CostRates
from src.domain.errors import ExchangeError, ModelRefused
from src.domain.market import INTERVAL_MS, Candle
from src.runtime.rule_loader import names_targets
from src.runtime.settings import Settings
from src.strategy.higher_timeframes import taught_trends
from src.strategy.indicators import EMPTY, step
from src.strategy.q_agent import Action, QLearningAgent, Recommendation, Training, encode
from src.strategy.q_checkpoint import move_model
from src.strategy.q_state import REGIMES, in_context
from src.strategy.rules import DecisionRules
from src.strategy.votes import vote_values

log = logging.getLogger(__name__)

_PASSES = 2
_SLOW_CANDLES = 1_000


class NullAgent(QLearningAgent):
    """Recommends HOLD and learns nothing: replaces a refused model.

    Its ``refusal`` halts entries, also under rules that do not need the agent's agreement.
    """

    def __init__(self, refusal: str, allow_short: bool) -> None:
        super().__init__(allow_short=allow_short)
        self.refusal = refusal

    def recommend(self, market_state: int, position_sign: int, instant_ms: int) -> Recommendation:
        """Return HOLD with confidence 0."""
        return Recommendation(Action.HOLD, 0.0, market_state, False, (0.0, 0.0, 0.0))

    def learn(self, previous_state: int, position_sign: int, price_return: float, next_state: int) -> float:
        """Learn nothing; return 0."""
        return 0.0


class AgentManager:
    """Holds the agent of one bot and its file.

    Args:
        settings: model path, exploration, seed, shorts, mode.
        costs: of the account; the agent's rewards are net of them.
        rules: determine the candle interval and whether shorts are allowed.
    """

    def __init__(self, settings: Settings, costs: CostRates, rules: DecisionRules) -> None:
        self._path: Path = settings.model_path
        self._paper = settings.mode == "paper"
        self._training_candles = settings.training_candles
        self._exploration = settings.exploration_share
        self._seed = settings.random_seed
        self._rules = rules
        self._advises = not names_targets(settings)
        self._costs = costs
        self._stamp: tuple[int, int] | None = None
        self.agent = self._new()
        self.refusal = ""

    def load_or_train(
        self, candles: Callable[[str, str, int], Sequence[Candle]], pairs: Sequence[str], now_ms: int
    ) -> str:
        """Make the agent ready and return one sentence on how: loaded, trained now, untrained, or refused.

        Args:
            candles: called as ``candles(symbol, interval, count)``, closed ones, oldest first.
            pairs: the traded pairs; a first training uses all of them.
            now_ms: written into the file.
        """
        if self._paper:
            self._change_places()
        if self._path.exists():
            return self._load()
        if not self._paper:
            return "No RL model yet: it starts untrained and recommends HOLD until it has learnt enough."
        began_s = monotonic_s()
        count = self._training_candles // len(pairs)
        if self._rules.candle_interval != "1m":
            count = min(count, _SLOW_CANDLES)
        seen = []
        for pair in pairs:
            heard = candles(pair, self._rules.candle_interval, count)
            if heard:
                longer = [candles(pair, each, _SLOW_CANDLES) for each in self._rules.trend_intervals]
                teach(self.agent, heard, longer)
                seen.append(heard)
        self.save(now_ms)
        total = sum(len(each) for each in seen)
        said = f"Trained a first RL model on {total:,} candles in {monotonic_s() - began_s:.1f} s"
        log.info("model trained: candles=%d pairs=%s lessons=%d", total, ",".join(pairs), self.agent.lessons)
        return said

    def switch(
        self,
        rules: DecisionRules,
        candles: Callable[[str, str, int], Sequence[Candle]],
        pairs: Sequence[str],
        now_ms: int,
    ) -> str:
        """Load or train the agent of other rules, saving the present one; return a sentence as at a start.

        Raises:
            ModelRefused: there is no model of these rules; the present agent stays.
            ExchangeError: the exchange has no candles now; likewise.
        """
        self.save(now_ms)
        before = self._rules, self.agent, self.refusal, self._stamp
        self._rules, self.refusal, self._stamp = rules, "", None
        self.agent = self._new()
        try:
            said = self.load_or_train(candles, pairs, now_ms)
            if self.refusal:
                raise ModelRefused(self.refusal)
        except (ModelRefused, ExchangeError):
            self._rules, self.agent, self.refusal, self._stamp = before
            raise
        return said

    def reload_if_replaced(self) -> QLearningAgent | None:
        """Return the agent of a file that another process put in place of ours since the last check, else None."""
        if self._stamp is None or _stamp(self._path) in (self._stamp, None):
            return None
        log.info("%s", self._load())
        return self.agent

    def outlook(self) -> str:
        """Return a sentence if the agent never recommends an entry under the rules; "" otherwise.

        An agent that has learnt that costs exceed every gain recommends HOLD in each market state. Rules that need its
        agreement then never enter; under others it can only veto entries. A strategy of targets does not ask it.
        """
        if not self._advises or self.refusal or self.agent.ever_enters(self._rules.min_confidence):
            return ""
        known = self.agent.known_states
        learnt = f"The agent recommends HOLD in each of the {known:,} market states it knows"
        if known == 0:
            learnt = "The agent knows no market state well enough yet and recommends HOLD"
        if not self._rules.agent_must_agree:
            return f"{learnt}: under {self._rules.name} it opens nothing and can only veto what the votes open."
        return (
            f"{learnt}: under {self._rules.name}, which needs its agreement, no position will be opened. "
            "For a bot that trades choose RULES=patient_trend, or retrain on more candles."
        )

    def save(self, now_ms: int) -> None:
        """Write the agent's file, unless it was refused or replaced; a full disk keeps the old one."""
        if self.refusal or (self._stamp is not None and _stamp(self._path) not in (self._stamp, None)):
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.agent.save(self._path, now_ms)
        except OSError as error:
            log.error("model not saved, the old file stands: reason=%s", error)
            return
        self._stamp = _stamp(self._path)

    def _change_places(self) -> None:
        """Rename a valid model of other rules and restore the model of these rules, if there is one."""
        own = self._aside(self.agent)
        try:
            if self._path.exists():
                present = QLearningAgent.load(self._path)
                if not present.misfit(self._rules):
                    return
                move_model(self._path, self._aside(present))
                log.info("model of other rules put aside: file=%s", self._aside(present).name)
            if own.exists():
                QLearningAgent.load(own)
                move_model(own, self._path)
        except (ModelRefused, OSError) as error:
            log.warning("model left where it is: reason=%s", error)

    def _aside(self, agent: QLearningAgent) -> Path:
        return self._path.with_name(f"{self._path.stem}_{agent.made_for}{self._path.suffix}")

    def _load(self) -> str:
        self._stamp = _stamp(self._path)
        try:
            self.agent = QLearningAgent.load(self._path, self._exploration, self._seed)
            self._refuse_other_market()
        except ModelRefused as error:
            log.error("model rejected, agent disabled, entries halted: reason=%s", error)
            self.agent, self.refusal = NullAgent(str(error), self._rules.allow_short), str(error)
            return f"RL model refused, so the agent recommends HOLD: {error}"
        self.refusal = ""
        return f"Loaded RL model from {self._path.name} ({self.agent.lessons:,} lessons)"

    def _refuse_other_market(self) -> None:
        """Refuse a model that was trained for other rules or settings."""
        misfit = self.agent.misfit(self._rules)
        if misfit:
            raise ModelRefused(
                f"The model {self._path} {misfit}; choose other RULES, or run python3 retrain_rl_model.py --force."
            )

    def _new(self) -> QLearningAgent:
        return QLearningAgent.for_rules(self._rules, self._costs.one_way_share, self._exploration, self._seed)


def teach(agent: QLearningAgent, candles: Sequence[Candle], longer: Sequence[Sequence[Candle]] = ()) -> None:
    """Train ``agent`` on closed candles, oldest first, as it would have learnt turn by turn.

    ``longer`` are the candles of each of its trend intervals, which reach back at least as far. Past market regimes are
    unknown, so each update is applied to all of them.
    """
    states, returns = market_series(candles)
    closed_ms = np.array([each.open_ms for each in candles], np.int64) + INTERVAL_MS[agent.candle_interval]
    trends = taught_trends(longer, agent.trend_intervals, closed_ms)
    states = np.where(states < 0, -1, in_context(states, REGIMES * trends))
    for regime in range(REGIMES):
        agent.train(states[regime], returns, _PASSES)
    closes = np.array([candle.close for candle in candles])
    agent.training = Training(
        first_ms=candles[0].open_ms,
        last_ms=candles[-1].open_ms,
        candles=len(candles),
        data_sha256=hashlib.sha256(closes.tobytes()).hexdigest(),
    )


def market_series(candles: Sequence[Candle]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the market states of each candle, one row for each regime of the context, and the returns.

    Returns:
        States, shape (3, candles), -1 where not ready; the return from each close to the next, the last 0.
    """
    state = EMPTY
    codes = np.full((REGIMES, len(candles)), -1, dtype=np.int64)
    for index, candle in enumerate(candles):
        state, indicators = step(state, candle.high, candle.low, candle.close, candle.volume)
        votes = vote_values(indicators)
        for regime in range(REGIMES):
            codes[regime, index] = encode(indicators, votes, regime)
    closes = np.array([candle.close for candle in candles], dtype=np.float64)
    returns = np.zeros(len(candles), dtype=np.float64)
    returns[:-1] = closes[1:] / closes[:-1] - 1.0
    return codes, returns


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return the identity of a file, to detect its replacement; None without a file."""
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    return about.st_mtime_ns, about.st_ino
