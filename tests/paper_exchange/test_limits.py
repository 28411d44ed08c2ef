"""How much may be asked: weight, orders, connections, bans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.paper_exchange.limits import (
    CONNECTION_LIMIT,
    FIRST_BAN_MS,
    FUNDING_POOL_LIMIT,
    MINUTE_MS,
    ORDERS_1M_LIMIT,
    ORDERS_10S_LIMIT,
    PATIENCE,
    WEIGHT_LIMIT,
    LimitUsage,
    RequestLimits,
)
from src.paper_exchange.model import VenueError

NOW = 1_795_338_240_000  # a whole minute


def refused(call, *arguments):
    with pytest.raises(VenueError) as caught:
        call(*arguments)
    return caught.value


@given(st.lists(st.integers(1, 40), max_size=60))
def test_the_counter_reports_the_sum_of_the_minute(weights):
    limits = RequestLimits()
    told = [limits.charge("a", weight, NOW + i) for i, weight in enumerate(weights)]
    assert told == [sum(weights[: i + 1]) for i in range(len(weights))]


def test_a_new_minute_begins_at_nothing():
    limits = RequestLimits()
    limits.charge("a", WEIGHT_LIMIT, NOW)
    assert limits.charge("a", 1, NOW + MINUTE_MS) == 1


def test_above_the_limit_429_and_the_rest_of_the_minute_too():
    limits = RequestLimits()
    limits.charge("a", WEIGHT_LIMIT, NOW)
    error = refused(limits.charge, "a", 1, NOW + 1)
    assert (error.code, error.http_status) == (-1003, 429)
    assert refused(limits.charge, "a", 1, NOW + MINUTE_MS - 1).http_status == 429


def test_addresses_are_counted_apart():
    limits = RequestLimits()
    limits.charge("a", WEIGHT_LIMIT, NOW)
    assert limits.charge("b", 1, NOW) == 1


def test_ignoring_429_causes_bans_that_grow():
    limits = RequestLimits()
    limits.charge("a", WEIGHT_LIMIT, NOW)
    for _ in range(PATIENCE):
        assert refused(limits.charge, "a", 1, NOW).http_status == 429
    error = refused(limits.charge, "a", 1, NOW)
    assert error.http_status == 418
    assert f"IP banned until {NOW + FIRST_BAN_MS}." in error.msg
    assert refused(limits.charge, "a", 1, NOW + FIRST_BAN_MS - 1).http_status == 418
    later = NOW + FIRST_BAN_MS
    limits.charge("a", WEIGHT_LIMIT, later)
    for _ in range(PATIENCE):
        refused(limits.charge, "a", 1, later)
    assert f"until {later + 2 * FIRST_BAN_MS}." in refused(limits.charge, "a", 1, later).msg


def test_a_ban_also_ends_funding_history_and_new_sockets():
    limits = RequestLimits()
    limits.ban("a", NOW + 1_000)
    assert refused(limits.charge_funding, "a", NOW).http_status == 418
    assert not limits.may_connect("a", NOW)
    assert limits.may_connect("a", NOW + 1_000)


def test_funding_history_has_a_pool_of_its_own():
    limits = RequestLimits()
    for _ in range(FUNDING_POOL_LIMIT):
        limits.charge_funding("a", NOW)
    assert refused(limits.charge_funding, "a", NOW).http_status == 429
    assert limits.charge("a", 1, NOW) == 1


def test_orders_are_counted_for_ten_seconds_and_for_a_minute():
    limits = RequestLimits()
    for _ in range(ORDERS_10S_LIMIT):
        count = limits.charge_orders("k", 1, 1, NOW)
    assert (count.ten_seconds, count.minute) == (300, 300)
    assert "300 orders per 10 SECONDS" in refused(limits.charge_orders, "k", 1, 1, NOW).msg
    count = limits.charge_orders("k", 1, 1, NOW + 10_000)
    assert (count.ten_seconds, count.minute) == (1, 301)


def test_a_minute_of_orders_has_its_own_limit():
    limits = RequestLimits()
    for i in range(ORDERS_1M_LIMIT):
        limits.charge_orders("k", 1, 1, NOW + i * 40)
    assert "1200 orders per 1 MINUTE" in refused(limits.charge_orders, "k", 1, 1, NOW + 50_000).msg


def test_accounts_order_apart():
    limits = RequestLimits()
    limits.charge_orders("k", 300, 1, NOW)
    assert limits.charge_orders("other", 1, 1, NOW).ten_seconds == 1


def test_too_many_connections_are_refused_until_the_window_ends():
    limits = RequestLimits()
    assert all(limits.may_connect("a", NOW) for _ in range(CONNECTION_LIMIT))
    assert not limits.may_connect("a", NOW)
    assert limits.may_connect("a", NOW + 300_000)


def test_the_limits_view_shows_the_highest_usage():
    limits = RequestLimits()
    limits.charge("a", 70, NOW)
    limits.charge("a", 30, NOW + 60_000)
    limits.charge_orders("k", 3, 2, NOW)
    assert limits.strain == LimitUsage(weight_1m=70, orders_10s=3, orders_1m=2)
    refused(limits.charge, "a", WEIGHT_LIMIT, NOW + 60_000)
    limits.ban("b", NOW + 1)
    refused(limits.charge, "b", 1, NOW)
    assert (limits.strain.exceeded, limits.strain.banned) == (1, 1)
