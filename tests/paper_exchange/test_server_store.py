"""The journal's promise: picture and journal together give the very venue that was killed."""

import random
from decimal import Decimal

import orjson
import pytest

from src.paper_exchange.config import PaperConfig
from src.paper_exchange.exchange import PaperExchange, start_of
from src.paper_exchange.gateway import ENDPOINTS
from src.paper_exchange.markets import open_market
from src.paper_exchange.model import VenueError
from src.paper_exchange.rest_call import Call
from src.paper_exchange.signing import WELL_KNOWN_KEY, key_ring
from src.paper_exchange.store import StateCorrupt, StateStore, StateTaken

MINUTE_MS = 60_000


def config(path, **changed):
    usual = {
        "market": "synthetic:3", "speed": 1.0, "host": "127.0.0.1", "port": 0, "balance": Decimal(10_000),
        "start": "2024-05-01T00:00:00", "state": path, "keys": key_ring("", ""),
    }  # fmt: skip
    return PaperConfig(**{**usual, **changed})


def opened(settings):
    """An exchange whose clock stands: the test moves it."""
    store = StateStore(settings.state)
    exchange = PaperExchange(settings, open_market(settings.market), store)
    exchange.market_clock.freeze()
    exchange.venue.advance(exchange.market_clock.now_ms())
    return exchange, store


def send(exchange, name, **parameters):
    """Carry out a command as the server does: write it down, then perform it."""
    fields = {key: str(value) for key, value in parameters.items()}
    try:
        exchange.remember(WELL_KNOWN_KEY, name, fields)
        ENDPOINTS[name].handler(exchange, Call(fields, WELL_KNOWN_KEY, exchange.venue.now_ms))
    except VenueError as refusal:
        return refusal.code
    return None


def trade_at_random(exchange, chance, commands):
    """Orders of all kinds at odd instants, while time goes on in steps of every length."""
    for number in range(commands):
        for _ in range(chance.randint(1, 5)):
            exchange.venue.advance(exchange.venue.now_ms + chance.choice([1, 7, 250, 999, 20_000, 61_000, 300_000]))
            exchange.venue.drain()
        last = float(exchange.venue.last_price("BTCUSDT"))
        side = chance.choice(["BUY", "SELL"])
        kind = chance.choice(["market", "limit", "stop", "cancel", "leverage", "key"])
        if kind == "market":
            send(exchange, "POST /fapi/v1/order", symbol="BTCUSDT", side=side, type="MARKET", quantity="0.05")
        elif kind == "limit":
            price = f"{last * chance.uniform(0.998, 1.002):.1f}"
            send(
                exchange, "POST /fapi/v1/order", symbol="BTCUSDT", side=side, type="LIMIT", timeInForce="GTC",
                quantity="0.03", price=price, newClientOrderId=f"limit-{number}",
            )  # fmt: skip
        elif kind == "stop":
            send(
                exchange, "POST /fapi/v1/algoOrder", algoType="CONDITIONAL", symbol="BTCUSDT", side=side,
                type="STOP_MARKET", quantity="0.02", workingType=chance.choice(["MARK_PRICE", "CONTRACT_PRICE"]),
                triggerPrice=f"{last * (1.001 if side == 'BUY' else 0.999):.1f}",
            )  # fmt: skip
        elif kind == "cancel":
            send(exchange, "DELETE /fapi/v1/allOpenOrders", symbol="BTCUSDT")
        elif kind == "leverage":
            send(exchange, "POST /fapi/v1/leverage", symbol="BTCUSDT", leverage=chance.randint(5, 20))
        else:
            send(exchange, "POST /fapi/v1/listenKey")


def repeat(exchange):
    def perform(name, account, parameters):
        try:
            ENDPOINTS[name].handler(exchange, Call(parameters, account, exchange.venue.now_ms))
        except VenueError as refusal:
            assert refusal.code < 0

    return exchange.repeat(perform)


@pytest.mark.parametrize("seed", range(4))
def test_picture_and_journal_give_back_the_very_venue(tmp_path, seed):
    """The killed one went on in many small steps, its successor in few large ones; no digit differs."""
    chance = random.Random(seed)
    settings = config(tmp_path / "state.json")
    first, store = opened(settings)
    trade_at_random(first, chance, 10)
    first.save()
    trade_at_random(first, chance, 30)
    wanted = orjson.dumps([first.venue.snapshot(), first.listen_keys.snapshot()])
    end_ms = first.venue.now_ms
    store.close()
    second, store = opened(settings)
    assert repeat(second) == 30
    second.venue.advance(end_ms)
    assert orjson.dumps([second.venue.snapshot(), second.listen_keys.snapshot()]) == wanted
    assert len(second.venue.trades(WELL_KNOWN_KEY, "BTCUSDT")) > 0
    store.close()


def test_a_crash_between_picture_and_journal_repeats_nothing(tmp_path):
    settings = config(tmp_path / "state.json")
    first, store = opened(settings)
    send(first, "POST /fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.05")
    journal = tmp_path / "state.json.journal"
    kept = journal.read_bytes()
    first.save()
    store.close()
    assert journal.read_bytes() == b""
    journal.write_bytes(kept)
    second, store = opened(settings)
    assert repeat(second) == 0
    assert len(second.venue.trades(WELL_KNOWN_KEY, "BTCUSDT")) == len(first.venue.trades(WELL_KNOWN_KEY, "BTCUSDT"))
    store.close()


def test_commands_written_while_a_picture_was_on_its_way_stay(tmp_path):
    store = StateStore(tmp_path / "state.json")
    store.append(1, "k", "POST /x", {})
    picture = store.picture({"a": 1})
    store.append(2, "k", "POST /x", {"b": "c"})
    store.write(picture)
    store.trim(picture)
    store.close()
    again = StateStore(tmp_path / "state.json")
    assert again.load()["number"] == 1
    assert [command.parameters for command in again.commands()] == [{"b": "c"}]
    again.close()


def test_an_older_picture_never_replaces_a_newer_one(tmp_path):
    store = StateStore(tmp_path / "state.json")
    older = store.picture({"which": "older"})
    store.save({"which": "newer"})
    store.write(older)
    assert store.load()["which"] == "newer"
    store.close()


@pytest.mark.parametrize("line", [b"nonsense\n", b'[3,1,"k","e",{}]\n', b"[1,2]\n"])
def test_a_damaged_journal_is_refused(tmp_path, line):
    store = StateStore(tmp_path / "state.json")
    store.save({})
    (tmp_path / "state.json.journal").write_bytes(line)
    store.load()
    with pytest.raises(StateCorrupt, match="journal"):
        list(store.commands())
    store.close()


def test_only_one_may_hold_the_file(tmp_path):
    store = StateStore(tmp_path / "state.json")
    with pytest.raises(StateTaken, match=r"process \d+"):
        StateStore(tmp_path / "state.json")
    store.close()
    StateStore(tmp_path / "state.json").close()


def test_a_replay_begins_where_a_past_exists(tmp_path):
    class Recording:
        first_ms, lag_ms = 0, 0
        end_ms = 60 * 24 * 60 * MINUTE_MS

    settings = config(tmp_path / "state.json", start="")
    assert start_of(Recording, settings) == 11_520 * MINUTE_MS
    Recording.end_ms = 4_000 * MINUTE_MS
    assert start_of(Recording, settings) == 1_000 * MINUTE_MS
