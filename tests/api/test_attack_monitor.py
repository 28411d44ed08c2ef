"""Somebody who tries keys is told of once, for as long as it lasts; a mistake or two is nobody's business."""

import pytest

from src.api.attack_monitor import AttackMonitor
from src.api.auth import TRIES_A_MINUTE
from src.api.keys import KeyStore
from src.monitoring.notifications import Notifier
from tests.api.made import Made, Maker
from tests.api.test_auth import bearer

MINUTE_MS = 60_000


class Post:
    """Who is told: keeps the titles."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    def __call__(self, title: str, text: str, urgency: str) -> bool:
        self.titles.append(title.removeprefix("trading suite main: "))
        return True


@pytest.fixture
def no_key_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the tests of many guesses the scrypt of each."""
    monkeypatch.setattr(KeyStore, "verify", lambda *_: None)


def guess(api: Made, times: int) -> None:
    for number in range(times):
        assert api.get("/signals", **bearer(f"key_{number:08x}_{'a' * 43}")).status_code in (401, 429)


def reporter(api: Made, post: Post) -> AttackMonitor:
    return AttackMonitor(api.authenticator, Notifier("main", post), api.clock)


@pytest.mark.usefixtures("no_key_is_right")
def test_a_siege_of_the_keys_is_one_alert_and_its_end_another(api: Made) -> None:
    post = Post()
    eyes = reporter(api, post)
    for _ in range(15):
        guess(api, 30)
        eyes.look()
        api.clock.advance_to(api.clock.now_ms() + MINUTE_MS)
    assert post.titles == ["log in attack: api"]
    for _ in range(13):
        eyes.look()
        api.clock.advance_to(api.clock.now_ms() + MINUTE_MS)
    assert post.titles == ["log in attack: api", "over: log in attack: api"]


def test_a_few_wrong_keys_and_many_right_ones_are_no_siege(maker: Maker) -> None:
    api, post = maker(calls_a_minute=10_000), Post()
    token = api.keys.create("one", ("read",))
    guess(api, TRIES_A_MINUTE - 1)
    for _ in range(50):
        assert api.get("/info", **bearer(token)).status_code == 200
    reporter(api, post).look()
    assert post.titles == []


@pytest.mark.usefixtures("no_key_is_right")
def test_what_is_remembered_of_a_siege_is_bounded(maker: Maker) -> None:
    api = maker(tries_a_minute=10_000)
    guess(api, 1_200)
    assert api.authenticator.wrong_keys(MINUTE_MS) == 1_000
