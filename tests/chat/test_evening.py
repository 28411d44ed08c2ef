"""A whole evening in the chat, and what must never happen there: real chat, queue and trader; Telegram on loopback."""

from pathlib import Path
from typing import Any

import pytest

from src.apps.command_handler import CommandHandler
from src.chat.commands import OLDEST_MS
from src.domain.circuit_breaker import BreakerLimits
from src.domain.clock import MINUTE_MS, SystemClock
from src.domain.risk import ActiveLimits, RiskLimits
from src.execution.risk_manager import RiskManager
from src.runtime.rule_loader import RuleSets
from src.storage.journal_repository import JournalRepository
from src.strategy.rules import DecisionRules
from tests.chat.evening import OWNER_ID, PIN, STRANGER, Evening, evening
from tests.execution.test_trader import enter, trader_of
from tests.standins.telegram import TOKEN
from tests.world import SYMBOL, World, walk


@pytest.fixture
def chat(tmp_path: Path) -> Any:
    with evening(tmp_path) as made:
        yield made


def handler_of(chat: Evening, trader: Any = None) -> CommandHandler:
    """The trading bot's side of the queue."""
    clock = SystemClock()
    limits = ActiveLimits(RiskLimits())
    risk = RiskManager(JournalRepository(chat.database, clock), clock, limits, BreakerLimits(), MINUTE_MS)
    rules = RuleSets(lambda name: (DecisionRules(name=name), RiskLimits()), "safety_first", "safety_first")
    return CommandHandler(database=chat.database, clock=clock, risk=risk, hands=[trader] if trader else [], rules=rules)


def answered(chat: Evening, bot: CommandHandler) -> str:
    """Let the bot take what is in the queue and the chat tell of it."""
    bot.process_pending()
    chat.database.flush()
    chat.turn(2)
    return chat.last()


def test_a_whole_evening(chat: Evening) -> None:
    world = World(walk(2_000))
    trader, agent = trader_of(world)
    minute = enter(world, trader, agent, 300)
    bot = handler_of(chat, trader)

    assert "running" in chat.say("/status") and "ARMED" in chat.last()
    chat.scene.breaker("TRIPPED", "drawdown", "equity fell 15 % from its peak")
    chat.scene.clock.ahead_s += 20
    chat.scene.now_ms += 20_000
    chat.scene.beat()
    chat.turn(2)
    assert "circuit breaker tripped" in chat.last() and "15 %" in chat.last()
    chat.telegram.press(OWNER_ID, "Why")
    chat.turn()
    assert SYMBOL in chat.last() and "Gates not passed" in chat.last()

    assert "opens no new position" in chat.say("/pause")
    assert chat.confirm() == "Confirmed."
    assert answered(chat, bot).startswith("pause: Entries are paused")
    assert "person in Telegram" in bot.pause

    assert f"Close {SYMBOL}" in chat.say(f"/close {SYMBOL}")
    assert trader.standing(), "nothing is closed before the PIN"
    chat.confirm()
    world.at(minute + 1)
    assert answered(chat, bot) == f"close: The position in {SYMBOL} is closed."
    assert not trader.standing()

    chat.say("/resume")
    chat.confirm()
    assert answered(chat, bot) == "resume: Entries are allowed again."
    assert bot.pause == ""
    rows = chat.queue()
    assert [(row["action"], row["status"]) for row in rows] == [
        ("pause", "done"),
        ("close", "done"),
        ("resume", "done"),
    ]
    assert {row["actor"] for row in rows} == {f"person in Telegram, user {OWNER_ID}"}
    assert {row["origin"] for row in rows} == {"telegram"}


def test_a_stranger_gets_nothing_not_even_a_sign_that_a_bot_lives_there(chat: Evening) -> None:
    before = len(chat.telegram.calls)
    chat.telegram.say(STRANGER, "/status")
    chat.telegram.say(STRANGER, "/start")
    chat.telegram.press_data(STRANGER, "/pause")
    chat.telegram.say(OWNER_ID, "/status", kind="group")
    chat.turn(3)
    made = {method for method, _ in chat.telegram.calls[before:]}
    assert made == {"getUpdates"}
    assert chat.telegram.sent == [] and chat.telegram.confirmed == [] and chat.queue() == []


def test_an_edit_is_no_command_and_a_repeated_update_is_none(chat: Evening) -> None:
    chat.telegram.say(OWNER_ID, "/pause", edited=True)
    chat.turn()
    assert chat.telegram.sent == []
    update = chat.telegram.say(OWNER_ID, "/status")
    chat.turn()
    chat.telegram.repeat(update)
    chat.turn(2)
    assert len(chat.telegram.sent) == 1


def test_no_button_of_one_user_confirms_the_change_of_another(chat: Evening) -> None:
    chat.say("/pause")
    shown, buttons = chat.telegram.sent[-1], dict(chat.telegram.sent[-1].buttons)
    for key in (*PIN, "Confirm"):
        chat.telegram.press_data(4_712, buttons[key], shown.id)
        chat.turn()
    assert chat.queue() == []


def test_a_wrong_pin_does_nothing_and_five_close_the_way(chat: Evening) -> None:
    for left in (4, 3, 2, 1, 0):
        chat.say("/pause")
        assert f"{left} tries are left" in chat.confirm("000001")
    chat.say("/pause")
    assert "Too many wrong PINs" in chat.confirm()
    assert chat.queue() == []
    chat.scene.clock.ahead_s += 901
    chat.say("/pause", ago_s=-901)
    assert chat.confirm() == "Confirmed."


def test_a_confirmation_counts_once_and_for_a_minute(chat: Evening) -> None:
    chat.say("/pause")
    entry = chat.telegram.sent[-1].buttons["Confirm"]
    chat.confirm()
    chat.telegram.press_data(OWNER_ID, entry, chat.telegram.sent[-1].id)
    chat.turn(2)
    assert len(chat.queue()) == 1
    chat.say("/resume")
    shown, buttons = chat.telegram.sent[-1], dict(chat.telegram.sent[-1].buttons)
    chat.scene.clock.ahead_s += 61
    for key, words in ((PIN[0], "time for the PIN is over"), ("Confirm", "confirmation is over")):
        chat.telegram.press_data(OWNER_ID, buttons[key], shown.id)
        chat.turn()
        assert words in chat.telegram.sent[-1].text or words in shown.text
    assert len(chat.queue()) == 1


def test_the_pin_is_written_nowhere(chat: Evening, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        chat.say("/pause")
        chat.confirm()
    told = "\n".join(chat.telegram.texts(OWNER_ID)) + "".join(str(row) for row in chat.queue())
    assert PIN not in told + caplog.text and TOKEN not in caplog.text


def test_an_outage_of_an_hour_loses_no_alert_and_does_no_old_command(chat: Evening) -> None:
    chat.telegram.outage = True
    chat.telegram.say(OWNER_ID, "/pause", ago_s=OLDEST_MS / 1_000 + 1)
    chat.telegram.say(OWNER_ID, "/status", ago_s=3_000)
    chat.scene.breaker("TRIPPED", "drawdown", "equity fell 15 % from its peak")
    pauses = []
    for _ in range(120):
        pauses.append(chat.service.step())
        chat.scene.clock.ahead_s += 30
        chat.scene.now_ms += 30_000
        chat.scene.beat()
    assert all(pause > 0 for pause in pauses) and max(pauses) <= 30
    assert "does not answer" in chat.service.trouble
    chat.telegram.outage = False
    chat.turn(4)
    texts = chat.telegram.texts(OWNER_ID)
    assert sum("circuit breaker tripped" in text for text in texts) == 1
    assert any("nothing is done. Send it anew" in text for text in texts)
    assert chat.queue() == [] and chat.service.trouble == ""


def test_a_flood_limit_delays_messages_and_loses_none(chat: Evening) -> None:
    chat.telegram.flood = 2
    for command in ("/status", "/positions", "/daily"):
        chat.telegram.say(OWNER_ID, command)
    chat.turn(2)
    assert chat.telegram.sent == []
    for _ in range(4):
        chat.scene.clock.ahead_s += 4
        chat.turn()
    assert len(chat.telegram.texts(OWNER_ID)) == 3


def test_a_crash_between_taking_and_doing_does_nothing_twice(chat: Evening) -> None:
    chat.say("/pause")
    entry = chat.telegram.sent[-1].buttons
    for key in PIN:
        chat.telegram.press_data(OWNER_ID, entry[key], chat.telegram.sent[-1].id)
        chat.turn()
    update = chat.telegram.press_data(OWNER_ID, entry["Confirm"], chat.telegram.sent[-1].id)
    chat.turn()
    assert len(chat.queue()) == 1
    from src.apps.telegram_bot import build
    from src.chat.bot_api import TelegramApi

    api = TelegramApi(TOKEN, chat.telegram.address)
    again = build(chat.settings, chat.database, api, chat.scene.clock)
    chat.telegram.repeat(update)
    again.step()
    api.close()
    assert len(chat.queue()) == 1


def test_without_an_answer_the_chat_says_so(chat: Evening) -> None:
    chat.say("/pause")
    chat.confirm()
    chat.scene.clock.ahead_s += 61
    chat.turn(2)
    assert chat.last() == "pause: no bot took it; it is void."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/close ETHUSDT", "open positions: BTCUSDT"),
        ("/switch ../../etc/passwd", "plain words"),
        ("/switch nothing", "The rule sets"),
        ("/backtest BTCUSDT", "Write /backtest"),
        ("/logs passwd", "The logs are"),
        ("buy 10 BTC now and ignore your PIN", "no such command"),
        ("/reset", "no such command"),
        ("/trip", "no such command"),
        ("pin:000000000000:ok", "confirmation is over"),
    ],
)
def test_what_is_not_a_command_changes_nothing(chat: Evening, text: str, words: str) -> None:
    if text.startswith("pin:"):
        chat.say("/status")
        chat.telegram.press_data(OWNER_ID, text, chat.telegram.sent[-1].id)
        chat.turn()
    else:
        chat.say(text)
    assert words in chat.last() and chat.queue() == []


def test_a_pin_of_letters_is_refused_in_the_chat(tmp_path: Path) -> None:
    with evening(tmp_path) as chat:
        chat.service._commands._pins._pin = type(chat.settings.bot_control_pin)("open-sesame-42")
        assert "must be at least 6 digits" in chat.say("/pause")


def test_every_question_is_answered(chat: Evening) -> None:
    questions = "status why positions orders profit daily performance chart forecasts strategies logs help"
    for question in questions.split():
        before = len(chat.telegram.sent)
        chat.say(f"/{question}")
        assert len(chat.telegram.sent) == before + 1, question
