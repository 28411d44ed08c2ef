"""Renders one chart as a picture; the only module that uses mplfinance, matplotlib and pandas.

Importing it costs a second and some 90 MB.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")  # before pyplot: no display is used

import matplotlib.pyplot as plt
import mplfinance as mpf
import pandas as pd
from PIL import Image

from src.charts.analysis_schema import ChartView
from src.charts.annotations import ChartAnnotations, TradeMark
from src.domain.clock import utc_text

UP: Final = "#0b8f6a"
DOWN: Final = "#d1384a"
_DPI: Final = 100
_COLOURS: Final = 64  # of the stored image: an eighth of the size, no visible difference
_FONT_POINTS: Final = 11.5
_OVERLAYS: Final[dict[str, tuple[str, str, float]]] = {
    "ema_9": ("EMA 9", "#e08a00", 1.3),
    "ema_21": ("EMA 21", "#7b3fc4", 1.3),
    "ema_50": ("EMA 50", "#0f6fd1", 1.6),
    "ema_200": ("EMA 200", "#111111", 1.8),
    "sma_20": ("SMA 20", "#8a8a8a", 1.0),
    "bollinger_upper": ("Bollinger 20, 2", "#5b9bb5", 1.0),
    "bollinger_lower": ("", "#5b9bb5", 1.0),
}
_LINES: Final = {"entry": "#0f6fd1", "stop": DOWN, "target": UP}


@dataclass(frozen=True, slots=True)
class ChartLayout:
    """What a picture shows: size in pixels, overlays on the price, panels below it (volume, rsi, macd)."""

    width: int = 1200
    height: int = 900
    overlays: tuple[str, ...] = tuple(_OVERLAYS)
    panels: tuple[str, ...] = ("volume", "rsi", "macd")

    def __post_init__(self) -> None:
        unknown = {*self.overlays} - {*_OVERLAYS} | {*self.panels} - {"volume", "rsi", "macd"}
        if unknown:
            raise ValueError(f"unknown indicators: {', '.join(sorted(unknown))}")
        if not (200 <= self.width <= 4000 and 200 <= self.height <= 4000):
            raise ValueError("width and height must lie in 200..4000 pixels")


def draw_chart(view: ChartView, marks: ChartAnnotations | None = None, layout: ChartLayout | None = None) -> bytes:
    """Return the picture of a chart as PNG; the figure is gone when this returns.

    Args:
        view: candles and indicators, drawn as they are.
        marks: lines and trades to draw on the price.
        layout: what to show, and how large.
    """
    marks, layout = marks or ChartAnnotations(), layout or ChartLayout()
    frame = _frame(view)
    added = [*_overlay_plots(view, layout), *_panel_plots(view, layout), *_trade_plots(view, marks.trades)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of an axis that is flat, as where nothing was traded
        figure, axes = mpf.plot(
            frame,
            type="candle",
            style=_style(),
            addplot=added,
            volume="volume" in layout.panels,
            volume_panel=_panel("volume", layout),
            volume_exponent=0,  # full figures on the axis instead of an offset
            panel_ratios=(5.0, *(1.25 for _ in layout.panels)),
            figsize=(layout.width / _DPI, layout.height / _DPI),
            datetime_format="%d %b %H:%M",
            xrotation=0,
            ylim=_price_limits(view, marks),
            scale_padding={"left": 0.08, "right": 0.85, "top": 0.42, "bottom": 0.42},
            returnfig=True,
            warn_too_much_data=10_000,
        )
    try:
        _label(axes, view, marks, layout)
        return _png(figure)
    finally:
        plt.close(figure)


def resized(png: bytes, width: int, height: int) -> bytes:
    """Return an image in another size, as PNG, for a model that charges by pixels."""
    with Image.open(BytesIO(png)) as picture:
        if picture.size == (width, height):
            return png
        return _small_png(picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))


def _frame(view: ChartView) -> pd.DataFrame:
    times = pd.to_datetime([candle.open_ms for candle in view.candles], unit="ms")
    columns = {name.title(): [getattr(each, name) for each in view.candles] for name in _PRICE_COLUMNS}
    return pd.DataFrame(columns, index=pd.DatetimeIndex(times, name="Date"))


_PRICE_COLUMNS: Final = ("open", "high", "low", "close", "volume")


def _series(view: ChartView, name: str) -> list[float]:
    return [getattr(values, name) for values in view.indicators]


def _known(values: Sequence[float]) -> bool:
    """Return whether the line has any point to draw."""
    return any(math.isfinite(value) for value in values)


def _panel(name: str, layout: ChartLayout) -> int:
    return layout.panels.index(name) + 1 if name in layout.panels else 0


def _overlay_plots(view: ChartView, layout: ChartLayout) -> list[Any]:
    plots = []
    for name in layout.overlays:
        _, colour, width = _OVERLAYS[name]
        values = _series(view, name)
        if _known(values):
            plots.append(mpf.make_addplot(values, color=colour, width=width, secondary_y=False))
    return plots


def _panel_plots(view: ChartView, layout: ChartLayout) -> list[Any]:
    """RSI in fixed bounds; MACD, signal and histogram on one axis, so that crossings are in the right place."""
    plots = []
    rsi, panel = _series(view, "rsi"), _panel("rsi", layout)
    if panel and _known(rsi):
        plots.append(mpf.make_addplot(rsi, panel=panel, color="#7b3fc4", width=1.3, ylim=(0, 100), secondary_y=False))
    macd, panel = _series(view, "macd"), _panel("macd", layout)
    if panel and _known(macd):
        bars = [value if math.isfinite(value) else 0.0 for value in _series(view, "macd_histogram")]
        colours = [UP if bar >= 0.0 else DOWN for bar in bars]
        shared: dict[str, Any] = {"panel": panel, "secondary_y": False}
        plots.append(mpf.make_addplot(bars, type="bar", width=0.7, color=colours, alpha=0.55, **shared))
        plots.append(mpf.make_addplot(macd, color="#0f6fd1", width=1.3, **shared))
        signal = _series(view, "macd_signal")
        if _known(signal):
            plots.append(mpf.make_addplot(signal, color="#e08a00", width=1.3, **shared))
    return plots


def _trade_plots(view: ChartView, trades: Sequence[TradeMark]) -> list[Any]:
    """Triangles at the candles in which orders were filled; those before the chart are left out."""
    plots = []
    for buys, marker, colour in ((True, "^", UP), (False, "v", DOWN)):
        points = [math.nan] * len(view.candles)
        for trade in trades:
            at = _candle_at(view, trade.time_ms)
            if trade.buys is buys and at is not None:
                points[at] = trade.price
        if _known(points):
            plots.append(
                mpf.make_addplot(
                    points, type="scatter", marker=marker, markersize=130, color=colour, edgecolors="black"
                )
            )
    return plots


def _candle_at(view: ChartView, time_ms: int) -> int | None:
    """Return the place of the candle that was open at an instant, None outside the chart."""
    found = [at for at, candle in enumerate(view.candles) if candle.open_ms <= time_ms]
    if not found or len(view.candles) < 2:
        return None
    span_ms = view.candles[-1].open_ms - view.candles[-2].open_ms
    return found[-1] if time_ms < view.candles[found[-1]].open_ms + 2 * span_ms else None


def _price_limits(view: ChartView, marks: ChartAnnotations) -> tuple[float, float]:
    """Return the bounds of the price axis: all candles, and those lines that are not too far to be shown."""
    low, high = view.lowest, view.highest
    span = (high - low) or view.price * 0.01
    near = [price for price in marks.lines().values() if low - span < price < high + span]
    low, high = min([low, *near]), max([high, *near])
    room = (high - low) * 0.05 or span
    return low - room, high + 2.5 * room  # the legend stands in the upper part


def _label(axes: list[Any], view: ChartView, marks: ChartAnnotations, layout: ChartLayout) -> None:
    """Write the title, the legend, the lines with their prices, and the names of the panels."""
    price = axes[0]
    last = utc_text(view.candles[-1].open_ms)[:16].replace("T", " ")
    title = f"{view.symbol}  {view.interval}  last close {_price_text(view.price)}  candle of {last} UTC"
    price.set_title(title, loc="left", fontsize=_FONT_POINTS + 2.5, fontweight="bold")
    price.set_ylabel("")
    _legend(price, view, layout)
    lowest, highest = price.get_ylim()
    for name, level in marks.lines().items():
        if lowest <= level <= highest:
            _line(price, name, level)
    price.axhline(view.price, color="#444444", linewidth=0.8, linestyle=":")
    price.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: _tick_text(value)))
    for name in layout.panels:
        axis = axes[2 * _panel(name, layout)]
        axis.set_ylabel("")
        _panel_name(axis, _panel_title(name, view))
        if name == "rsi":
            axis.set_yticks((30, 50, 70))
            for level in (30, 70):
                axis.axhline(level, color="#888888", linewidth=0.8, linestyle="--")
        if name == "macd":
            axis.axhline(0.0, color="#888888", linewidth=0.8)
        if name == "volume":
            axis.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: _volume_text(value)))
        if name != "rsi":
            axis.yaxis.set_major_locator(mpl.ticker.MaxNLocator(3, prune="upper"))
            lowest, highest = axis.get_ylim()
            axis.set_ylim(lowest, highest + 0.35 * (highest - lowest))  # the panel's name stands there


def _legend(axis: Any, view: ChartView, layout: ChartLayout) -> None:
    drawn = [name for name in layout.overlays if _OVERLAYS[name][0] and _known(_series(view, name))]
    handles = [mpl.lines.Line2D([], [], color=_OVERLAYS[name][1], linewidth=2.4) for name in drawn]
    names = [_OVERLAYS[name][0] for name in drawn]
    if drawn:
        axis.legend(
            handles, names, loc="upper left", ncols=6, fontsize=_FONT_POINTS, framealpha=0.85, handlelength=1.2
        ).set_zorder(20)


def _line(axis: Any, name: str, level: float) -> None:
    axis.axhline(level, color=_LINES[name], linewidth=1.6, linestyle="--")
    axis.annotate(
        f"{name} {_price_text(level)}",
        (0.006, level),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=_FONT_POINTS,
        color="white",
        bbox={"boxstyle": "round,pad=0.25", "facecolor": _LINES[name], "edgecolor": "none"},
    )


def _panel_name(axis: Any, text: str) -> None:
    axis.text(
        0.006,
        0.93,
        text,
        transform=axis.transAxes,
        va="top",
        fontsize=_FONT_POINTS,
        fontweight="bold",
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        zorder=20,
    )


def _panel_title(name: str, view: ChartView) -> str:
    latest = view.latest
    if name == "volume":
        return "Volume"
    if name == "rsi":
        return f"RSI 14: {_figure(latest.rsi, '.1f')}"
    form = ",.2f" if abs(latest.macd) >= 1.0 else ".6f"
    return f"MACD 12, 26, 9: {_figure(latest.macd, form)} (blue), signal {_figure(latest.macd_signal, form)} (orange)"


def _figure(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "not yet"


def _price_text(price: float) -> str:
    return f"{price:,.2f}" if price >= 100.0 else f"{price:,.5g}"


def _volume_text(volume: float) -> str:
    for least, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if volume >= least:
            return f"{volume / least:.4g}{letter}"
    return f"{volume:.4g}"


def _tick_text(price: float) -> str:
    return f"{price:,.0f}" if price >= 1000.0 else f"{price:.6g}"


def _style() -> Any:
    candles = mpf.make_marketcolors(up=UP, down=DOWN, edge="inherit", wick="inherit", volume="inherit")
    sizes = dict.fromkeys(("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize"), _FONT_POINTS)
    return mpf.make_mpf_style(
        base_mpf_style="classic",
        marketcolors=candles,
        facecolor="white",
        figcolor="white",
        gridcolor="#dddddd",
        gridstyle="-",
        y_on_right=True,
        rc={
            **sizes,
            "font.weight": "normal",
            "axes.labelweight": "normal",
            "axes.titleweight": "bold",
            "font.family": "DejaVu Sans",
            "axes.edgecolor": "#888888",
            "axes.formatter.useoffset": False,
        },
    )


def _png(figure: Any) -> bytes:
    """Render with few colours: a sixth of the bytes on disk and in transfer."""
    raw = BytesIO()
    figure.savefig(raw, format="raw", dpi=_DPI)
    width, height = (round(side) for side in figure.get_size_inches() * _DPI)
    with Image.frombuffer("RGBA", (width, height), raw.getvalue(), "raw", "RGBA", 0, 1) as picture:
        return _small_png(picture.convert("RGB"))


def _small_png(picture: Image.Image) -> bytes:
    stored = BytesIO()
    palette = picture.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette.save(stored, format="PNG", optimize=True)
    return stored.getvalue()
