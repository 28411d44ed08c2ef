"""What a process promises: alone, stopped by signals within its time, and an exit code that tells the truth."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from src.domain.clock import ManualClock
from src.domain.errors import ExchangeUnavailable, SettingsError, StoreCorrupt, SuiteError
from src.runtime.process import AlreadyRunning, notify_manager, run_rounds, single_instance

ROOT = Path(__file__).resolve().parents[2]
PRELUDE = """
import errno, os, sys, threading, time
from src.domain import errors
from src.runtime.process import run_process
def ready(): print("ready", flush=True)
"""


class Rounds:
    """Work that plays a list of outcomes, then sets stop."""

    def __init__(self, stop, *outcomes):
        self.stop, self.outcomes, self.calls = stop, list(outcomes), 0

    def __call__(self):
        self.calls += 1
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if not self.outcomes:
            self.stop.set()
        if isinstance(outcome, BaseException):
            raise outcome


def start(tmp_path, body, **extra_environment):
    environment = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + body],
        cwd=ROOT,
        env=environment | {"LEVERAGE": "10", "STATE_DIR": str(tmp_path)} | extra_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process, timeout_s=20):
    try:
        out, err = process.communicate(timeout=timeout_s)
    finally:
        process.kill()
    return process.returncode, out + err


MAIN_RAISES = "def main(stop):\n    raise {}\nsys.exit(run_process('p', main))"


def test_a_failed_round_does_not_end_the_process():
    stop, clock = threading.Event(), ManualClock()
    work = Rounds(stop, SuiteError("a"), ExchangeUnavailable("b"), None, SuiteError("c"), None)
    run_rounds(work, 60, stop, clock)
    assert work.calls == 5
    assert clock.now_ms() == 5 * 60_000


def test_a_ban_is_waited_out():
    stop, clock = threading.Event(), ManualClock()
    run_rounds(Rounds(stop, ExchangeUnavailable("429", retry_after_s=300), None), 60, stop, clock)
    assert clock.now_ms() == 360_000


def test_the_time_a_round_takes_is_part_of_its_interval():
    stop, clock = threading.Event(), ManualClock()
    rounds = []

    def work():
        rounds.append(clock.now_ms())
        clock.advance_to(clock.now_ms() + 25_000)
        if len(rounds) == 3:
            stop.set()

    run_rounds(work, 60, stop, clock)
    assert rounds == [0, 60_000, 120_000]


@pytest.mark.parametrize("fatal", [ZeroDivisionError(), StoreCorrupt("x"), SettingsError(("y",))])
def test_an_error_that_no_next_round_can_repair_ends_the_process(fatal):
    stop = threading.Event()
    with pytest.raises(type(fatal)):
        run_rounds(Rounds(stop, fatal, None), 60, stop, ManualClock())


def test_a_process_lock_is_held_once_and_the_refusal_names_its_holder(tmp_path):
    with single_instance("bot-main", tmp_path):
        taken = pytest.raises(AlreadyRunning, match=f"bot-main is already running as process {os.getpid()}")
        with taken, single_instance("bot-main", tmp_path):
            pytest.fail("two hold one place")
        with single_instance("bot-other", tmp_path):
            pass
    with single_instance("bot-main", tmp_path):
        assert (tmp_path / "bot-main.lock").stat().st_mode & 0o777 == 0o600


def test_the_service_manager_is_notified_of_successful_rounds_only(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        stop = threading.Event()
        run_rounds(Rounds(stop, SuiteError("bad"), None), 60, stop, ManualClock())
        assert manager.recv(100) == b"READY=1\nWATCHDOG=1"
        with pytest.raises(BlockingIOError):
            manager.recv(100)
    notify_manager("STOPPING=1")  # a manager that is gone does not matter


def test_no_service_manager_no_message(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify_manager("READY=1")


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        ("errors.SettingsError(('ONE is wrong.', 'TWO is wrong.'))", 78, "ONE is wrong.\n"),
        ("errors.CredentialsRefused('key refused')", 78, "key refused"),
        ("errors.StoreCorrupt('database damaged')", 65, "database damaged"),
        ("errors.ModelRefused('model damaged')", 65, "model damaged"),
        ("errors.ExchangeUnavailable('nobody there')", 69, "nobody there"),
        ("errors.StoreUnavailable('locked')", 75, "locked"),
        ("OSError(errno.ENOSPC, 'No space left on device')", 73, "No space left"),
        ("OSError(errno.EADDRINUSE, 'Address in use')", 75, "port is in use"),
        ("ZeroDivisionError('oops')", 1, "Traceback"),
    ],
)
def test_the_exit_code_shows_what_ended_the_process(tmp_path, raised, code, said):
    result, output = ended(start(tmp_path, MAIN_RAISES.format(raised)))
    assert result == code
    assert said in output
    assert ("Traceback" in output) == (code == 1)


def test_wrong_settings_are_exit_78_and_one_line_each(tmp_path):
    result, output = ended(start(tmp_path, MAIN_RAISES.format("AssertionError"), LEVERAGE="900", INTERVAL="soon"))
    assert result == 78
    assert [line.split()[0] for line in output.splitlines()] == ["LEVERAGE", "INTERVAL"]


def test_a_folder_that_cannot_be_written_is_73(tmp_path):
    (tmp_path / "file").touch()
    code, output = ended(start(tmp_path / "file" / "state", MAIN_RAISES.format("AssertionError")))
    assert (code, "cannot write" in output) == (73, True)


WAITS = """
def main(stop):
    ready()
    stop.wait(30)
    print("stopped in order", flush=True)
sys.exit(run_process('p', main))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_in_order_and_the_end_is_0(tmp_path, number):
    process = start(tmp_path, WAITS)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    code, output = ended(process)
    assert (code, "stopped in order" in output) == (0, True)


PATIENT = "def main(stop):\n    ready()\n    stop.wait(30)\n    {}\nsys.exit(run_process('p', main))"


@pytest.mark.parametrize(
    ("number", "end", "left"),
    [
        (signal.SIGTERM, "return 0", "p.stopped"),
        (signal.SIGTERM, "raise RuntimeError", "p.pid"),
        (signal.SIGKILL, "return 0", "p.pid"),
    ],
)
def test_only_an_end_that_was_asked_for_and_in_order_turns_the_pid_file_into_a_note(tmp_path, number, end, left):
    process = start(tmp_path, PATIENT.format(end), SERVICE_PID_FILE=str(tmp_path / "p.pid"))
    (tmp_path / "p.pid").write_text(f"{process.pid}\n")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    ended(process)
    assert [path.name for path in tmp_path.glob("p.[ps]*")] == [left]


def test_a_child_does_not_take_its_parents_end_for_its_own(tmp_path):
    process = start(tmp_path, PATIENT.format("return 0"), SERVICE_PID_FILE=str(tmp_path / "p.pid"))
    (tmp_path / "p.pid").write_text("1\n")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    ended(process)
    assert (tmp_path / "p.pid").read_text() == "1\n"


def test_a_signal_is_handled_while_the_event_is_in_use(tmp_path):
    process = start(
        tmp_path,
        """
def main(stop):
    ready()
    while not stop.is_set():
        stop.wait(0.000001)  # the thread almost always holds the event's lock
sys.exit(run_process('p', main))
""",
    )
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert ended(process)[0] == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_a_process_that_hangs_at_once(tmp_path, number, code):
    process = start(
        tmp_path,
        """
def main(stop):
    ready()
    stop.wait()
    print("stopping", flush=True)
    time.sleep(60)
sys.exit(run_process('p', main))
""",
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == "stopping\n"
    began = time.monotonic()
    process.send_signal(number)
    assert ended(process)[0] == code
    assert time.monotonic() - began < 2


def test_a_second_process_is_75_and_a_killed_one_frees_the_place(tmp_path):
    first = start(tmp_path, WAITS)
    assert first.stdout.readline() == "ready\n"
    code, output = ended(start(tmp_path, WAITS))
    assert (code, f"process {first.pid}" in output) == (75, True)
    other = start(tmp_path, WAITS, BOT_ID="other")
    assert other.stdout.readline() == "ready\n"
    other.terminate()
    assert ended(other)[0] == 0
    first.kill()
    ended(first)
    third = start(tmp_path, WAITS)
    assert third.stdout.readline() == "ready\n"
    third.terminate()
    assert ended(third)[0] == 0


def test_a_thread_that_dies_takes_the_process_with_it(tmp_path):
    code, output = ended(
        start(
            tmp_path,
            """
def main(stop):
    threading.Thread(target=lambda: 1 / 0, name="feed").start()
    stop.wait(30)
sys.exit(run_process('p', main))
""",
        )
    )
    assert code == 1
    assert "thread died: name=feed" in output
    assert "ZeroDivisionError" in output


def test_a_thread_that_does_not_end_cannot_keep_the_process_half_alive(tmp_path):
    began = time.monotonic()
    code, output = ended(
        start(
            tmp_path,
            """
import src.runtime.process
src.runtime.process._THREADS_GRACE_S = 0.3
def main(stop):
    threading.Thread(target=time.sleep, args=(60,), name="stuck").start()
sys.exit(run_process('p', main))
""",
        )
    )
    assert (code, "threads did not end: names=stuck" in output) == (0, True)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("program", ["trading_bot", "chart_analysis_bot", "web_dashboard", "watcher", "database"])
def test_a_program_without_arguments_answers_help_and_refuses_anything_else(program):
    command = [sys.executable, *(["-m", "src.monitoring.watchdog"] if program == "watcher" else [f"src/{program}.py"])]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    words = ("--help", "--speed=60")
    asked, refused = (subprocess.Popen([*command, word], cwd=ROOT, text=True, **pipes) for word in words)  # at once
    told, complaint = asked.communicate(timeout=60)
    assert (asked.returncode, complaint) == (0, "")
    assert ".env.example" in told
    told, complaint = refused.communicate(timeout=60)
    assert (refused.returncode, told) == (2, "")
    assert "unrecognized arguments: --speed=60" in complaint
