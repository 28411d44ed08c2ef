"""An intent that lessens exposure survives a process that dies while the database is locked."""

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from src.domain.clock import ManualClock
from src.domain.orders import OrderIntent, OrderKind, OrderStatus, Purpose, Side, client_id
from src.storage.database import TradingDatabase
from src.storage.intent_log import IntentLog
from src.storage.journal_repository import JournalRepository
from src.storage.rows import Owner
from src.storage.tables import orders

NOW = 1_700_000_000_000
OWNER = Owner("main", "paper", "synthetic")


def exit_intent(number: int = 0, purpose: Purpose = Purpose.EXIT) -> OrderIntent:
    stop = purpose is Purpose.STOP
    return OrderIntent(
        client_id=client_id("main", "BTCUSDT", NOW + number, purpose),
        symbol="BTCUSDT",
        side=Side.SELL,
        kind=OrderKind.STOP_MARKET if stop else OrderKind.MARKET,
        purpose=purpose,
        quantity=Decimal(0) if stop else Decimal("0.0100"),
        decided_ms=NOW + number,
        reduce_only=not stop,
        trigger_price=Decimal("29400.10") if stop else None,
        close_position=stop,
        reason="early_stop",
    )


def opened(folder: Path) -> TradingDatabase:
    database = TradingDatabase(f"sqlite:///{folder}/t.db", OWNER)
    database.migrate()
    return database


def test_an_exit_noted_under_a_locked_database_is_known_to_the_next_process(tmp_path):
    """The process ends without writing anything more: what it had in memory is gone."""
    database = opened(tmp_path)
    log = IntentLog(tmp_path / "intents.jsonl")
    journal = JournalRepository(database, ManualClock(NOW), log)
    with closing(sqlite3.connect(tmp_path / "t.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        journal.note_order(exit_intent())
        journal.note_order(exit_intent(1, Purpose.STOP))
        assert database.pending > 0
        left = (tmp_path / "intents.jsonl").read_bytes()  # what is on disk at the instant of death
    database.flush()
    with database.read() as connection:  # the next process finds the database as it was before
        assert connection.execute(orders.select()).fetchall() != []
    database.close()
    fresh = tmp_path / "after"
    fresh.mkdir()
    (fresh / "intents.jsonl").write_bytes(left)
    with closing(opened(fresh)) as database:
        journal = JournalRepository(database, ManualClock(NOW), IntentLog(fresh / "intents.jsonl"))
        assert journal.unfinished_orders("BTCUSDT") == [exit_intent(), exit_intent(1, Purpose.STOP)]
        database.flush()
        with database.read() as connection:
            rows = connection.execute(orders.select()).fetchall()
        assert [(row.purpose, row.status, row.reason) for row in rows] == [
            ("exit", "PLANNED", "early_stop"),
            ("stop", "PLANNED", "early_stop"),
        ]
        journal.update_order(exit_intent().client_id, OrderStatus.FILLED, None, Decimal(0), "")
        database.flush()
        again = JournalRepository(database, ManualClock(NOW), IntentLog(fresh / "intents.jsonl"))
        assert again.unfinished_orders("BTCUSDT") == [exit_intent(1, Purpose.STOP)]


def test_the_file_is_emptied_once_the_database_has_everything(tmp_path):
    with closing(opened(tmp_path)) as database:
        log = IntentLog(tmp_path / "intents.jsonl")
        journal = JournalRepository(database, ManualClock(NOW), log)
        for number in range(20):
            journal.note_order(exit_intent(number))
            database.flush()
        assert log.read() == [exit_intent(19)]
        assert (tmp_path / "intents.jsonl").stat().st_mode & 0o077 == 0


def test_a_damaged_line_costs_that_line_alone(tmp_path):
    log = IntentLog(tmp_path / "intents.jsonl")
    log.append(exit_intent())
    with (tmp_path / "intents.jsonl").open("a") as file:
        file.write('{"client_id": "cut of\n[]\n')
    log.append(exit_intent(1))
    assert IntentLog(tmp_path / "intents.jsonl").read() == [exit_intent(), exit_intent(1)]


def test_a_file_that_cannot_be_written_holds_up_no_exit(tmp_path):
    log = IntentLog(tmp_path / "no such folder" / "intents.jsonl")
    log.append(exit_intent())
    assert log.read() == []
    log.clear()
