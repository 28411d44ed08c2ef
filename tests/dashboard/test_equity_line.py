"""The equity's line: what was paid in or out makes no fall and hides none, and lies beside what is held."""

from decimal import Decimal
from types import SimpleNamespace

import pytest

from src.dashboard import cards_equity
from src.reporting.equity import EquityPoint
from src.reporting.pages import Scope


def line(monkeypatch, *points, prices=(100.0, 110.0, 120.0, 90.0)):
    told = [
        EquityPoint(f"2026-11-22T10:00:0{second}.000Z", Decimal(equity), Decimal(paid))
        for second, (equity, paid) in enumerate(points)
    ]
    seen = iter(prices)
    monkeypatch.setattr(cards_equity, "_price_at", lambda _look, _symbol, _moment: next(seen))
    reports = SimpleNamespace(equity_curve=lambda *_wanted: told)
    look = SimpleNamespace(reports=reports, scope=Scope(), since=lambda _days: 0, now=0)
    return [row[1:] for row in cards_equity.equity_points(look, "BTCUSDT", 30)]


def test_a_withdrawal_is_no_fall_and_a_deposit_hides_none(monkeypatch):
    points = line(monkeypatch, (10_000, 0), (6_000, -4_000), (5_700, -4_000), (8_700, -1_000))
    assert [fall for _, fall, _ in points] == pytest.approx([0.0, 0.0, -0.05, 8_700 / 9_000 - 1])
    assert [equity for equity, _, _ in points] == [10_000, 6_000, 5_700, 8_700]


def test_what_is_paid_in_or_out_lies_beside_what_is_held(monkeypatch):
    points = line(monkeypatch, (10_000, 500), (9_000, -500), (9_000, -500), (12_000, 2_500))
    assert [hold for _, _, hold in points] == pytest.approx([10_000, 10_000, 11_000, 11_000])


def test_a_bot_without_payments_falls_below_its_highest(monkeypatch):
    assert [fall for _, fall, _ in line(monkeypatch, (100, 0), (110, 0), (99, 0))] == pytest.approx([0.0, 0.0, -0.1])
