"""The script that switches modes: what it writes, what it says, and how it refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import configure_costs

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def env(tmp_path, monkeypatch):
    path = tmp_path / ".env"
    shutil.copy(ROOT / ".env.example", path)
    monkeypatch.setenv("TRADING_PAIR", "BTCUSDT")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/none.db")
    for name in ("USE_LOCAL_SENTIMENT", "CHART_ANALYST", "OPENAI_API_KEY", "OPENAI_MODEL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return path


def run(env, *arguments):
    return configure_costs.main([*arguments, "--env-file", str(env)])


def test_a_round_trip_leaves_every_byte_as_it_was(env):
    before = env.read_bytes()
    assert run(env, "premium") == 0
    changed = env.read_bytes()
    assert changed == before.replace(b"USE_LOCAL_SENTIMENT=true", b"USE_LOCAL_SENTIMENT=false")
    assert changed != before
    assert (env.parent / ".env.bak").read_bytes() == before
    assert run(env, "cost-saving") == 0
    assert env.read_bytes() == before


def test_free_writes_both_lines(env):
    assert run(env, "free") == 0
    assert b"\nCHART_ANALYST=local\n" in env.read_bytes()


def test_asking_twice_writes_once(env, capsys):
    run(env, "premium")
    (env.parent / ".env.bak").unlink()
    capsys.readouterr()
    assert run(env, "premium") == 0
    assert "Already premium" in capsys.readouterr().out
    assert not (env.parent / ".env.bak").exists()


def test_a_dry_run_shows_and_writes_nothing(env, capsys):
    before = env.read_bytes()
    assert run(env, "premium", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "USE_LOCAL_SENTIMENT: true -> false" in said
    assert "nothing was written" in said
    assert env.read_bytes() == before


def test_no_argument_is_status_with_the_source_of_each_setting(env, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_MODEL", "gpt-4o")
    assert run(env) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Mode: cost-saving"
    assert any(line.split() == ["OPENAI_MODEL", "gpt-4o", "environment"] for line in lines)
    assert any(line.split() == ["USE_LOCAL_SENTIMENT", "true", ".env"] for line in lines)


def test_compare_shows_all_modes_and_what_is_saved(env, capsys):
    assert run(env, "compare") == 0
    said = capsys.readouterr().out
    assert "premium" in said
    assert "1.00" in said
    assert "cost-saving saves $0.06 a month (6%) against premium" in said


def test_json_goes_to_programs_and_nothing_else_to_stdout(env, capsys):
    run(env, "status", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["mode"] == "cost-saving"
    assert told["modes"]["premium"]["total_usd"] == "1.00"
    run(env, "premium", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["mode"], told["written"]) == ("premium", True)
    assert told["changes"] == [{"name": "USE_LOCAL_SENTIMENT", "old": "true", "new": "false"}]


def test_what_keeps_a_mode_from_working_is_said(env, capsys, monkeypatch):
    monkeypatch.setenv("USE_LOCAL_SENTIMENT", "true")
    monkeypatch.setenv("OPENAI_MODEL", "gpt-4o")
    assert run(env, "premium") == 0
    warned = capsys.readouterr().err
    assert "OPENAI_API_KEY is empty" in warned
    assert "wins over .env" in warned
    assert "gpt-4o ends on 2027-01-14" in warned


def test_a_missing_file_is_one_sentence_and_78(tmp_path, capsys):
    assert configure_costs.main(["premium", "--env-file", str(tmp_path / "none")]) == 78
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_a_read_only_file_is_one_sentence_and_73(env, capsys):
    env.chmod(0o400)
    assert run(env, "premium") == 73
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_wrong_settings_are_said_and_78(env, capsys):
    env.write_bytes(env.read_bytes().replace(b"\nLEVERAGE=\n", b"\nLEVERAGE=1000\n"))
    assert run(env, "status") == 78
    assert "LEVERAGE" in capsys.readouterr().err


def test_an_unknown_command_is_2(env, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(env, "cheap")
    assert stopped.value.code == 2
    assert "cost-saving" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize("python", [sys.executable, "/usr/bin/python3"])
def test_it_runs_from_any_folder_with_any_python_and_without_colour_in_a_pipe(env, tmp_path, python):
    if not Path(python).exists() or not (ROOT / ".venv").exists():
        pytest.skip(f"needs {python} and the project's own .venv")
    command = [python, str(ROOT / "configure_costs.py"), "compare", "--env-file", str(env)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env={**os.environ, "NO_COLOR": "1"}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout


def test_a_server_of_one_s_own_bills_nothing_and_a_model_it_cannot_have_is_named(env, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1")
    assert run(env, "--json") == 0
    month = json.loads(capsys.readouterr().out)["modes"]["premium"]
    assert month["total_usd"] == "0.00" and month["lines"][0]["basis"] == "your own server"
    assert run(env) == 0
    said = capsys.readouterr().out
    assert "OPENAI_MODEL=gpt-6-luna is a model of OpenAI's, and OPENAI_BASE_URL is a server of your own" in said
    monkeypatch.setenv("OPENAI_MODEL", "qwen3:8b")
    assert run(env) == 0
    assert "server of your own: name" not in capsys.readouterr().out


@pytest.mark.parametrize("call", ["/v1/chat/completions", "/v1/chat/completions/", "/v1/models", "/api/chat"])
def test_the_address_of_one_call_is_refused_with_the_base_address(env, capsys, monkeypatch, call):
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:11434{call}")
    assert run(env) == 78
    said = capsys.readouterr().err
    assert "the address of one call: write http://127.0.0.1:11434" in said and said.count("\n") == 1
