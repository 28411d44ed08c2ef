"""Turns an observation into a decision.

An entry must pass every gate, and each gate that it passed or failed is kept with the figures it looked at. An
exit passes no gate: nothing here can hold a position open against its rules. The rules' figures and the
comparisons stand in ``decision_rules``; here they are fed from an observation and put into words.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from src.domain.market import Candle, Instrument, MarketContext, MarkPrice
from src.domain.portfolio import Account, Direction, Position
from src.domain.risk import RiskLimits, loss_share, position_quantity, protection_veto
from src.strategy.evidence import EvidenceFinding, findings, smallest_share
from src.strategy.indicators import Indicators
from src.strategy.q_agent import Action, Recommendation
from src.strategy.rules import (
    EXIT_REASONS,
    FIRST_EXIT_CODE,
    HOLD_CODE,
    LONG_CODE,
    DecisionRules,
    Thresholds,
    agent_consents,
    limits_under,
    load_rules,
    size_factor,
    thresholds,
    verdict_code,
    wanted_sign,
)  # fmt: skip
from src.strategy.signals import Signal, SignalSide

__all__ = [
    "EXIT_REASONS", "Decision", "DecisionRules", "Gate", "Observation", "Verdict", "action_sign", "decide",
    "limits_under", "load_rules",
]  # fmt: skip


class Verdict(StrEnum):
    """What we do this turn."""

    ENTER_LONG = "ENTER_LONG"
    ENTER_SHORT = "ENTER_SHORT"
    CLOSE = "CLOSE"
    HOLD = "HOLD"
    INCREASE = "INCREASE"
    REDUCE = "REDUCE"


class Gate(NamedTuple):
    """One condition of an entry, whether it was met, and the figures in words."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Observation:
    """All that a decision may know at ``now_ms``. ``None`` is unknown.

    ``halt_reason`` says why entries are halted ("" when they are not), ``day_start_equity`` is the equity at the
    start of the UTC day, ``settings_reason`` why the pair's settings at the exchange allow no entry ("" when they do),
    ``candle`` the last closed one, ``own`` whether this bot opened the position. A position that
    it did not open is left alone, and nothing is opened beside it.
    """

    symbol: str
    now_ms: int
    candle: Candle | None
    mark: MarkPrice | None
    account: Account | None
    position: Position | None
    indicators: Indicators | None
    signal: Signal
    recommendation: Recommendation
    context: MarketContext | None
    breaker_tripped: bool
    breaker_reason: str
    halt_reason: str
    day_start_equity: Decimal | None
    position_opened_ms: int | None
    stopping: bool
    instrument: Instrument
    own: bool = True
    settings_reason: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done and why, in one sentence a person understands.

    ``veto`` names the first gate that stopped an entry the market's signal asked for. ``quantity`` is what to
    enter or close, in base currency. ``exit_reason`` is one word of ``EXIT_REASONS`` when closing, else empty.
    """

    verdict: Verdict
    reason: str
    veto: str | None
    gates: tuple[Gate, ...]
    quantity: Decimal
    exit_reason: str


def action_sign(action: Action) -> int:
    """Return 1 for BUY, -1 for SELL, 0 for HOLD."""
    return 1 if action is Action.BUY else -1 if action is Action.SELL else 0


def decide(observation: Observation, rules: DecisionRules, limits: RiskLimits) -> Decision:
    """Return what to do in this turn; the same observation always gives the same decision."""
    t = thresholds(rules, limits)
    if observation.position is None or not observation.own:
        return _decide_flat(observation, rules, limits, t)
    return _decide_held(observation, observation.position, rules, limits, t)


def entry_gates(seen: Observation, rules: DecisionRules, limits: RiskLimits, quantity: Decimal) -> tuple[Gate, ...]:
    """Return the gates of safety that an entry or increase of ``quantity`` must pass, whoever asks for it."""
    price = _price(seen, rules)
    return _safety_gates(seen, rules, limits, _equity(seen, price), price, quantity)


def _decide_flat(seen: Observation, rules: DecisionRules, limits: RiskLimits, t: Thresholds) -> Decision:
    price = _price(seen, rules)
    equity = _equity(seen, price)
    wanted = wanted_sign(seen.signal.side.sign, seen.signal.strength, t)
    evidence = findings(rules.evidence, seen.context, seen.symbol, seen.now_ms, wanted or 1)
    quantity = Decimal(0)
    if price is not None and equity is not None:
        factor = size_factor(rules, _volatility(seen.indicators)) * _size_left(evidence)
        quantity = _quantity(equity * factor, price, limits, seen.instrument)
    judged = _judgement_gates(seen, wanted, rules, t) + evidence_gates(evidence)
    safety = _safety_gates(seen, rules, limits, equity, price, quantity)
    safe = all(gate.passed for gate in safety) and smallest_share(evidence) > 0.0
    code = _code(seen, 0, math.nan, safe, False, t)
    gates = judged + safety
    if code == HOLD_CODE:
        failed = next((gate for gate in gates if not gate.passed), None)
        veto = failed if wanted != 0 else None
        return Decision(Verdict.HOLD, _waiting(seen, rules, veto), veto.name if veto else None, gates, Decimal(0), "")
    verdict = Verdict.ENTER_LONG if code == LONG_CODE else Verdict.ENTER_SHORT
    return Decision(verdict, _entering(seen, verdict, evidence), None, gates, quantity, "")


def _decide_held(
    seen: Observation, position: Position, rules: DecisionRules, limits: RiskLimits, t: Thresholds
) -> Decision:
    price = _price(seen, rules)
    sign = position.direction.sign
    move = math.nan if price is None else float((price / position.entry_price - 1) * sign)
    day_loss = _day_loss(seen, _equity(seen, price))
    limit_hit = day_loss is not None and day_loss >= limits.max_daily_loss_share
    code = _code(seen, sign, move, False, limit_hit, t)
    if code == HOLD_CODE:
        return Decision(Verdict.HOLD, _keeping(seen, position, move), None, (), Decimal(0), "")
    reason = EXIT_REASONS[code - FIRST_EXIT_CODE]
    if position.direction is Direction.SHORT:
        reason = reason.replace("_sell", "_buy")
    return Decision(Verdict.CLOSE, _closing(seen, reason, move, day_loss), None, (), position.quantity, reason)


def _code(seen: Observation, position_sign: int, move: float, safe: bool, limit_hit: bool, t: Thresholds) -> int:
    advice, signal = seen.recommendation, seen.signal
    opened_ms = seen.position_opened_ms
    held_ms = t.min_holding_ms if opened_ms is None else seen.now_ms - opened_ms
    sign = action_sign(advice.action)
    return verdict_code(
        position_sign, move, held_ms, signal.side.sign, signal.strength, sign, advice.confidence, safe, limit_hit, t
    )


def _judgement_gates(seen: Observation, wanted: int, rules: DecisionRules, t: Thresholds) -> tuple[Gate, ...]:
    signal, advice = seen.signal, seen.recommendation
    side = "SELL" if wanted < 0 else "BUY"
    needs = f"{side} or SELL" if rules.allow_short and wanted == 0 else side
    sign = action_sign(advice.action)
    follows = sign == wanted if wanted != 0 else sign > 0 or (sign < 0 and rules.allow_short)
    asked = Gate(
        "signal",
        wanted != 0,
        f"the signal is {signal.side} of strength {signal.strength}, needed is {needs} of {rules.min_signal_strength}",
    )
    if not rules.agent_must_agree:
        return asked, _no_veto_gate(advice, wanted, t)
    return (
        asked,
        Gate("agent", follows, f"the agent recommends {advice.action.name}, needed is {needs}"),
        Gate(
            "confidence",
            advice.confidence > rules.min_confidence,
            f"the agent's confidence is {advice.confidence:.2f}, needed is more than {rules.min_confidence:.2f}",
        ),
    )


def evidence_gates(found: Iterable[EvidenceFinding]) -> tuple[Gate, ...]:
    """Return a gate for each kind of evidence that counts; one that leaves a smaller size is passed."""
    return tuple(Gate(each.name, each.share > 0.0, each.detail) for each in found)


def _size_left(found: tuple[EvidenceFinding, ...]) -> Decimal:
    """Return what evidence leaves of the size; a full one where it stops the entry, so that only its gate fails."""
    return Decimal(str(smallest_share(found) or 1.0))


def _no_veto_gate(advice: Recommendation, wanted: int, t: Thresholds) -> Gate:
    said = f"the agent recommends {advice.action.name} with confidence {advice.confidence:.2f}"
    detail = f"{said}; anything but the signal's side with more than {t.min_confidence:.2f} would stop the entry"
    consents = wanted == 0 or agent_consents(wanted, action_sign(advice.action), advice.confidence, t)
    return Gate("agent", consents, detail)


def _safety_gates(
    seen: Observation,
    rules: DecisionRules,
    limits: RiskLimits,
    equity: Decimal | None,
    price: Decimal | None,
    quantity: Decimal,
) -> tuple[Gate, ...]:
    reason = seen.breaker_reason.rstrip(".")
    breaker = f"the circuit breaker is TRIPPED: {reason}" if seen.breaker_tripped else "ARMED"
    foreign = "" if seen.position is None or seen.own else "the exchange holds a position that this bot did not open"
    halted = seen.halt_reason or foreign
    return (
        Gate("breaker", not seen.breaker_tripped, breaker),
        Gate("halt", not halted, f"entries are halted: {halted}" if halted else "none"),
        Gate("settings", not seen.settings_reason, seen.settings_reason or "the pair's settings are as they should be"),
        Gate("stopping", not seen.stopping, "the bot is stopping" if seen.stopping else "the bot goes on"),
        _age_gate("candle", seen.now_ms, seen.candle.open_ms if seen.candle else None, rules.max_candle_age_ms),
        _age_gate("mark", seen.now_ms, seen.mark.time_ms if seen.mark else None, rules.max_mark_age_ms),
        _age_gate("account", seen.now_ms, seen.account.as_of_ms if seen.account else None, rules.max_account_age_ms),
        _day_gate(_day_loss(seen, equity), limits),
        _exposure_gate(seen, limits, equity, price, quantity),
        _protection_gate(seen, limits, price),
        Gate("quantity", quantity > 0, f"{quantity} {seen.instrument.base_asset} can be bought or sold"),
    )


def _age_gate(name: str, now_ms: int, time_ms: int | None, max_age_ms: int) -> Gate:
    if time_ms is None:
        return Gate(name, False, f"no {name} is known")
    age_ms = now_ms - time_ms  # an instant as far in the future is no better than one in the past
    detail = f"the {name} is {age_ms / 1000:.1f} s old, allowed are {max_age_ms / 1000:g} s"
    return Gate(name, abs(age_ms) <= max_age_ms, detail)


def _day_gate(loss: Decimal | None, limits: RiskLimits) -> Gate:
    if loss is None:
        return Gate("daily_loss", False, "the day's loss is unknown")
    detail = f"the day's loss is {loss:.2%} of its start, the limit is {limits.max_daily_loss_share:.2%}"
    return Gate("daily_loss", loss < limits.max_daily_loss_share, detail)


def _exposure_gate(
    seen: Observation, limits: RiskLimits, equity: Decimal | None, price: Decimal | None, quantity: Decimal
) -> Gate:
    if seen.account is None or equity is None or price is None:
        return Gate("exposure", False, "account or price is unknown")
    margin = quantity * price / limits.leverage
    asset = seen.instrument.quote_asset
    counted = (each for each in seen.account.positions if each.asset == asset)
    used = sum((each.notional / each.leverage for each in counted), Decimal(0))
    bound = equity * limits.max_total_share
    fits = used + margin <= bound and margin <= seen.account.available_balance
    detail = (
        f"margin {used:.2f} in use and {margin:.2f} more, at most {bound:.2f},"
        f" and {seen.account.available_balance:.2f} available"
    )
    return Gate("exposure", fits, detail)


def _protection_gate(seen: Observation, limits: RiskLimits, price: Decimal | None) -> Gate:
    """An entry must be able to have its stop and its target, on their sides and inside the contract's prices."""
    if price is None or price <= 0:
        return Gate("protection", False, "the price is unknown")
    direction = Direction.SHORT if seen.signal.side is SignalSide.SELL else Direction.LONG
    veto = protection_veto(price, direction, limits, seen.instrument)
    return Gate("protection", not veto, veto or "stop and target can stand")


def _volatility(indicators: Indicators | None) -> float:
    """ATR as a share of the price, NaN where unknown."""
    return math.nan if indicators is None or indicators.close == 0.0 else indicators.atr / indicators.close


def _price(seen: Observation, rules: DecisionRules) -> Decimal | None:
    """The fresh mark price, else the last close, else the old mark price: an exit must not wait for a feed."""
    fresh = seen.mark is not None and abs(seen.now_ms - seen.mark.time_ms) <= rules.max_mark_age_ms
    if seen.mark is not None and (fresh or seen.candle is None):
        return seen.mark.mark
    return None if seen.candle is None else Decimal(str(seen.candle.close))


def _equity(seen: Observation, price: Decimal | None) -> Decimal | None:
    """Equity with our own position taken at ``price``: the account's last word may be minutes old."""
    if seen.account is None:
        return None
    held = seen.account.position(seen.symbol)
    if held is None or price is None:
        return seen.account.equity
    return seen.account.equity - held.unrealized_pnl + held.pnl_at(price)


def _day_loss(seen: Observation, equity: Decimal | None) -> Decimal | None:
    if equity is None or seen.day_start_equity is None:
        return None
    return loss_share(seen.day_start_equity, equity)


def _quantity(equity: Decimal, price: Decimal, limits: RiskLimits, instrument: Instrument) -> Decimal:
    if equity <= 0 or price <= 0:
        return Decimal(0)
    return position_quantity(equity, price, limits, instrument)


def _waiting(seen: Observation, rules: DecisionRules, veto: Gate | None) -> str:
    signal = seen.signal
    if seen.position is not None:
        return f"Leaving the {seen.position.direction} position alone, which this bot did not open."
    if veto is not None:
        return f"The {signal.side} signal of strength {signal.strength} is not followed: {veto.detail}."
    if signal.side is SignalSide.SELL and signal.strength >= rules.min_signal_strength:
        return f"Nothing to sell: the signal is SELL of strength {signal.strength} and short positions are off."
    return f"Waiting for a strong signal (now {signal.side} of strength {signal.strength})."


def _entering(seen: Observation, verdict: Verdict, evidence: tuple[EvidenceFinding, ...]) -> str:
    side = "long" if verdict is Verdict.ENTER_LONG else "short"
    advice, signal = seen.recommendation, seen.signal
    how = "tries" if advice.explored else "recommends"
    smaller = "".join(f" Smaller, for {each.detail}." for each in evidence if each.share < 1.0)
    return (
        f"Opening a {side} position: the signal is {signal.side} of strength {signal.strength} and the agent {how}"
        f" {advice.action.name} with confidence {advice.confidence:.2f}.{smaller}"
    )


def _keeping(seen: Observation, position: Position, move: float) -> str:
    if math.isnan(move):
        return f"Keeping the {position.direction} position: no price is known, the stop stands at the exchange."
    where = "in profit" if move > 0 else "at a loss" if move < 0 else "at its entry price"
    signal = f"the signal is {seen.signal.side} of strength {seen.signal.strength}"
    return f"Keeping the {position.direction} position: it is {where} ({move:+.2%}) and {signal}."


def _closing(seen: Observation, reason: str, move: float, day_loss: Decimal | None) -> str:
    signal, advice = seen.signal, seen.recommendation
    moved = f"the price moved {move:+.2%} for the position"
    because = {
        "daily_loss": f"the day's loss of {day_loss or 0:.2%} has reached its limit",
        "stop_loss": f"{moved}, to its stop",
        "early_stop": f"{moved}, most of the way to its stop",
        "take_profit": f"{moved}, to its target",
        "cut_loss": f"it is at a loss ({move:+.2%}) and the signal is {signal.side}",
    }.get(reason)
    if because is None and reason.startswith("signal"):
        because = f"the signal is {signal.side} of strength {signal.strength}"
    if because is None:
        because = f"the agent recommends {advice.action.name} with confidence {advice.confidence:.2f}"
    return f"Closing the position: {because}."
