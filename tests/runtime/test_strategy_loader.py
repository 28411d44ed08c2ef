"""Loading a user's strategy: the bytes that were hashed are the ones that run, and figures can be changed."""

import pickle

import pytest

from src.backtest.strategy_probe import made_market
from src.domain.errors import StrategyFailed
from src.runtime.strategy_loader import STRATEGIES, load_strategy, read_strategy_file, strategy_names
from tests.strategy_files import text, written

SEEN = made_market(("BTCUSDT", "ETHUSDT"), "1h", 80).lists(70)


def loaded(folder, source=None):
    written(folder, source or text())
    return load_strategy(read_strategy_file("own", folder))


def test_the_shipped_ones_are_found_by_name():
    assert strategy_names(STRATEGIES) == ("breakout", "funding_carry", "mean_reversion", "my_strategy")


def test_what_was_read_is_what_runs(tmp_path):
    written(tmp_path, text("weight = 0.1"))
    file = read_strategy_file("own", tmp_path)
    written(tmp_path, text("weight = 0.2"))
    assert [each.weight for each in load_strategy(file).targets(SEEN)] == [0.1, 0.1]
    assert not list(tmp_path.glob("__pycache__"))


def test_figures_are_changed_by_name_and_a_class_may_refuse_them(tmp_path):
    strategy = loaded(tmp_path)
    assert dict(strategy.figures) == {"share": 0.3, "days": 2}
    larger = strategy.with_figures({"share": 0.5})
    assert dict(larger.figures) == {"share": 0.5, "days": 2}
    assert {each.weight for each in larger.targets(SEEN)} <= {0.0, 0.5}
    with pytest.raises(StrategyFailed, match=r"own\.py: TypeError: .*unexpected keyword argument 'size'"):
        strategy.with_figures({"size": 1})


def test_another_process_gets_the_same_strategy(tmp_path):
    strategy = loaded(tmp_path).with_figures({"share": 0.4})
    again = pickle.loads(pickle.dumps(strategy))
    assert again.figures == strategy.figures
    assert again.targets(SEEN) == strategy.targets(SEEN)


def test_two_loads_share_nothing(tmp_path):
    source = text("SEEN.append(1)\nweight = 0.01 * len(SEEN)", "SEEN = []")
    first, second = loaded(tmp_path, source), loaded(tmp_path, source)
    first.targets(SEEN)
    assert [each.weight for each in second.targets(SEEN)] == [0.01, 0.02]


def test_numbers_of_numpy_become_plain_floats(tmp_path):
    strategy = loaded(tmp_path, text("weight = np.float64(0.25)", "import numpy as np"))
    assert all(type(each.weight) is float for each in strategy.targets(SEEN))


def test_a_missing_file_and_a_folder_without_any(tmp_path):
    with pytest.raises(StrategyFailed, match="There is no strategy 'own'"):
        read_strategy_file("own", tmp_path)
    with pytest.raises(StrategyFailed, match="known are none"):
        read_strategy_file("../own", tmp_path)
