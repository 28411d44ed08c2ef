"""Rows as JSON and the JSON Schema that describes them; both derived from the tables' columns.

Ids are strings, instants ISO 8601 UTC, prices on the contract's tick and quantities on its step, all other numbers
rounded to the 8 decimals the exchange keeps. What is unknown is null, never 0.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from functools import partial
from itertools import groupby
from typing import Any

import orjson
from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Integer, Table

from src.reporting.formatting import Form, as_kept, money_of
from src.storage.tables import Money

Json = dict[str, Any]
Convert = Callable[[Any, "Steps"], Any]

_PLACES = 8
_SCALE = 10.0**_PLACES
_TO_WHOLE = 1.5 * 2.0**52  # added and taken away again, it leaves the nearest whole number
_EXACT = 2.0**51 / _SCALE
_DIGITS = 1e15  # a whole number below it, over a power of ten, is the decimal that it looks like
_LEFT_OUT = frozenset({"instant_ms", "url_hash"})
_PRICES = frozenset(
    ("price", "entry_price", "exit_price", "stop_price", "target_price", "mark_price", "liquidation_price")
)
_QUANTITIES = frozenset({"quantity"})
_INSTANTS = frozenset(
    ("timestamp", "entry_time", "exit_time", "cycle_started", "cycle_finished", "last_market", "last_private")
)
_TOLD = {
    "timestamp": "When, in the market's time, UTC. Of a trade: its exit, or its entry while it is open.",
    "mode": "paper, testnet or live.",
    "world": "Whose prices: live, synthetic or replay.",
    "signal_type": "What the market said: BUY, SELL or HOLD.",
    "strength": "How many of the votes agreed on it.",
    "votes": "Each vote by name: what it said, and the figures it looked at.",
    "rl_state": "What the agent perceived, and what it thinks each action is worth.",
    "rl_action": "The agent's own recommendation.",
    "confidence": "How sure it was.",
    "explored": "Whether the agent tried something out (paper mode only).",
    "gates": "Each condition of an entry, whether it was met, and its figures in words.",
    "veto": "The first gate that stopped an entry that was wanted; empty when none did.",
    "decision": "What was done: ENTER_LONG, ENTER_SHORT, INCREASE, REDUCE, CLOSE or HOLD.",
    "reason": "The same in one sentence.",
    "acted": "Whether an order followed.",
    "outcome": "What became of that order.",
    "cycle_ms": "How long the turn took, in milliseconds.",
    "pnl": "Net result in quote currency: after fees and funding. Null while open.",
    "pnl_percent": "Net result in percent of the margin that was bound.",
    "gross_pnl": "Result before fees and funding.",
    "fees": "Paid, in quote currency.",
    "funding": "Received (or, below 0, paid) while the position was held.",
    "exit_reason": "Why it was closed, in one word.",
    "own": "Whether this bot opened it; false is exposure that this bot did not open.",
    "unknown": "What could not be learned, and why; never shown as a number.",
    "sources": "Where each figure comes from.",
    "prompt": "Name and version of the instruction that the model was given; empty where no model answered.",
    "counter_argument": "The strongest argument of the panel against its recommendation.",
    "disagreement": "The share of the panel that recommends otherwise, 0 to 1. Null: no panel.",
    "transferred": "What of the equity was paid in, less what was paid out. Null: nobody looked.",
}


@dataclass(frozen=True, slots=True)
class Steps:
    """The exchange's steps of one contract; None where the bot has not told them yet.

    ``tick_scale`` and ``step_scale`` say how many of them make 1 where that is a power of ten, else 0.
    """

    tick: Decimal | None = None
    step: Decimal | None = None
    tick_scale: float = field(init=False)
    step_scale: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tick_scale", _scale_of(self.tick))
        object.__setattr__(self, "step_scale", _scale_of(self.step))


def _scale_of(step: Decimal | None) -> float:
    _, digits, exponent = (step or Decimal(0)).normalize().as_tuple()
    is_power = digits == (1,) and isinstance(exponent, int) and -_PLACES <= exponent <= 0
    return 10.0 ** -int(exponent) if is_power else 0.0


UNKNOWN_STEPS = Steps()


def number(value: Any) -> float | int | None:
    """Return a figure as JSON holds it, rounded to 8 decimals; None stays None."""
    if value is None or isinstance(value, int):
        return value
    return round(float(value), _PLACES)


def on_step(value: Any, step: Decimal | None) -> float:
    """Return a price or quantity on its step (half to even), or with 8 decimals where none is known."""
    if step is None:
        return round(float(value), _PLACES)
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    return float((exact / step).quantize(Decimal(1), ROUND_HALF_EVEN) * step)


def _as_price(value: Any, steps: Steps) -> float:
    return on_step(value, steps.tick)


def _as_quantity(value: Any, steps: Steps) -> float:
    return on_step(value, steps.step)


def _as_number(value: Any, _: Steps) -> float:
    return round(float(value), _PLACES)


def _as_text(value: Any, _: Steps) -> str:
    return str(value)


def _as_json(value: Any, _: Steps) -> orjson.Fragment:
    return orjson.Fragment(value)


def _is_on(scale: float, value: float) -> bool:
    """Whether the figure is a whole number of ``1 / scale`` already, so that rounding leaves it as it is."""
    many = value * scale
    return -_DIGITS < many < _DIGITS and (many + _TO_WHOLE - _TO_WHOLE) / scale == value


def _scale_of_prices(steps: Steps) -> float:
    return _SCALE if steps.tick is None else steps.tick_scale


def _scale_of_quantities(steps: Steps) -> float:
    return _SCALE if steps.step is None else steps.step_scale


def _scale_of_numbers(_: Steps) -> float:
    return _SCALE


_SCALES: dict[Convert, Callable[[Steps], float]] = {
    _as_price: _scale_of_prices,
    _as_quantity: _scale_of_quantities,
    _as_number: _scale_of_numbers,
}


def _of_kept(convert: Convert, is_money: bool) -> Convert:
    """Return what makes the same as ``convert`` of a figure as it lies in the database: most are on their step."""
    scale_of = _SCALES[convert]

    def converted(value: Any, steps: Steps) -> float:
        scale = scale_of(steps)
        if scale and not isinstance(value, Decimal) and _is_on(scale, value):
            return float(value)
        return float(convert(money_of(value) if is_money else value, steps))

    return converted


def _is_id(column: Column[Any]) -> bool:
    return column.name == "id" or (column.name.endswith("_id") and isinstance(column.type, BigInteger | Integer))


def _is_instant(name: str) -> bool:
    return name in _INSTANTS or name.endswith("_at")


def _conversion(column: Column[Any]) -> Convert | None:
    """What makes a column's value fit for an answer; None where it is so already."""
    if _is_id(column):
        return _as_text
    if isinstance(column.type, Money | Float):
        return _as_price if column.name in _PRICES else _as_quantity if column.name in _QUANTITIES else _as_number
    return None


def _kept_conversion(column: Column[Any]) -> Convert | None:
    """The same of its value as the database keeps it."""
    if isinstance(column.type, JSON):
        return _as_json
    convert = _conversion(column)
    return _of_kept(convert, isinstance(column.type, Money)) if convert in _SCALES else convert


def _is_float(column: Column[Any]) -> bool:
    """Most columns are floats that are only rounded: worth no call of their own."""
    return isinstance(column.type, Float) and column.name not in _PRICES | _QUANTITIES


def _type(column: Column[Any]) -> Json:
    kind = column.type
    if _is_id(column):
        return {"type": "string", "pattern": "^[0-9]+$"}
    if isinstance(kind, JSON):
        return {}
    if isinstance(kind, Boolean):
        return {"type": "boolean"}
    if isinstance(kind, Money | Float):
        return {"type": "number"}
    if isinstance(kind, Integer):
        return {"type": "integer"}
    return {"type": "string", "format": "date-time"} if _is_instant(column.name) else {"type": "string"}


class RowShape:
    """How the rows of one table look: ``json`` makes them, ``schema`` describes them."""

    def __init__(self, table: Table, leave_out: Iterable[str] = ()) -> None:
        left_out = _LEFT_OUT | set(leave_out)
        columns = [column for column in table.columns if column.name not in left_out]
        # SQLAlchemy's names are a kind of str of their own, which orjson does not take for a key
        self._names = tuple(str(column.name) for column in columns)
        self._floats = tuple(str(column.name) for column in columns if _is_float(column))
        self._others = tuple(
            (str(column.name), convert)
            for column in columns
            if not _is_float(column) and (convert := _conversion(column)) is not None
        )
        self._kept = tuple(as_kept(column) for column in columns)
        self._runs = _runs([_is_float(column) for column in columns])
        self._kept_others = tuple(
            (place, convert)
            for place, column in enumerate(columns)
            if not _is_float(column) and (convert := _kept_conversion(column)) is not None
        )
        self._symbol = self._names.index("symbol") if "symbol" in self._names else None
        self.schema: Json = closed(
            {
                str(column.name): (nullable if column.nullable else plain)(_type(column), _TOLD.get(column.name, ""))
                for column in columns
            }
        )

    def json(self, row: Mapping[str, Any], steps: Mapping[str, Steps]) -> Json:
        """Return the row as it goes into an answer."""
        own = steps.get(row["symbol"], UNKNOWN_STEPS)
        told = {name: row[name] for name in self._names}
        for name in self._floats:
            if (value := told[name]) is not None:
                told[name] = _rounded(value)
        for name, convert in self._others:
            if (value := told[name]) is not None:
                told[name] = convert(value, own)
        return told

    def form(self, steps: Mapping[str, Steps]) -> Form:
        """Return how to read rows that go into an answer as ``json`` makes them, JSON being ``orjson.Fragment``.

        A long list takes a third of the time so.
        """
        return Form(self._kept, partial(self._made, steps))

    def _made(self, steps: Mapping[str, Steps], row: Sequence[Any]) -> Json:
        values = list(row)
        own = UNKNOWN_STEPS if self._symbol is None else steps.get(values[self._symbol], UNKNOWN_STEPS)
        for run in self._runs:
            values[run] = [  # _rounded, written out: half of a long answer is this line
                value
                if value is None
                else (value * _SCALE + _TO_WHOLE - _TO_WHOLE) / _SCALE
                if -_EXACT < value < _EXACT
                else round(value, _PLACES)
                for value in values[run]
            ]
        for place, convert in self._kept_others:
            if (value := values[place]) is not None:
                values[place] = convert(value, own)
        return dict(zip(self._names, values, strict=True))


def _rounded(value: float) -> float:
    if -_EXACT < value < _EXACT:  # the same as below, in a third of the time
        return (value * _SCALE + _TO_WHOLE - _TO_WHOLE) / _SCALE
    return round(value, _PLACES)


def _runs(wanted: list[bool]) -> tuple[slice, ...]:
    """Return where those that are wanted stand side by side."""
    places = [
        [place for place, _ in run] for is_wanted, run in groupby(enumerate(wanted), lambda each: each[1]) if is_wanted
    ]
    return tuple(slice(run[0], run[-1] + 1) for run in places)


def plain(schema: Json, description: str = "") -> Json:
    """Return the schema with its meaning in words."""
    return schema | {"description": description} if description else dict(schema)


def nullable(schema: Json, description: str = "") -> Json:
    """Return the schema of what may be unknown."""
    if not schema:
        return plain(schema, description)
    if "type" in schema and isinstance(schema["type"], str):
        return plain(schema | {"type": [schema["type"], "null"]}, description)
    return plain({"anyOf": [schema, {"type": "null"}]}, description)


def closed(properties: Mapping[str, Json], optional: Iterable[str] = ()) -> Json:
    """Return the schema of an object that has these properties (all but the ``optional`` always) and no others."""
    left = set(optional)
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in left],
        "additionalProperties": False,
    }


def listed(items: Json) -> Json:
    """Return the schema of a list of ``items``."""
    return {"type": "array", "items": items}


TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
COUNT: Json = {"type": "integer"}
FLAG: Json = {"type": "boolean"}
INSTANT: Json = {"type": "string", "format": "date-time"}
DAY: Json = {"type": "string", "format": "date"}
