"""Query parameters by name, bounds and meaning; REST and MCP use the same ones.

A name that is not here is refused: a mistyped filter must not answer with everything.
"""

import re
from typing import Any

from apiflask import Schema
from apiflask.fields import Boolean, Decimal, Integer, String
from apiflask.validators import Length, OneOf, Range, Regexp
from marshmallow import ValidationError

from src.domain.clock import DAY_MS, instant_of, utc_text
from src.reporting.pages import MOST_ROWS
from src.strategy.votes import MOST_VOTES

MOST_OFFSET = 10**9
MOST_HOURS = 87_600
_DAY = re.compile(r"\d{4}-?\d{2}-?\d{2}")
_WHOLE = re.compile(r"[+-]?[0-9]{1,12}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?")
_MOST_MONEY = 10**12
_EARLIEST, _LATEST = 0, 253_402_300_799_999  # what text with four digits for the year can say


class Matches(Regexp):
    """The whole text matches; Python's ``$`` alone would let a line's end through."""

    def __call__(self, value: Any) -> Any:
        """Return the text, or refuse it."""
        if str(value).endswith("\n"):
            raise ValidationError(self._format_error(value))
        return super().__call__(value)


class Symbol(String):
    """A contract's name, in capitals or not."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **rest: Any) -> Any:
        return super()._deserialize(value.upper() if isinstance(value, str) else value, attr, data, **rest)


class WholeNumber(Integer):
    """A whole number; text must be its digits and nothing else."""

    def _validated(self, value: Any) -> int:
        wrong = isinstance(value, bool) or (isinstance(value, float) and not value.is_integer())
        if wrong or (isinstance(value, str) and not _WHOLE.fullmatch(value)):
            raise self.make_error("invalid", input=value)
        return int(super()._validated(value))


class Amount(Decimal):
    """A sum of money in quote currency; the document shows it as the number it is."""

    def __init__(self, description: str) -> None:
        bounds = {"minimum": -_MOST_MONEY, "maximum": _MOST_MONEY}
        super().__init__(allow_nan=False, metadata={"description": description, **bounds})

    def _validated(self, value: Any) -> Any:
        if isinstance(value, bool) or (isinstance(value, str) and not _DECIMAL.fullmatch(value)):
            raise self.make_error("invalid", input=value)
        amount = super()._validated(value)
        if not -_MOST_MONEY <= amount <= _MOST_MONEY:
            raise self.make_error("invalid", input=value)
        return amount


class Instant(String):
    """An ISO 8601 day or instant (without a zone: UTC), read as the UTC text that rows are sorted by.

    With ``whole_day`` a day stands for its end: rows of that whole day lie before it.
    """

    def __init__(self, description: str, whole_day: bool = False) -> None:
        self._whole_day = whole_day
        super().__init__(
            validate=Length(max=40),
            metadata={"description": description, "anyOf": [{"format": "date-time"}, {"format": "date"}]},
        )

    def _deserialize(self, value: Any, attr: str | None, data: Any, **rest: Any) -> str:
        text = super()._deserialize(value, attr, data, **rest)
        try:
            instant_ms = instant_of(str(text).upper())
            if self._whole_day and _DAY.fullmatch(str(text).strip()):
                instant_ms += DAY_MS
        except (ValueError, OverflowError) as error:
            raise self.make_error("invalid", input=value) from error
        return utc_text(min(max(instant_ms, _EARLIEST), _LATEST))

    default_error_messages = {"invalid": "Not an ISO 8601 day or instant, such as 2026-11-22T10:30:00Z."}  # noqa: RUF012


def _told(description: str) -> dict[str, str]:
    return {"description": description}


def _symbol() -> Any:
    return Symbol(validate=Matches(r"^[A-Za-z0-9]{5,20}$"), metadata=_told("One contract, such as BTCUSDT."))


def _bot_id() -> Any:
    return String(validate=Matches(r"^[a-z0-9_-]{1,32}$"), metadata=_told("One bot, where several share the database."))


def _start() -> Any:
    return Instant("Rows from this day or instant on (UTC where no zone is said).")


def _end() -> Any:
    return Instant("Rows before this instant; of a day (2026-11-22), that whole day is included.", whole_day=True)


def _hours(default: int | None) -> Any:
    words = "Look back this many hours from now, in the market's time"
    if default is None:
        return WholeNumber(validate=Range(1, MOST_HOURS), metadata=_told(f"{words}; without it, at everything."))
    return WholeNumber(load_default=default, validate=Range(1, MOST_HOURS), metadata=_told(f"{words}."))


class Nothing(Schema):
    """No parameters at all."""


class OfBot(Schema):
    """One bot or all."""

    bot_id = _bot_id()


class OfSymbol(OfBot):
    """One bot, one contract, or all."""

    symbol = _symbol()


class Paged(Schema):
    """Which part of a long list."""

    limit = WholeNumber(
        load_default=100, validate=Range(1, MOST_ROWS), metadata=_told("How many rows at most, newest first.")
    )
    offset = WholeNumber(
        load_default=0,
        validate=Range(0, MOST_OFFSET),
        metadata=_told("How many rows to pass over. Each costs time; a `cursor` goes on at none."),
    )
    cursor = String(
        validate=Matches(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z_[0-9]{1,18}$"),
        metadata=_told("Goes on after the last row of a page: its `next_cursor`."),
    )


class SignalList(OfSymbol, Paged):
    """Which signals."""

    signal_type = String(validate=OneOf(["BUY", "SELL", "HOLD"]), metadata=_told("What the market said."))
    min_strength = WholeNumber(
        validate=Range(0, MOST_VOTES), metadata=_told("At least this many of the votes agreed on the signal.")
    )
    acted = Boolean(
        truthy={"true", "True", "TRUE", True},
        falsy={"false", "False", "FALSE", False},
        metadata=_told("true: an order followed. false: none did; each row says why in `gates`, `veto` and `reason`."),
    )
    start_date = _start()
    end_date = _end()


class TradeList(OfSymbol, Paged):
    """Which trades."""

    status = String(validate=OneOf(["open", "closed"]), metadata=_told("Whether the round trip has ended."))
    side = String(validate=OneOf(["LONG", "SHORT"]), metadata=_told("The direction of the position."))
    min_pnl = Amount("At least this net result, in quote currency; leaves out open trades.")
    max_pnl = Amount("At most this net result, in quote currency; leaves out open trades.")
    start_date = _start()
    end_date = _end()


class Period(OfSymbol):
    """A look back."""

    hours = _hours(None)


class ContextHistory(OfBot, Paged):
    """Which looks at the wider market."""

    hours = _hours(24)


def _source() -> Any:
    return String(
        load_default="live",
        validate=OneOf(["live", "past"]),
        metadata=_told("live: made by a running bot. past: filled from past candles by `python3 -m src.backtest`."),
    )


class NewsSelection(Schema):
    """Which articles, whatever their time."""

    source = String(validate=Length(1, 64), metadata=_told("One source, as the rows name it: CoinDesk."))
    coin = Symbol(validate=Matches(r"^[A-Za-z0-9]{2,10}$"), metadata=_told("Articles that mention this coin: BTC."))
    text = String(
        validate=[Length(2, 80), Matches(r"^[^\x00-\x1f\x7f-\x9f]*$")],
        metadata=_told("Must stand in headline or summary, whatever its case."),
    )


class NewsList(NewsSelection, Paged):
    """Which articles."""

    sentiment = String(validate=OneOf(["bullish", "bearish", "neutral"]), metadata=_told("How the headline was read."))
    start_date = _start()
    end_date = _end()


class NewsPeriod(NewsSelection):
    """Whose sentiment, how far back, in which steps."""

    hours = WholeNumber(load_default=24, validate=Range(1, 2_160), metadata=_told("Look back this many hours."))
    step = String(load_default="hour", validate=OneOf(["hour", "day"]), metadata=_told("Length of each interval, UTC."))


class ExternalSignalList(Paged):
    """Which signals of other programs."""

    symbol = _symbol()
    source = String(validate=Matches(r"^[a-z0-9_-]{1,24}$"), metadata=_told("One source: the name of its key."))


class ForecastList(OfSymbol, Paged):
    """Which forecasts."""

    source = _source()
    forecaster = String(
        validate=Matches(r"^[a-z_]{1,16}(:[a-z_]{1,16})?$"),
        metadata=_told("One forecaster, such as vote:rsi or agent."),
    )
    status = String(validate=OneOf(["open", "settled", "missed"]), metadata=_told("Whether its end has been judged."))
    start_date = _start()
    end_date = _end()


class ForecastPeriod(Period):
    """Whose forecasts are scored, over which time."""

    source = _source()


class Reason(Schema):
    """Why the circuit breaker should be tripped or reset."""

    reason = String(
        required=True,
        validate=[Length(3, 300), Matches(r"^[^\x00-\x1f\x7f-\x9f]*$")],
        metadata=_told("One sentence for the people who will read it."),
    )
    bot_id = _bot_id()
