"""Runs those variants of a sweep that the kernel does not know on the exact path: the live trader on the venue."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from src.backtest.config import BreakerPolicy, Setup
from src.backtest.engine import run_backtest
from src.backtest.kernel import KernelPosition, KernelTrade, nothing
from src.backtest.result import BacktestResult
from src.backtest.variants import Variant, varied
from src.domain.clock import DAY_MS, MINUTE_MS
from src.domain.portfolio import Trade
from src.market_data.columns import Candles
from src.strategy.q_agent import QLearningAgent


def needs_exact_path(setup: Setup) -> bool:
    """Return whether the kernel cannot run a setup: its exits follow the market, or its entries wait as makers."""
    limits = setup.limits_in_force
    return limits.exits.any or limits.entry.maker_wait_ms > 0


def exact_path_notice(setup: Setup, variants: Sequence[Variant]) -> str:
    """Return one sentence on the variants of a sweep that are run on the exact path, "" when none is."""
    count = sum(needs_exact_path(varied(setup, each)) for each in variants)
    if not count:
        return ""
    return (
        f"{count} of {len(variants)} variants have exits beside stop and target, or enter as makers: they are run on "
        "the exact path, one after another, which takes seconds for a year of minutes, not milliseconds."
    )


def exact_run(
    candles: Candles, setup: Setup, agent: QLearningAgent, first: int, funding: Mapping[int, float] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], KernelPosition]:
    """Return closed trades, daily equity and what is still held, in the kernel's form, without a circuit breaker.

    Args:
        candles: those of the sweep; the first turn is the one after row ``first``.
        setup: the variant.
        agent: taught by what was before; learns on.
        first: see ``candles``.
        funding: rates by settlement instant.
    """
    outcome = run_backtest(
        candles,
        replace(setup, breaker_policy=BreakerPolicy.OFF),
        agent,
        from_ms=int(candles.open_ms[first]) + MINUTE_MS,
        funding=funding,
    )
    rows = [_row(trade) for trade in outcome.trades]
    return (
        np.array(rows, dtype=np.float64).reshape(len(rows), len(KernelTrade._fields)),
        _daily(outcome),
        _held(outcome),
    )


def _daily(outcome: BacktestResult) -> NDArray[np.float64]:
    midnights = outcome.equity[1:][outcome.instants[1:] % DAY_MS == 0]
    return np.concatenate(([float(outcome.start_equity)], midnights, outcome.equity[-1:]))


def _row(trade: Trade) -> KernelTrade:
    return KernelTrade(
        float(trade.direction.sign),
        float(trade.quantity),
        float(trade.entry_price),
        float(trade.entry_ms),
        float(trade.exit_price or 0),
        float(trade.exit_ms or 0),
        0.0,
        float(trade.fees),
        float(trade.funding),
        float(trade.pnl),
    )


def _held(outcome: BacktestResult) -> KernelPosition:
    trade = outcome.open_trade
    if trade is None:
        return nothing(0.0, 0)
    held = nothing(0.0, trade.entry_ms)
    return held._replace(sign=trade.direction.sign, fees=float(trade.fees), funding=float(trade.funding))
