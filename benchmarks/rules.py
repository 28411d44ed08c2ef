"""Which rules would have earned anything, told without mercy: python -m benchmarks.rules [grid|table]

Works on the real candles in ``../shared/data`` (or ``SHARED_DATA``). ``table`` trades each named set of rules and
span by the exact backtest (the live trader on the paper exchange's venue: fees, spread, depth, funding, stops within
the minute, breaker); a quarter of each span, at most 90 days, is learnt from before the first trade. ``grid`` tries
variants of slower rules by the compiled kernel on all pairs, and walks forward: each quarter trades the variant
that was best until then. Both print Markdown. Minutes take some minutes: ``grid`` about 3, ``table`` about 10.
"""

import itertools
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.backtest.compiled import compiled
from src.backtest.config import BreakerPolicy, Setup
from src.backtest.deflated import daily_ratio, deflated_sharpe
from src.backtest.engine import run_backtest
from src.backtest.kernel import KernelTrade, simulate
from src.backtest.kernel_inputs import figures_of, make_series
from src.backtest.result import BacktestResult
from src.backtest.training import teach_past
from src.domain.clock import DAY_MS, MINUTE_MS
from src.domain.costs import CostRates
from src.domain.market import INTERVAL_MS
from src.domain.metrics import daily_returns, drawdown, sharpe
from src.market_data.coarse import minutes_from
from src.market_data.columns import COLUMNS, Candles
from src.market_data.files import interval_ms_of, read_candles, read_funding
from src.strategy.q_agent import QLearningAgent
from src.strategy.rules import DecisionRules, load_rules

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))
NAMED = ("safety_first", "patient_votes", "patient_trend")
TREND = ("macd", "ema", "trend")
EVERY = ("rsi", "macd", "ema", "bollinger", "volume", "trend")
EARLIER_TRIES = 645
"""Variants looked at before: 261 by a rougher simulation, and this grid twice under other duties of the agent."""


@dataclass(frozen=True)
class Span:
    """Candles of one pair: name, files, whether they are perpetuals'."""

    name: str
    symbol: str
    files: tuple[str, ...]

    @property
    def real_minutes(self) -> bool:
        """Whether the minutes are the market's own, not made out of longer candles."""
        return "_1m_" in self.files[0]


def perpetual(symbol: str, interval: str, span: str) -> Span:
    return Span(f"{symbol[:-4]} perpetual {interval}", symbol, (f"{symbol}_um_{interval}_{span}.parquet",))


BTC_SPOT = tuple(f"BTCUSDT_spot_1m_{part}.parquet" for part in ("2021Q4", "2022", "2023", "2024H1"))
ETH_SPOT = tuple(f"ETHUSDT_spot_1m_{part}.parquet" for part in ("2023H2", "2024H1"))
LONG = (
    Span("BTC spot 1m", "BTCUSDT", BTC_SPOT),
    Span("ETH spot 1m", "ETHUSDT", ETH_SPOT),
    *(perpetual(symbol, "15m", "2022_2024H1") for symbol in ("SOLUSDT", "BNBUSDT", "XRPUSDT", "DOGEUSDT")),
)
OTHERS = (
    perpetual("BTCUSDT", "15m", "2022_2024H1"),
    perpetual("BTCUSDT", "1h", "2021Aug_2024H1"),
    *(
        perpetual(symbol, "1m", "2023JulAug")
        for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "DOGEUSDT")
    ),
)


def candles_of(span: Span) -> Candles:
    """Return the span as minutes; coarser candles are walked through by their extremes."""
    pieces = [read_candles(DATA / name) for name in span.files]
    whole = Candles(**{name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in COLUMNS})
    return minutes_from(whole, interval_ms_of(whole))


def funding_of(symbol: str) -> dict[int, float]:
    rates = read_funding(DATA / f"{symbol}_um_funding_to2024H1.parquet")
    return dict(zip(rates.time_ms.tolist(), rates.rate.tolist(), strict=True))


def untaught(rules: DecisionRules) -> QLearningAgent:
    return QLearningAgent(
        one_way_cost_share=CostRates().one_way_share, allow_short=rules.allow_short,
        candle_interval=rules.candle_interval,
    )  # fmt: skip


def first_trade_ms(candles: Candles) -> int:
    """Return the first midnight after the stretch that is only learnt from."""
    begin, end = int(candles.open_ms[0]), int(candles.open_ms[-1])
    learnt = min((end - begin) // 4, 90 * DAY_MS)
    return -(-(begin + learnt) // DAY_MS) * DAY_MS


def holding(candles: Candles, from_ms: int, funding: dict[int, float], fee: float = 0.0005) -> np.ndarray:
    """Return the daily equity of buying with all money, without leverage, paying funding as a perpetual does."""
    turns = candles.open_ms + MINUTE_MS
    part = turns >= from_ms
    days = -(-turns[part] // DAY_MS)
    prices = candles.close[part]
    last = np.flatnonzero(np.append(np.diff(days) > 0, True))
    paid = np.array([sum(funding.get(int(day * DAY_MS - hours * 3_600_000), 0.0001) for hours in (0, 8, 16))
                     for day in days[last]])  # fmt: skip
    worth = prices[last] / prices[0] * np.cumprod(1.0 - paid) * (1.0 - fee)
    worth[-1] *= 1.0 - fee
    return np.concatenate(([1.0], worth))


def in_words(daily: np.ndarray) -> str:
    """Return return, Sharpe ratio with interval, and worst drawdown of a daily equity curve, as table cells."""
    ratio = sharpe(daily_returns(daily))
    value = "-" if ratio.value is None else f"{ratio.value:.2f}"
    reach = "" if ratio.ci95 is None else f" ({ratio.ci95[0]:.1f} to {ratio.ci95[1]:.1f})"
    return f"{daily[-1] / daily[0] - 1.0:+.1%} | {value}{reach} | {drawdown(daily).worst_share:.1%}"


def outcome_cells(outcome: BacktestResult) -> str:
    figures = outcome.trade_figures
    win = "-" if figures.win_rate is None else f"{figures.win_rate:.0%}"
    factor = "-" if figures.profit_factor is None else f"{figures.profit_factor:.2f}"
    pay = "-"
    if figures.average_win is not None and figures.average_loss:
        pay = f"{float(figures.average_win / -figures.average_loss):.2f}"
    return (
        f"{in_words(outcome.daily_equity)} | {figures.trades} | {win} | {factor} | {pay} | "
        f"{figures.fees:.0f} | {figures.funding:+.0f}"
    )


def named(name: str) -> DecisionRules:
    return load_rules((ROOT / "config" / "rules" / f"{name}.toml").read_text(encoding="utf-8"))


def table() -> None:
    """Print the out-of-sample table of the named rules, spans below one another."""
    logging.disable(logging.CRITICAL)
    print("| span | rules | return | Sharpe (95 %) | worst drawdown | trades | won | profit factor | win/loss | "
          "fees | funding |\n|---|---|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    curves: dict[str, dict[str, dict[int, float]]] = {name: {} for name in (*NAMED, "buy and hold")}
    for span in (*LONG, *OTHERS):
        candles, funding = candles_of(span), funding_of(span.symbol)
        from_ms = first_trade_ms(candles)
        for name in NAMED:
            rules = named(name)
            if not span.real_minutes and rules.candle_interval == "1m":
                continue  # minutes walked through coarser candles can be foretold: +1,184 % in a trial, worth nothing
            agent = untaught(rules)
            teach_past(agent, candles.between(0, from_ms))
            setup = Setup(symbol=span.symbol, rules=rules, breaker_policy=BreakerPolicy.NEXT_DAY)
            outcome = run_backtest(candles, setup, agent, from_ms=from_ms, funding=funding)
            print(f"| {span.name} | {name} | {outcome_cells(outcome)} |", flush=True)
            if span in LONG:
                curves[name][span.name] = dated(daily_returns(outcome.daily_equity), from_ms)
        held = holding(candles, from_ms, funding)
        print(f"| {span.name} | buy and hold | {in_words(held)} | 1 | - | - | - | - | - |")
        print(f"| {span.name} | always flat | +0.0% | - | 0.0% | 0 | - | - | - | 0 | +0 |", flush=True)
        if span in LONG:
            curves["buy and hold"][span.name] = dated(daily_returns(held), from_ms)
    print("\n| six pairs in equal parts | return | Sharpe (95 %) | worst drawdown |\n|---|---|---|---|")
    for name, by_span in curves.items():
        pooled = pooled_returns(list(by_span.values()))
        note = "" if len(by_span) == len(LONG) else " (BTC and ETH alone)"
        print(f"| {name}{note} | {in_words(np.cumprod(np.concatenate(([1.0], 1.0 + pooled))))} |")


def dated(returns: np.ndarray, from_ms: int) -> dict[int, float]:
    return {from_ms // DAY_MS + place: float(each) for place, each in enumerate(returns)}


def pooled_returns(curves: Sequence[dict[int, float]]) -> np.ndarray:
    """Return the mean daily return of those pairs that trade on a day."""
    days = sorted(set().union(*curves))
    return np.array([np.mean([curve[day] for curve in curves if day in curve]) for day in days])


def variants() -> Iterator[DecisionRules]:
    """Return the grid: slower candles, votes, strength, hysteresis, stops, shorts, size by volatility."""
    scales = ((1.0, 1.0, 1.0), (2.5, 3.0, 0.4), (4.0, 6.0, 0.25))
    calm_of = {"1h": 0.005, "4h": 0.01}
    for interval, votes, strength, leave, (stop, target, size), short, calm in itertools.product(
        ("1h", "4h"), (EVERY, TREND), (2, 3), (2, 3), scales, (False, True), (False, True)
    ):
        yield DecisionRules(
            name=f"{interval} {len(votes)} votes, in {strength} out {leave}, stop x{stop:g}"
            f"{', short too' if short else ''}{', sized by volatility' if calm else ''}",
            candle_interval=interval,
            votes=votes,
            min_signal_strength=strength,
            exit_signal_strength=leave,
            agent_must_agree=False,
            allow_short=short,
            cut_losses_on_hold=False,
            min_holding_ms=INTERVAL_MS[interval],
            stop_scale=stop,
            target_scale=target,
            size_scale=size,
            calm_volatility_share=calm_of[interval] if calm else 0.0,
        )


def seen_by(rules: DecisionRules) -> tuple[object, ...]:
    """Return what of the rules their series depends on."""
    return rules.candle_interval, rules.votes, rules.allow_short


def grid() -> None:
    """Print the best variants, what luck alone would give, and what choosing among them as one went would have."""
    tried = sorted(variants(), key=seen_by)
    curves: list[list[dict[int, float]]] = [[] for _ in tried]
    for span in LONG:
        candles, funding = candles_of(span), funding_of(span.symbol)
        first = int(np.searchsorted(candles.open_ms, first_trade_ms(candles) - MINUTE_MS))
        made: dict[tuple[object, ...], object] = {}
        for place, rules in enumerate(tried):
            key = seen_by(rules)
            if key not in made:
                made.clear()  # one at a time: a series of 1.4 million minutes weighs 150 MB
                agent = untaught(rules)
                teach_past(agent, candles.cut(0, first))
                made[key] = make_series(candles, agent, first, funding, rules=rules)
            setup = Setup(symbol=span.symbol, rules=rules)
            deals, daily = np.empty((100_000, len(KernelTrade._fields))), np.empty(2_000)
            _, days, _ = compiled(simulate)(made[key], figures_of(setup), first, deals, daily)
            curves[place].append(dated(daily_returns(daily[: days - 1]), first_trade_ms(candles)))
        print(f"{span.name} done", file=sys.stderr, flush=True)
    report_grid(tried, [pooled_returns(each) for each in curves])


CHOICES: dict[str, Callable[[DecisionRules], object]] = {
    "candles": lambda rules: rules.candle_interval,
    "votes": lambda rules: len(rules.votes),
    "votes to enter": lambda rules: rules.min_signal_strength,
    "votes to leave": lambda rules: rules.exit_signal_strength,
    "stop times": lambda rules: rules.stop_scale,
    "both sides": lambda rules: rules.allow_short,
    "size by volatility": lambda rules: rules.calm_volatility_share > 0.0,
}


def report_grid(tried: list[DecisionRules], returns: list[np.ndarray]) -> None:
    ratios = [daily_ratio(each) for each in returns]
    order = sorted(range(len(tried)), key=lambda place: -ratios[place])
    year = math.sqrt(365)
    print("| variant | return | Sharpe (95 %) | worst drawdown |\n|---|---|---|---|")
    for place in [*order[:8], order[len(order) // 2], order[-1]]:
        curve = np.cumprod(np.concatenate(([1.0], 1.0 + returns[place])))
        print(f"| {tried[place].name} | {in_words(curve)} |")
    best = returns[order[0]]
    judged = deflated_sharpe(best, ratios, EARLIER_TRIES + 1)
    print(f"\nTried: {len(tried)} here and {EARLIER_TRIES} before. Best Sharpe {judged.best * year:.2f} a year;")
    print(f"the best of as many worthless ones would show {judged.luck * year:.2f}. Deflated Sharpe: probability "
          f"{judged.probability:.0%} that the best is above luck.")  # fmt: skip
    print(f"Above 0: {np.mean(np.array(ratios) > 0):.0%} of the variants; median {np.median(ratios) * year:.2f}.")
    print("\n| choice | mean Sharpe of all variants with it |\n|---|---|")
    for choice, of in CHOICES.items():
        for value in sorted({of(rules) for rules in tried}):  # type: ignore[type-var]
            mean = np.mean([ratio for ratio, rules in zip(ratios, tried, strict=True) if of(rules) == value]) * year
            print(f"| {choice} {value} | {mean:.2f} |")
    walked, picks = walk(returns)
    print(
        f"\nWalk-forward, each quarter the best so far: {in_words(np.cumprod(np.concatenate(([1.0], 1.0 + walked))))}"
    )
    for quarter, place in enumerate(picks, 1):
        print(f"  quarter {quarter}: {tried[place].name}")


def walk(returns: list[np.ndarray], first: int = 365, step: int = 91) -> tuple[np.ndarray, list[int]]:
    """Return the daily returns after the first year of always trading the variant with the best ratio so far."""
    parts, picks = [], []
    for day in range(first, len(returns[0]), step):
        place = max(range(len(returns)), key=lambda each: daily_ratio(returns[each][:day]))
        picks.append(place)
        parts.append(returns[place][day : day + step])
    return np.concatenate(parts), picks


if __name__ == "__main__":
    asked = sys.argv[1:] or ["grid", "table"]
    for what in asked:
        {"grid": grid, "table": table}[what]()
