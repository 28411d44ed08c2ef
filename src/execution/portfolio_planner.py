"""Plans a portfolio of targets when the strategy's candles close, and tells each pair's turn what to do about it.

The planner sends nothing: a pair's turn asks it for a decision as it would ask the rules of votes. Limits of risk come
first, as there; an increase passes the same gates of safety as any entry; a reduction passes none.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from src.domain.clock import Clock, utc_text
from src.domain.errors import ExchangeError
from src.domain.funding import FundingRate
from src.domain.market import INTERVAL_MS, Candle, Instrument, MarketContext, money
from src.domain.orders import Side
from src.domain.portfolio import Account
from src.domain.ports import MarketFeed
from src.domain.risk import RiskLimits
from src.strategy.decision import Decision, Observation, Verdict, decide, entry_gates
from src.strategy.evidence import NO_EVIDENCE, EvidenceRules, restraints_of
from src.strategy.order_plan import Holding, PairPlan, PlannedOrder, plan_portfolio
from src.strategy.rules import DecisionRules
from src.strategy.targets import PortfolioObservation, Strategy
from src.strategy.timeframes import DecisionCandles
from src.strategy.user_strategy import GuardedStrategy

log = logging.getLogger(__name__)

REBALANCE = "rebalance"
_OF_AN_ENTRY = ("signal", "agent", "confidence", "exposure", "quantity")
"""Gates of votes, and of the size of an entry: they say nothing where nothing is to be entered."""
_RETRIED = ("candle", "mark", "account")
"""Gates that a later turn may pass: data that was late. What another gate stops waits for the next decision."""


@dataclass(slots=True)
class _PairState:
    """One pair between two decisions: its plan, what of it is not done yet, and its history of candles."""

    plan: PairPlan | None = None
    pending: list[PlannedOrder] = field(default_factory=list)
    history: list[Candle] = field(default_factory=list)
    said: str = ""

    def figures(self, held: float) -> str:
        """Return target, held share, band, volatility and what each look-back says, "" before there is a target."""
        if self.plan is None or self.plan.target.weight is None:
            return ""
        target = self.plan.target
        weighed = f" Target {target.weight:.2%}, held {held:.2%}, band {target.band:.2%}."
        if not target.spans:
            return weighed
        spans = " ".join(f"{each.days}d {each.channel:+d}/{each.momentum:+.2f}" for each in target.spans)
        forecast = f" Forecast {target.signal:.2f} (look-back, channel/momentum): {spans}."
        return f"{weighed}{forecast} Volatility {target.volatility:.0%} a year."


class PortfolioPlanner:
    """The decisions of one strategy over several pairs. Called by one pair's turn at a time."""

    uses_agent = False

    def __init__(
        self,
        strategy: Strategy,
        feed: MarketFeed,
        clock: Clock,
        candles: Mapping[str, DecisionCandles],
        instrument: Callable[[str], Instrument],
        *,
        leverage: int,
        decided_ms: int | None = None,
        evidence: EvidenceRules = NO_EVIDENCE,
        context: Callable[[], MarketContext | None] = lambda: None,
        funding: Callable[[str], Sequence[FundingRate]] = lambda _symbol: (),
    ) -> None:
        """``decided_ms`` is the last instant at which an earlier process noted anything: what it decided, it did.

        ``evidence`` says what of ``context`` restrains entries and increases. ``funding`` tells a pair's settlements;
        a strategy that fails holds.
        """
        self._strategy, self._funding = GuardedStrategy(strategy), funding
        self._feed = feed
        self._clock = clock
        self._candles = candles
        self._instrument = instrument
        self._leverage = leverage
        self._evidence, self._context = evidence, context
        self._step_ms = INTERVAL_MS[strategy.candle_interval]
        self._decided_on = -1 if decided_ms is None else decided_ms // self._step_ms
        self._planned_on = -1
        self._pairs = {symbol: _PairState() for symbol in candles}

    @property
    def next_decision_ms(self) -> int:
        """The instant of the next decision."""
        return (self._clock.now_ms() // self._step_ms + 1) * self._step_ms

    @property
    def failure(self) -> str:
        """Why the strategy's last decision failed, in one sentence; empty when it did not."""
        return self._strategy.failure

    def prepare(self) -> bool:
        """Make a new plan if a candle of the strategy has closed since the last one; return whether one was made.

        What an earlier process decided in the same interval is planned again to be told, and nothing of it is sent.
        """
        account, number = self._feed.account(), self._clock.now_ms() // self._step_ms
        if account is None or number <= self._planned_on or not self._look(number * self._step_ms):
            return False
        decided_before = number <= self._decided_on
        self._decided_on = self._planned_on = number
        histories = {symbol: pair.history for symbol, pair in self._pairs.items()}
        targets = self._strategy.targets(PortfolioObservation(number * self._step_ms, histories, self._settled()))
        known = [each for each in targets if histories[each.symbol]]
        holdings = {each.symbol: self._holding(each.symbol, account) for each in known}
        weights = {each.symbol: each.weight for each in known}
        held_back = restraints_of(self._evidence, self._context(), weights, number * self._step_ms)
        worth = self._worth(account, holdings)
        plan = plan_portfolio(known, holdings, worth, self._leverage, restraints=held_back)
        for pair in plan.pairs:
            state = self._pairs[pair.target.symbol]
            state.plan, state.pending, state.said = pair, list(pair.orders), pair.reason
            if decided_before and pair.target.weight is not None:
                state.pending, state.said = [], "Not traded: this interval's decision was made before the restart."
        return True

    def _settled(self) -> dict[str, Sequence[FundingRate]]:
        """Return what was settled, of the pairs of which the exchange tells it now."""
        found: dict[str, Sequence[FundingRate]] = {}
        for symbol in self._pairs:
            try:
                found[symbol] = self._funding(symbol)
            except ExchangeError as error:
                log.warning("funding unknown: symbol=%s reason=%s", symbol, error)
        return {symbol: rows for symbol, rows in found.items() if rows}

    def in_order(self, symbols: Sequence[str]) -> list[str]:
        """Return the pairs in the order of their turns: those that reduce before those that increase."""
        return sorted(symbols, key=lambda each: self.covers(each) and self._increases(each))

    def covers(self, symbol: str) -> bool:
        """Return whether a pair is one of the strategy's."""
        return symbol in self._pairs

    def _increases(self, symbol: str) -> bool:
        return any(not order.reduces for order in self._pairs[symbol].pending)

    def decide(self, seen: Observation, rules: DecisionRules, limits: RiskLimits) -> Decision:
        """Return what to do in this turn of one pair."""
        decision = decide(seen, rules, limits)
        pair = self._pairs[seen.symbol]
        if decision.verdict is Verdict.CLOSE:
            pair.pending.clear()
            return decision
        if not pair.pending:
            return self._holding_still(decision, pair, seen)
        order = pair.pending[0]
        if order.reduces:
            verdict = Verdict.CLOSE if order.closes else Verdict.REDUCE
            return Decision(verdict, self._told(pair.said, pair, seen), None, (), order.quantity, REBALANCE)
        gates = entry_gates(seen, rules, limits, order.quantity)
        failed = next((gate for gate in gates if not gate.passed), None)
        if failed is not None:
            if failed.name not in _RETRIED:
                pair.pending.clear()
                pair.said = f"Not increased: {failed.detail}."
            told = self._told(f"Not increased: {failed.detail}.", pair, seen)
            return Decision(Verdict.HOLD, told, failed.name, gates, Decimal(0), "")
        return Decision(self._entry(seen, order), self._told(pair.said, pair, seen), None, gates, order.quantity, "")

    def note_outcome(self, symbol: str, outcome: str) -> None:
        """Take note of what came of a turn that acted: "" is done, else why not (then it is tried again)."""
        pair = self._pairs[symbol]
        if pair.pending and not outcome:
            pair.pending.pop(0)

    def plan_of(self, symbol: str) -> PairPlan | None:
        """Return the present plan of a pair, None before the first decision."""
        return self._pairs[symbol].plan

    def _entry(self, seen: Observation, order: PlannedOrder) -> Verdict:
        if seen.position is not None:
            return Verdict.INCREASE
        return Verdict.ENTER_LONG if order.side is Side.BUY else Verdict.ENTER_SHORT

    def report(self) -> dict[str, object]:
        """Return what the strategy says of each pair, as of its last decision; shares of equity, volatility a year."""
        return {
            "strategy": self._strategy.name,
            "next_decision": utc_text(self.next_decision_ms),
            "pairs": {symbol: _report(state) for symbol, state in self._pairs.items()},
        }

    def _told(self, sentence: str, pair: _PairState, seen: Observation) -> str:
        """Return a sentence with the figures behind it and the instant of the next decision."""
        held = 0.0
        if seen.position is not None and seen.account is not None and seen.account.equity > 0:
            held = float(seen.position.notional / seen.account.equity) * seen.position.direction.sign
        return f"{sentence}{pair.figures(held)} The next decision is at {utc_text(self.next_decision_ms)[:16]}."

    def _holding_still(self, decision: Decision, pair: _PairState, seen: Observation) -> Decision:
        said = pair.said if pair.plan is not None else "No target yet: the strategy has not decided."
        gates = tuple(gate for gate in decision.gates if gate.name not in _OF_AN_ENTRY)
        return replace(decision, reason=self._told(said, pair, seen), veto=None, gates=gates)

    def _look(self, closed_ms: int) -> bool:
        """Take in the candles that closed; return whether all pairs have the one that closed last, or none at all."""
        complete = True
        for symbol, source in self._candles.items():
            pair, seen = self._pairs[symbol], source.look(self._feed.candles(symbol))
            newest = pair.history[-1].open_ms if pair.history else -1
            pair.history += [each for each in seen if each.open_ms > newest]
            complete &= bool(pair.history) and pair.history[-1].open_ms + self._step_ms >= closed_ms
        return complete

    def _holding(self, symbol: str, account: Account) -> Holding:
        position = account.position(symbol)
        quantity = Decimal(0) if position is None else position.quantity * position.direction.sign
        return Holding(quantity, money(self._pairs[symbol].history[-1].close), self._instrument(symbol))

    def _worth(self, account: Account, holdings: Mapping[str, Holding]) -> Decimal:
        """Return the account's worth at closed candles, so that it does not matter in which second one decides."""
        held = ((each, holdings.get(each.symbol)) for each in account.positions)
        profit = (each.pnl_at(here.price) if here else each.unrealized_pnl for each, here in held)
        return account.wallet_balance + sum(profit, Decimal(0))


def _report(state: _PairState) -> dict[str, object]:
    if state.plan is None:
        return {"said": "No target yet: the strategy has not decided."}
    target = state.plan.target
    return {
        "said": state.said,
        "target": target.weight,
        "held_at_decision": state.plan.held_share,
        "band": target.band,
        "forecast": None if math.isnan(target.signal) else target.signal,
        "volatility": None if math.isnan(target.volatility) else target.volatility,
        "spans": [each._asdict() for each in target.spans],
    }
