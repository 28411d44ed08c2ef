"""A review in sentences: each figure in it is one of ``ReviewFigures``, each suggestion names setting and command."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from src.domain.clock import utc_text
from src.domain.forecast_scores import NO_BETTER
from src.review.figures import HINDSIGHT_MS, RefusedFigures, ReviewFigures

_FEWEST: Final = 30
_SETTINGS: Final = {
    "signal": ("MIN_SIGNAL_THRESHOLD", "min_signal_strength=2,3,4"),
    "confidence": ("MIN_CONFIDENCE", "min_confidence=0.1,0.2,0.3"),
    "agent": ("RULES", "min_confidence=0.3,1"),
}
_EVIDENCE: Final = ("news", "regime", "chart")
_BACKTEST: Final = "python3 -m src.backtest sweep --train-days 30"


def review_text(figures: ReviewFigures, title: str) -> str:
    """Return the review as plain text."""
    parts = (_traded(figures), _refused(figures), _costs(figures), _forecasts(figures), suggestion(figures))
    head = f"{title}: {utc_text(figures.first_ms)[:16]} to {utc_text(figures.last_ms)[:16]} UTC"
    return "\n\n".join((head, *("\n".join(part) for part in parts))) + "\n"


def _traded(f: ReviewFigures) -> Iterator[str]:
    yield f"Traded: {f.trades.trades} closed trades in {f.turns} turns, net {_money(f.trades.net)}."
    for reason, group in f.by_reason.items():
        yield f"  {reason}: {group.trades} trades, net {_money(group.net)}"


def _refused(f: ReviewFigures) -> Iterator[str]:
    total = sum(each.refused for each in f.refused.values())
    minutes = HINDSIGHT_MS // 60_000
    yield f"Refused: {total} entries that the signal asked for; judged by the price {minutes} minutes later."
    for gate, each in f.refused.items():
        yield f"  {gate}: {each.refused} refused, {_outcome(each)}"


def _outcome(each: RefusedFigures) -> str:
    if each.net_mean is None:
        return "none can be judged yet"
    right = "rightly" if each.net_mean <= 0 else "wrongly, on average"
    return f"{each.gained} of {each.judged} would have gained, mean {each.net_mean:+.4%} after costs: {right}"


def _costs(f: ReviewFigures) -> Iterator[str]:
    yield f"Costs: fees {_money(f.fees)}, funding {_money(f.funding)}."
    for service, spent in f.services.items():
        yield f"  {service}: {spent:.4f} USD"
    if f.analyses:
        yield f"  chart analyses, in the market's time: {f.analyses:.4f} USD"


def _forecasts(f: ReviewFigures) -> Iterator[str]:
    failed = [each for each in f.forecasts if each.score.verdict == NO_BETTER]
    settled = sum(each.score.settled for each in f.forecasts)
    yield f"Forecasts: {settled} settled, {len(failed)} of {len(f.forecasts)} forecasters no better than chance."
    for each in failed:
        yield f"  {each.name}: {each.score.hits} of {each.score.settled} right"


def suggestion(f: ReviewFigures) -> Iterator[str]:
    """Return one suggestion: the gate whose refusals cost most, else the costs of trading, else none."""
    wrong = [
        (each.net_mean * each.judged, gate, each)
        for gate, each in f.refused.items()
        if (gate in _SETTINGS or gate in _EVIDENCE)
        and each.net_mean is not None
        and each.net_mean > 0
        and each.judged >= _FEWEST
    ]
    if wrong:
        _, gate, each = max(wrong)
        setting, command = _trial(gate)
        yield f"Suggestion: {setting}. {each.judged} entries stopped by the gate {gate} would have gained on average."
        yield f"  Try it on other days first: {command}"
    elif f.trades.trades >= _FEWEST and f.fees > abs(f.trades.net + f.fees - f.funding):
        yield f"Suggestion: RULES=patient_trend. Fees of {_money(f.fees)} exceed what the trades moved before them."
        yield "  Try it on other days first: python3 -m src.backtest run --rules patient_trend"
    else:
        yield "Suggestion: none. These figures are too few, or speak for no change."


def _trial(gate: str) -> tuple[str, str]:
    """Return the setting that a gate hangs on, and the command that would test another value of it."""
    if gate in _EVIDENCE:
        return f"[evidence] {gate} of the rule set", f"python3 -m src.backtest run --evidence {gate}=off"
    setting, grid = _SETTINGS[gate]
    return setting, f"{_BACKTEST} --grid {grid}"


def _money(value: Decimal) -> str:
    return f"{value:+.4f} USDT"
