"""What is kept between two questions never shows: each answer is that of a server which has just been started."""

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from src.api.auth import Authenticator
from src.api.context import ApiContext
from src.api.metrics import Metrics
from src.api.rest import build_app
from src.reporting.equity import ratios
from src.storage.tables import EVERY
from tests.api.made import NOON, ROOT, Made

ASKED = [
    f"{ROOT}/signals?limit=5",
    f"{ROOT}/signals?limit=5&symbol=BTCUSDT",
    f"{ROOT}/signals?limit=3&min_strength=3",
    f"{ROOT}/signals/stats",
    f"{ROOT}/signals/stats?hours=3",
    f"{ROOT}/trades?limit=5",
    f"{ROOT}/trades/performance",
    f"{ROOT}/trades/performance?hours=5",
    f"{ROOT}/trades/performance?bot_id=main",
    f"{ROOT}/market-context/history?limit=3",
    f"{ROOT}/bot-status",
    f"{ROOT}/analytics/summary",
    f"{ROOT}/analytics/summary?hours=24&bot_id=main",
    "/metrics",
]
RecordedDecision = Callable[[Made, random.Random, int], None]


def sql(api: Made, statement: str, **values: object) -> None:
    api.writer.write(lambda connection: connection.execute(text(statement), values))


def add_signal(api: Made, chance: random.Random, number: int) -> None:
    api.add_signal(number, symbol=chance.choice(("BTCUSDT", "ETHUSDT")), strength=chance.randrange(6))


def settle_signal(api: Made, chance: random.Random, _: int) -> None:
    sql(
        api,
        "UPDATE signals SET acted = 1, outcome = :told WHERE id = :id",
        told="filled",
        id=chance.randrange(1, 1_200),
    )


def add_trade(api: Made, chance: random.Random, number: int) -> None:
    api.add_trade(number, pnl=Decimal(chance.randrange(-500, 500)) / 100)


def count_trade(api: Made, chance: random.Random, _: int) -> None:
    won = chance.randrange(1, 50)
    days = "SELECT id FROM daily_performance WHERE symbol != :every ORDER BY day DESC LIMIT 1"
    change = "UPDATE daily_performance SET trades = trades + 1, wins = wins + 1, won = won + :won, cycles = cycles + 1"
    sql(api, f"{change} WHERE id IN ({days})", every=EVERY, won=won)


def move_equity(api: Made, chance: random.Random, _: int) -> None:
    day = chance.randrange(3)
    some = "SELECT id FROM daily_performance WHERE symbol = :every ORDER BY day DESC LIMIT 1 OFFSET :day"
    sql(
        api,
        f"UPDATE daily_performance SET end_equity = end_equity + :more, transfers = :paid WHERE id IN ({some})",
        every=EVERY,
        day=day,
        more=chance.randrange(-50, 50) / 10,
        paid=chance.choice((0, 0, 25)),
    )


def forget_a_day(api: Made, _: random.Random, __: int) -> None:
    sql(api, "DELETE FROM daily_performance WHERE id = (SELECT min(id) FROM daily_performance WHERE symbol = '*')")


def forget_signals(api: Made, _: random.Random, __: int) -> None:
    sql(api, "DELETE FROM signals WHERE id IN (SELECT id FROM signals ORDER BY id LIMIT 20)")


def write_a_row_of_a_known_id_anew(api: Made, chance: random.Random, number: int) -> None:
    sql(api, "DELETE FROM signals WHERE id = (SELECT max(id) FROM signals)")
    api.add_signal(number, strength=chance.randrange(6))


def beat(api: Made, chance: random.Random, _: int) -> None:
    tick = chance.choice(("0.10", "0.5", "1"))
    api.beat(cycle_no=chance.randrange(99), details={"instruments": {"BTCUSDT": {"tick": tick, "step": "0.001"}}})


def add_context(api: Made, _: random.Random, number: int) -> None:
    api.add_context(number)


def let_time_pass(api: Made, chance: random.Random, _: int) -> None:
    api.clock.advance_to(api.clock.now_ms() + chance.choice((1_000, 61_000)))


DEEDS: list[RecordedDecision] = [
    add_signal,
    settle_signal,
    add_trade,
    count_trade,
    move_equity,
    forget_a_day,
    forget_signals,
    write_a_row_of_a_known_id_anew,
    beat,
    add_context,
    let_time_pass,
]


def newly_started(api: Made) -> FlaskClient:
    """Return a client of a server that remembers nothing."""
    ratios.cache_clear()
    source = ApiContext(api.source._database, api.clock, lambda: api.writer)
    return build_app(
        source,
        Authenticator(host="127.0.0.1", origins=(), keys=api.keys, clock=api.clock),
        metrics=Metrics(source).text,
    ).test_client()


def figures(answer: Any) -> Any:
    """Return what was answered, without the instant at which it was read."""
    assert answer.status_code == 200
    if not answer.is_json:
        return answer.get_data()
    return {name: part for name, part in answer.get_json().items() if name != "meta"}


@pytest.mark.parametrize("seed", range(3))
def test_every_answer_is_that_of_a_server_which_was_just_started(api: Made, seed: int) -> None:
    chance = random.Random(seed)
    api.clock.advance_to(NOON + 10_000)
    for number in range(1, 25):
        chance.choice(DEEDS)(api, chance, number)
        paths = chance.sample(ASKED, 4)
        told = [figures(api.client.get(path)) for path in paths]
        assert told == [figures(api.client.get(path)) for path in paths]
        anew = newly_started(api)
        assert told == [figures(anew.get(path)) for path in paths], (paths, number)
