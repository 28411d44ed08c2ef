"""The check of a user's strategy: what is wrong is said in one sentence, and only what passed is noted."""

import json

import pytest

from src.backtest.__main__ import main
from src.backtest.strategy_check import check_strategy
from src.backtest.strategy_lint import findings
from src.domain.errors import StrategyFailed
from src.runtime.strategy_loader import STRATEGIES, check_missing, read_strategy_file, strategy_names
from tests.strategy_files import BAD, text, written

SLOW = {name for name in BAD if name.startswith("hangs")}


@pytest.mark.parametrize("name", [name for name in BAD if name not in SLOW])
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, name):
    source, said = BAD[name]
    written(tmp_path, source)
    with pytest.raises(StrategyFailed) as refused:
        check_strategy(read_strategy_file("own", tmp_path))
    sentence = str(refused.value)
    assert said in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


@pytest.mark.parametrize("name", sorted(SLOW))
def test_a_file_that_hangs_is_ended_and_named(tmp_path, name):
    source, said = BAD[name]
    written(tmp_path, source)
    with pytest.raises(StrategyFailed, match=said):
        check_strategy(read_strategy_file("own", tmp_path), limit_s=2.0)


@pytest.mark.parametrize("name", strategy_names(STRATEGIES))
def test_every_strategy_that_is_shipped_passes_and_wants_something(name):
    facts = check_strategy(read_strategy_file(name))
    assert 0.05 < facts["invested"] < 0.95
    assert facts["decisions"] == 96


def test_the_example_is_short():
    assert len((STRATEGIES / "my_strategy.py").read_text().splitlines()) < 60


def test_the_command_notes_the_very_bytes_that_passed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    path = written(tmp_path / "own", text())
    assert "has not passed its check" in check_missing(tmp_path / "state", read_strategy_file("own", path.parent))
    assert main(["check", "own", "--strategies", str(path.parent)]) == 0
    assert "own.py passed" in capsys.readouterr().out
    assert check_missing(tmp_path / "state", read_strategy_file("own", path.parent)) == ""
    path.write_text(path.read_text() + "\n# another byte\n")
    assert "was changed after its check" in check_missing(tmp_path / "state", read_strategy_file("own", path.parent))


def test_what_does_not_pass_is_not_noted(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    path = written(tmp_path / "own", BAD["NaN"][0])
    assert main(["check", "own", "--strategies", str(path.parent)]) == 65
    assert capsys.readouterr().err == "own.py: the target of BTCUSDT is nan, which is no number.\n"
    assert not (tmp_path / "state").exists()


def test_a_damaged_note_is_none(tmp_path):
    path = written(tmp_path / "own", text())
    (tmp_path / "strategy_checks.json").write_text("{")
    assert "has not passed" in check_missing(tmp_path, read_strategy_file("own", path.parent))
    (tmp_path / "strategy_checks.json").write_text(json.dumps([1]))
    assert "has not passed" in check_missing(tmp_path, read_strategy_file("own", path.parent))


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path, capsys):
    written(tmp_path, text())
    assert main(["check", "nothing", "--strategies", str(tmp_path)]) == 65
    assert "known are own" in capsys.readouterr().err


@pytest.mark.parametrize("call", ["x.shift(1)", "x.rolling(5).mean()", "x.diff()", "x.fillna(0)", "time.sleep(1)"])
def test_what_looks_back_is_no_finding(call):
    assert findings(f"y = {call}\n") == []
