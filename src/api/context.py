"""What operations work with: the database seen in one mode and market, and the current market time.

Figures of different modes or worlds are never mixed: everything is asked for those of the settings.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from src.api.serializers import Steps
from src.domain.clock import MINUTE_MS, Clock, instant_of, utc_text
from src.domain.errors import StoreCorrupt, StoreUnavailable, SuiteError
from src.reporting.pages import Scope
from src.reporting.service import ReportService
from src.storage.database import TradingDatabase

TRADING: Final = ("trading_bot", "rl_bot")  # the names under which the trading loop signs its beats
Params = Mapping[str, Any]  # checked arguments by name
HOUR_MS: Final = 60 * MINUTE_MS


class NotFound(SuiteError):
    """What was asked for does not exist (yet)."""


class WrongArgument(SuiteError):
    """An argument that looks right alone cannot be used."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: ``name`` for the log, ``scopes`` what they may do (``read``, ``control``)."""

    name: str
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class DatabaseView:
    """The signs of life as last read; ``ahead_ms`` and ``speed`` carry the market's clock on from there."""

    version: str
    beats: tuple[dict[str, Any], ...]
    steps: Mapping[str, Steps]
    market_ms: int
    wall_ms: int
    speed: float


class ApiContext:
    """Answers from one database; safe to share between threads. ``database.owner`` says mode, world and bot."""

    def __init__(self, database: TradingDatabase, wall: Clock, open_writer: Callable[[], TradingDatabase]) -> None:
        self.reports = ReportService(database)
        self.owner = database.owner
        self.wall = wall
        self._database = database
        self._open_writer = open_writer
        self._last: DatabaseView | None = None

    def version(self) -> str:
        """Return a text that changes with every commit to the database."""
        return self._database.version()

    @contextmanager
    def writer(self) -> Iterator[TradingDatabase]:
        """Lend a way to write, for the calls of the control scope alone."""
        with closing(self._open_writer()) as database:
            yield database

    def scope(self, bot_id: str | None = None, symbol: str | None = None) -> Scope:
        """Return whose rows are meant, always in the present mode and world."""
        return Scope(bot_id, self.owner.mode, self.owner.world, symbol)

    def look(self) -> DatabaseView:
        """Return the signs of life of this mode and world, read anew only when the database has changed."""
        version, last = self._database.version(), self._last
        if last is not None and version and version == last.version:
            return last
        wall_ms = self.wall.now_ms()
        mine = (self.owner.mode, self.owner.world)
        beats = [row for row in self.reports.bot_status(wall_ms) if (row["mode"], row["world"]) == mine]
        loops = [row for row in beats if row["process"] in TRADING] or beats
        newest = max(loops, key=lambda row: str(row["beat_at"]), default=None)
        market_ms, beat_ms, speed = wall_ms, wall_ms, 1.0
        if newest is not None:
            market_ms, beat_ms = instant_of(newest["timestamp"]), instant_of(newest["beat_at"])
            speed = float(newest["speed"])
        self._last = DatabaseView(version, tuple(beats), _steps(beats), market_ms, beat_ms, speed)
        return self._last

    def now_ms(self) -> int:
        """Return the market's present time, carried on from the trading loop's last sign of life."""
        look = self.look()
        return look.market_ms + int((self.wall.now_ms() - look.wall_ms) * look.speed)

    def since_ms(self, hours: int | None) -> int | None:
        """Return the full minute that many hours ago, so that a minute's answers are all the same; None is ever."""
        return None if hours is None else self.now_ms() // MINUTE_MS * MINUTE_MS - hours * HOUR_MS

    def label(self) -> str:
        """Return what every page says of its figures: ``paper, synthetic``."""
        world = "live market" if self.owner.world == "live" else self.owner.world
        return f"{self.owner.mode}, {world}"

    def meta(self) -> dict[str, Any]:
        """Return what each answer says of itself."""
        own = {"mode": self.owner.mode, "world": self.owner.world, "label": self.label()}
        try:
            return {"as_of": utc_text(self.now_ms()), **own}
        except (StoreUnavailable, StoreCorrupt):
            return {"as_of": None, **own}  # the market's time is known from the database alone


def _steps(beats: Sequence[Mapping[str, Any]]) -> dict[str, Steps]:
    """Read the contracts' steps that the trading loops tell; a damaged one is an unknown one."""
    told: dict[str, Steps] = {}
    for beat in beats:
        for symbol, each in dict(beat["details"].get("instruments", {})).items():
            try:
                told[symbol] = Steps(Decimal(each["tick"]), Decimal(each["step"]))
            except (KeyError, TypeError, InvalidOperation):
                continue
    return told
