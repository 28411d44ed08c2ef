"""Performance figures of a backtest, beside buy-and-hold and always-flat."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.backtest.config import Setup
from src.backtest.result import BacktestResult, daily_closes, results
from src.domain.clock import DAY_MS, MINUTE_MS, utc_text
from src.domain.metrics import daily_returns, drawdown, sharpe, sum_trades, trade_figures
from src.domain.portfolio import Trade
from src.market_data.columns import Candles

Floats = NDArray[np.float64]
REGIME_DAYS = 7
REGIME_SHARE = 0.03


class Curve(NamedTuple):
    """Points over time: instants (UTC ms) and values."""

    instants: NDArray[np.int64]
    values: Floats


def _changes(setup: Setup) -> list[str]:
    said = f"The settings change the rules of {setup.rules.name}: {'; '.join(setup.rules_changed)}."
    return [said] if setup.rules_changed else []


def buy_and_hold(outcome: BacktestResult, candles: Candles, taker_share: float) -> Curve:
    """Return what the start's equity, put into the contract at leverage 1 at the first turn, was worth at each turn.

    One taker fee is paid at the start and one is set aside for the end; funding is left out.
    """
    rows = np.searchsorted(candles.open_ms, outcome.instants - MINUTE_MS)
    closes = candles.close[rows]
    start = float(outcome.start_equity)
    held = start * (1.0 - taker_share) / closes[0]
    return Curve(outcome.instants, held * closes * (1.0 - taker_share))


def summary(outcome: BacktestResult, setup: Setup, candles: Candles, name: str = "") -> dict[str, Any]:
    """Return everything that ``summary.json`` holds: plain numbers and texts, unknown figures as None."""
    figures, held = outcome.trade_figures, buy_and_hold(outcome, candles, float(setup.taker_share))
    hold_daily = daily_closes(held.instants, held.values, float(outcome.start_equity))
    fallen = outcome.drawdown
    return {
        "name": name,
        "symbol": outcome.symbol,
        "rules": asdict(setup.rules),
        "limits": {key: _plain(value) for key, value in asdict(setup.limits).items()},
        "from": utc_text(int(outcome.instants[0])),
        "to": utc_text(int(outcome.instants[-1])),
        "turns": len(outcome.instants),
        "start_equity": float(outcome.start_equity),
        "end_equity": outcome.end_equity,
        "return_share": outcome.return_share,
        "sharpe": outcome.sharpe.as_dict(),
        "sortino": outcome.sortino.as_dict(),
        "max_drawdown_share": fallen.worst_share,
        "trades": {key: _plain(value) for key, value in asdict(figures).items()},
        "open_trade": None if outcome.open_trade is None else trade_row(outcome.open_trade),
        "exit_reasons": exit_reasons(outcome.trades),
        "costs": costs(outcome, candles),
        "months": monthly(outcome),
        "regimes": regime_table(outcome, candles),
        "breaker_trips": _count(event.trigger for event in outcome.breaker_events if event.tripped),
        "buy_and_hold": {
            "return_share": float(held.values[-1]) / float(outcome.start_equity) - 1.0,
            "sharpe": sharpe(daily_returns(hold_daily)).as_dict(),
            "max_drawdown_share": drawdown(held.values).worst_share,
        },
        "always_flat": {"return_share": 0.0, "max_drawdown_share": 0.0},
        "assumptions": [*_changes(setup), *([BRACKETS_ASSUMED] if setup.brackets_assumed else []), *ASSUMPTIONS],
    }


BRACKETS_ASSUMED = (
    "The exchange tells leverage brackets to account holders only: a cautious table of ours stands in for this "
    "contract's (20 times at most)."
)
ASSUMPTIONS = (
    "Orders fill at the next minute's open, with the paper exchange's spread and depth (2 % of the minute's volume a "
    "level); market impact lasts one minute.",
    "Within a minute the price goes open, first extreme, second extreme, close (low first in a rising minute); mark "
    "price is its mean over 30 seconds.",
    "Stops trigger by mark price on whole seconds; funding is paid at its recorded rate, else 0.01 %.",
    "Fees are the taker's share of notional as given; no rebate, no tax.",
)


def _plain(value: object) -> object:
    """Return a figure as JSON can hold it: decimals as floats, whatever they stand in."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return float(value) if isinstance(value, Decimal) else value


def _count(words: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for word in words:
        counts[word] += 1
    return dict(counts)


def exit_reasons(trades: Iterable[Trade]) -> dict[str, dict[str, float]]:
    """Return per exit reason how many trades ended so, what they brought, and the share that won."""
    table: dict[str, list[float]] = defaultdict(list)
    for trade in trades:
        table[trade.exit_reason].append(float(trade.pnl))
    return {
        reason: {"trades": len(pnls), "pnl": sum(pnls), "win_rate": sum(pnl > 0 for pnl in pnls) / len(pnls)}
        for reason, pnls in sorted(table.items(), key=lambda each: sum(each[1]))
    }


def costs(outcome: BacktestResult, candles: Candles) -> dict[str, float]:
    """Return where the money went: fees, funding, slippage against the next open, and the result before them.

    A trade that is still open counts with what it has cost so far, and with its worth at the last mark price.
    """
    trades = [*outcome.trades, *([outcome.open_trade] if outcome.open_trade else [])]
    fees = float(sum((trade.fees for trade in trades), Decimal(0)))
    funding = float(sum((trade.funding for trade in trades), Decimal(0)))
    net = outcome.end_equity - float(outcome.start_equity)
    gross = net + fees - funding
    slippage = sum(_slippage(trade, candles) for trade in trades)
    turnover = float(sum((_turnover(trade) for trade in trades), Decimal(0)))
    closed = float(sum((trade.gross_pnl for trade in outcome.trades), Decimal(0)))
    return {
        "before_costs": gross + slippage,
        "slippage": -slippage,
        "fees": -fees,
        "funding": funding,
        "net": net,
        "unrealized": gross - closed if outcome.open_trade else 0.0,
        "turnover": turnover,
        "cost_of_turnover_bps": (slippage + fees - funding) / turnover * 10_000.0 if turnover else 0.0,
    }


def _turnover(trade: Trade) -> Decimal:
    return trade.quantity * (trade.entry_price + (trade.exit_price or Decimal(0)))


def _slippage(trade: Trade, candles: Candles) -> float:
    """What the fills at whole minutes lost against the minute's open; guards within a minute are left out."""
    lost = 0.0
    sides = ((trade.entry_ms, trade.entry_price, 1), (trade.exit_ms, trade.exit_price, -1))
    for at_ms, price, side in sides:
        place = None if at_ms is None else candles.place(at_ms)
        if place is not None and price is not None:
            lost += (float(price) - float(candles.open[place])) * float(trade.quantity) * side * trade.direction.sign
    return lost


def monthly(outcome: BacktestResult) -> list[dict[str, Any]]:
    """Return per UTC month the return on its starting equity, the trades that ended in it, and their fees.

    The first month is that of the first turn, also where that one falls on the month's first instant.
    """
    last_rows = _month_ends(outcome.instants)
    months = [utc_text(_within_span(outcome, int(at)))[:7] for at in outcome.instants[last_rows]]
    ends = outcome.equity[last_rows]
    starts = np.concatenate(([float(outcome.start_equity)], ends[:-1]))
    rows = []
    for month, start, end in zip(months, starts, ends, strict=True):
        closed = [trade for trade in outcome.trades if utc_text(_within_span(outcome, trade.exit_ms or 0))[:7] == month]
        figures = trade_figures(sum_trades(results(closed)))
        still_open = outcome.open_trade if month == months[-1] else None
        rows.append(
            {
                "month": month,
                "return_share": float(end / start - 1.0),
                "trades": figures.trades,
                "win_rate": figures.win_rate,
                "fees": float(figures.fees + (still_open.fees if still_open else 0)),
                "funding": float(figures.funding + (still_open.funding if still_open else 0)),
            }
        )
    return rows


def _within_span(outcome: BacktestResult, at_ms: int) -> int:
    """Return an instant of the period that ends with ``at_ms``, not before the first turn."""
    return max(at_ms - 1, int(outcome.instants[0]))


def _month_ends(instants: NDArray[np.int64]) -> NDArray[np.int64]:
    months = np.maximum(instants - 1, instants[0]).astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    return np.flatnonzero(np.append(np.diff(months) > 0, True))


def regime_table(outcome: BacktestResult, candles: Candles) -> list[dict[str, Any]]:
    """Return how days of each regime went: rising, falling or sideways by the seven days before them.

    What the market did before a day is known at its start: a trader could have told these regimes apart.
    """
    days = outcome.instants[0] // DAY_MS + np.arange(len(outcome.daily_equity) - 1)
    returns = daily_returns(outcome.daily_equity)
    kinds = [_regime(candles, int(day) * DAY_MS) for day in days]
    table = []
    for kind in ("rising", "falling", "sideways", "unknown"):
        chosen = np.array([each == kind for each in kinds])
        if not chosen.any():
            continue
        numbers = {int(day) for day in days[chosen]}
        entered = [trade for trade in outcome.trades if trade.entry_ms // DAY_MS in numbers]
        figures = trade_figures(sum_trades(results(entered)))
        table.append(
            {
                "regime": kind,
                "days": int(chosen.sum()),
                "return_share": float(np.prod(1.0 + returns[chosen]) - 1.0),
                "trades": figures.trades,
                "win_rate": figures.win_rate,
                "pnl": float(figures.net_pnl),
            }
        )
    return table


def _regime(candles: Candles, day_ms: int) -> str:
    now = int(np.searchsorted(candles.open_ms, day_ms)) - 1
    before = int(np.searchsorted(candles.open_ms, day_ms - REGIME_DAYS * DAY_MS)) - 1
    if before < 0 or now < 0:
        return "unknown"
    moved = float(candles.close[now] / candles.close[before]) - 1.0
    return "rising" if moved > REGIME_SHARE else "falling" if moved < -REGIME_SHARE else "sideways"


TRADE_COLUMNS = (
    "symbol", "direction", "quantity", "entry_time", "entry_price", "exit_time", "exit_price", "exit_reason",
    "gross_pnl", "fees", "funding", "pnl", "pnl_percent", "leverage",
)  # fmt: skip


def trade_row(trade: Trade) -> dict[str, str]:
    """Return one trade as it goes into ``trades.csv``."""
    return {
        "symbol": trade.symbol,
        "direction": str(trade.direction),
        "quantity": str(trade.quantity),
        "entry_time": utc_text(trade.entry_ms),
        "entry_price": f"{trade.entry_price:f}",
        "exit_time": "" if trade.exit_ms is None else utc_text(trade.exit_ms),
        "exit_price": "" if trade.exit_price is None else f"{trade.exit_price:f}",
        "exit_reason": trade.exit_reason,
        "gross_pnl": f"{trade.gross_pnl:f}",
        "fees": f"{trade.fees:f}",
        "funding": f"{trade.funding:f}",
        "pnl": f"{trade.pnl:f}",
        "pnl_percent": f"{trade.pnl_percent:.4f}",
        "leverage": str(trade.leverage),
    }
