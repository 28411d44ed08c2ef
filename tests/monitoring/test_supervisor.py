"""What died is started again, with longer and longer rests; what a person stopped is left alone."""

import itertools
import os
import subprocess
from pathlib import Path

import pytest

from src.monitoring.health import ServiceHealth, recorded_process
from src.monitoring.supervisor import GOOD_AFTER_S, HANGS_AFTER_S, LONGEST_REST_S, Supervisor, script_manager


def began(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


class Script:
    """A start script that has ended with ``code``; None while it runs."""

    def __init__(self, code):
        self.code, self.killed = code, False

    def poll(self):
        return self.code

    def kill(self):
        self.killed = True


class Supervised:
    """A folder with one service's PID file, and what the supervisor did to the service."""

    def __init__(self, folder):
        self.folder, self.calls, self.exit_code, self.healthy, self.scripts = folder, [], 0, True, []
        self.supervisor = Supervisor(
            ("rl_bot",), folder, self.manage, lambda name, pid: ServiceHealth(self.healthy, "beat")
        )
        self.pid_file = folder / "rl_bot.pid"

    def manage(self, name, verb):
        self.calls.append(verb)
        if verb == "start":
            if self.exit_code == 0:
                self.runs()
            else:
                self.pid_file.unlink(missing_ok=True)  # as the script does when a start fails
        self.scripts.append(Script(self.exit_code))
        return self.scripts[-1]

    def runs(self):
        self.pid_file.write_text(f"{os.getpid()} {began(os.getpid())}\n")

    def dies(self):
        self.pid_file.write_text(f"{os.getpid()} 12345\n")

    def check(self, *instants_s):
        for now_s in instants_s:
            self.supervisor.check(now_s)
        return self.calls


@pytest.fixture
def scene(tmp_path):
    return Supervised(tmp_path)


def test_a_service_that_runs_or_was_stopped_is_left_alone(scene):
    assert scene.check(0, 5, 10) == []
    scene.runs()
    assert scene.check(15, 20) == []


def test_the_dead_are_started_again_once_they_were_seen_dead_twice(scene):
    scene.dies()
    assert scene.check(0) == []
    assert scene.check(5) == ["start"]
    assert scene.check(10, 15) == ["start"]


def test_a_number_used_again_by_another_process_counts_as_dead(scene):
    scene.dies()
    assert recorded_process(scene.pid_file) == (os.getpid(), False)
    scene.pid_file.write_text("no number")
    assert recorded_process(scene.pid_file) == (0, False)
    scene.runs()
    assert recorded_process(scene.pid_file) == (os.getpid(), True)


def test_a_start_that_fails_is_tried_again_with_doubling_rests(scene):
    scene.exit_code = 1
    scene.dies()
    instants = []
    for now_s in range(2_000):
        before = len(scene.calls)
        scene.check(now_s)
        if len(scene.calls) > before:
            instants.append(now_s)
    rests = [after - before for before, after in itertools.pairwise(instants)]
    seen_after = 1  # the check that finds the script finished starts the pause
    assert rests[:7] == [each + seen_after for each in (2, 4, 8, 16, 32, 64, 128)]
    assert max(rests) == LONGEST_REST_S + seen_after


def test_a_manual_stop_ends_the_restarts(scene):
    scene.exit_code = 1
    scene.dies()
    scene.check(0, 1)
    assert (scene.folder / "rl_bot.wanted").exists()
    (scene.folder / "rl_bot.wanted").unlink()  # as `stop` does
    assert scene.check(10, 20, 30, 400) == ["start"]


def test_one_that_hangs_is_stopped_and_started_after_three_minutes(scene):
    scene.runs()
    scene.healthy = False
    assert scene.check(0, HANGS_AFTER_S - 1) == []
    assert scene.check(HANGS_AFTER_S) == ["stop"]
    assert scene.check(HANGS_AFTER_S + 5) == ["stop", "start"]
    scene.healthy = True
    scene.check(HANGS_AFTER_S + 10)
    assert not (scene.folder / "rl_bot.wanted").exists()


def test_three_restarts_in_ten_minutes_cause_an_alert_that_ends_later(scene):
    for now_s in (0, 100, 200):
        scene.dies()
        scene.check(now_s, now_s + 5, now_s + 10, now_s + 15)
    assert [name for name, _ in scene.supervisor.troubled(215)] == ["rl_bot"]
    assert scene.supervisor.troubled(215 + GOOD_AFTER_S) == []


def test_scripts_are_not_waited_for_and_one_that_hangs_is_killed(scene):
    scene.exit_code = None
    scene.dies()
    assert scene.check(0, 5, 10, 200) == ["start"]
    assert not scene.scripts[0].killed
    scene.exit_code = 0
    assert scene.check(245) == ["start"]
    assert scene.scripts[0].killed
    assert scene.check(250) == ["start", "start"]


def test_a_bot_waits_while_its_exchange_is_being_started(tmp_path):
    started = []

    def manage(name, verb):
        started.append((name, Script(None)))
        return started[-1][1]

    names = ("paper_exchange", "rl_bot", "web_dashboard")
    supervisor = Supervisor(names, tmp_path, manage, lambda *_: ServiceHealth(True, ""), {"rl_bot": "paper_exchange"})
    for name in names:
        (tmp_path / f"{name}.pid").write_text(f"{os.getpid()} 12345\n")
    for now_s in (0, 5, 10):
        supervisor.check(now_s)
    assert [name for name, _ in started] == ["paper_exchange", "web_dashboard"]
    started[0][1].code = 0
    (tmp_path / "paper_exchange.pid").write_text(f"{os.getpid()} {began(os.getpid())}\n")
    supervisor.check(15)
    assert [name for name, _ in started] == ["paper_exchange", "web_dashboard", "rl_bot"]


def test_the_real_scripts_are_begun_with_their_verb(tmp_path):
    script = tmp_path / "start_rl_bot.sh"
    script.write_text(f'#!/bin/sh\necho "$1" >"{tmp_path}/said"\nexit 3\n')
    script.chmod(0o700)
    request = script_manager(tmp_path)("rl_bot", "start")
    assert isinstance(request, subprocess.Popen)
    assert request.wait(10) == 3
    assert (tmp_path / "said").read_text() == "start\n"
    assert script_manager(tmp_path)("chart_bot", "start") is None


def test_a_service_stopped_by_a_signal_stays_stopped_and_is_logged_once(scene, caplog):
    (scene.folder / "rl_bot.stopped").write_text(f"{os.getpid()}\n")
    (scene.folder / "rl_bot.wanted").touch()
    assert scene.check(0, 5, 10) == []
    assert caplog.text.count("left stopped: name=rl_bot start_again=./scripts/start_rl_bot.sh start") == 1
    assert list(scene.folder.iterdir()) == []


def test_the_pid_file_has_only_the_pid_and_the_start_time_is_in_another_file(scene):
    scene.pid_file.write_text(f"{os.getpid()}\n")
    assert recorded_process(scene.pid_file) == (os.getpid(), False)
    scene.pid_file.with_suffix(".start").write_text(f"{began(os.getpid())}\n")
    assert recorded_process(scene.pid_file) == (os.getpid(), True)
    scene.pid_file.with_suffix(".start").write_text("12345\n")
    assert recorded_process(scene.pid_file) == (os.getpid(), False)
