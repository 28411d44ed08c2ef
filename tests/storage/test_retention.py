"""Old rows go, by each owner's own market time; trades and days stay for ever."""

from contextlib import closing

import pytest
from sqlalchemy import func, insert, select

from src.domain.clock import DAY_MS, utc_day, utc_text
from src.storage.database import TradingDatabase
from src.storage.retention import main, prune_old
from src.storage.rows import Owner
from src.storage.tables import account_balance, daily_performance, orders, trades
from tests.monitoring.test_alert_inputs import stop_order

NOW = 1_790_000_000_000
LIVE, REPLAY = Owner("main", "live", "live"), Owner("main", "paper", "replay")


@pytest.fixture
def database(tmp_path):
    with closing(TradingDatabase(f"sqlite:///{tmp_path}/t.db", LIVE)) as database:
        database.migrate()
        yield database


def balance(owner, instant_ms):
    money = dict.fromkeys(("wallet_balance", "available_balance", "unrealized_pnl", "equity"), 1)
    return owner.columns("*") | {"timestamp": utc_text(instant_ms)} | money


def trade(owner, instant_ms):
    when = utc_text(instant_ms)
    names = {"side": "LONG", "entry_price": 1, "quantity": 1, "leverage": 1, "status": "closed", "entry_client_id": "a"}
    return owner.columns("BTCUSDT") | names | {"timestamp": when, "entry_time": when}


def test_each_owners_days_count_back_from_its_own_last_one(database):
    last = {LIVE: NOW, REPLAY: NOW - 1_000 * DAY_MS}
    for owner, end_ms in last.items():
        day = owner.columns("*") | {"timestamp": utc_text(end_ms), "day": utc_day(end_ms)}
        rows = [balance(owner, end_ms - days * DAY_MS) for days in range(0, 200, 10)]
        database.write(lambda connection, day=day: connection.execute(insert(daily_performance), day))
        database.write(lambda connection, rows=rows: connection.execute(insert(account_balance), rows))
        old = trade(owner, end_ms - 199 * DAY_MS)
        database.write(lambda connection, old=old: connection.execute(insert(trades), old))
    open_order = stop_order(LIVE) | {"timestamp": utc_text(NOW - 199 * DAY_MS)}
    done_order = stop_order(LIVE, finished=True) | {"timestamp": utc_text(NOW - 199 * DAY_MS)}
    database.write(lambda connection: connection.execute(insert(orders), [open_order, done_order]))

    assert prune_old(database, keep_days=90) == 2 * 11 + 1  # days 90..190 of both, and the finished order
    with database.read() as connection:
        for owner in last:
            kept = select(func.count()).select_from(account_balance).where(owner.rows_of(account_balance))
            assert connection.execute(kept).scalar() == 9
        assert connection.execute(select(func.count()).select_from(trades)).scalar() == 2
        assert connection.execute(select(orders.c.finished)).scalars().all() == [False]
    assert prune_old(database, keep_days=90) == 0


def test_the_command_prints_the_number_of_deleted_rows(database, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/t.db")
    assert main(["prune"]) == 0
    assert "0 rows older than 90 days deleted" in capsys.readouterr().out
    assert main([]) == 2
    monkeypatch.setenv("KEEP_DAYS", "0")
    assert main(["prune"]) == 78
