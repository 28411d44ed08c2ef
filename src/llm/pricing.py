"""Model prices and picture token counts: the one price table of the suite. Pure."""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import ip_address
from typing import Final, Literal
from urllib.parse import urlsplit

PRICES_AS_OF: Final = "2026-11-22"
MONTH_DAYS: Final = 30

Detail = Literal["low", "high"]

_MILLION: Final = Decimal(1_000_000)
_DATED: Final = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|latest)$")


@dataclass(frozen=True, slots=True)
class TilePicture:
    """Pictures billed by 512-pixel tiles, after shrinking into 2048 squared and the short side to 768."""

    base: int
    per_tile: int

    def tokens(self, width: int, height: int, detail: Detail) -> int:
        """Return the input tokens of a picture of these pixels."""
        if detail == "low":
            return self.base
        shrink = min(1.0, 2048 / max(width, height))
        shrink *= min(1.0, 768 / (min(width, height) * shrink))
        tiles = math.ceil(round(width * shrink, 6) / 512) * math.ceil(round(height * shrink, 6) / 512)
        return self.base + self.per_tile * tiles


@dataclass(frozen=True, slots=True)
class PatchPicture:
    """Pictures billed by 32-pixel patches; what ``low`` costs is not published, so it is taken to save nothing."""

    factor: Decimal
    most_patches: int

    def tokens(self, width: int, height: int, detail: Detail) -> int:
        """Return the input tokens of a picture of these pixels."""
        patches = min(math.ceil(width / 32) * math.ceil(height / 32), self.most_patches)
        return math.ceil(patches * self.factor)


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """One model's prices in US dollars for a million tokens, its pictures, and the day it ends (empty: none known).

    ``cache_write_share`` is what writing to the provider's cache costs, as a share of the input price.
    """

    name: str
    input_usd: Decimal
    cached_usd: Decimal
    output_usd: Decimal
    picture: TilePicture | PatchPicture
    shutdown: str = ""
    replacement: str = ""
    cache_write_share: Decimal = Decimal(1)


_TILES_4O: Final = TilePicture(85, 170)
_TILES_MINI: Final = TilePicture(2833, 5667)
_PATCHES_MINI: Final = PatchPicture(Decimal("1.62"), 1_536)
_PATCHES: Final = PatchPicture(Decimal("1.2"), 2_450)
_END_4O: Final = "2027-01-14"
_WRITE: Final = Decimal("1.25")


def _model(
    name: str, prices: str, picture: TilePicture | PatchPicture, shutdown: str = "", write: bool = False
) -> ModelPrice:
    entry, cached, output = (Decimal(price) for price in prices.split())
    replacement = "gpt-6-luna" if shutdown else ""
    return ModelPrice(name, entry, cached, output, picture, shutdown, replacement, _WRITE if write else Decimal(1))


_TABLE: Final = {
    each.name: each
    for each in (
        _model("gpt-4o", "2.50 1.25 10.00", _TILES_4O, _END_4O),
        _model("gpt-4o-mini", "0.15 0.075 0.60", _TILES_MINI, _END_4O),
        _model("gpt-4.1-mini", "0.40 0.10 1.60", _PATCHES_MINI, _END_4O),
        _model("gpt-5.4-mini", "0.75 0.075 4.50", _PATCHES_MINI),
        _model("gpt-5.6-luna", "0.20 0.02 1.20", _PATCHES, write=True),
        _model("gpt-6-luna", "0.10 0.01 0.50", _PATCHES, write=True),
        _model("gpt-6.1-terra", "1.00 0.05 5.00", _PATCHES, write=True),
        _model("gpt-6.1-sol", "2.00 0.10 10.00", _PATCHES, write=True),
    )
}


def known_models() -> tuple[ModelPrice, ...]:
    """Return every model whose price is known, the cheapest input first."""
    return tuple(sorted(_TABLE.values(), key=lambda each: (each.input_usd, each.name)))


def is_own_server(base_url: str) -> bool:
    """Return whether an address lies on this machine or in a private network: nobody sends a bill from there."""
    host = urlsplit(base_url).hostname or ""
    try:
        found = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith((".local", ".lan", ".internal")) or (host != "" and "." not in host)
    return found.is_private or found.is_loopback


def price_of(model: str) -> ModelPrice | None:
    """Return a model's prices, also under a dated name (``gpt-4o-2024-08-06``); None where they are not known."""
    return _TABLE.get(model) or _TABLE.get(_DATED.sub("", model))


def cost_usd(
    model: str, input_tokens: int, output_tokens: int, cached_tokens: int = 0, cache_write_tokens: int = 0
) -> Decimal | None:
    """Return what a call cost, exactly; None where the model's price is not known (a local server, a new name).

    Args:
        model: as sent or as answered.
        input_tokens: all of the prompt, those from the cache and those written to it included.
        output_tokens: reasoning included, as billed.
        cached_tokens: part of ``input_tokens`` that came from the provider's cache.
        cache_write_tokens: part of ``input_tokens`` that was written to it.
    """
    if min(input_tokens, output_tokens, cached_tokens, cache_write_tokens) < 0:
        raise ValueError("tokens cannot be below 0")
    if cached_tokens + cache_write_tokens > input_tokens:
        raise ValueError("cached and written tokens are a part of the input")
    price = price_of(model)
    if price is None:
        return None
    plain = input_tokens - cached_tokens - cache_write_tokens
    billed = plain + cache_write_tokens * price.cache_write_share
    return (billed * price.input_usd + cached_tokens * price.cached_usd + output_tokens * price.output_usd) / _MILLION


def picture_tokens(model: str, width: int, height: int, detail: Detail = "high") -> int | None:
    """Return the input tokens of a picture; None where the model is not known."""
    if width < 1 or height < 1:
        raise ValueError("a picture has at least one pixel")
    price = price_of(model)
    return None if price is None else price.picture.tokens(width, height, detail)


@dataclass(frozen=True, slots=True)
class CallShape:
    """What one call sends and gets besides a picture, in tokens, and how often it is made in a month."""

    calls: int
    text_tokens: int
    output_tokens: int

    def __post_init__(self) -> None:
        if min(self.calls, self.text_tokens, self.output_tokens) < 0:
            raise ValueError("calls and tokens cannot be below 0")


def monthly_cost_usd(model: str, shape: CallShape, picture: tuple[int, int, Detail] | None = None) -> Decimal | None:
    """Return what such calls cost in a month of 30 days; None where the model's price is not known."""
    seen = picture_tokens(model, *picture) if picture else 0
    each = None if seen is None else cost_usd(model, shape.text_tokens + seen, shape.output_tokens)
    return None if each is None else each * shape.calls


def chart_calls(interval_minutes: int, pairs: int = 1, output_tokens: int = 250, text_tokens: int = 700) -> CallShape:
    """Return a month of chart readings: 700 tokens of text and 250 of answer are what a lean prompt takes."""
    return CallShape(MONTH_DAYS * 1_440 // interval_minutes * pairs, text_tokens, output_tokens)


def news_calls(articles_a_day: int = 100, batch: int = 25) -> CallShape:
    """Return a month of headline ratings: 175 tokens of instruction, 40 a headline; 28 of answer each (40 alone)."""
    answer = 40 if batch == 1 else 28
    instruction = 210 if batch == 1 else 175
    return CallShape(MONTH_DAYS * math.ceil(articles_a_day / batch), instruction + 40 * batch, answer * batch)
