"""Samples with something to learn: a market that rises after one state and falls after another."""

from decimal import Decimal

import numpy as np
from sqlalchemy import insert

from src.domain.clock import utc_text
from src.storage.database import TradingDatabase
from src.storage.tables import signals, trades
from src.strategy.indicators import Indicators
from src.training.dataset import Outcomes, Samples

START_MS = 1_750_000_020_000 // 60_000 * 60_000
RISING, FALLING = 5_000, 12_000
RUN = 10
STEP = 0.004


def zigzag(count: int, step: float = STEP, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return prices, states and sides: ten minutes up, ten down, with noise; the state says which it is."""
    chance = np.random.default_rng(seed)
    rising = (np.arange(count) // RUN) % 2 == 0
    moves = np.where(rising, step, -step) + chance.normal(0.0, step / 5, count)
    prices = 30_000.0 * np.cumprod(np.concatenate(([1.0], 1.0 + moves[:-1])))
    return prices, np.where(rising, RISING, FALLING), np.where(rising, 1, -1)


def samples(count: int, step: float = STEP, seed: int = 3) -> Samples:
    """Return a zigzag as samples without finished trades."""
    prices, states, sides = zigzag(count, step, seed)
    none = np.zeros(0, np.int64)
    return Samples(
        source="database",
        symbols=("BTCUSDT",),
        interval_ms=60_000,
        pair=np.zeros(count, np.int64),
        open_ms=START_MS + 60_000 * np.arange(count),
        price=prices,
        state=states.astype(np.int64),
        side=sides.astype(np.int8),
        strength=np.full(count, 3, np.int8),
        outcomes=Outcomes(none, none, np.zeros(0)),
    )


def fill(database: TradingDatabase, count: int, step: float = STEP, symbol: str = "BTCUSDT") -> None:
    """Write a zigzag as the bot's own turns, half a second after each minute, with a finished trade on the tenth."""
    prices, states, sides = zigzag(count, step)
    rows = [
        dict.fromkeys(Indicators._fields, 1.0)
        | database.owner.columns(symbol)
        | {
            "timestamp": utc_text(START_MS + 60_000 * (at + 1) + 500),
            "instant_ms": START_MS + 60_000 * (at + 1) + 500,
            "close": float(prices[at]),
            "price": float(prices[at]),
            "signal_type": "BUY" if sides[at] > 0 else "SELL",
            "strength": 3,
            "votes": [],
            "rl_state": {"state": int(states[at]), "values": [0.0, 0.0, 0.0]},
            "rl_action": "HOLD",
            "confidence": 0.0,
            "gates": [],
            "decision": "HOLD",
        }
        for at in range(count)
    ]
    database.write(lambda connection: connection.execute(insert(signals), rows))
    if count > 10:
        database.write(lambda connection: connection.execute(insert(trades), trade_row(database, symbol, 10)))


def trade_row(database: TradingDatabase, symbol: str, signal_id: int) -> dict[str, object]:
    """Return a closed long trade that lost 3 % of its notional, entered on a signal."""
    return database.owner.columns(symbol) | {
        "timestamp": utc_text(START_MS + 3_600_000),
        "side": "LONG",
        "entry_price": Decimal(100),
        "exit_price": Decimal(97),
        "quantity": Decimal(2),
        "leverage": 10,
        "pnl": Decimal(-6),
        "pnl_percent": Decimal(-3),
        "status": "closed",
        "entry_time": utc_text(START_MS),
        "signal_id": signal_id,
        "entry_client_id": f"t{signal_id}",
    }
