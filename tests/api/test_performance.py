"""The figures of performance are those of an independent calculation, and do not depend on how fills fell."""

import math
import statistics
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import text

from tests.api.made import Made
from tests.api.rows import OWNER


def independent_ratios(equity: list[float]) -> tuple[float, float]:
    """Return Sharpe and Sortino of daily equity, written down anew from their definitions."""
    returns = [after / before - 1 for before, after in pairwise(equity)]
    mean = statistics.fmean(returns)
    downside = math.sqrt(statistics.fmean(min(each, 0) ** 2 for each in returns))
    return mean / statistics.stdev(returns) * math.sqrt(365), mean / downside * math.sqrt(365)


def write_days(api: Made, days: int) -> list[float]:
    """Replace the account's days by some that wander, and return their equities from the first start on."""
    api.writer.write(lambda connection: connection.exec_driver_sql("DELETE FROM daily_performance WHERE symbol = '*'"))
    equity = [10_000.0]
    for number in range(days):
        equity.append(round(equity[-1] * (1 + 0.013 * math.sin(number * 1.7) + 0.001), 8))
        day = (date(2026, 10, 1) + timedelta(days=number)).isoformat()
        row = OWNER.columns("*") | {
            "timestamp": f"{day}T23:59:00.000Z",
            "day": day,
            "start_balance": equity[-2],
            "end_equity": equity[-1],
            "high_equity": max(equity),
            "low_equity": min(equity[-2:]),
            "drawdown_share": 1 - equity[-1] / max(equity),
        }
        statement = text(f"INSERT INTO daily_performance ({', '.join(row)}) VALUES ({', '.join(f':{n}' for n in row)})")
        api.writer.write(lambda connection, statement=statement, row=row: connection.execute(statement, row))
    return equity


def test_figures_of_trades_equal_an_independent_calculation(api: Made) -> None:
    told = api.data("/trades/performance")
    results = [row["pnl"] for row in api.all_rows("/trades?limit=1000&status=closed")]
    wins, losses = [each for each in results if each > 0], [each for each in results if each < 0]
    assert (told["trades"], told["wins"], told["losses"]) == (len(results), len(wins), len(losses))
    wanted = {
        "net_pnl": math.fsum(results),
        "win_rate": len(wins) / len(results),
        "profit_factor": math.fsum(wins) / -math.fsum(losses),
        "average_win": statistics.fmean(wins),
        "average_loss": statistics.fmean(losses),
        "expectancy": statistics.fmean(results),
        "fees": 2.0 * len(results),
    }
    for name, value in wanted.items():
        assert told[name] == pytest.approx(value, rel=1e-9, abs=1e-8), name


def test_ratios_equal_an_independent_calculation_and_say_what_they_rest_on(api: Made) -> None:
    equity = write_days(api, 50)
    told = api.data("/trades/performance")
    sharpe, sortino = independent_ratios(equity)
    assert told["sharpe"]["value"] == pytest.approx(sharpe, rel=1e-9)
    assert told["sortino"]["value"] == pytest.approx(sortino, rel=1e-9)
    for name in ("sharpe", "sortino"):
        ratio: dict[str, Any] = told[name]
        assert (ratio["n"], ratio["basis"], ratio["annualisation"]) == (50, "daily_equity", 365)
        assert ratio["ci95"][0] < ratio["value"] < ratio["ci95"][1]
    highest = [max(equity[: number + 1]) for number in range(len(equity))]
    worst = max(1 - value / high for value, high in zip(equity, highest, strict=True))
    assert told["max_drawdown_share"] == pytest.approx(worst, rel=1e-9)


def test_too_few_days_give_no_ratio_and_no_losses_no_factor(api: Made) -> None:
    write_days(api, 20)
    told = api.data("/trades/performance")
    assert (told["sharpe"]["value"], told["sharpe"]["ci95"], told["sharpe"]["n"]) == (None, None, 20)
    assert "at least 30" in told["sharpe"]["reason"]
    api.writer.write(lambda connection: connection.exec_driver_sql("UPDATE daily_performance SET losses = 0, lost = 0"))
    assert api.data("/trades/performance")["profit_factor"] is None


def test_more_trades_on_the_same_equity_do_not_move_the_ratios(api: Made) -> None:
    write_days(api, 50)
    before = api.data("/trades/performance")
    for number in range(1, 30):
        api.add_trade(number, pnl=Decimal("0.5"))
    after = api.data("/trades/performance")
    assert after["sharpe"] == before["sharpe"]
    assert after["sortino"] == before["sortino"]
