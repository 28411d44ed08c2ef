"""What REST promises: the spec's endpoints, right rows, whole pages, honest tags, one shape of refusal."""

import csv
import io
import json
import logging
import re
from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from src.api.auth import HEADERS
from src.api.operation import ROOT, Operation
from src.api.operations import OPERATIONS
from src.domain.errors import StoreUnavailable
from tests.api.made import NOON, SIGNALS, SYMBOLS, TRADES, Made, links, state_of

SPEC = (
    "/signals",
    "/signals/stats",
    "/trades",
    "/trades/performance",
    "/market-context",
    "/market-context/history",
    "/chart-analysis",
    "/bot-status",
    "/analytics/summary",
    "/health",
    "/info",
)
GETS = [each for each in OPERATIONS if each.method == "GET"]
PROBLEM = {"type", "title", "status", "detail", "instance", "request_id"}
INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z")


def named(operation: Operation) -> str:
    return operation.name


def valid(operation: Operation, body: Any) -> None:
    Draft202012Validator(operation.body_schema, format_checker=FormatChecker()).validate(body)


def refused(answer: Any, status: int) -> dict[str, Any]:
    """Return a problem document after checking its shape."""
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    problem = json.loads(answer.get_data())
    assert PROBLEM <= set(problem) <= PROBLEM | {"errors"}
    assert (problem["status"], problem["request_id"]) == (status, answer.headers["X-Request-ID"])
    return problem


def walk(value: Any) -> Any:
    """Yield every value of an answer with the name it stands under."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield name, each
            yield from walk(each)
    elif isinstance(value, list):
        for each in value:
            yield from walk(each)


def test_the_spec_is_there_word_for_word() -> None:
    told = [each.path for each in GETS if each.tool]
    assert tuple(path for path in told if path in SPEC) == SPEC
    assert set(told) - set(SPEC) == {"/forecasts", "/forecasts/scores", "/news", "/news/sentiment", "/signals/external"}


@pytest.mark.parametrize("operation", GETS, ids=named)
def test_every_answer_is_as_its_schema_says(api: Made, operation: Operation) -> None:
    answer = api.get(operation.path)
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    valid(operation, answer.get_json())
    assert operation.told == (answer.get_json().get("meta", {}).get("label") == "paper, synthetic")


def test_an_empty_database_answers_too(api: Made) -> None:
    for table in ("signals", "trades", "account_balance", "daily_performance", "market_context", "chart_analyses"):
        api.writer.write(lambda connection, table=table: connection.exec_driver_sql(f"DELETE FROM {table}"))
    api.writer.write(lambda connection: connection.exec_driver_sql("DELETE FROM bot_status"))
    for operation in GETS:
        answer = api.get(operation.path)
        if operation.missing:
            refused(answer, 404)
        else:
            assert answer.status_code == (503 if operation.path == "/health" else 200)
            valid(operation, answer.get_json())


@pytest.mark.parametrize(
    "query, holds",
    [
        ("signal_type=BUY", lambda row: row["signal_type"] == "BUY"),
        ("min_strength=3", lambda row: row["strength"] >= 3),
        ("acted=true", lambda row: row["acted"] is True),
        ("acted=false", lambda row: row["acted"] is False),
        ("symbol=ETHUSDT", lambda row: row["symbol"] == "ETHUSDT"),
        ("bot_id=main", lambda row: row["bot_id"] == "main"),
        ("start_date=2026-11-22T10:00:00Z", lambda row: row["timestamp"] >= "2026-11-22T10:00:00.000Z"),
        ("start_date=2026-11-22T12:00:00%2B02:00", lambda row: row["timestamp"] >= "2026-11-22T10:00:00.000Z"),
        ("end_date=2026-11-22T10:00:00Z", lambda row: row["timestamp"] < "2026-11-22T10:00:00.000Z"),
        (
            "signal_type=SELL&min_strength=3&acted=false",
            lambda row: row["signal_type"] == "SELL" and row["strength"] >= 3 and not row["acted"],
        ),
    ],
)
def test_filters_of_signals_leave_exactly_what_they_say(api: Made, query: str, holds: Any) -> None:
    everything = api.all_rows("/signals?limit=1000")
    wanted = [row["id"] for row in everything if holds(row)]
    assert 0 < len(wanted) <= len(everything)
    assert [row["id"] for row in api.all_rows(f"/signals?limit=1000&{query}")] == wanted


@pytest.mark.parametrize(
    "query, holds",
    [
        ("status=closed", lambda row: row["status"] == "closed"),
        ("side=SHORT", lambda row: row["side"] == "SHORT"),
        ("min_pnl=5.5", lambda row: row["pnl"] >= 5.5),
        ("max_pnl=-3", lambda row: row["pnl"] <= -3),
        ("min_pnl=-1&max_pnl=1e1", lambda row: -1 <= row["pnl"] <= 10),
        ("symbol=BTCUSDT&side=LONG", lambda row: (row["symbol"], row["side"]) == ("BTCUSDT", "LONG")),
    ],
)
def test_filters_of_trades_leave_exactly_what_they_say(api: Made, query: str, holds: Any) -> None:
    everything = api.all_rows("/trades?limit=1000")
    wanted = [row["id"] for row in everything if holds(row)]
    assert 0 < len(wanted) <= TRADES
    assert [row["id"] for row in api.all_rows(f"/trades?limit=1000&{query}")] == wanted


def test_a_contract_in_small_letters_a_python_true_and_a_slash_at_the_end_are_understood(api: Made) -> None:
    for path, same in (
        (f"/trades?symbol={SYMBOLS[0].lower()}", f"/trades?symbol={SYMBOLS[0]}"),
        ("/signals?acted=True", "/signals?acted=true"),
        ("/signals?acted=False", "/signals?acted=false"),
        ("/trades/", "/trades"),
        ("/market-context/history/?hours=24", "/market-context/history?hours=24"),
    ):
        found, wanted = api.get(path), api.get(same)
        assert found.status_code == wanted.status_code == 200
        assert found.get_json()["count"] == wanted.get_json()["count"] if "count" in wanted.get_json() else True
        assert found.get_data() == wanted.get_data() or "next" in wanted.get_data(as_text=True)


def test_a_day_as_the_end_holds_that_whole_day_and_an_instant_what_lies_before_it(api: Made) -> None:
    trades = api.get("/trades?limit=500").get_json()["data"]
    day = trades[0]["timestamp"][:10]
    of_day = {row["id"] for row in trades if row["timestamp"][:10] == day}
    assert len(of_day) > 1, "else this proves nothing"

    def found(query: str) -> set[int]:
        return {row["id"] for row in api.get(f"/trades?limit=500&{query}").get_json()["data"]}

    assert found(f"start_date={day}&end_date={day}") == of_day
    assert found(f"start_date={day}&end_date={day.replace('-', '')}") == of_day
    assert not found(f"start_date={day}&end_date={day}T00:00:00Z") & of_day
    noon = sorted(row["timestamp"] for row in trades)[len(trades) // 2]
    assert found(f"end_date={noon}") == {row["id"] for row in trades if row["timestamp"] < noon}


def test_worlds_and_modes_are_never_mixed(api: Made) -> None:
    rows = api.all_rows("/signals?limit=1000")
    assert {(row["mode"], row["world"]) for row in rows} == {("paper", "synthetic")}
    assert len(rows) == SIGNALS + 1  # one of the second bot's, none of the other worlds'
    assert api.data("/signals?bot_id=second")[0]["bot_id"] == "second"


@pytest.mark.parametrize(
    "path",
    [
        "/signals?limt=5",
        "/signals?limit=0",
        "/signals?limit=1001",
        "/signals?limit=1_0",
        "/signals?offset=-1",
        "/signals?offset=1000000001",
        "/signals?signal_type=buy",
        "/signals?min_strength=7",
        "/signals?acted=yes",
        "/signals?start_date=yesterday",
        "/signals?cursor=2026",
        "/signals?symbol=BTCUSDT%0A",
        "/trades?status=all",
        "/trades?min_pnl=NaN",
        "/trades?min_pnl=1e99",
        "/trades/performance?hours=0",
        "/trades/performance?hours=1.5",
        "/info?x=1",
    ],
)
def test_what_is_not_understood_is_refused_by_name(api: Made, path: str) -> None:
    problem = refused(api.get(path), 422)
    if "errors" in problem:
        assert problem["errors"][0]["parameter"] in path


@pytest.mark.parametrize(
    "path",
    ["/signals?limit=1&limit=2", "/signals?signal_type=BUY&signal_type=SELL", "/trades?side=LONG&side=LONG&limit=5"],
)
def test_a_parameter_said_twice_is_refused_and_not_halved(api: Made, path: str) -> None:
    problem = refused(api.get(path), 422)
    assert [each["reason"] for each in problem["errors"]] == ["Said more than once."]
    assert problem["errors"][0]["parameter"] in path


@pytest.mark.parametrize("path", ["/%00", "/signals%00", "/%ff%fe", "/a b", "/../../etc/passwd", "/é"])
def test_an_address_that_leads_nowhere_is_told_as_an_address(api: Made, path: str) -> None:
    problem = refused(api.get(path), 404)
    assert re.fullmatch(r"[A-Za-z0-9%/._~-]+", problem["instance"])
    assert f"{ROOT}/info" in problem["detail"]


@pytest.mark.parametrize(
    "accept, kind",
    [
        ("application/xml", "application/json"),
        ("*/*", "application/json"),
        ("text/html, */*;q=0.8", "application/json"),
        ("text/csv;q=0", "application/json"),
        ("application/json;q=0.4, text/csv;q=0.5", "text/csv; charset=utf-8"),
        ("nonsense", "application/json"),
    ],
)
def test_what_is_accepted_decides_between_json_and_csv(api: Made, accept: str, kind: str) -> None:
    assert api.get("/trades?limit=1", Accept=accept).content_type == kind


def test_a_question_for_the_head_alone_has_the_same_head(api: Made) -> None:
    for path in ("/signals?limit=3", "/trades/performance", "/health", "/openapi.json"):
        whole, head = api.get(path), api.client.head(ROOT + path)
        assert (head.status_code, head.data) == (200, b"")
        for name in ("ETag", "Content-Type", "Content-Length", "Link"):
            assert head.headers.get(name) == whole.headers.get(name), (path, name)


@pytest.mark.parametrize("path", ["/signals", "/trades", "/market-context/history"])
def test_a_cursor_that_no_page_gave_leads_nowhere(api: Made, path: str) -> None:
    refused(api.get(f"{path}?cursor=2026-13-22T10:00:00.000Z_5"), 404)


def test_an_offset_counts_from_the_cursor(api: Made) -> None:
    page = api.get("/trades?limit=10").get_json()["page"]
    rows = api.data(f"/trades?limit=5&offset=3&cursor={page['next_cursor']}")
    assert rows == api.data("/trades?limit=5&offset=13")


@pytest.mark.parametrize(
    "path", ["/signals", "/trades", "/signals?min_strength=2", "/market-context/history?hours=9000"]
)
def test_pages_lose_and_repeat_nothing_while_rows_are_added(api: Made, path: str) -> None:
    joint = "&" if "?" in path else "?"
    before = [row["id"] for row in api.all_rows(f"{path}{joint}limit=1000")]
    seen, asked, number = [], f"{ROOT}{path}{joint}limit=17", 0
    while asked and number < 1_000:
        answer = api.client.get(asked)
        seen += [row["id"] for row in answer.get_json()["data"]]
        asked, number = links(answer).get("next", ""), number + 1
        if number < 15:
            api.add_signal(number, signal_type="BUY", strength=4)
            api.add_trade(number)
            api.add_context(number)
    assert seen == before
    assert len(seen) > 3 * 17


def test_offsets_page_for_people_and_lead_back(api: Made) -> None:
    whole = [row["id"] for row in api.data("/trades?limit=30")]
    answer = api.get("/trades?limit=10&offset=20&side=LONG")
    assert links(answer)["prev"] == f"{ROOT}/trades?limit=10&side=LONG&offset=10"
    assert [row["id"] for row in api.data("/trades?limit=10&offset=20")] == whole[20:]
    page = api.get("/trades?limit=10").get_json()["page"]
    assert (page["count"], page["total"], page["total_is_minimum"]) == (10, TRADES, False)


@pytest.mark.parametrize("operation", GETS, ids=named)
def test_an_unchanged_answer_is_confirmed_and_a_changed_one_sent(api: Made, operation: Operation) -> None:
    tag = api.get(operation.path).headers["ETag"]
    again = api.get(operation.path, **{"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    if operation.path in ("/livez", "/info", "/readyz"):
        return
    api.add_signal(1)
    api.writer.write(lambda connection: connection.exec_driver_sql("UPDATE bot_status SET cycle_no = cycle_no + 1"))
    fresh = api.get(operation.path, **{"If-None-Match": tag})
    assert fresh.status_code == 200
    assert fresh.headers["ETag"] != tag


def test_documents_have_tags_too(api: Made) -> None:
    for path in ("/openapi.json", "/docs"):
        tag = api.get(path).headers["ETag"]
        assert api.get(path, **{"If-None-Match": tag}).status_code == 304


def test_time_alone_makes_an_answer_new_where_it_speaks_of_time(api: Made) -> None:
    seen = {path: api.get(path).headers["ETag"] for path in ("/trades", "/trades/performance?hours=1", "/bot-status")}
    api.clock.advance_to(NOON + 70_000)
    same = {path: api.get(path, **{"If-None-Match": tag}).status_code for path, tag in seen.items()}
    assert same == {"/trades": 304, "/trades/performance?hours=1": 200, "/bot-status": 200}


def test_an_answer_from_memory_is_the_one_that_was_made(api: Made) -> None:
    first, second = api.get("/signals?limit=3"), api.get("/signals?limit=3")
    assert first.data == second.data
    assert links(first) == links(second)
    api.add_signal(1)
    assert api.get("/signals?limit=3").get_json()["data"][0]["id"] != first.get_json()["data"][0]["id"]


@pytest.mark.parametrize("path", ["/signals?limit=20&symbol=BTCUSDT", "/trades?limit=20&symbol=BTCUSDT"])
def test_csv_holds_the_same_rows(api: Made, path: str) -> None:
    answer = api.get(path, Accept="text/csv")
    assert answer.content_type == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))
    told = api.data(path)
    assert [row["id"] for row in rows] == [row["id"] for row in told]
    assert set(rows[0]) == set(told[0])
    assert links(answer)["next"] == links(api.get(path))["next"]
    assert api.get("/health", Accept="text/csv").content_type == "application/json"


def test_csv_makes_no_spreadsheet_calculate(api: Made) -> None:
    api.add_signal(1, reason="=HYPERLINK(1)", outcome="@x", veto="-1+1")
    row = next(csv.DictReader(io.StringIO(api.get("/signals?limit=1", Accept="text/csv").get_data(as_text=True))))
    assert (row["reason"], row["outcome"], row["veto"]) == ("'=HYPERLINK(1)", "'@x", "'-1+1")


@pytest.mark.parametrize("path", ["/signals?limit=200", "/trades?limit=200", "/analytics/summary", "/bot-status"])
def test_numbers_ids_and_instants_are_clean(api: Made, path: str) -> None:
    ratios = {"value", "ci95", "mean_strength", "mean_confidence", "win_rate", "profit_factor"}
    for name, value in walk(api.get(path).get_json()):
        if name == "id" or name in ("signal_id", "context_id"):
            assert value is None or isinstance(value, str)
        if isinstance(value, float) and name not in ratios and not name.endswith("share"):
            assert -Decimal(repr(value)).normalize().as_tuple().exponent <= 8, (name, value)
        if name in ("timestamp", "as_of", "entry_time", "exit_time", "since"):
            assert INSTANT.fullmatch(value)


def test_prices_stand_on_the_tick_and_quantities_on_the_step(api: Made) -> None:
    api.add_trade(1, entry_price=Decimal("65000.053333333"), quantity=Decimal("0.0440001"))
    row = api.data("/trades?limit=1")[0]
    assert (row["entry_price"], row["quantity"]) == (65000.1, 0.044)
    api.add_trade(2, symbol="SOLUSDT", entry_price=Decimal("150.123456789"))
    assert api.data("/trades?limit=1")[0]["entry_price"] == 150.12345679  # its step is not known: eight decimals


@pytest.mark.parametrize(
    "method, path, body, kind, status",
    [
        ("GET", "/nothing", b"", "", 404),
        ("DELETE", "/signals", b"", "", 405),
        ("POST", "/trades", b"{}", "application/json", 405),
        ("POST", "/circuit-breaker/trip", b"{}" + b" " * 70_000, "application/json", 413),
    ],
)
def test_every_refusal_has_one_shape(api: Made, method: str, path: str, body: bytes, kind: str, status: int) -> None:
    answer = api.client.open(ROOT + path, method=method, data=body, content_type=kind or None)
    refused(answer, status)
    assert status != 405 or "GET" in answer.headers["Allow"]


def test_a_fault_shows_nothing_and_is_found_in_the_log(
    api: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("SELECT secret FROM /srv/somewhere.db")

    monkeypatch.setattr(api.source.reports, "signals", fail)
    with caplog.at_level(logging.INFO):
        answer = api.get("/signals")
    problem = refused(answer, 500)
    assert set(HEADERS.items()) <= set(answer.headers.items())
    assert not re.search(r"SELECT|/srv|Traceback|RuntimeError", answer.get_data(as_text=True))
    assert any(problem["request_id"] in record.getMessage() and record.exc_info for record in caplog.records)


def test_an_absent_database_is_told_without_its_path(api: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("The database /srv/x.db is locked by another program.")

    for name in ("version", "read"):
        monkeypatch.setattr(api.source._database, name, away)
    answer = api.get("/signals")
    assert "/srv" not in refused(answer, 503)["detail"]
    assert answer.headers["Retry-After"] == "5"
    assert api.get("/livez").status_code == 200
    for path in ("/readyz", "/health"):
        unwell = api.get(path)
        assert (unwell.status_code, unwell.get_json()["status"]) == (503, "down")


def test_health_is_down_after_two_missed_cycles(api: Made) -> None:
    assert api.get("/health").get_json()["status"] == "up"
    api.clock.advance_to(NOON + 119_000)
    assert api.get("/health").status_code == 200
    api.clock.advance_to(NOON + 121_000)
    answer = api.get("/health")
    assert (answer.status_code, answer.get_json()["status"]) == (503, "down")
    assert api.data("/bot-status")["running"] is False


def test_a_loop_that_beats_but_turns_no_more_is_down(api: Made) -> None:
    api.clock.advance_to(NOON + 200_000)
    api.beat(cycle_finished="2026-11-22T12:00:00.000Z")
    assert api.get("/health").status_code == 503
    assert "two cycles missed" in api.data("/bot-status")["bots"][0]["processes"][0]["condition"]


def test_health_is_degraded_by_what_is_not_trading(api: Made) -> None:
    api.beat(process="chart_analysis_bot", interval_s=900.0)
    api.clock.advance_to(NOON + 2_000_000)
    api.beat()
    answer = api.get("/health")
    assert (answer.status_code, answer.get_json()["status"]) == (200, "degraded")


def test_hours_are_the_markets_hours(api: Made) -> None:
    api.beat(timestamp="2026-11-22T12:00:00.000Z", speed=60.0)
    api.clock.advance_to(NOON + 5_000 + 60_000)  # a minute here is an hour there
    total = api.data("/signals/stats?hours=2")["total"]
    assert total == len(
        [r for r in api.all_rows("/signals?limit=1000") if r["timestamp"] >= "2026-11-22T11:00:00.000Z"]
    )


def test_asking_changes_nothing(api: Made) -> None:
    before = state_of(api)
    for operation in GETS:
        for query in ("", "?limit=3", "?hours=5", "?bot_id=main"):
            api.get(operation.path + query)
    for path in (f"{ROOT}/openapi.json", f"{ROOT}/docs", "/metrics", "/mcp"):
        api.client.get(path)
    assert state_of(api) == before


def test_symbols_of_the_answers_are_those_traded(api: Made) -> None:
    assert {row["symbol"] for row in api.all_rows("/trades?limit=1000")} == set(SYMBOLS)
