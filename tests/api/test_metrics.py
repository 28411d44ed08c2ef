"""What Prometheus reads: the truth of the database in its own form, bounded labels, no secrets."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from src.domain.errors import StoreUnavailable
from tests.api.made import NOON, Made


def read(api: Made) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = api.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.get_data(as_text=True))
    return {(each.name, frozenset(each.labels.items())): each.value for family in families for each in family.samples}


def value(api: Made, name: str, **labels: str) -> float:
    return read(api)[name, frozenset(labels.items())]


def test_the_figures_are_those_of_the_answers(api: Made) -> None:
    stats, performance = api.data("/signals/stats?bot_id=main"), api.data("/trades/performance?bot_id=main")
    for kind in ("buy", "sell", "hold", "acted", "vetoed"):
        assert value(api, "bot_signals_total", bot_id="main", kind=kind) == stats[kind]
    assert value(api, "bot_trades_total", bot_id="main", result="wins") == performance["wins"]
    assert value(api, "bot_equity", bot_id="main") == performance["equity"]
    assert value(api, "bot_circuit_breaker_tripped", bot_id="main") == 0
    position = {"bot_id": "main", "symbol": "BTCUSDT", "side": "LONG"}
    assert value(api, "bot_position_notional", **position) == pytest.approx(0.044 * 65_000.1)
    assert value(api, "bot_position_without_stop", **position) == 0
    assert value(api, "bot_liquidation_distance_share", **position) == pytest.approx(1 - 59_000.1 / 65_000.1)
    assert value(api, "bot_cycle_duration_seconds", bot_id="main", process="trading_bot", symbol="BTCUSDT") == 0.0015


def test_a_silent_bot_is_not_up(api: Made) -> None:
    loop = {"bot_id": "main", "process": "trading_bot"}
    assert value(api, "bot_up", **loop) == 1
    assert value(api, "bot_last_beat_timestamp_seconds", **loop) == NOON / 1000
    api.clock.advance_to(NOON + 200_000)
    assert value(api, "bot_up", **loop) == 0


def test_without_the_database_it_says_so(api: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("away")

    for name in ("version", "read"):
        monkeypatch.setattr(api.source._database, name, away)
    assert value(api, "suite_up") == 0
