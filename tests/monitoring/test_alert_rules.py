"""What is alarming, and what is not: each kind by its own small case."""

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from src.monitoring.alert_rules import RUNBOOK, AlertFacts, AlertKind, AlertLimits, HeldPosition, alerts_of

ROOT = Path(__file__).resolve().parents[2]
CALM = HeldPosition("main", "BTCUSDT", "LONG", True, True, Decimal(50_000), Decimal(40_000))


def kinds(**facts):
    return [alert.kind for alert in alerts_of(AlertFacts(**facts), AlertLimits())]


def test_a_guarded_position_on_a_good_disk_is_no_alarm():
    assert kinds(positions=[CALM], free_disk_share=0.5, failed_logins=4) == []


@pytest.mark.parametrize(
    ("held", "kind"),
    [
        (replace(CALM, guarded=False), AlertKind.NO_STOP),
        (replace(CALM, own=False), AlertKind.DIFFERENCE),
        (replace(CALM, own=False, guarded=False), AlertKind.DIFFERENCE),
        (replace(CALM, liquidation_price=Decimal(47_501)), AlertKind.LIQUIDATION),
        (replace(CALM, side="SHORT", liquidation_price=Decimal(52_499)), AlertKind.LIQUIDATION),
    ],
)
def test_a_position_in_danger_is_one_alarm(held, kind):
    assert kinds(positions=[held]) == [kind]


@pytest.mark.parametrize("price", [None, Decimal(0), Decimal(47_500)])
def test_a_liquidation_that_is_far_or_does_not_exist_is_none(price):
    assert kinds(positions=[replace(CALM, liquidation_price=price)]) == []


def test_the_machine_is_watched_too():
    assert kinds(failed_logins=5) == [AlertKind.LOGIN_ATTACK]
    assert kinds(free_disk_share=0.0999) == [AlertKind.DISK]
    assert kinds(free_disk_share=None) == []
    assert kinds(database_trouble="The database is locked.") == [AlertKind.DATABASE]


def test_a_repeated_fact_is_one_alert():
    foreign = replace(CALM, own=False)
    facts = AlertFacts(halts=[("main/BTCUSDT", "the exchange holds what we did not open.")], positions=[foreign])
    assert len(alerts_of(facts, AlertLimits())) == 1


def test_loss_limit_disk_and_model_wait_for_the_morning_and_nothing_else_does():
    facts = AlertFacts(silent=[("a", "x")], loss_limits=[("a", "x")], models=[("a", "x")], breakers=[("a", "x")])
    critical = {alert.kind: alert.critical for alert in alerts_of(facts, AlertLimits())}
    assert critical == {
        AlertKind.SILENT: True,
        AlertKind.LOSS_LIMIT: False,
        AlertKind.BREAKER: True,
        AlertKind.MODEL: False,
    }


def test_every_alert_has_a_runbook_section_with_meaning_check_act_and_undo():
    text = (ROOT / RUNBOOK).read_text(encoding="utf-8")
    sections = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-"): body
        for heading, body in re.findall(r"^### (.+)\n((?:(?!^##).*\n)+)", text, re.MULTILINE)
    }
    assert {str(kind) for kind in AlertKind} <= set(sections)
    for kind in AlertKind:
        for word in ("**Means**", "**Check**", "**Act**", "**Undo**"):
            assert word in sections[str(kind)], f"{kind} lacks {word}"
