"""What the soak's own judges promise: a witness that sees what must not be, a meter that sees growth, a whole page."""

import json
from typing import Any

import pytest

from tests.suite.soak_meter import Meter, Sample
from tests.suite.soak_page import BEGIN, END, PAGE, written
from tests.suite.soak_witness import DAY_MS, GRACE_S, SETTLED_MS, STRANGER, Witness

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


def fair_witness(loss_limit: float = 0.0) -> Witness:
    snapshot_writer = Witness(loss_limit)
    snapshot_writer.obstruction = ""
    snapshot_writer.look(state(), 0.0)
    return snapshot_writer


def test_a_position_without_a_stop_is_timed_from_the_first_look_to_the_last():
    snapshot_writer = fair_witness()
    for now_s in (10.0, 10.4, 11.5):
        snapshot_writer.look(state(held="0.01", stop=False), now_s)
    snapshot_writer.look(state(held="0.01"), 12.0)
    snapshot_writer.look(state(held="0.01", stop=False), 20.0)
    assert snapshot_writer.seen.longest_fair_s == pytest.approx(1.5)
    assert (snapshot_writer.seen.positions, snapshot_writer.seen.looks) == (1, 6)


def test_what_nobody_could_help_is_told_apart_and_fair_weather_counts_after_a_grace():
    snapshot_writer = fair_witness()
    snapshot_writer.obstruction = "bot: kill -9"
    snapshot_writer.look(state(held="0.01", stop=False), 10.0)
    snapshot_writer.look(state(held="0.01", stop=False), 14.0)
    snapshot_writer.obstruction = ""
    snapshot_writer.look(state(held="0.01", stop=False), 15.0)
    snapshot_writer.look(state(held="0.01", stop=False), 15.0 + GRACE_S + 0.2)
    assert snapshot_writer.seen.longest_obstructed_s == {"bot: kill -9": 4.0}
    assert snapshot_writer.seen.longest_fair_s == pytest.approx(0.2)


def test_an_exchange_that_does_not_answer_is_an_obstruction():
    snapshot_writer = fair_witness()
    snapshot_writer.look(None, 10.0)
    assert snapshot_writer.seen.looks == 1
    snapshot_writer.look(state(held="0.01", stop=False), 10.1)
    assert snapshot_writer.seen.longest_fair_s == 0.0


def test_money_paid_in_or_out_is_neither_gain_nor_loss_of_the_day():
    snapshot_writer = fair_witness(0.05)
    snapshot_writer.look(state(wallet="9000", paid="-1000", now_ms=1_000), 1.0)
    assert snapshot_writer.seen.days_over_limit == 0
    snapshot_writer.look(state(wallet="10400", paid="1000", now_ms=2_000), 2.0)  # 600 lost of 11,000
    assert snapshot_writer.seen.days_over_limit == 1


def test_an_entry_after_the_days_loss_limit_is_seen_and_the_next_day_is_free():
    snapshot_writer = fair_witness(0.05)
    snapshot_writer.look(state(wallet="9400", now_ms=1_000), 1.0)
    snapshot_writer.look(state(wallet="9400", now_ms=SETTLED_MS, held="0.01"), 2.0)
    assert (snapshot_writer.seen.days_over_limit, snapshot_writer.seen.entries_over_limit) == (1, 0)
    snapshot_writer.look(state(wallet="9400", now_ms=SETTLED_MS + 2_000), 3.0)
    snapshot_writer.look(state(wallet="9400", now_ms=SETTLED_MS + 3_000, held="0.01"), 4.0)
    assert snapshot_writer.seen.entries_over_limit == 1
    snapshot_writer.look(state(wallet="9400", now_ms=DAY_MS), 5.0)
    snapshot_writer.look(state(wallet="9400", now_ms=DAY_MS + SETTLED_MS * 2, held="0.01"), 6.0)
    assert (snapshot_writer.seen.days, snapshot_writer.seen.entries_over_limit) == (2, 1)


def test_a_strangers_entry_is_not_laid_at_the_bots_door():
    snapshot_writer = fair_witness(0.05)
    snapshot_writer.look(state(wallet="9400", now_ms=1_000), 1.0)
    snapshot_writer.obstruction = STRANGER
    snapshot_writer.look(state(wallet="9400", now_ms=SETTLED_MS + 2_000, held="0.01"), 2.0)
    assert (snapshot_writer.seen.days_over_limit, snapshot_writer.seen.entries_over_limit) == (1, 0)


def test_refusals_are_summed_over_an_exchange_that_began_anew():
    snapshot_writer = fair_witness()
    for exceeded, banned in ((1, 0), (1, 2), (0, 1), (2, 1)):
        snapshot_writer.look(state(exceeded=exceeded, banned=banned, weight_1m=10 * banned), 1.0)
    assert (snapshot_writer.seen.limits_exceeded, snapshot_writer.seen.asked_while_banned) == (3, 3)
    assert snapshot_writer.seen.most_weight_1m == 20


def test_the_meter_tells_a_leak_from_the_longest_life():
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

    from tests.suite.soak_witness import Seen

    use = {"life_min": 30.0, "rss_mb_early": 90.0, "rss_mb_late": 91.0, "rss_mb_most": 99.0, "pss_mb_late": 70.0}
    use |= {"rss_mb_per_hour": 0.5, "handles_early": 24, "handles_late": 24, "handles_most": 26}
    told = {
        "speed": 480.0, "market_days": 20.0, "wall_s": 3600, "commit": "abc", "load": [1.0, 1.0, 1.0], "turns": 9,
        "turns_of_minutes": 0.9, "orders": 3, "trades": 1, "exits": {"signal_sell": 1}, "faults": 2,
        "kinds": {"ban": 2}, "recovered_s": {"median": 1.0, "slowest": {"ban": 2.0}},
        "checks": {"S3: wallet equals journal": 4, "S2: no order twice": 5}, "witness": asdict(Seen()),
        "breaker": {"tripped": {"hand": 1}, "entries_while_tripped": 0}, "stops": {"count": 1, "slowest_s": 1.0},
        "requests_per_market_hour": {"median": 30, "hours": 2}, "use": {"trading_bot": use},
        "violations": ["S3: wallet and journal differ by 1"],
    }  # fmt: skip
    page = written(f"above\n{BEGIN}\nold\n{END}\nbelow\n", json.loads(json.dumps(told)))
    assert page.startswith("above\n")
    assert page.endswith("\nbelow\n")
    assert "old" not in page
    assert "| violations | 1; S3: wallet and journal differ by 1 |" in page
    assert "| S3 wallet against journal to the last digit: agreed; differed without explanation | 4; 1 |" in page
    assert "| trading_bot | 30 min | 90, 91, 99 MB | 70 MB | +0.5 MB | 24, 24, 26 |" in page
