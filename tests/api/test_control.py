"""What a caller may change: it stops entries or asks a person, once, by name, and is written down."""

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from src.api.operations import OPERATIONS
from tests.api.made import ROOT, Made
from tests.api.test_auth import bearer, post
from tests.api.test_rest import refused

TRIP, ASK = f"{ROOT}/circuit-breaker/trip", f"{ROOT}/circuit-breaker/reset-request"


@pytest.fixture
def headers(api: Made) -> dict[str, str]:
    return bearer(api.keys.create("my agent", ("read", "control")))


def events(api: Made) -> list[Any]:
    return api.query("SELECT bot_id, version, status, trigger, reason, actor FROM circuit_breaker_events ORDER BY id")


def breaker(api: Made) -> dict[str, Any]:
    return api.data("/bot-status?bot_id=main")["bots"][0]["circuit_breaker"]


def test_nothing_that_can_be_done_here_is_an_order_or_a_reset() -> None:
    actions = {each.path for each in OPERATIONS if each.method != "GET"}
    assert actions == {"/circuit-breaker/trip", "/circuit-breaker/reset-request"}


def test_tripping_stops_entries_and_is_written_down(
    api: Made, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answer = post(api, body={"reason": "Losses look odd."}, **headers)
    data = answer.get_json()["data"]
    assert (data["changed"], data["before"]["status"], data["after"]["status"]) == (True, "ARMED", "TRIPPED")
    bot, version, status, trigger, reason, actor = events(api)[-1]
    assert (bot, version, status, trigger, reason) == ("main", 2, "TRIPPED", "agent", "Losses look odd.")
    assert actor.startswith("api:my agent (")
    assert breaker(api) == data["after"]
    told = next(each.getMessage() for each in caplog.records if each.getMessage().startswith("control:"))
    for fact in ("action=trip", "by=my agent (", "bot=main", "before=ARMED", "after=TRIPPED", "Losses look odd."):
        assert fact in told


def test_a_second_trip_changes_nothing(api: Made, headers: dict[str, str]) -> None:
    first = post(api, **headers).get_json()["data"]
    again = post(api, body={"reason": "another"}, **headers).get_json()["data"]
    assert (again["changed"], again["after"]) == (False, first["after"])
    assert len(events(api)) == 2


def test_twenty_trips_at_once_are_one(api: Made, headers: dict[str, str]) -> None:
    api.client.get(f"{ROOT}/info", headers=headers)  # the key is known now: no twenty times scrypt
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(api, **headers), range(20)))
    assert {each.status_code for each in answers} == {200}
    assert sum(each.get_json()["data"]["changed"] for each in answers) == 1
    assert [row[2] for row in events(api)] == ["ARMED", "TRIPPED"]


def test_a_reset_is_only_asked_for(api: Made, headers: dict[str, str]) -> None:
    armed = post(api, ASK, **headers).get_json()["data"]
    assert (armed["changed"], armed["after"]["reset_requested_by"]) == (False, "")
    post(api, **headers)
    asked = post(api, ASK, **headers).get_json()["data"]
    assert asked["changed"]
    assert asked["after"]["status"] == "TRIPPED"
    assert asked["after"]["reset_requested_by"].startswith("api:my agent (")
    assert asked["after"]["reset_requested_at"].endswith("Z")
    assert post(api, ASK, **headers).get_json()["data"]["changed"] is False
    assert breaker(api)["status"] == "TRIPPED"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reason": "x"},
        {"reason": "a" * 301},
        {"reason": 5},
        {"reason": "line\nbreak"},
        {"reason": "ok!", "x": 1},
        [],
    ],
)
def test_a_wrong_body_changes_nothing(api: Made, headers: dict[str, str], body: Any) -> None:
    refused(post(api, body=body, **headers), 422)
    assert len(events(api)) == 1


def test_a_deed_passes_over_nothing_that_stands_in_its_address(api: Made, headers: dict[str, str]) -> None:
    problem = refused(post(api, f"{TRIP}?bot_id=second", **headers), 422)
    assert problem["errors"][0]["parameter"] == "bot_id"
    assert len(events(api)) == 1


def test_a_bot_that_does_not_exist_cannot_be_tripped(api: Made, headers: dict[str, str]) -> None:
    refused(post(api, body={"reason": "a test", "bot_id": "nobody"}, **headers), 404)
    assert len(events(api)) == 1


def test_text_of_a_caller_cannot_forge_a_log_line(
    api: Made, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    from src.runtime.logging_setup import LineFormatter

    with caplog.at_level(logging.INFO):
        refused(post(api, body={"reason": "x\r\n2026 INFO forged: \x1b[31mred"}, **headers), 422)
        api.client.get(f"{ROOT}/a%0d%0a2026-01-01 INFO forged%1b[31m")
    assert caplog.records
    for record in caplog.records:
        for as_json in (False, True):
            line = LineFormatter(as_json).format(record)
            assert not set(line) & {"\r", "\n", "\x1b"}
