"""The soak's own tools: the invariant checker finds violations, the meter finds growth, the page is written."""

import json
from typing import Any

import pytest

from tests.suite.soak_invariants import DAY_MS, EXTERNAL_POSITION, GRACE_S, SETTLED_MS, InvariantChecker
from tests.suite.soak_meter import Meter, Sample
from tests.suite.soak_page import BEGIN, END, PAGE, written

NO_STRAIN = {"weight_1m": 0, "orders_10s": 0, "orders_1m": 0, "exceeded": 0, "banned": 0}


def state(
    *, held: str = "0", stop: bool = True, wallet: str = "10000", paid: str = "0", now_ms: int = 0, **strain: int
) -> dict[str, Any]:
    """The exchange as its control port shows it."""
    position = {"symbol": "BTCUSDT", "positionAmt": held, "unRealizedProfit": "0", "notional": "500"}
    return {
        "clock": {"now_ms": now_ms},
        "limits": NO_STRAIN | strain,
        "accounts": {
            "key": {
                "transferred": paid,
                "balances": [{"asset": "USDT", "balance": wallet}],
                "positions": [position],
                "algo_orders": [{"symbol": "BTCUSDT", "orderType": "STOP_MARKET"}] if stop else [],
            }
        },
    }


def fair_checker(loss_limit: float = 0.0) -> InvariantChecker:
    checker = InvariantChecker(loss_limit)
    checker.obstruction = ""
    checker.look(state(), 0.0)
    return checker


def test_a_position_without_a_stop_is_timed_from_the_first_check_to_the_last():
    checker = fair_checker()
    for now_s in (10.0, 10.4, 11.5):
        checker.look(state(held="0.01", stop=False), now_s)
    checker.look(state(held="0.01"), 12.0)
    checker.look(state(held="0.01", stop=False), 20.0)
    assert checker.seen.longest_fair_s == pytest.approx(1.5)
    assert (checker.seen.positions, checker.seen.looks) == (1, 6)


def test_time_without_a_stop_during_a_fault_is_counted_apart_and_normal_counting_resumes_after_a_grace_period():
    checker = fair_checker()
    checker.obstruction = "bot: kill -9"
    checker.look(state(held="0.01", stop=False), 10.0)
    checker.look(state(held="0.01", stop=False), 14.0)
    checker.obstruction = ""
    checker.look(state(held="0.01", stop=False), 15.0)
    checker.look(state(held="0.01", stop=False), 15.0 + GRACE_S + 0.2)
    assert checker.seen.longest_obstructed_s == {"bot: kill -9": 4.0}
    assert checker.seen.longest_fair_s == pytest.approx(0.2)


def test_an_exchange_that_does_not_answer_is_an_obstruction():
    checker = fair_checker()
    checker.look(None, 10.0)
    assert checker.seen.looks == 1
    checker.look(state(held="0.01", stop=False), 10.1)
    assert checker.seen.longest_fair_s == 0.0


def test_money_paid_in_or_out_is_neither_gain_nor_loss_of_the_day():
    checker = fair_checker(0.05)
    checker.look(state(wallet="9000", paid="-1000", now_ms=1_000), 1.0)
    assert checker.seen.days_over_limit == 0
    checker.look(state(wallet="10400", paid="1000", now_ms=2_000), 2.0)  # 600 lost of 11,000
    assert checker.seen.days_over_limit == 1


def test_an_entry_after_the_days_loss_limit_is_seen_and_the_next_day_is_free():
    checker = fair_checker(0.05)
    checker.look(state(wallet="9400", now_ms=1_000), 1.0)
    checker.look(state(wallet="9400", now_ms=SETTLED_MS, held="0.01"), 2.0)
    assert (checker.seen.days_over_limit, checker.seen.entries_over_limit) == (1, 0)
    checker.look(state(wallet="9400", now_ms=SETTLED_MS + 2_000), 3.0)
    checker.look(state(wallet="9400", now_ms=SETTLED_MS + 3_000, held="0.01"), 4.0)
    assert checker.seen.entries_over_limit == 1
    checker.look(state(wallet="9400", now_ms=DAY_MS), 5.0)
    checker.look(state(wallet="9400", now_ms=DAY_MS + SETTLED_MS * 2, held="0.01"), 6.0)
    assert (checker.seen.days, checker.seen.entries_over_limit) == (2, 1)


def test_an_external_entry_is_not_counted_as_the_bots():
    checker = fair_checker(0.05)
    checker.look(state(wallet="9400", now_ms=1_000), 1.0)
    checker.obstruction = EXTERNAL_POSITION
    checker.look(state(wallet="9400", now_ms=SETTLED_MS + 2_000, held="0.01"), 2.0)
    assert (checker.seen.days_over_limit, checker.seen.entries_over_limit) == (1, 0)


def test_refusals_are_summed_over_a_restart_of_the_exchange():
    checker = fair_checker()
    for exceeded, banned in ((1, 0), (1, 2), (0, 1), (2, 1)):
        checker.look(state(exceeded=exceeded, banned=banned, weight_1m=10 * banned), 1.0)
    assert (checker.seen.limits_exceeded, checker.seen.asked_while_banned) == (3, 3)
    assert checker.seen.most_weight_1m == 20


def test_the_meter_reports_a_leak_from_the_longest_run():
    meter = Meter(dict)
    young = [Sample(at, 1, at, 900.0, 0.0, 99) for at in range(0, 30, 5)]
    leaking = [Sample(at, 2, at - 30.0, 100.0 + at / 36.0, 50.0, 20) for at in range(60, 3_660, 60)]
    meter.samples = {"bot": young + leaking}
    told = meter.summary(0.0)["bot"]
    assert told["rss_mb_per_hour"] == pytest.approx(100.0, abs=0.1)
    assert told["handles_per_hour"] == 0.0
    assert told["rss_mb_most"] == 900.0
    assert meter.summary(3_500.0) == {}


def test_the_page_has_the_marks_between_which_the_counts_are_written():
    page = PAGE.read_text(encoding="utf-8")
    assert page.count(BEGIN) == page.count(END) == 1
    with pytest.raises(ValueError, match="has no"):
        written("nothing", {})


def test_the_counts_replace_what_stood_between_the_marks(tmp_path):
    from dataclasses import asdict

    from tests.suite.soak_invariants import Seen

    use = {"life_min": 30.0, "rss_mb_early": 90.0, "rss_mb_late": 91.0, "rss_mb_most": 99.0, "pss_mb_late": 70.0}
    use |= {"rss_mb_per_hour": 0.5, "handles_early": 24, "handles_late": 24, "handles_most": 26}
    told = {
        "speed": 480.0, "market_days": 20.0, "wall_s": 3600, "commit": "abc", "load": [1.0, 1.0, 1.0], "turns": 9,
        "turns_of_minutes": 0.9, "orders": 3, "trades": 1, "exits": {"signal_sell": 1}, "faults": 2,
        "kinds": {"ban": 2}, "recovered_s": {"median": 1.0, "slowest": {"ban": 2.0}},
        "checks": {"S3: wallet equals journal": 4, "S2: no order twice": 5}, "invariants": asdict(Seen()),
        "breaker": {"tripped": {"hand": 1}, "entries_while_tripped": 0}, "stops": {"count": 1, "slowest_s": 1.0},
        "requests_per_market_hour": {"median": 30, "hours": 2}, "use": {"trading_bot": use},
        "violations": ["S3: wallet and journal differ by 1"],
    }  # fmt: skip
    page = written(f"above\n{BEGIN}\nold\n{END}\nbelow\n", json.loads(json.dumps(told)))
    assert page.startswith("above\n")
    assert page.endswith("\nbelow\n")
    assert "old" not in page
    assert "| violations | 1; S3: wallet and journal differ by 1 |" in page
    assert "| S3 wallet and journal compared to the last digit: equal; unexplained difference | 4; 1 |" in page
    assert "| trading_bot | 30 min | 90, 91, 99 MB | 70 MB | +0.5 MB | 24, 24, 26 |" in page
