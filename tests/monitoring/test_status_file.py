"""The sheet tells of each service that runs, and of none that does not, as long as somebody wants to know."""

import os
import subprocess
import sys
import threading

import pytest

from src.monitoring import status_file
from src.monitoring.health import ServiceHealth, begun, health_within
from src.runtime.settings import PROJECT_ROOT, Settings

ME = os.getpid()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "rl_bot.pid").write_text(f"{ME} {begun(ME)}\n")
    (tmp_path / "mcp_server.pid").write_text(f"{ME} 12345\n")  # the number is another's by now
    return tmp_path


@pytest.fixture
def settings(tmp_path):
    (tmp_path / ".env").write_text(f"DATABASE_URL=sqlite:///{tmp_path}/bot.db\n")
    return Settings.load(tmp_path / ".env")


def answer(monkeypatch, *healths):
    """Let the services be as ``healths`` say, question after question; return the list of what was asked."""
    asked, left = [], list(healths)

    def service_health(_settings, name, pid=None):
        asked.append((name, pid))
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(status_file, "service_health", service_health)
    monkeypatch.setattr("src.monitoring.health.service_health", service_health)
    return asked


def test_only_what_really_runs_is_on_it(folder):
    assert status_file.running_services(folder) == [("rl_bot", ME)]


def test_a_line_says_who_how_and_why_and_stays_one_line():
    healths = {
        ("rl_bot", 7): ServiceHealth(True, "heartbeat 1 s ago"),
        ("chart_bot", 8): ServiceHealth(False, "two\nlines"),
    }
    assert (
        status_file.sheet("paper", healths)
        == "mode paper\nrl_bot 7 healthy heartbeat 1 s ago\nchart_bot 8 unhealthy two lines\n"
    )


def test_it_is_rewritten_until_all_are_healthy_and_then_not_checked_again(folder, settings, monkeypatch):
    asked = answer(monkeypatch, ServiceHealth(False, "no heartbeat yet"), ServiceHealth(True, "beats"))
    texts = []
    turns = iter([ME, ME, ME, ME, 0])  # the parent process is gone at the fifth check
    monkeypatch.setattr(os, "getppid", lambda: next(turns))
    monkeypatch.setattr(status_file, "_EVERY_MS", 0.0)
    monkeypatch.setattr(status_file, "replaced", lambda _file, text: texts.append(text) or text)
    status_file.keep(settings, folder, folder / "sheet")
    assert texts == [
        "mode paper\n",
        f"mode paper\nrl_bot {ME} unhealthy no heartbeat yet\n",
        f"mode paper\nrl_bot {ME} healthy beats\n",
    ]
    assert asked == [("rl_bot", ME)] * 2


def test_a_start_is_waited_for_until_it_is_well_gone_or_late(settings, monkeypatch):
    asked = answer(
        monkeypatch, ServiceHealth(False, "not yet"), ServiceHealth(False, "not yet"), ServiceHealth(True, "beats")
    )
    monkeypatch.setattr("src.monitoring.health._ASK_AGAIN_MS", 0.0)
    assert health_within(settings, "rl_bot", ME, 60.0).healthy
    assert len(asked) == 3
    answer(monkeypatch, ServiceHealth(False, "never"))
    assert not health_within(settings, "rl_bot", ME, 0.0).healthy
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    assert not health_within(settings, "rl_bot", int(gone.stdout), 60.0).healthy


def test_it_ends_with_its_parent_process(tmp_path):
    """A shell that starts it and dies leaves nothing behind."""
    sheet = tmp_path / "sheet"
    words = (
        f'"{sys.executable}" -m src.monitoring.status_file "{sheet}" & echo $!; '
        f'until [ -s "{sheet}" ]; do sleep 0.05; done'
    )
    shell = subprocess.run(
        ["bash", "-c", words],
        cwd=PROJECT_ROOT,
        env=os.environ | {"TRADING_MODE": "paper"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    holder_pid = int(shell.stdout)
    for _ in range(400):
        if begun(holder_pid) is None:
            break
        threading.Event().wait(0.05)
    assert begun(holder_pid) is None
    assert sheet.read_text().startswith("mode paper")


def test_wrong_settings_are_reported_before_a_start(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRADING_MODE", "paper")
    monkeypatch.setenv("ALERT_URLS", "nonsense")
    assert status_file.main([str(tmp_path / "sheet")]) == 78
    assert "ALERT_URLS" in capsys.readouterr().err
    assert not (tmp_path / "sheet").exists()
    monkeypatch.setattr(status_file, "running_services", lambda _folder: [])
    assert status_file.main([]) == 0  # showing the status needs no Apprise
    assert capsys.readouterr().out == "mode paper\n"
