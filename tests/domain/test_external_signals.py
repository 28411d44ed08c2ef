"""Messages of other programs: TradingView's formats are understood, everything else is refused in a sentence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.domain.clock import utc_text
from src.domain.external_signals import LONGEST_MESSAGE, LONGEST_NOTE, parse_message

NOON_MS = 1_795_348_800_000
NOON = "2026-11-22T12:00:00Z"


@pytest.mark.parametrize(
    "body",
    [
        f'{{"symbol": "BTCUSDT", "action": "buy", "time": "{NOON}"}}',
        f'{{"ticker": "BINANCE:BTCUSDT.P", "side": "long", "timenow": "{NOON}", "price": 67432.5}}',
        f'{{"ticker": "btcusdt", "action": "BUY", "time": {NOON_MS // 1000}}}',
        f'{{"ticker": "BTCUSDT.P", "action": "buy", "time": {NOON_MS}}}',
        f"buy BTCUSDT {NOON}",
        f"  Long BINANCE:BTCUSDT.P {NOON} the weekly breakout\n",
    ],
)
def test_what_senders_write_is_understood(body: str) -> None:
    message = parse_message(body.encode())
    assert (message.symbol, message.direction, message.sent_ms) == ("BTCUSDT", 1, NOON_MS)


@pytest.mark.parametrize(
    ("word", "direction"), [("sell", -1), ("short", -1), ("flat", 0), ("close", 0), ("exit", 0), ("neutral", 0)]
)
def test_each_word_of_direction_has_one_meaning(word: str, direction: int) -> None:
    assert parse_message(f"{word} BTCUSDT {NOON}".encode()).direction == direction


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "plain text reads"),
        (b"\xff\xfe", "UTF-8"),
        (b"buy BTCUSDT", "plain text reads"),
        (b"{", "not JSON"),
        (b'{"a":' * 3_000, "bytes"),
        (b'{"a":' * 1_200, "not JSON"),
        (b"x" * (LONGEST_MESSAGE + 1), "bytes"),
        (json.dumps({"action": "buy", "time": NOON}).encode(), "symbol"),
        (json.dumps({"symbol": 5, "action": "buy", "time": NOON}).encode(), "symbol"),
        (json.dumps({"symbol": "BTC/USDT", "action": "buy", "time": NOON}).encode(), "symbol"),
        (json.dumps({"symbol": "BTCUSDT", "action": "buy all", "time": NOON}).encode(), "action"),
        (json.dumps({"symbol": "BTCUSDT", "action": ["buy"], "time": NOON}).encode(), "action"),
        (json.dumps({"symbol": "BTCUSDT", "action": "buy"}).encode(), "time"),
        (json.dumps({"symbol": "BTCUSDT", "action": "buy", "time": "{{timenow}}"}).encode(), "time"),
        (json.dumps({"symbol": "BTCUSDT", "action": "buy", "time": True}).encode(), "time"),
        (b'{"symbol": "BTCUSDT", "action": "buy", "time": NaN}', "time"),
        (b'{"symbol": "BTCUSDT", "action": "buy", "time": 1e400}', "time"),
        (json.dumps({"symbol": "BTCUSDT", "action": "buy", "time": NOON, "id": "a b"}).encode(), "id"),
        (json.dumps({"symbol": "BTCUSDT", "action": "buy", "time": NOON, "id": 7}).encode(), "id"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(body: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_message(body)


def test_the_same_message_has_the_same_key_and_an_id_is_the_key() -> None:
    one, other = f"buy BTCUSDT {NOON}".encode(), f"buy BTCUSDT {utc_text(NOON_MS + 1)}".encode()
    assert parse_message(one).key == parse_message(one + b"\n").key != parse_message(other).key
    own = json.dumps({"symbol": "BTCUSDT", "action": "buy", "time": NOON, "id": "alert-7"})
    assert parse_message(own.encode()).key == "alert-7"


def test_a_note_is_cut_and_holds_no_control_characters() -> None:
    body = json.dumps({"symbol": "BTCUSDT", "action": "buy", "time": NOON, "note": "a\x00\u202eb" + "x" * 9_00})
    note = parse_message(body.encode()).note
    assert note.startswith("a  b") and len(note) == LONGEST_NOTE


@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_break_the_parser(body: bytes) -> None:
    try:
        message = parse_message(body)
    except ValueError:
        return
    assert message.direction in (-1, 0, 1) and message.symbol.isalnum()
