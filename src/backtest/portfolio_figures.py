"""The figures of a portfolio backtest: total and per pair, months, drawdowns, costs, benchmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from src.backtest.deflated import daily_ratio, deflated_sharpe
from src.backtest.performance import exit_reasons
from src.backtest.portfolio_outcome import Floats, Instants, PortfolioOutcome
from src.backtest.portfolio_setup import PortfolioSetup
from src.backtest.result import daily_closes, results
from src.domain.clock import MINUTE_MS, utc_text
from src.domain.metrics import DAYS_A_YEAR, daily_returns, drawdown, sharpe, sum_trades, trade_figures
from src.domain.portfolio import Trade
from src.market_data.columns import Candles
from src.strategy.target_rules import TargetRules

_DEEPEST = 5

ASSUMPTIONS = (
    "Targets are decided on closed candles and traded at the next minute's open, with the paper exchange's spread and "
    "depth (2 % of the minute's volume a level); market impact lasts one minute.",
    "Within a minute the price goes open, first extreme, second extreme, close (low first in a rising minute); mark "
    "price is its mean over 30 seconds. Longer candles are walked through by way of their extremes.",
    "Disaster stops trigger by mark price on whole seconds; funding is paid at its recorded rate, else 0.01 %.",
    "The circuit breaker looks at each decision, at losses, loss rate and drawdown; not at volatility or connections.",
    "The pairs are those that are large today: whoever chose in the past would have held some that are gone since. "
    "This flatters every rule that is long only.",
)


class Drop(NamedTuple):
    """One fall below the highest equity until then; ``end_ms`` None while it lasts."""

    start_ms: int
    deepest_ms: int
    end_ms: int | None
    depth_share: float


def portfolio_summary(
    outcome: PortfolioOutcome,
    setup: PortfolioSetup,
    rules: TargetRules,
    candles: Mapping[str, Candles],
    peer: PortfolioOutcome | None,
    name: str = "",
) -> dict[str, Any]:
    """Return everything that ``summary.json`` holds; ``peer`` is the same pairs at constant volatility."""
    hold = buy_and_hold(outcome, candles, float(setup.taker_share))
    judged = deflated_sharpe(outcome.daily_returns, [daily_ratio(outcome.daily_returns)], rules.tried)
    trades = trade_figures(sum_trades(results(outcome.trades)))
    return {
        "name": name,
        "symbol": f"{len(outcome.symbols)} pairs",
        "symbols": list(outcome.symbols),
        "rules": {"name": outcome.strategy, "description": rules.description, "tried": rules.tried},
        "strategy": _plain(rules.figures),
        "limits": _plain(asdict(setup.limits)),
        "from": utc_text(outcome.from_ms),
        "to": utc_text(int(outcome.instants[-1])),
        "decisions": len(outcome.decisions),
        **total_figures(outcome),
        "start_equity": float(outcome.start_equity),
        "deflated_sharpe": judged._asdict(),
        "trades": _plain(asdict(trades)),
        "open_trades": len(outcome.open_trades),
        "exposure": exposure(outcome),
        "costs": costs(outcome),
        "pairs": [pair_row(outcome, symbol) for symbol in outcome.symbols],
        "months": periods(outcome, "M"),
        "years": periods(outcome, "Y"),
        "drawdowns": [_drop_row(each) for each in drops(outcome.instants, outcome.equity)],
        "exit_reasons": exit_reasons(outcome.trades),
        "breaker_trips": [event.reason for event in outcome.breaker_events if event.tripped],
        "daily_loss_days": list(outcome.daily_loss_days),
        "buy_and_hold": _curve_figures(outcome, hold),
        "constant_volatility": None if peer is None else total_figures(peer),
        "always_flat": {"return_share": 0.0, "max_drawdown_share": 0.0},
        "assumptions": [*_changes(setup, rules), *ASSUMPTIONS],
    }


def total_figures(outcome: PortfolioOutcome) -> dict[str, Any]:
    """Return the figures of the whole account."""
    return {
        "end_equity": outcome.end_equity,
        "return_share": outcome.return_share,
        "sharpe": outcome.sharpe.as_dict(),
        "sortino": outcome.sortino.as_dict(),
        "volatility_share": yearly_volatility(outcome.daily_returns),
        "max_drawdown_share": outcome.drawdown.worst_share,
    }


def yearly_volatility(returns: Floats) -> float | None:
    """Return the yearly deviation of daily returns as a share; None for fewer than two."""
    return float(returns.std(ddof=1)) * DAYS_A_YEAR**0.5 if len(returns) > 1 else None


def buy_and_hold(outcome: PortfolioOutcome, candles: Mapping[str, Candles], taker_share: float) -> Floats:
    """Return the start's equity, put into all pairs in equal parts at leverage 1, at each instant; funding left out.

    A pair without a price at the start takes no part. One taker fee is paid at the start, one set aside for the end.
    """
    start, worths = float(outcome.start_equity), []
    for each in candles.values():
        if int(each.open_ms[0]) >= outcome.from_ms:
            continue
        rows = np.searchsorted(each.open_ms, outcome.instants - MINUTE_MS, side="right") - 1
        worths.append(each.close[rows] / each.close[rows[0]])
    if not worths:
        return np.full(len(outcome.instants), start)
    mean: Floats = start * (1.0 - taker_share) ** 2 * np.mean(worths, axis=0)
    return mean


def _curve_figures(outcome: PortfolioOutcome, worth: Floats) -> dict[str, Any]:
    daily = daily_closes(outcome.instants, worth, float(outcome.start_equity))
    return {
        "return_share": float(worth[-1]) / float(outcome.start_equity) - 1.0,
        "sharpe": sharpe(daily_returns(daily)).as_dict(),
        "max_drawdown_share": drawdown(worth).worst_share,
    }


def exposure(outcome: PortfolioOutcome) -> dict[str, float]:
    """Return gross exposure as shares of equity (mean and highest), and the share of the time with any."""
    return {
        "mean_share": float(outcome.exposure.mean()),
        "highest_share": float(outcome.exposure.max()),
        "invested_share": float((outcome.exposure > 0.0).mean()),
    }


def costs(outcome: PortfolioOutcome) -> dict[str, float]:
    """Return where the money went, in quote currency, and the turnover a year as a multiple of the mean equity."""
    books = outcome.books.values()
    fees = float(sum((book.fees for book in books), Decimal(0)))
    funding = float(sum((book.funding for book in books), Decimal(0)))
    turnover = float(sum((book.turnover for book in books), Decimal(0)))
    slippage = sum(book.slippage for book in books)
    net, mean = outcome.end_equity - float(outcome.start_equity), float(outcome.equity.mean())
    years = max(outcome.days, 1.0) / DAYS_A_YEAR
    return {
        "before_costs": net + fees - funding + slippage,
        "slippage": -slippage,
        "fees": -fees,
        "funding": funding,
        "net": net,
        "turnover": turnover,
        "turnover_a_year": turnover / mean / years,
        "fees_a_year_share": fees / mean / years,
    }


def pair_row(outcome: PortfolioOutcome, symbol: str) -> dict[str, Any]:
    """Return one pair's part in the result, as a share of the account's start."""
    book = outcome.books[symbol]
    result = float(outcome.pair_results[symbol][-1])
    figures = trade_figures(sum_trades(results(book.closed)))
    return {
        "pair": symbol,
        "pnl": result,
        "return_share": result / float(outcome.start_equity),
        "trades": figures.trades,
        "fills": len(book.fills),
        "win_rate": figures.win_rate,
        "fees": float(book.fees),
        "funding": float(book.funding),
        "turnover": float(book.turnover),
    }


def periods(outcome: PortfolioOutcome, unit: str) -> list[dict[str, Any]]:
    """Return per UTC month (``M``) or year (``Y``) the return on its starting equity, the span's first one first."""
    last = (outcome.instants - 1).astype("datetime64[ms]").astype(f"datetime64[{unit}]")
    ends = np.flatnonzero(np.append(last[1:] != last[:-1], True))
    equity = np.concatenate(([float(outcome.start_equity)], outcome.equity[ends]))
    rows = []
    for place, end in enumerate(ends.tolist()):
        label = str(last[end])
        closed = [trade for trade in outcome.trades if _ended_in(trade, label)]
        figures = trade_figures(sum_trades(results(closed)))
        rows.append(
            {
                "month" if unit == "M" else "year": label,
                "return_share": float(equity[place + 1] / equity[place] - 1.0),
                "trades": figures.trades,
                "win_rate": figures.win_rate,
                "fees": float(figures.fees),
                "funding": float(figures.funding),
            }
        )
    return rows


def _ended_in(trade: Trade, label: str) -> bool:
    return utc_text((trade.exit_ms or 0) - 1).startswith(label)


def drops(instants: Instants, equity: Floats) -> list[Drop]:
    """Return the deepest falls below the highest equity, deepest first, at most five."""
    peaks = np.maximum.accumulate(equity)
    below = equity < peaks
    edges = np.flatnonzero(np.diff(np.concatenate(([False], below, [False])).astype(np.int8)))
    found = []
    for first, beyond in edges.reshape(-1, 2).tolist():
        deepest = first + int((equity[first:beyond] / peaks[first:beyond]).argmin())
        end = int(instants[beyond]) if beyond < len(equity) else None
        depth = 1.0 - float(equity[deepest] / peaks[deepest])
        found.append(Drop(int(instants[max(first - 1, 0)]), int(instants[deepest]), end, depth))
    return sorted(found, key=lambda each: -each.depth_share)[:_DEEPEST]


def _drop_row(drop: Drop) -> dict[str, Any]:
    return {
        "from": utc_text(drop.start_ms)[:10],
        "deepest": utc_text(drop.deepest_ms)[:10],
        "until": "not recovered" if drop.end_ms is None else utc_text(drop.end_ms)[:10],
        "depth_share": drop.depth_share,
    }


def _changes(setup: PortfolioSetup, rules: TargetRules) -> list[str]:
    said = f"The settings change the rule set {rules.name}: {'; '.join(setup.rules_changed)}."
    return [said] if setup.rules_changed else []


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Decimal):
        return float(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def win_loss_met(trades: Mapping[str, Any]) -> bool | None:
    """Return whether the average win exceeds the average loss; None where one of them is unknown."""
    win, loss = trades["average_win"], trades["average_loss"]
    return None if win is None or loss is None else win > -loss


def goals(facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the goals of the user's document, what was found, and met or not met."""
    ratio, fallen, met = facts["sharpe"]["value"], facts["max_drawdown_share"], win_loss_met(facts["trades"])
    trades: Mapping[str, Any] = facts["trades"]
    rows: Sequence[tuple[str, str, bool | None]] = (
        ("Sharpe ratio above 1", "unknown" if ratio is None else f"{ratio:.2f}", None if ratio is None else ratio > 1),
        ("drawdown below 10 %", f"{fallen:.2%}", fallen < 0.10),
        (
            "average win above average loss",
            "unknown" if met is None else f"{trades['average_win']:.2f} against {-trades['average_loss']:.2f} USDT",
            met,
        ),
    )
    return [(goal, found, "unknown" if met is None else "met" if met else "not met") for goal, found, met in rows]
