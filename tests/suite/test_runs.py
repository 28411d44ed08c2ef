"""Whole runs of the real bot: replay and synthetic markets, twice the same from one seed, calls an hour, endings."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from src.domain.clock import instant_of
from tests.paper_exchange.running import ROOT, environment, wait_until
from tests.shared_data import shared_file
from tests.suite.running import BUSY, Bot, Observer, duplicates, free_port, settled, suite, wallet
from tests.suite.stepping import Steps, standing

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def made(tmp_path: Path, name: str = "bot") -> Path:
    place = tmp_path / name
    place.mkdir()
    return place


TURNS = (
    "SELECT substr(timestamp, 1, 16), price, signal_type, strength, rl_action, confidence, explored, decision, veto, "
    "reason, acted FROM signals ORDER BY id"
)
TRADES = (
    "SELECT symbol, side, quantity, entry_price, exit_price, gross_pnl, fees, funding, exit_reason, "
    "substr(entry_time, 1, 16), substr(exit_time, 1, 16) FROM trades ORDER BY entry_time"
)


def test_a_replayed_market_is_traded_with_stops_and_books_that_agree(tmp_path):
    file = shared_file("BTCUSDT_um_1m_2023JulAug.parquet")
    with suite(made(tmp_path), market=f"replay:{file}", speed=120.0, **BUSY) as (exchange, bot):
        bot.start()
        bot.wait_for_cycles(2)
        observer = Observer(exchange, bot)
        observer.start()
        bot.wait_for_cycles(90, 120)
        assert bot.stop() == 0
        observer.stop()
        wait_until(lambda: settled(exchange, bot))
        assert observer.positions_seen > 0
        assert observer.longest_naked_s <= 1.0
        assert duplicates(exchange) == {}
        minutes = [row[0][:16] for row in bot.rows("SELECT timestamp FROM signals ORDER BY id")]
        assert len(set(minutes)) == len(minutes)
        rows = bot.rows("SELECT decision, gates, reason, veto, world FROM signals")
        assert all(reason for _, _, reason, _, _ in rows)
        assert {world for *_, world in rows} == {"replay"}


def test_two_runs_from_one_seed_decide_and_trade_the_same_to_the_last_digit(tmp_path):
    results = []
    for name in ("one", "two"):
        start_ms = instant_of("2026-03-02T00:00:00")
        with (
            suite(made(tmp_path, name), **standing(start_ms), **BUSY) as (exchange, bot),
            Steps(exchange, bot, start_ms) as steps,
        ):
            bot.start()
            steps.wait_for_start()
            steps.forward(150)
            assert bot.stop() == 0
            results.append((bot.rows(TURNS), bot.rows(TRADES)))
    assert len(results[0][0]) == 151
    assert len(results[0][1]) >= 3
    assert results[0] == results[1]


def test_a_fault_free_market_day_needs_less_than_60_calls_an_hour(tmp_path):
    with suite(made(tmp_path), speed=300.0) as (exchange, bot):
        bot.start()
        bot.wait_for_cycles(60 * 4, 180)
        assert bot.stop() == 0
        hours = exchange.control("GET", "requests")
        full = [sum(each.values()) for _, each in sorted(hours.items())][1:-1]
        print("calls an hour:", full)
        assert len(full) >= 2
        assert sum(full) / len(full) < 60


def ended(settings: dict[str, str], folder: Path, within_s: float = 30.0) -> tuple[int, str]:
    """Start the bot with these settings and return its exit code and what it said."""
    bot = Bot(folder, settings)
    done = subprocess.run(
        [sys.executable, "src/trading_bot.py"],
        cwd=ROOT,
        env=bot.environment(),
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_wrong_settings_end_with_78_and_a_line_for_each(tmp_path):
    code, said = ended({"LEVERAGE": "500", "STOP_LOSS_PERCENTAGE": "2", "TRADING_PAIR": "??"}, made(tmp_path))
    assert code == 78
    for name in ("LEVERAGE", "STOP_LOSS_PERCENTAGE", "TRADING_PAIR"):
        assert sum(name in line for line in said.splitlines()) == 1, said
    assert "Traceback" not in said


def test_an_exchange_that_is_not_there_is_one_sentence_and_69(tmp_path):
    code, said = ended({"PAPER_PORT": str(free_port())}, made(tmp_path))
    assert code == 69
    assert "Traceback" not in said


def test_a_damaged_database_is_one_sentence_and_65_and_stays_as_it_is(tmp_path):
    place = made(tmp_path)
    (place / "trading.db").write_bytes(b"this is no database, " * 400)
    before = (place / "trading.db").read_bytes()
    code, said = ended({"PAPER_PORT": str(free_port())}, place)
    assert code == 65
    assert "Traceback" not in said
    assert (place / "trading.db").read_bytes() == before


def test_wrong_keys_are_one_sentence(tmp_path):
    with suite(made(tmp_path)) as (_exchange, bot):
        bot.settings["PAPER_API_SECRET"] = "x" * 64
        code, said = ended(bot.settings, bot.folder)
        assert code == 78
        assert "Traceback" not in said


def test_a_corrupt_model_means_hold_and_is_left_as_it_is(tmp_path):
    with suite(made(tmp_path), speed=60.0, **BUSY) as (_exchange, bot):
        (bot.folder / "model.pkl").write_bytes(b"not a model")
        bot.start()
        bot.wait_for_cycles(5)
        assert bot.stop() == 0
        assert (bot.folder / "model.pkl").read_bytes() == b"not a model"
        assert bot.rows("SELECT DISTINCT rl_action FROM signals") == [("HOLD",)]
        assert "refused" in bot.log


def test_a_second_bot_of_the_same_name_is_turned_away(tmp_path):
    with suite(made(tmp_path), speed=60.0) as (_exchange, bot):
        bot.start()
        bot.wait_for_cycles(1)
        code, said = ended(bot.settings, bot.folder)
        assert code == 75
        assert str(bot.process.pid) in said


def test_a_taken_port_says_by_whom(tmp_path):
    with suite(made(tmp_path)) as (exchange, _bot):
        done = subprocess.run(
            [sys.executable, "-m", "src.paper_exchange", "--port", str(exchange.port), "--state", str(tmp_path / "s")],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode != 0
        assert str(exchange.process.pid) in done.stdout + done.stderr


def test_a_full_disk_stops_entries_with_a_reason_and_loses_nothing(tmp_path):
    """A file system of one megabyte, made by root only."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    place = made(tmp_path)
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(small)], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        with suite(place, speed=60.0, DATABASE_URL=f"sqlite:///{small}/trading.db", **BUSY) as (exchange, bot):
            bot.start()
            wait_until(lambda: (small / "trading.db").exists() and "Cycle #3" in bot.log, 60, 0.1)
            with contextlib.suppress(OSError), (small / "ballast").open("wb", buffering=0) as ballast:
                for _ in range(10_000):
                    ballast.write(b"x" * 4096)
            wait_until(lambda: "Cycle #12" in bot.log or not bot.alive, 60, 0.1)
            assert bot.alive, bot.log[-2000:]
            (small / "ballast").unlink()
            wait_until(lambda: "Cycle #16" in bot.log, 60, 0.1)
            assert bot.stop(signal.SIGTERM) == 0
            with closing(sqlite3.connect(small / "trading.db")) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                pnl = connection.execute(
                    "SELECT COALESCE(SUM(ROUND(pnl * 100000000)), 0) FROM trades WHERE status = 'closed'"
                ).fetchone()[0]
                fees = connection.execute(
                    "SELECT COALESCE(SUM(ROUND(fees * 100000000)), 0) FROM trades WHERE status = 'open'"
                ).fetchone()[0]
            assert wallet(exchange) - Decimal(10_000) == Decimal(int(pnl) - int(fees)) / 100_000_000
    finally:
        subprocess.run(["umount", str(small)], check=False)


def test_two_pairs_are_traded_in_one_process_with_one_account(tmp_path):
    with suite(made(tmp_path), speed=60.0, TRADING_PAIRS="BTCUSDT,ETHUSDT", **BUSY) as (exchange, bot):
        bot.start()
        traded = "SELECT COUNT(DISTINCT symbol) FROM trades"
        wait_until(lambda: bot.rows(traded) == [(2,)] or not bot.alive, 150, 0.2)
        assert bot.stop() == 0
        wait_until(lambda: settled(exchange, bot))
        assert duplicates(exchange) == {}
        per_cycle = bot.rows("SELECT substr(timestamp, 1, 16), COUNT(DISTINCT symbol) FROM signals GROUP BY 1")
        assert [count for _, count in per_cycle[1:-1]].count(2) >= len(per_cycle) - 4
        margins = "SELECT gates FROM signals WHERE gates LIKE '%exposure%'"
        assert bot.rows(margins)
