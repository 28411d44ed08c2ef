"""Who a request comes from: signatures, keys, age."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.paper_exchange.model import VenueError
from src.paper_exchange.signing import (
    WELL_KNOWN_KEY,
    WELL_KNOWN_SECRET,
    check_age,
    check_signature,
    key_ring,
    merged_parameters,
    signature_of,
)

SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
PAYLOAD = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943"
)
SIGNATURE = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
NOW = 1_591_702_613_943


def refusal(call, *arguments):
    with pytest.raises(VenueError) as caught:
        call(*arguments)
    return caught.value


def test_the_documented_vector_is_signed_as_documented():
    assert signature_of(SECRET, PAYLOAD) == SIGNATURE


@pytest.mark.parametrize("cut", [0, PAYLOAD.index("&quantity"), len(PAYLOAD)])
def test_query_and_body_are_joined_without_an_ampersand(cut):
    assert signature_of(SECRET, PAYLOAD[:cut], PAYLOAD[cut:]) == SIGNATURE


def test_the_signature_may_stand_anywhere_and_in_capitals():
    body = f"signature={SIGNATURE.upper()}&{PAYLOAD}"
    check_signature(merged_parameters("", body), "", body, SECRET)


def test_a_changed_parameter_makes_the_signature_wrong():
    body = PAYLOAD.replace("quantity=1", "quantity=2") + f"&signature={SIGNATURE}"
    assert refusal(check_signature, merged_parameters("", body), "", body, SECRET).code == -1022


def test_a_missing_signature_is_a_missing_parameter():
    assert refusal(check_signature, {}, "", PAYLOAD, SECRET).code == -1102


def test_the_raw_text_counts_not_what_it_means():
    """A client that signs ``a:b`` and sends ``a%3Ab`` is refused, as by the real exchange."""
    sent = "newClientOrderId=a%3Ab&timestamp=1"
    signed = signature_of(SECRET, "newClientOrderId=a:b&timestamp=1")
    assert refusal(check_signature, {"signature": signed}, "", sent, SECRET).code == -1022


def test_a_parameter_in_both_places_is_taken_from_the_query():
    assert merged_parameters("symbol=ETHUSDT", "symbol=BTCUSDT&side=BUY") == {"symbol": "ETHUSDT", "side": "BUY"}


@given(late=st.integers(0, 5_000))
def test_a_request_within_its_window_is_accepted(late):
    check_age({"timestamp": str(NOW - late), "recvWindow": "5000"}, NOW, 1.0)


@pytest.mark.parametrize(
    ("timestamp", "window", "words"),
    [(NOW - 5_001, "5000", "outside of the recvWindow"), (NOW + 1_000, "5000", "1000ms ahead")],
)
def test_a_request_outside_its_window_is_refused(timestamp, window, words):
    error = refusal(check_age, {"timestamp": str(timestamp), "recvWindow": window}, NOW, 1.0)
    assert (error.code, words in error.msg) == (-1021, True)


def test_the_windows_grow_with_the_speed_of_the_market():
    """At speed 300 five seconds of wire are fifteen hundred of the market."""
    check_age({"timestamp": str(NOW - 1_500_000), "recvWindow": "5000"}, NOW, 300.0)
    check_age({"timestamp": str(NOW + 299_999), "recvWindow": "5000"}, NOW, 300.0)
    assert refusal(check_age, {"timestamp": str(NOW - 1_500_001), "recvWindow": "5000"}, NOW, 300.0).code == -1021


@pytest.mark.parametrize("timestamp", ["", "soon", "-5", "1e3"])
def test_a_timestamp_that_is_no_number_is_refused(timestamp):
    assert refusal(check_age, {"timestamp": timestamp}, NOW, 1.0).code == -1102


def test_without_configuration_the_well_known_pair_is_accepted():
    assert key_ring("", "").secret_of(WELL_KNOWN_KEY) == WELL_KNOWN_SECRET


def test_lists_of_keys_give_each_its_own_secret():
    ring = key_ring(f"{'a' * 64}, {'b' * 64}", "one,two")
    assert (ring.secret_of("a" * 64), ring.secret_of("b" * 64)) == ("one", "two")


@pytest.mark.parametrize(("key", "code"), [(None, -2014), ("short", -2014), ("c" * 64, -2015)])
def test_unknown_keys_are_refused(key, code):
    error = refusal(key_ring("a" * 64, "one").secret_of, key)
    assert (error.code, error.http_status) == (code, 401)


@pytest.mark.parametrize(("keys", "secrets"), [("a" * 64, ""), ("a" * 64 + "," + "a" * 64, "x,y"), ("too-short", "x")])
def test_a_wrong_configuration_of_keys_is_refused(keys, secrets):
    with pytest.raises(ValueError, match="key"):
        key_ring(keys, secrets)


def test_secrets_do_not_show():
    assert "one" not in repr(key_ring("a" * 64, "one"))
