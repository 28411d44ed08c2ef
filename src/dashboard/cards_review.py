"""The card of the review: a day and a week in sentences, written from figures by rules."""

from typing import Final, NamedTuple

from src.dashboard.bot_view import BotView
from src.dashboard.widgets import Card, Row, Table, words
from src.domain.clock import DAY_MS
from src.review.figures import read_figures
from src.review.text import review_text

SPANS: Final = {"day": DAY_MS, "week": 7 * DAY_MS}
_FRESH_MS: Final = 300_000  # it reads all turns of a week


class _Told(NamedTuple):
    made_ms: int
    texts: tuple[str, ...]


def review(look: BotView) -> Card:
    """Return the reviews of the last day and the last seven, up to the bot's present time."""
    title = "Review"
    if look.turned_ms is None:
        return Card("review", title, reason="No bot has reported yet.")
    told = _told(look)
    tables = tuple(_table(span, text) for span, text in zip(SPANS, told.texts, strict=True))
    notes = ("The same as text: python3 -m src.review day (or week).",)
    return Card("review", title, "data", look.turned_ms, look.turn_s + _FRESH_MS / 1000, notes=notes, tables=tables)


def _told(look: BotView) -> _Told:
    key = ("review", look.scope)
    known = look.remembered.get(key)
    if not isinstance(known, _Told) or not 0 <= look.wall_ms - known.made_ms < _FRESH_MS:
        texts = tuple(_text(look, span, length_ms) for span, length_ms in SPANS.items())
        known = look.remembered[key] = _Told(look.wall_ms, texts)
    return known


def _text(look: BotView, span: str, length_ms: int) -> str:
    last_ms = look.now
    figures = look.reports.read(lambda connection: read_figures(connection, look.scope, last_ms - length_ms, last_ms))
    return review_text(figures, f"The last {span}")


def _table(span: str, text: str) -> Table:
    """Return a row for each sentence, under the part of the review that it belongs to."""
    head, *parts = text.strip().split("\n\n")
    rows = []
    for part in parts:
        name, _, first = part.partition(": ")
        lines = [line.strip() for line in first.split("\n")]
        rows += [
            Row((words(name), words(line)), key=f"{span}-{name.lower()}-{place}") for place, line in enumerate(lines)
        ]
    return Table(head, ("Part", "What the figures say"), tuple(rows))
