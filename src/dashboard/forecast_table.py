"""The scoreboard of forecasts as a table of the page and of reports."""

from collections.abc import Sequence
from typing import Final

from src.dashboard.widgets import UNKNOWN, Cell, Row, Table, count, number, share, word, words
from src.domain.forecast_scores import BETTER, NO_BETTER, Interval
from src.reporting.forecasts import ForecasterScore

_TONES: Final = {BETTER: "good", NO_BETTER: "bad"}
_HEAD: Final = (
    "Forecaster", "Horizon", "Settled", "Right", "95 %", "Skill", "95 %", "Rank correlation", "After costs", "Verdict",
)  # fmt: skip


def scoreboard(scores: Sequence[ForecasterScore], caption: str = "Forecasts") -> Table:
    """Return a row for each forecaster: how often it was right, its skill against the base rate, and the verdict."""
    rows = tuple(_row(each) for each in scores)
    return Table(caption, _HEAD, rows, tuple(range(2, 9)), look="small")


def _row(line: ForecasterScore) -> Row:
    found = line.score
    cells = (
        words(line.name),
        words(_horizon(line.horizon_s)),
        count(found.settled),
        share(found.hit_rate, 1),
        _between(found.hit_interval, 1),
        share(found.skill, 2, True),
        _between(found.skill_interval, 2),
        number(found.information_coefficient, 3, signed=True),
        share(found.net_mean, 3, True),
        word(found.verdict, _TONES.get(found.verdict, "")),
    )
    return Row(cells, key=f"forecaster-{line.name}-{line.horizon_s}")


def _between(interval: Interval | None, places: int) -> Cell:
    if interval is None:
        return UNKNOWN
    low, high = (f"{100 * each:.{places}f}".replace("-", "\N{MINUS SIGN}") for each in interval)
    return Cell(f"{low} to {high}", raw=f"{interval[0]},{interval[1]}")


def _horizon(seconds: int) -> str:
    for length, unit in ((86_400, "d"), (3_600, "h")):
        if seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds // 60} min"
