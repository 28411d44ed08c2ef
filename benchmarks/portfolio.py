"""What the trend portfolio would have earned, and how much of it can be believed: python -m benchmarks.portfolio

Works on the real candles in ``../shared/data`` (or ``SHARED_DATA``), with the exact backtest on the paper exchange's
venue. Prints Markdown: the rule set with and without its daily loss limit and circuit breaker, its peers, years, the
band over monthly starts, variants around its figures with the deflated Sharpe ratio, and a walk-forward in which each
quarter trades the variant that was best until then. Takes some four minutes.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from benchmarks.rules import DATA, ROOT
from src.backtest.config import BreakerPolicy
from src.backtest.deflated import daily_ratio, deflated_sharpe, distinct_ratios
from src.backtest.portfolio_engine import run_portfolio
from src.backtest.portfolio_figures import buy_and_hold, costs, exposure, periods
from src.backtest.portfolio_files import lean_minutes
from src.backtest.portfolio_outcome import PortfolioOutcome
from src.backtest.portfolio_setup import PortfolioSetup
from src.backtest.portfolio_starts import band, staggered
from src.domain.clock import instant_of, utc_text
from src.domain.metrics import daily_returns, drawdown, sharpe
from src.market_data.files import read_funding
from src.strategy.target_rules import load_target_rules
from src.strategy.targets import SpanForecast
from src.strategy.trend_forecast import signal_of
from src.strategy.trend_portfolio import TrendPortfolio, TrendPortfolioRules, constant_volatility

FILES = {
    "BTCUSDT": "BTCUSDT_um_1h_2021Aug_2024H1.parquet",
    "ETHUSDT": "ETHUSDT_um_mark_8h_to2024H1.parquet",
    "SOLUSDT": "SOLUSDT_um_15m_2022_2024H1.parquet",
    "BNBUSDT": "BNBUSDT_um_15m_2022_2024H1.parquet",
    "XRPUSDT": "XRPUSDT_um_15m_2022_2024H1.parquet",
    "DOGEUSDT": "DOGEUSDT_um_15m_2022_2024H1.parquet",
}
FROM_MS = instant_of("2022-03-23T00:00:00.000Z")
TO_MS = instant_of("2024-06-25T00:00:00.000Z")
RULES = load_target_rules((ROOT / "config" / "rules" / "trend_portfolio.toml").read_text(encoding="utf-8"))
BASE = RULES.strategy
Signal = Callable[[tuple[SpanForecast, ...]], float]


@dataclass(frozen=True)
class Variant:
    """One way to do it: a name, the figures, and how look-backs become a signal."""

    name: str
    rules: TrendPortfolioRules
    signal: Signal = signal_of


def channels_alone(spans: tuple[SpanForecast, ...]) -> float:
    """Return the signal of the channel states without momentum."""
    return max(0.0, sum(each.channel for each in spans) / len(spans))


def momentum_alone(spans: tuple[SpanForecast, ...]) -> float:
    """Return the signal of the momenta without channel states."""
    return max(0.0, sum(each.momentum for each in spans) / len(spans))


VARIANTS = (
    Variant("as given", BASE),
    Variant("channels alone", BASE, channels_alone),
    Variant("momentum alone", BASE, momentum_alone),
    Variant("look-backs 5, 10, 20 days", replace(BASE, look_back_days=(5, 10, 20))),
    Variant("look-backs 10, 20, 40 days", replace(BASE, look_back_days=(10, 20, 40))),
    Variant("look-backs 20, 40, 80 days", replace(BASE, look_back_days=(20, 40, 80))),
    Variant("4-hour candles", replace(BASE, candle_interval="4h")),
    Variant("daily candles", replace(BASE, candle_interval="1d")),
    Variant("no band", replace(BASE, band_share=0.0)),
    Variant("band 0.5", replace(BASE, band_share=0.5)),
    Variant("gain 2.0", replace(BASE, gain=2.0)),
    Variant("gain 3.5", replace(BASE, gain=3.5)),
    Variant("target volatility 12 %", replace(BASE, target_volatility=0.12)),
    Variant("volatility half-life 10 days", replace(BASE, volatility_half_life_days=10.0)),
    Variant("volatility half-life 40 days", replace(BASE, volatility_half_life_days=40.0)),
    Variant("least volatility 40 %", replace(BASE, least_volatility=0.40)),
    Variant("correlation half-life 30 days", replace(BASE, correlation_half_life_days=30.0)),
    Variant("correlation half-life 120 days", replace(BASE, correlation_half_life_days=120.0)),
    Variant("faster means (0.25, 1.0)", replace(BASE, fast_half_life_share=0.25, slow_half_life_share=1.0)),
    Variant("slower means (0.5, 2.0)", replace(BASE, fast_half_life_share=0.5, slow_half_life_share=2.0)),
    Variant("momentum scale 0.75", replace(BASE, momentum_scale=0.75)),
    Variant("momentum scale 3", replace(BASE, momentum_scale=3.0)),
)


def main() -> int:
    """Print everything."""
    candles = {pair: lean_minutes([DATA / name], "8h") for pair, name in FILES.items()}
    rates = {pair: read_funding(DATA / f"{pair}_um_funding_to2024H1.parquet").by_instant for pair in FILES}

    def run(strategy: TrendPortfolio, setup: PortfolioSetup, from_ms: int = FROM_MS) -> PortfolioOutcome:
        return run_portfolio(candles, strategy, setup, from_ms=from_ms, to_ms=TO_MS, funding=rates)

    setup = PortfolioSetup(limits=RULES.limits)
    free = PortfolioSetup(
        limits=replace(RULES.limits, max_daily_loss_share=Decimal("0.9")), breaker_policy=BreakerPolicy.OFF
    )
    given = run(TrendPortfolio(BASE), setup)
    print(f"From {utc_text(FROM_MS)[:10]} to {utc_text(TO_MS)[:10]}.\n\n{HEAD}")
    print(line("trend_portfolio", given))
    print(line("without daily loss limit and breaker", run(TrendPortfolio(BASE), free)))
    print(line("same pairs at constant volatility", run(constant_volatility(BASE), setup)))
    hold = np.concatenate(([10_000.0], buy_and_hold(given, candles, 0.0005)))
    print(f"| buy and hold, equal parts | {words(np.append(hold[:1], hold[1440::1440]))} | - | - | - | - | - |")
    print_parts(given)
    starts = staggered(candles, TrendPortfolio(BASE), setup, (FROM_MS, TO_MS), rates)
    print("\n| begun in each month | lowest | middle | highest |\n|---|---|---|---|")
    for name, figures in band(starts).items():
        print(f"| {name} | " + " | ".join(f"{each:.3f}" for each in figures.values()) + " |")
    outcomes = [run(TrendPortfolio(each.rules, each.name, each.signal), setup) for each in VARIANTS]
    print_variants(VARIANTS, [each.daily_returns for each in outcomes], outcomes)
    return 0


HEAD = (
    "| | return | Sharpe (95 %) | worst drawdown | volatility | round trips | won | fees a year | mean exposure |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def words(curve: np.ndarray) -> str:
    """Return a curve's return, Sharpe ratio with interval, and drawdown as cells."""
    found = sharpe(daily_returns(curve))
    low, high = found.ci95 or (float("nan"), float("nan"))
    ratio = "-" if found.value is None else f"{found.value:.2f} ({low:.1f} to {high:.1f})"
    return f"{curve[-1] / curve[0] - 1:+.1%} | {ratio} | {drawdown(curve).worst_share:.1%}"


def line(name: str, outcome: PortfolioOutcome) -> str:
    """Return one run as a row."""
    low, high = outcome.sharpe.ci95 or (float("nan"), float("nan"))
    wins = [trade.pnl > 0 for trade in outcome.trades]
    return (
        f"| {name} | {outcome.return_share:+.1%} | {outcome.sharpe.value:.2f} ({low:.1f} to {high:.1f}) | "
        f"{outcome.drawdown.worst_share:.1%} | {outcome.daily_returns.std(ddof=1) * 365**0.5:.1%} | {len(wins)} | "
        f"{np.mean(wins):.0%} | {costs(outcome)['fees_a_year_share']:.2%} | {exposure(outcome)['mean_share']:.0%} |"
    )


def print_parts(outcome: PortfolioOutcome) -> None:
    """Print years, pairs and costs of one run."""
    print("\n| year | return | round trips | won |\n|---|---|---|---|")
    for row in periods(outcome, "Y"):
        print(f"| {row['year']} | {row['return_share']:+.1%} | {row['trades']} | {row['win_rate'] or 0:.0%} |")
    print("\n| pair | result | fees | funding | fills |\n|---|---|---|---|---|")
    for pair, book in outcome.books.items():
        result = outcome.pair_results[pair][-1]
        print(f"| {pair} | {result:+.0f} | {book.fees:.0f} | {book.funding:+.0f} | {len(book.fills)} |")
    print("\n" + ", ".join(f"{name} {value:,.4g}" for name, value in costs(outcome).items()))
    pnl = [float(trade.pnl) for trade in outcome.trades]
    won, lost = [each for each in pnl if each > 0], [each for each in pnl if each < 0]
    print(f"average win {np.mean(won):.2f}, average loss {np.mean(lost):.2f}; ended by {reasons(outcome)}")
    print(f"daily loss limit on {', '.join(outcome.daily_loss_days) or 'no day'}; breaker trips: "
          f"{sum(event.tripped for event in outcome.breaker_events)}")  # fmt: skip


def reasons(outcome: PortfolioOutcome) -> Mapping[str, int]:
    """Return how many trades ended for each reason."""
    ended = [trade.exit_reason for trade in outcome.trades]
    return {reason: ended.count(reason) for reason in sorted(set(ended))}


def print_variants(
    variants: Sequence[Variant], returns: list[np.ndarray], outcomes: Sequence[PortfolioOutcome]
) -> None:
    """Print all variants, the deflated Sharpe ratio of figures as given and of the best, and the walk-forward."""
    print(f"\n{HEAD}")
    for variant, outcome in zip(variants, outcomes, strict=True):
        print(line(variant.name, outcome))
    ratios = distinct_ratios(each.tolist() for each in returns)
    best = max(returns, key=daily_ratio)
    earlier = max(RULES.tried - len(variants) + 1, 1)
    for name, chosen in (("as given", returns[0]), ("best", best)):
        found = deflated_sharpe(chosen, ratios, earlier)
        print(f"\n{name}: Sharpe {(found.best or 0) * 365**0.5:.2f}, luck {(found.luck or 0) * 365**0.5:.2f}, "
              f"tried {found.tried}, deflated {found.probability:.2f}")  # fmt: skip
    print_walk(variants, returns)


def print_walk(variants: Sequence[Variant], returns: list[np.ndarray], first: int = 365, step: int = 91) -> None:
    """Print the time after the first year, each quarter traded by the variant that was best until then."""
    parts, days = [], len(returns[0])
    for start in range(first, days, step):
        place = max(range(len(returns)), key=lambda each: daily_ratio(returns[each][:start]))
        parts.append(returns[place][start : start + step])
        print(f"quarter from day {start}: {variants[place].name}")
    for name, found in (("walk-forward", np.concatenate(parts)), ("as given, same days", returns[0][first:])):
        print(f"| {name} | {words(np.cumprod(np.concatenate(([1.0], 1.0 + found))))} |")


if __name__ == "__main__":
    sys.exit(main())
