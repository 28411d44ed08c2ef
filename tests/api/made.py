"""A small filled database, and the API on it, without a server; time stands until a test moves it."""

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import insert, text

from src.api.auth import Authenticator
from src.api.context import ApiContext
from src.api.keys import KeyStore
from src.api.metrics import Metrics
from src.api.rest import build_app
from src.domain.clock import ManualClock, utc_text
from src.storage.database import TradingDatabase
from src.storage.rows import Heartbeat, Owner
from src.storage.tables import market_context, positions, signals, trades
from tests.api.rows import OWNER, SYMBOLS, fill, signal_row

NOON = 1_795_348_800_000  # 2026-11-22T12:00:00Z
SIGNALS, TRADES = 1_200, 120
INSTRUMENTS = {
    "BTCUSDT": {"tick": "0.10", "step": "0.001", "base": "BTC"},
    "ETHUSDT": {"tick": "0.01", "step": "0.001", "base": "ETH"},
}
ROOT = "/api/v1"


@dataclass
class Made:
    """The API on a database of its own."""

    path: Path
    clock: ManualClock
    keys: KeyStore
    source: ApiContext
    app: APIFlask
    authenticator: Authenticator
    writer: TradingDatabase

    @property
    def client(self) -> FlaskClient:
        """A client on loopback, without a key."""
        return self.app.test_client()

    def get(self, path: str, **headers: str) -> Any:
        """Ask for a path under ``/api/v1``."""
        return self.client.get(ROOT + path, headers=headers)

    def data(self, path: str) -> Any:
        """Return the ``data`` of a good answer."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return answer.get_json()["data"]

    def all_rows(self, path: str) -> list[dict[str, Any]]:
        """Follow the links from a first page to the last and return all rows."""
        rows, asked = [], path
        while asked:
            answer = self.client.get(asked if asked.startswith(ROOT) else ROOT + asked)
            rows += answer.get_json()["data"]
            asked = links(answer).get("next", "")
        return rows

    def query(self, statement: str) -> list[Any]:
        """Return the rows of an SQL query."""
        with self.writer.read() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def add_signal(self, number: int, **changes: Any) -> None:
        """Write one more signal, a minute after the last for each ``number``."""
        row = signal_row(number, 1, NOON + 60_000 * number) | {"votes": [], "gates": [], "rl_state": {}} | changes
        self.writer.write(lambda connection: connection.execute(insert(signals), row))

    def add_trade(self, number: int, **changes: Any) -> None:
        """Write one more closed trade, a minute after the last for each ``number``."""
        from decimal import Decimal

        moment = utc_text(NOON + 60_000 * number)
        row = OWNER.columns("BTCUSDT") | {
            "timestamp": moment,
            "side": "LONG",
            "entry_price": Decimal("65000.1"),
            "quantity": Decimal("0.01"),
            "leverage": 10,
            "pnl": Decimal(1),
            "status": "closed",
            "entry_time": moment,
            "exit_time": moment,
            "entry_client_id": f"added-{number}",
        }
        self.writer.write(lambda connection: connection.execute(insert(trades), row | changes))

    def add_context(self, number: int) -> None:
        """Write one more look at the wider market, a minute after the last for each ``number``."""
        words = dict.fromkeys(("market_trend", "btc_trend", "market_regime", "volatility_level"), "unknown")
        told = {"timestamp": utc_text(NOON + 60_000 * number), "sources": {}, "unknown": {}}
        row = OWNER.columns("*") | words | told
        self.writer.write(lambda connection: connection.execute(insert(market_context), row))

    def beat(self, **changes: Any) -> None:
        """Write a sign of life of the trading bot."""
        beat(self.writer, self.clock.now_ms(), **changes)

    def close(self) -> None:
        """Let go of the database."""
        self.writer.close()


@cache
def template() -> Path:
    """Return a filled database that tests copy."""
    path = Path(mkdtemp()) / "template.db"
    fill(path, SIGNALS, TRADES, NOON)
    with closing(TradingDatabase(f"sqlite:///{path}", OWNER)) as database:
        database.write(_add_foreign_rows)
    return path


def make(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    origins: tuple[str, ...] = (),
    calls_a_minute: int = 1_200,
    tries_a_minute: int = 10,
    public: dict[str, str] | None = None,
    **options: Any,
) -> Made:
    """Return the API on a copy of the filled database in ``folder``."""
    path = folder / "api.db"
    shutil.copy(template(), path)
    clock = ManualClock(NOON + 5_000)
    url = f"sqlite:///{path}"
    writer = TradingDatabase(url, OWNER)
    beat(writer, NOON)
    source = ApiContext(TradingDatabase(url, OWNER, read_only=True), clock, lambda: TradingDatabase(url, OWNER))
    keys = KeyStore(folder / "state" / "api_keys.json", clock)
    authenticator = Authenticator(
        host=host,
        origins=origins,
        keys=keys,
        clock=clock,
        calls_a_minute=calls_a_minute,
        tries_a_minute=tries_a_minute,
        public=public,
    )
    app = build_app(source, authenticator, metrics=Metrics(source).text, **options)
    return Made(path, clock, keys, source, app, authenticator, writer)


def beat(database: TradingDatabase, now_ms: int, **changes: Any) -> None:
    """Write a sign of life; ``changes`` are fields of ``Heartbeat``."""
    now = utc_text(now_ms)
    usual: dict[str, Any] = {
        "timestamp": now,
        "beat_at": now,
        "process": "trading_bot",
        "pid": 1,
        "started_at": now,
        "phase": "waiting",
        "version": "0.1.0",
        "config_hash": "abc",
        "interval_s": 60.0,
        "cycle_no": 7,
        "cycle_finished": now,
        "details": {"instruments": INSTRUMENTS, "cycle_ms": {"BTCUSDT": 1.5}},
    }
    database.heartbeat(Heartbeat(**(usual | changes)))
    database.flush(60.0)  # however busy the disk is


def links(answer: Any) -> dict[str, str]:
    """Return the addresses of a Link header by their relation."""
    parts = [part.strip().split(">; rel=") for part in answer.headers.get("Link", "").split(", ") if part]
    return {name.strip('"'): address.removeprefix("<") for address, name in parts}


def state_of(made: Made) -> list[Any]:
    """Return every row of every table, to see whether anything has changed."""
    names = [row[0] for row in made.query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    return [(name, made.query(f"SELECT * FROM {name}")) for name in names]


def _add_foreign_rows(connection: Any) -> None:
    """Rows of another world, of real trading, and of another bot: none may be mixed with ours."""
    for owner in (Owner("main", "paper", "live"), Owner("main", "live", "live"), Owner("second", "paper", "synthetic")):
        row = signal_row(0, 1, NOON - 30_000) | {"votes": [], "gates": [], "rl_state": {}}
        connection.execute(insert(signals), row | owner.columns("BTCUSDT"))
    moment = utc_text(NOON)
    place: dict[str, Any] = {"timestamp": moment, "side": "LONG", "leverage": 10, "margin_type": "CROSSED"}
    from decimal import Decimal

    money = {name: Decimal("65000.1") for name in ("entry_price", "mark_price")}
    amounts = {"quantity": Decimal("0.044"), "unrealized_pnl": Decimal("-1.5"), "liquidation_price": Decimal("59000.1")}
    stops = {"stop_price": Decimal("63700.1"), "target_price": Decimal("68250.1"), "position_side": "BOTH", "own": True}
    connection.execute(insert(positions), OWNER.columns("BTCUSDT") | place | money | amounts | stops)


Maker = Callable[..., Made]
__all__ = ["NOON", "ROOT", "SIGNALS", "SYMBOLS", "TRADES", "Made", "Maker", "beat", "links", "make", "state_of"]
