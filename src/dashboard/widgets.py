"""What cards are made of: single values with their unit and tone, put into words once, here.

The server's template and the page's script draw the same cells, so that no figure is rounded in two places. ``raw``
is the figure as the database has it.
"""

from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from src.domain.clock import utc_text

MINUS: Final = "\N{MINUS SIGN}"
NOTHING: Final = "\N{EM DASH}"
HIDDEN: Final = "\N{BULLET}" * 3
_LEAST_DECIMALS: Final = 2
_MOST_DECIMALS: Final = 8

Number = Decimal | float | int


@dataclass(frozen=True, slots=True)
class Cell:
    """One value on the screen.

    ``kind`` tells the page how to treat it: ``time`` is shown in the viewer's zone (``raw`` is the UTC instant),
    ``age`` and ``since`` as the time gone since ``raw``, ``amount`` can be hidden, ``word`` is a badge, ``life`` the
    badge of a row's own state, ``bot`` leads to the page of the bot that it names, ``until`` is a coming instant
    (``raw`` by the machine's clock) with the time left to it, ``link`` leads to the address in ``raw``.
    ``tone`` is up, down, good, warn, bad or empty.
    """

    text: str
    kind: str = "text"
    tone: str = ""
    raw: str = ""
    title: str = ""


UNKNOWN: Final = Cell(NOTHING, title="not known")


def veiled(cell: Cell) -> Cell:
    """Return the cell with hidden amounts (``draw.js`` does the same)."""
    return Cell(HIDDEN, cell.kind, cell.tone) if cell.kind == "amount" and cell.raw else cell


def _slim(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in pairs if value not in ("", None) or name not in _LEFT_OUT}


_LEFT_OUT: Final = frozenset({"tone", "raw", "title", "life"})


@dataclass(frozen=True, slots=True)
class Fact:
    """A labelled value."""

    label: str
    cell: Cell


@dataclass(frozen=True, slots=True)
class RowFreshness:
    """What makes a row of several processes fresh, late, stale or down by itself: as the fields of ``Card``."""

    source: str
    as_of_ms: int | None
    max_age_s: float


@dataclass(frozen=True, slots=True)
class Row:
    """A table's row; ``details`` are shown when a person asks why. ``key`` tells rows apart between two refreshes.

    A row with a ``life`` has a state of its own, whatever its card's is.
    """

    cells: tuple[Cell, ...]
    key: str = ""
    details: tuple[Fact, ...] = ()
    life: RowFreshness | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; the first column names the row. ``numeric`` are the columns that hold figures.

    ``minor`` columns are hidden where space is short (each row's details hold them, too); a ``folded`` table is
    shown when a person asks for it. ``look`` is how rows are shown on narrow screens: ``stack`` (label
    over value), ``small`` (columns still), ``turns``, ``trades``, ``news``, ``fleet`` (lines), ``risk`` (stacked
    everywhere).
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    numeric: tuple[int, ...] = ()
    minor: tuple[int, ...] = ()
    folded: bool = False
    look: str = "stack"


@dataclass(frozen=True, slots=True)
class PlotSeries:
    """One line or row of bars: points of (instant in ms or label, value); ``tone`` names its colour."""

    name: str
    points: tuple[tuple[int | str, float | None], ...]
    tone: str = "link"
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing: ``kind`` is lines (time runs linearly), bars or calendar (days with their values).

    ``unit`` is that of the values; values that can be hidden are amounts. ``says`` tells in a sentence what it shows,
    ``top`` and ``bottom`` are the highest and the lowest value as texts.
    """

    kind: str
    title: str
    series: tuple[PlotSeries, ...]
    unit: str = "USDT"
    says: str = ""
    top: str = ""
    bottom: str = ""


@dataclass(frozen=True, slots=True)
class Tile:
    """The one figure of a card that must be seen at a glance, on top of the page, with a word ``below`` it."""

    label: str
    value: Cell
    below: Cell = Cell("")


@dataclass(frozen=True, slots=True)
class Card:
    """One component of the page.

    ``base`` is what was found: data, empty, unknown or error; with ``as_of_ms`` (the data's own instant by the
    machine's clock), ``max_age_s`` and the ``source`` that brings the data it gives one of the seven states.
    ``reason`` says in words what ``empty``, ``unknown`` or ``error`` mean here; ``curve`` is drawn as a line;
    ``picture`` is the address of an image that is loaded on request.
    """

    name: str
    title: str
    base: str = "unknown"
    as_of_ms: int | None = None
    max_age_s: float = 0.0
    source: str = "bot"
    reason: str = ""
    facts: tuple[Fact, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    curve: tuple[float, ...] = ()
    tiles: tuple[Tile, ...] = ()
    picture: str = ""
    plots: tuple[Plot, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the card as the page's script reads it: without what is empty in its cells, most of what there is."""
        whole: dict[str, Any] = asdict(self, dict_factory=_slim)
        return whole


def number(value: Number | None, places: int | None = None, unit: str = "", signed: bool = False) -> Cell:
    """Return a figure with thousands apart and a true minus; None is unknown.

    Without ``places`` it keeps the digits it has (2 to 8 decimals).
    """
    if value is None:
        return UNKNOWN
    text = plain(value, places)
    sign = MINUS if text.startswith("-") else "+" if signed and float(value) > 0 else ""
    return Cell(f"{sign}{text.lstrip('-')}{_after(unit)}", raw=raw_of(value))


def amount(value: Number | None, unit: str = "USDT", places: int = 2, signed: bool = False) -> Cell:
    """Return money, which the page can hide."""
    cell = number(value, places, unit, signed)
    return cell if value is None else Cell(cell.text, "amount", cell.tone, cell.raw, f"{raw_of(value)} {unit}".strip())


def result(value: Number | None, unit: str = "USDT") -> Cell:
    """Return a profit or loss: sign, arrow and word of its tone, never colour alone."""
    if value is None:
        return UNKNOWN
    cell = amount(value, unit, 2, signed=True)
    return Cell(f"{arrow(value)} {cell.text}", "amount", tone_of(value), cell.raw, cell.title)


def share(value: Number | None, places: int = 2, signed: bool = False, toned: bool = False, of: str = "") -> Cell:
    """Return a share (0.02) as percent (2 %), with what it is a part of as its title."""
    if value is None:
        return UNKNOWN
    percent = Decimal(str(value)) * 100
    cell = number(percent, places, "%", signed)
    text = f"{arrow(value)} {cell.text}" if toned else cell.text
    title = f"percent of {of}" if of else ""
    return Cell(text, "percent", tone_of(value) if toned else "", raw_of(value), title)


def percent(value: Number | None, places: int = 2, toned: bool = True, of: str = "") -> Cell:
    """Return a figure that is percent already."""
    if value is None:
        return UNKNOWN
    shown = share(Decimal(str(value)) / 100, places, True, toned, of)
    return Cell(shown.text, shown.kind, shown.tone, raw_of(value), shown.title)


def price(value: Number | None, tick: Decimal | None = None) -> Cell:
    """Return a price at the contract's tick."""
    if value is None:
        return UNKNOWN
    return Cell(plain(value, _places(tick)), "price", raw=raw_of(value), title=raw_of(value))


def quantity(value: Number | None, step: Decimal | None = None, unit: str = "") -> Cell:
    """Return a size at the contract's step; the page can hide it."""
    if value is None:
        return UNKNOWN
    return Cell(plain(value, _places(step)) + _after(unit), "amount", raw=raw_of(value), title=raw_of(value))


def count(value: int | None) -> Cell:
    """Return a number of things."""
    return UNKNOWN if value is None else Cell(f"{value:,}", raw=str(value))


def instant(text: str | None) -> Cell:
    """Return an instant; the page writes it in the viewer's zone."""
    return UNKNOWN if not text else Cell(f"{text[:10]} {text[11:19]} UTC", "time", raw=text)


def gone(since_ms: int | None, kind: str = "age", tone: str = "") -> Cell:
    """Return the time gone since an instant of the machine's clock; the page counts on by itself."""
    if since_ms is None:
        return UNKNOWN
    moment = utc_text(since_ms)
    return Cell(f"{'since' if kind == 'since' else 'at'} {moment[11:19]} UTC", kind, tone, moment)


def word(text: str, tone: str = "", title: str = "") -> Cell:
    """Return a badge."""
    return Cell(text, "word", tone, text, title)


def link(text: str, address: str) -> Cell:
    """Return a link to one of the dashboard's own pages; ``address`` is made of fixed parts and numbers alone."""
    return Cell(text, "link", raw=address)


def until(moment_ms: int, shown: str) -> Cell:
    """Return a coming instant of the machine's clock as ``shown``, to which the page adds the time left."""
    return Cell(shown, "until", raw=utc_text(moment_ms))


def words(text: str | None) -> Cell:
    """Return text as it is."""
    return Cell(text, raw=text) if text else UNKNOWN


def side_word(side: str | None) -> Cell:
    """Return BUY, SELL, HOLD, LONG or SHORT with an arrow."""
    if not side:
        return UNKNOWN
    up, down = side in {"BUY", "LONG", "ENTER_LONG", "bullish"}, side in {"SELL", "SHORT", "ENTER_SHORT", "bearish"}
    mark = "\N{BLACK UP-POINTING TRIANGLE} " if up else "\N{BLACK DOWN-POINTING TRIANGLE} " if down else ""
    return Cell(mark + side.replace("_", " "), "word", "up" if up else "down" if down else "hold", side)


def plain(value: Number, places: int | None = None) -> str:
    """Return the figure with thousands apart and a plain minus; 0 is never negative."""
    exact = value if isinstance(value, Decimal) else Decimal(str(value))
    if not exact.is_finite():
        raise ValueError(f"{value} is no figure to show")
    if places is None:
        own = -int(exact.normalize().as_tuple().exponent)
        places = min(max(own, _LEAST_DECIMALS), _MOST_DECIMALS)
    rounded = exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    return f"{rounded + 0:,f}" if rounded else f"{abs(rounded):,f}"


def raw_of(value: Number) -> str:
    """Return the figure as the database has it, without exponent."""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def tone_of(value: Number) -> str:
    """Return up for a gain, down for a loss, nothing for 0."""
    return "up" if value > 0 else "down" if value < 0 else ""


def arrow(value: Number) -> str:
    """Return the arrow of a gain or a loss, a dot for 0."""
    if value > 0:
        return "\N{BLACK UP-POINTING TRIANGLE}"
    return "\N{BLACK DOWN-POINTING TRIANGLE}" if value < 0 else "\N{MIDDLE DOT}"


def _after(unit: str) -> str:
    return f"\N{NO-BREAK SPACE}{unit}" if unit else ""


def _places(step: Decimal | None) -> int | None:
    return None if step is None or step <= 0 else max(0, -int(step.normalize().as_tuple().exponent))
