"""Training samples: the bot's own turns and trades, or past candles."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, func, select

from src.backtest.compiled import compiled
from src.backtest.past_timeframes import longer, trends_known
from src.backtest.pipeline import Pipeline, fold_block
from src.domain.candle_names import SeriesKind
from src.domain.clock import DAY_MS, MINUTE_MS
from src.domain.errors import DataRefused
from src.domain.market import INTERVAL_MS
from src.market_data.columns import Candles
from src.market_data.files import read_in_order, symbol_of
from src.storage.database import TradingDatabase
from src.storage.rows import Owner
from src.storage.tables import signals, trades
from src.strategy.q_state import REGIMES, states_of
from src.strategy.rules import DecisionRules
from src.strategy.votes import votes_mask

LEAST_SIGNALS = 50
BEST_SIGNALS = 2_000
_PAGE = 10_000
_SIGNS = {"BUY": 1, "SELL": -1, "LONG": 1, "SHORT": -1}

Stamps = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """Closed trades: the row of the sample they were entered at, their side (1, -1), and the result.

    ``pnl_share`` is net of fees and funding, as a share of the notional entered.
    """

    row: Stamps
    sign: Stamps
    pnl_share: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Turns, one for each closed candle, pair by pair and oldest first, as columns.

    ``pair`` numbers ``symbols``; ``open_ms`` is the candle's first instant; ``state`` is -1 where not ready.
    ``candles`` are the minutes they were made of, where there are any.
    """

    source: str
    symbols: tuple[str, ...]
    interval_ms: int
    pair: Stamps
    open_ms: Stamps
    price: Floats
    state: Stamps
    side: NDArray[np.int8]
    strength: NDArray[np.int8]
    outcomes: Outcomes
    candles: Candles | None = None

    def __len__(self) -> int:
        return len(self.open_ms)

    @property
    def span_ms(self) -> tuple[int, int]:
        """First and last instant; 0 and 0 where there are no samples."""
        return (int(self.open_ms.min()), int(self.open_ms.max())) if len(self) else (0, 0)

    @property
    def linked(self) -> NDArray[np.bool_]:
        """Whether each sample and the one after it are neighbours in time of one pair, both ready: a lesson."""
        found = np.zeros(len(self), dtype=np.bool_)
        found[:-1] = (np.diff(self.open_ms) == self.interval_ms) & (np.diff(self.pair) == 0)
        found[:-1] &= (self.state[:-1] >= 0) & (self.state[1:] >= 0)
        return found

    @property
    def data_sha256(self) -> str:
        """A hash of all training data."""
        digest = hashlib.sha256(",".join(self.symbols).encode())
        for column in (self.pair, self.open_ms, self.price, self.state, self.outcomes.row, self.outcomes.pnl_share):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def between(self, from_ms: int, to_ms: int) -> "Samples":
        """Return the samples with ``from_ms <= open_ms < to_ms`` and the trades entered at them."""
        kept = (self.open_ms >= from_ms) & (self.open_ms < to_ms)
        place = np.cumsum(kept) - 1
        ours = kept[self.outcomes.row] if len(self.outcomes.row) else np.zeros(0, np.bool_)
        outcomes = Outcomes(
            place[self.outcomes.row[ours]], self.outcomes.sign[ours], self.outcomes.pnl_share[ours]
        )  # fmt: skip
        columns: dict[str, Any] = {
            name: getattr(self, name)[kept] for name in ("pair", "open_ms", "price", "state", "side", "strength")
        }
        return replace(self, outcomes=outcomes, **columns)


def samples_of_database(database: TradingDatabase, rules: DecisionRules, days: int) -> Samples:
    """Return the bot's own turns of its last ``days`` days, one for each candle that was decided on, with its trades.

    Days are counted back from the newest turn, in the exchange's time. Only rows of this bot, mode and world are used.
    """
    owner = database.owner
    since_ms = _newest_ms(database) - days * DAY_MS
    rows = _signal_rows(database, owner, since_ms)
    symbols = tuple(sorted({row[1] for row in rows}))
    step_ms = INTERVAL_MS[rules.candle_interval]
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    rows.sort(key=lambda row: (numbers[row[1]], row[2]))
    kept: dict[tuple[str, int], tuple[Any, ...]] = {}
    place_of: dict[int, tuple[str, int]] = {}
    for row in rows:  # several turns on one candle count as one sample: the first
        key = (row[1], row[2] // step_ms)
        kept.setdefault(key, row)
        place_of[row[0]] = key
    order = {key: place for place, key in enumerate(kept)}
    chosen = list(kept.values())
    return Samples(
        source="database",
        symbols=symbols,
        interval_ms=step_ms,
        pair=np.array([numbers[row[1]] for row in chosen], dtype=np.int64),
        open_ms=np.array([row[2] // step_ms * step_ms - step_ms for row in chosen], dtype=np.int64),
        price=np.array([row[3] for row in chosen], dtype=np.float64),
        state=np.array([_state(row[4], rules.trend_intervals) for row in chosen], dtype=np.int64),
        side=np.array([_SIGNS.get(row[5], 0) for row in chosen], dtype=np.int8),
        strength=np.array([row[6] for row in chosen], dtype=np.int8),
        outcomes=_outcomes(database, owner, {id_: order[key] for id_, key in place_of.items()}),
    )


def samples_of_candles(files: Sequence[Path], rules: DecisionRules) -> Samples:
    """Return a turn for each candle that the rules would have decided on, of one pair's one-minute candles.

    Raises:
        DataRefused: a file is missing or damaged, of another pair or interval, or overlaps the one before it.
    """
    symbols = {symbol_of(file) for file in files}
    if len(symbols) > 1:
        raise DataRefused(f"The files are of {len(symbols)} pairs ({', '.join(sorted(symbols))}); give one pair's.")
    minutes = _joined(files)
    step_ms = INTERVAL_MS[rules.candle_interval]
    decided_on = minutes if step_ms == MINUTE_MS else longer(minutes, step_ms)
    trends = trends_known(minutes, rules.trend_intervals, decided_on.open_ms + step_ms)
    pipeline = Pipeline(decided_on, REGIMES * trends, compiled(fold_block), votes_mask(rules.votes))
    if len(decided_on):
        pipeline.reach(len(decided_on) - 1)
    none = np.zeros(0, np.int64)
    return Samples(
        source=", ".join(file.name for file in files),
        symbols=tuple(symbols),
        interval_ms=step_ms,
        pair=np.zeros(len(decided_on), np.int64),
        open_ms=decided_on.open_ms,
        price=decided_on.close,
        state=pipeline.seen.state,
        side=pipeline.seen.side,
        strength=pipeline.seen.strength,
        outcomes=Outcomes(none, none, np.zeros(0)),
        candles=minutes,
    )


def _joined(files: Sequence[Path]) -> Candles:
    pieces = read_in_order(files)
    if any(each.file.series is SeriesKind.MARK for each in pieces):
        raise DataRefused("Retraining needs prices that were traded, and a file holds mark prices.")
    if any(each.file.interval_ms != MINUTE_MS for each in pieces):
        raise DataRefused("Retraining needs one-minute candles: longer ones are made of them as the rules ask.")
    return Candles.joined([each.candles for each in pieces])


def _newest_ms(database: TradingDatabase) -> int:
    with database.read() as connection:
        query = select(func.max(signals.c.instant_ms)).where(database.owner.rows_of(signals))
        return int(connection.execute(query).scalar() or 0)


def _signal_rows(database: TradingDatabase, owner: Owner, since_ms: int) -> list[tuple[Any, ...]]:
    """Read the turns that had indicators, a page at a time so that no writer waits."""
    c = signals.c
    columns = (c.id, c.symbol, c.instant_ms, c.close, c.rl_state, c.signal_type, c.strength)
    wanted: Select[Any] = select(*columns).where(
        owner.rows_of(signals), c.instant_ms >= since_ms, c.close.is_not(None)
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    last = 0
    while True:
        with database.read() as connection:
            page = connection.execute(wanted.where(c.id > last).order_by(c.id).limit(_PAGE)).all()
        if not page:
            return rows
        rows += [tuple(row) for row in page]
        last = int(page[-1][0])


def _state(kept: object, trends: tuple[str, ...]) -> int:
    """The recorded state, -1 if there is none or its features differ from those of the rules."""
    if not isinstance(kept, dict) or tuple(kept.get("trends", ())) != trends:
        return -1
    state = int(kept.get("state", -1))
    return state if state < states_of(trends) else -1


def _outcomes(database: TradingDatabase, owner: Owner, row_of: dict[int, int]) -> Outcomes:
    c = trades.c
    query = select(c.signal_id, c.side, c.pnl, c.entry_price, c.quantity).where(
        owner.rows_of(trades), c.status == "closed", c.signal_id.is_not(None), c.pnl.is_not(None)
    )
    with database.read() as connection:
        found = [row for row in connection.execute(query.order_by(c.id)) if row.signal_id in row_of]
    return Outcomes(
        np.array([row_of[row.signal_id] for row in found], dtype=np.int64),
        np.array([_SIGNS.get(row.side.upper(), 0) for row in found], dtype=np.int64),
        np.array([_share(row.pnl, row.entry_price * row.quantity) for row in found], dtype=np.float64),
    )


def _share(pnl: Decimal, notional: Decimal) -> float:
    return float(pnl / notional) if notional else 0.0
