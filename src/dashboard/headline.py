"""The sentence on top of every page: position, protection, what blocks entries, the next decision."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from src.dashboard.bot_view import BotView
from src.dashboard.journal import grave_reason
from src.dashboard.widgets import Cell, until
from src.domain.clock import instant_of, utc_text
from src.domain.market import INTERVAL_MS
from src.domain.orders import OrderStatus, Purpose
from src.reporting.pages import OrderFilter, SignalFilter

RESTART_SHOWN_MS: Final = 15 * 60_000
_STANDING: Final = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED})
_ORDERS: Final = 500


@dataclass(frozen=True, slots=True)
class Headline:
    """Parts of the sentence in order, its tone (good, warn, bad), whether entries are paused, own open positions.

    ``paused_pairs`` are those whose entries a person paused one by one.
    """

    tone: str
    parts: tuple[Cell, ...]
    paused: bool = False
    open: int = 0
    paused_pairs: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it as the page's script reads it."""
        return {"tone": self.tone, "parts": [asdict(part) for part in self.parts], "paused": self.paused,
                "open": self.open, "paused_pairs": list(self.paused_pairs)}  # fmt: skip


def headline(look: BotView) -> Headline:
    """Return what a person must know first; without a heartbeat that no bot has reported."""
    if look.beat() is None:
        return Headline("warn", (Cell("No bot has reported yet."),))
    held = look.reports.open_positions(look.scope) if look.reports.balance(look.scope) else None
    position = _position(look, held)
    blocked = _blocked(look)
    waits = [] if held or blocked else _waits(look)
    parts = (position, *blocked, *waits, *_restarted(look), *_next_decision(look))
    tone = "bad" if position.tone == "bad" else "warn" if blocked or held is None else "good"
    own = sum(1 for row in held or () if row["own"])
    return Headline(tone, parts, bool(look.details.get("pause")), own, tuple(look.details.get("paused_pairs") or ()))


def unprotected(look: BotView, held: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the symbols of own positions without a stop order that stands at the exchange."""
    rows = look.reports.orders(OrderFilter(scope=look.scope, finished=False), limit=_ORDERS).rows
    stops = {row["symbol"] for row in rows if row["purpose"] == Purpose.STOP and row["status"] in _STANDING}
    return sorted({row["symbol"] for row in held if row["own"]} - stops)


def _position(look: BotView, held: Sequence[Mapping[str, Any]] | None) -> Cell:
    if held is None:
        return Cell("The account has not been read yet.", tone="warn")
    if not held:
        return Cell("Flat.", tone="good")
    said = _sides(held)
    foreign = [row["symbol"] for row in held if not row["own"]]
    if foreign:
        return Cell(f"{said}; {', '.join(foreign)} not opened by this bot.", tone="bad")
    bare = unprotected(look, held)
    if bare:
        return Cell(f"{said}; NO CONFIRMED STOP for {', '.join(bare)}.", tone="bad")
    return Cell(f"{said}, {'stop' if len(held) == 1 else 'all stops'} confirmed.", tone="good")


def _sides(held: Sequence[Mapping[str, Any]]) -> str:
    if len(held) == 1:
        return f"{held[0]['side'].title()} {held[0]['symbol']}"
    longs = sum(row["side"] == "LONG" for row in held)
    counts = [f"{name} {number}" for name, number in (("long", longs), ("short", len(held) - longs)) if number]
    return f"{' and '.join(counts).capitalize()} pairs"


def _blocked(look: BotView) -> list[Cell]:
    """What stops entries, the gravest first."""
    found = []
    breaker = look.reports.breaker(look.bot_id, look.now)
    if breaker.tripped:
        found.append(Cell(f"Circuit breaker tripped: {breaker.reason.rstrip('.')}.", tone="bad"))
    if look.details.get("pause"):
        found.append(Cell("Entries are paused.", tone="warn"))
    halts = {str(why) for why in (look.details.get("halts") or {}).values() if why}
    return found + [Cell(f"Entries are halted: {halt.rstrip('.')}.", tone="warn") for halt in sorted(halts)[:1]]


def _waits(look: BotView) -> list[Cell]:
    row = next(iter(look.reports.signals(SignalFilter(scope=look.scope), limit=1).rows), None)
    return [] if row is None else [Cell(grave_reason(row))]


def _restarted(look: BotView) -> list[Cell]:
    """A start within the last quarter of an hour: also one by the watcher leaves this trace."""
    beat = look.beat() or {}
    started_ms = look.wall_of(beat["started_at"])
    if started_ms is None or look.wall_ms - started_ms > RESTART_SHOWN_MS:
        return []
    return [Cell("Bot started", kind="age", raw=utc_text(started_ms))]


def _next_decision(look: BotView) -> list[Cell]:
    """When the next closed candle is decided on; what a strategy of targets says of it comes first."""
    said = (look.details.get("portfolio") or {}).get("next_decision")
    step_ms = INTERVAL_MS.get(look.candle_interval, 0)
    if said:
        due_ms = instant_of(str(said))
    elif step_ms:
        due_ms = (look.now // step_ms + 1) * step_ms
    else:
        return []
    wall_ms = look.wall_of(utc_text(due_ms)) or due_ms
    return [until(wall_ms, f"Next decision {utc_text(due_ms)[11:16]} UTC")]
