"""Line charts as inline SVG, small and without external resources."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.domain.clock import utc_text

Array = NDArray[np.float64]
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 960.0, 240.0, 68.0, 24.0, 10.0
_POINTS = 800
_LINES = 4


class SvgLine(NamedTuple):
    """One curve: its name for the legend, its colour class, instants (UTC ms) and values."""

    name: str
    css: str
    instants: NDArray[np.int64]
    values: Array


class SvgMark(NamedTuple):
    """A point on a chart: where, its colour class, and what it says when one points at it."""

    instant: int
    value: float
    css: str
    text: str


def chart(title: str, lines: Sequence[SvgLine], unit: str, marks: Sequence[SvgMark] = ()) -> str:
    """Return an SVG picture of curves over time with a title for those who cannot see it.

    Long curves are thinned to the lowest and highest value of each stretch, so that no extreme is lost. ``unit`` is
    ``%`` (values are shares) or the name of a currency.
    """
    thin = [_thinned(line) for line in lines]
    first = min(int(line.instants[0]) for line in thin)
    last = max(int(line.instants[-1]) for line in thin)
    low = min(float(line.values.min()) for line in thin)
    high = max(float(line.values.max()) for line in thin)
    if high == low:
        low, high = low - abs(low) * 0.01 - 1e-9, high + abs(high) * 0.01 + 1e-9

    def place(instant: float, value: float) -> tuple[float, float]:
        across = LEFT + (instant - first) / max(last - first, 1) * (WIDTH - LEFT - 8)
        return across, TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{title}"><title>{title}</title>']
    for number in range(_LINES + 1):
        value = low + (high - low) * number / _LINES
        _, down = place(first, value)
        parts.append(f'<line class="grid" x1="{LEFT:g}" x2="{WIDTH:g}" y1="{down:.1f}" y2="{down:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6:g}" y="{down + 4:.1f}" text-anchor="end">{_label(value, unit)}</text>')
    for number in range(_LINES + 1):
        instant = first + (last - first) * number // _LINES
        across, _ = place(instant, low)
        anchor = "start" if number == 0 else "end" if number == _LINES else "middle"
        day = utc_text(instant)[:10]
        parts.append(f'<text x="{across:.1f}" y="{HEIGHT - 6:g}" text-anchor="{anchor}">{day}</text>')
    for line in thin:
        points = (place(at, value) for at, value in zip(line.instants.tolist(), line.values.tolist(), strict=True))
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
        parts.append(f'<polyline class="{line.css}" points="{path}"/>')
    for mark in marks:
        across, down = place(mark.instant, mark.value)
        parts.append(
            f'<circle class="{mark.css}" cx="{across:.1f}" cy="{down:.1f}" r="2.5"><title>{mark.text}</title></circle>'
        )
    return "".join(parts) + "</svg>" + _legend(lines)


def _thinned(line: SvgLine) -> SvgLine:
    """Keep the lowest and the highest point of each stretch, and the ends."""
    count = len(line.values)
    if count <= 2 * _POINTS:
        return line
    edges = np.linspace(0, count, _POINTS + 1).astype(int)
    kept = {0, count - 1}
    for begin, end in pairwise(edges.tolist()):
        part = line.values[begin:end]
        kept |= {begin + int(part.argmin()), begin + int(part.argmax())}
    rows = np.array(sorted(kept))
    return SvgLine(line.name, line.css, line.instants[rows], line.values[rows])


def _label(value: float, unit: str) -> str:
    return f"{value:.1%}" if unit == "%" else f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.4g}"


def _legend(lines: Sequence[SvgLine]) -> str:
    entries = "".join(f'<li class="{line.css}">{line.name}</li>' for line in lines)
    return f'<ul class="legend">{entries}</ul>'
