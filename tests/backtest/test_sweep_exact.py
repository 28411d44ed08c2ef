"""A sweep runs what the kernel does not know on the exact path, and says so."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from src.backtest.config import BreakerPolicy, Setup
from src.backtest.engine import LEAST_WARM_UP, run_backtest
from src.backtest.kernel import KernelTrade
from src.backtest.kernel_inputs import figures_of
from src.backtest.sweep import Sweep
from src.backtest.sweep_exact import exact_path_notice, exact_run, needs_exact_path
from src.backtest.variants import label, parse_grid, variants
from src.domain.clock import MINUTE_MS
from src.domain.errors import SettingsError
from src.market_data.columns import Candles
from src.strategy.q_agent import QLearningAgent
from tests.backtest.past import busy
from tests.candles import random_candles

CANDLES = Candles.of(random_candles(4_000, seed=4))
FIRST = LEAST_WARM_UP + 20
FROM_MS = int(CANDLES.open_ms[FIRST + 1])
SETUP: Setup = replace(busy(take_profit_share=Decimal("0.006")), rules=replace(busy().rules, agent_must_agree=False))


def sweep() -> Sweep:
    return Sweep(
        candles=CANDLES,
        setup=SETUP,
        taught=lambda _rules: QLearningAgent(allow_short=True),
        from_ms=FROM_MS,
        to_ms=int(CANDLES.open_ms[-1]) + 1,
    )


def test_a_variant_with_exits_is_run_by_the_live_trader():
    tried = variants(parse_grid(["trailing_stop_share=0,0.0015", "take_partial=0.002:0.5"]))
    assert len(tried) == 2
    plain = variants(parse_grid(["trailing_stop_share=0"]))
    rows = {row["variant"]: row for row in sweep().run([*tried, *plain]).rows}
    assert len(rows) == 3
    for each in tried:
        setup = replace(SETUP, rules=replace(SETUP.rules, take_partial=((0.002, 0.5),)))
        setup = replace(setup, rules=replace(setup.rules, trailing_stop_share=float(dict(each)["trailing_stop_share"])))
        outcome = run_backtest(
            CANDLES.between(0, int(CANDLES.open_ms[-1]) + 1),
            replace(setup, breaker_policy=BreakerPolicy.OFF),
            QLearningAgent(allow_short=True),
            from_ms=FROM_MS,
        )
        row = rows[label(each)]
        assert row["trades"] == len(outcome.trades) > 5
        assert row["pnl"] == pytest.approx(float(sum(trade.pnl for trade in outcome.trades)))
        assert row["return_share"] == pytest.approx(outcome.equity[-1] / float(outcome.start_equity) - 1)


def test_without_such_exits_both_paths_make_the_same_row():
    deals, daily, held = exact_run(CANDLES, SETUP, QLearningAgent(allow_short=True), FIRST, None)
    row = sweep().run([()]).rows[0]
    assert row["trades"] == len(deals)
    assert row["pnl"] == pytest.approx(deals[:, KernelTrade._fields.index("pnl")].sum())
    assert daily[-1] / daily[0] - 1 == pytest.approx(row["return_share"], abs=1e-7)
    assert len(daily) == len(np.unique(CANDLES.open_ms[FIRST + 1 :] // (1_440 * MINUTE_MS))) + 1
    assert held.fees >= 0


def test_the_sweep_says_how_many_variants_take_the_slow_path():
    tried = variants(parse_grid(["break_even_after_share=0,0.01,0.02"]))
    assert exact_path_notice(SETUP, tried).startswith("2 of 3 variants have exits beside stop and target")
    assert exact_path_notice(SETUP, tried[:1]) == ""


def test_the_kernel_itself_refuses_what_it_does_not_know():
    setup = SETUP.with_rules(replace(SETUP.rules, max_holding_ms=7_200_000))
    assert needs_exact_path(setup) and not needs_exact_path(SETUP)
    with pytest.raises(SettingsError, match="exact path"):
        figures_of(setup)


def test_a_pair_that_is_none_is_refused_in_one_sentence():
    with pytest.raises(SettingsError, match=r"take_partial=0\.03"):
        parse_grid(["take_partial=0.03"])
