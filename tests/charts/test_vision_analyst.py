"""The paid analyst against a stand-in of OpenAI: right requests, right bills, the budget kept, the rules as a net."""

import logging
import multiprocessing
import re
from decimal import Decimal

import pytest
from pydantic import BaseModel
from sqlalchemy import select

from src.charts.rule_based_analyst import MARK
from src.charts.vision_analyst import AdviceFormat, ChartFormat, OpenAIAnalyzer, believed, png_size
from src.domain.clock import ManualClock, SystemClock
from src.domain.errors import SourceUnavailable
from src.llm.budgeted_model import BudgetedModel, paid_model
from src.llm.capabilities import LOCAL as LOCAL_SERVER
from src.llm.capabilities import capabilities_of
from src.llm.client import ModelFailed, OpenAIClient, usage_in
from src.llm.pricing import known_models
from src.llm.usage_ledger import UNKNOWN, BudgetSpent, UsageLedger
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.tables import api_usage
from tests.chart_samples import plain_png, resize, wave_view
from tests.standins.openai import ADVICE_ANSWER, FULL_ANSWER, KEY, openai_stand_in

VIEW = wave_view()
PNG = plain_png(1200, 900)


@pytest.fixture
def server():
    with openai_stand_in() as stand_in:
        near = round(VIEW.price * 0.998, 1)
        stand_in.answers["ChartFormat"] |= {"support_levels": [near], "resistance_levels": []}
        yield stand_in


@pytest.fixture
def database(tmp_path):
    database = TradingDatabase(f"sqlite:///{tmp_path}/t.db")
    database.migrate()
    yield database
    database.close()


def build(server, database, model="gpt-6-luna", budget="3.00", *, local=False, key=KEY, timeout_s=5.0, deadline_s=10.0):
    authenticator = OpenAIClient(key, server.url, timeout_s=timeout_s, deadline_s=deadline_s)
    ledger = UsageLedger(database, Decimal(budget), "chart_analysis_bot")
    return OpenAIAnalyzer(BudgetedModel(authenticator, ledger, model, local), resize)


def booked(database):
    database.flush()
    with database.read() as connection:
        return [dict(row) for row in connection.execute(select(api_usage).order_by(api_usage.c.id)).mappings()]


def test_a_reading_comes_back_whole_and_names_its_analyst(server, database):
    opinion = build(server, database).analyze_chart(VIEW, PNG)
    assert (opinion.analyst, opinion.model, opinion.mode, opinion.note) == ("openai", "gpt-6-luna", "full", "")
    assert opinion.reading.trend == FULL_ANSWER["trend"]
    assert opinion.reading.recommendation == "BUY"
    assert opinion.reading.overall_score == 7.5
    assert opinion.reading.technical_signals.as_dict() == FULL_ANSWER["technical_signals"]


def test_the_request_carries_schema_picture_and_figures_and_nothing_the_model_refuses(server, database):
    build(server, database).analyze_chart(VIEW, PNG)
    (body,) = server.requests
    assert body["max_completion_tokens"] and body["reasoning_effort"] == "none"
    assert "max_tokens" not in body and "temperature" not in body and "tools" not in body
    assert body["response_format"]["json_schema"]["strict"] is True
    text, image = body["messages"][1]["content"]
    assert "rsi" in text["text"] and "BTCUSDT" in text["text"]
    assert image["image_url"]["detail"] == "high"


@pytest.mark.parametrize(
    "model", ["gpt-4o", "gpt-4o-mini", "gpt-4.1-mini", "gpt-5.4-mini", "gpt-5.6-luna", "gpt-6.1-terra"]
)
def test_every_priced_model_takes_the_first_request_and_is_billed_to_the_digit(server, database, model):
    opinion = build(server, database, model).analyze_chart(VIEW, PNG)
    assert opinion.analyst == "openai" and len(server.requests) == 1
    assert float(opinion.cost_usd) == pytest.approx(server.billed_usd, rel=1e-12)
    (row,) = booked(database)
    assert row["cost_usd"] == opinion.cost_usd
    assert (row["outcome"], row["operation"], row["symbol"]) == ("ok", "chart", "BTCUSDT")
    assert row["input_tokens"] == opinion.input_tokens > 0 and row["latency_ms"] > 0


def test_tokens_from_the_providers_cache_are_billed_at_their_own_price(server, database):
    server.cached_tokens = 1_024
    opinion = build(server, database).analyze_chart(VIEW, PNG)
    assert float(opinion.cost_usd) == pytest.approx(server.billed_usd, rel=1e-12)


def test_the_picture_is_as_large_as_the_model_is_worth(server, database):
    sizes = []

    def noting(_png, width, height):
        sizes.append((width, height))
        return plain_png(width, height)

    for model in ("gpt-6-luna", "gpt-4o", "gpt-4o-mini"):
        analyzer = build(server, database, model)
        analyzer._resize = noting
        analyzer.analyze_chart(VIEW, PNG)
    assert sizes == [(1200, 900), (1024, 768), (768, 576)]


def test_levels_that_the_chart_cannot_show_are_rejected(server, database):
    span = VIEW.highest - VIEW.lowest
    good, above, far = VIEW.price - span * 0.05, VIEW.price + span * 0.1, VIEW.lowest - span
    server.answers["ChartFormat"] |= {"support_levels": [far, good, above], "resistance_levels": [1.0, VIEW.price * 10]}
    opinion = build(server, database).analyze_chart(VIEW, PNG)
    assert opinion.reading.support_levels == (good,)
    assert opinion.reading.resistance_levels == ()
    assert set(opinion.rejected) == {far, above, 1.0, VIEW.price * 10}


def test_a_score_out_of_range_is_no_answer():
    said = ChartFormat.model_validate(FULL_ANSWER | {"overall_score": 75})
    with pytest.raises(ModelFailed) as caught:
        believed(VIEW, said)
    assert caught.value.code == "bad_answer"


def test_simple_mode_asks_less_pays_less_and_says_what_is_by_rules(server, database):
    analyzer = build(server, database)
    full, simple = analyzer.analyze_chart(VIEW, PNG), analyzer.analyze_chart(VIEW, PNG, "simple")
    assert simple.mode == "simple" and simple.analyst == "openai"
    assert simple.reading.recommendation == ADVICE_ANSWER["recommendation"]
    assert "by rules" in simple.reading.reason
    assert server.requests[1]["max_completion_tokens"] < server.requests[0]["max_completion_tokens"]
    assert simple.input_tokens < full.input_tokens


@pytest.mark.parametrize(
    ("scenario", "calls", "outcome", "code", "billed"),
    [
        ("429 quota", 1, "error", "insufficient_quota", False),
        ("429 rate", 2, "error", "rate_limit_exceeded", False),
        ("500", 2, "error", "server_error", False),
        ("502 html", 2, "error", "http_502", False),
        ("refusal", 1, "refused", "refusal", True),
        ("cut off", 1, "error", "length", True),
        ("content filter", 1, "refused", "content_filter", True),
        ("bad json", 2, "error", "bad_answer", True),
        ("foreign schema", 2, "error", "bad_answer", True),
        ("html with 200", 2, "error", "bad_answer", False),
        ("truncated", 2, "error", "bad_answer", True),
    ],
)
def test_whatever_the_model_does_the_rules_read_the_chart_and_the_books_are_right(
    server, database, scenario, calls, outcome, code, billed
):
    server.always = scenario
    opinion = build(server, database).analyze_chart(VIEW, PNG)
    assert opinion.analyst == "local" and opinion.model == ""
    assert opinion.reading.reason.startswith(MARK)
    assert code in opinion.note
    rows = booked(database)
    assert {(row["outcome"], row["error"]) for row in rows} == {(outcome, code)}
    assert len(server.requests) == calls
    assert len(rows) == calls
    booked_usd = float(sum(row["cost_usd"] for row in rows))
    if scenario in ("truncated", "html with 200"):  # the bill itself is cut off: the most it can be is booked
        assert booked_usd > server.billed_usd
    else:
        assert booked_usd == pytest.approx(server.billed_usd if billed else 0)
    assert opinion.cost_usd == sum(row["cost_usd"] for row in rows)


def test_a_silent_server_is_asked_once_and_booked_at_the_most_it_may_charge(server, database):
    server.always = "hang"
    opinion = build(server, database, timeout_s=0.2, deadline_s=0.5).analyze_chart(VIEW, PNG)
    assert opinion.analyst == "local" and "timeout" in opinion.note
    (row,) = booked(database)
    assert row["outcome"] == "timeout" and row["cost_usd"] > 0 and len(server.requests) == 1


def test_nobody_listening_is_a_reason_not_a_crash(database):
    with openai_stand_in() as gone:
        address = gone
    analyzer = build(address, database)
    assert "connection" in analyzer.analyze_chart(VIEW, PNG).note


def test_one_bad_answer_is_repaired_by_asking_once_more(server, database):
    server.scenarios = ["bad json"]
    opinion = build(server, database).analyze_chart(VIEW, PNG)
    assert opinion.analyst == "openai" and len(server.requests) == 2
    assert float(opinion.cost_usd) == pytest.approx(server.billed_usd, rel=1e-12)


def test_a_rate_limit_that_passes_is_waited_out(server, database):
    server.scenarios = ["429 rate"]
    assert build(server, database).analyze_chart(VIEW, PNG).analyst == "openai"
    assert [row["error"] for row in booked(database)] == ["rate_limit_exceeded", ""]


def test_a_parameter_the_model_refuses_is_left_out_from_then_on(server, database):
    analyzer = build(server, database)
    analyzer._model.capabilities = capabilities_of("gpt-4o")  # temperature 0, as an older table would have it
    for _ in range(2):
        assert analyzer.analyze_chart(VIEW, PNG).analyst == "openai"
    assert [("temperature" in body) for body in server.requests] == [True, False, False]


def test_a_model_without_money_or_key_is_left_in_peace_for_an_hour(server, database):
    server.always = "429 quota"
    analyzer = build(server, database)
    analyzer.analyze_chart(VIEW, PNG)
    asked = len(server.requests)
    assert "left in peace" in analyzer.analyze_chart(VIEW, PNG).note
    assert len(server.requests) == asked
    later = UsageLedger(database, Decimal(3), "chart_analysis_bot", since_ms=SystemClock().now_ms() + 1)
    server.always = "ok"
    renewed = OpenAIAnalyzer(BudgetedModel(OpenAIClient(KEY, server.url), later, "gpt-6-luna"), resize)
    assert renewed.analyze_chart(VIEW, PNG).analyst == "openai", "a restart forgives: the bill may have been paid"


def test_a_wrong_key_is_told_and_never_shown(server, database, caplog):
    secret = "sk-wrong-aaaaaaaaaaaaaaaaaaaaaaaa"
    with caplog.at_level(logging.INFO):
        opinion = build(server, database, key=secret).analyze_chart(VIEW, PNG)
    assert "invalid_api_key" in opinion.note
    shown = caplog.text + str(opinion) + str(booked(database))
    assert secret not in shown and "aaaa" not in shown


def test_a_model_that_is_gone_is_told(server, database):
    assert "model_not_found" in build(server, database, "gpt-4.1-nano", local=True).analyze_chart(VIEW, PNG).note


def test_a_model_whose_price_nobody_knows_is_not_asked(server, database):
    opinion = build(server, database, "gpt-7-nova").analyze_chart(VIEW, PNG)
    assert opinion.analyst == "local" and "price of gpt-7-nova is not known" in opinion.note
    assert server.requests == [] and booked(database) == []


def test_a_local_server_is_asked_in_its_own_words_and_is_free(database):
    with openai_stand_in(server="ollama") as ollama:
        opinion = build(ollama, database, "qwen3-vl:8b", "0", local=True, key="").analyze_chart(VIEW, PNG)
    assert (opinion.analyst, opinion.cost_usd) == ("openai", Decimal(0))
    (row,) = booked(database)
    assert row["input_tokens"] > 0 and row["cost_usd"] == 0


def test_the_budget_is_never_passed_whatever_is_asked(server, database):
    budget = 0.004
    analyzer = build(server, database, "gpt-6.1-terra", str(budget))
    opinions = [analyzer.analyze_chart(VIEW, PNG) for _ in range(6)]
    assert server.billed_usd <= budget
    assert {each.analyst for each in opinions} >= {"local"}
    assert "monthly budget" in opinions[-1].note


def test_what_a_full_reading_is_too_dear_for_still_buys_a_simple_one(server, database):
    model = "gpt-6-luna"
    analyzer = build(server, database, model)
    question = analyzer._model.question("", "x" * 4_000, ChartFormat, 600, PNG)
    full = analyzer._model.most_usd(question, (1200, 900))
    tight = build(server, database, model, str(full * Decimal("0.9")))
    opinion = tight.analyze_chart(VIEW, PNG)
    assert (opinion.analyst, opinion.mode) == ("openai", "simple")
    assert server.billed_usd <= float(full)


def test_the_budget_outlives_a_restart_and_begins_anew_with_the_month(server, database):
    clock = ManualClock(1_795_305_600_000)  # November 2026
    ledger = UsageLedger(database, Decimal("0.01"), "one", clock=clock)
    ledger.reserve("gpt-6-luna", "chart", Decimal("0.009"))
    again = UsageLedger(database, Decimal("0.01"), "two", clock=clock)
    with pytest.raises(BudgetSpent, match=r"0\.0010 left"):
        again.reserve("gpt-6-luna", "news", Decimal("0.002"))
    assert again.month_cost_usd() == Decimal("0.009")
    clock.advance_to(clock.now_ms() + 20 * 86_400_000)
    assert again.month_cost_usd() == 0
    again.reserve("gpt-6-luna", "news", Decimal("0.002"))


def test_a_call_whose_process_died_counts_as_the_most_it_could_cost(database):
    ledger = UsageLedger(database, Decimal(1), "one")
    ledger.reserve("gpt-6-luna", "chart", Decimal("0.4"))
    (row,) = booked(database)
    assert (row["outcome"], row["cost_usd"]) == (UNKNOWN, Decimal("0.4"))
    assert ledger.month_cost_usd() == Decimal("0.4")


def _reserve_until_refused(url, gate, taken):
    database = TradingDatabase(url, patience_s=30.0)
    ledger = UsageLedger(database, Decimal("0.20"), "racer")
    gate.wait()
    count = 0
    while True:
        try:
            ledger.reserve("gpt-6-luna", "chart", Decimal("0.01"))
        except BudgetSpent:
            break
        count += 1
    taken.put(count)
    database.close()


@pytest.mark.long
def test_four_processes_together_do_not_pass_the_budget(database):
    context = multiprocessing.get_context("spawn")
    gate, taken = context.Event(), context.Queue()
    url = f"sqlite:///{database.name}"
    racers = [context.Process(target=_reserve_until_refused, args=(url, gate, taken)) for _ in range(4)]
    for racer in racers:
        racer.start()
    gate.set()
    counts = [taken.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(30)
    assert sum(counts) == 20
    assert UsageLedger(database, Decimal(1), "x").month_cost_usd() == Decimal("0.20")


def test_text_is_asked_on_the_same_terms(server, database):
    class Mood(BaseModel):
        mood: str

    server.answers["Mood"] = {"mood": "calm"}
    ledger = UsageLedger(database, Decimal(3), "chart_analysis_bot")
    model = BudgetedModel(OpenAIClient(KEY, server.url), ledger, "gpt-6-luna")
    assert model.ask_text("Rate it.", "[]", Mood).mood == "calm"
    server.always = "500"
    with pytest.raises(SourceUnavailable):
        model.ask_text("Rate it.", "[]", Mood)
    assert [row["outcome"] for row in booked(database)] == ["ok", "error", "error"]


def test_more_tokens_than_expected_raise_an_alarm(server, database, caplog, monkeypatch):
    monkeypatch.setattr("tests.standins.openai.text_tokens", lambda body: 200_000)
    build(server, database).analyze_chart(VIEW, PNG)
    assert "more tokens than expected" in caplog.text


def test_every_model_with_a_price_has_a_way_to_be_asked():
    for price in known_models():
        assert capabilities_of(price.name) is not LOCAL_SERVER
        assert capabilities_of(price.name + "-2026-01-01") == capabilities_of(price.name)
    assert capabilities_of("qwen3-vl:8b", local_server=True) is LOCAL_SERVER


def test_a_model_with_a_known_end_is_warned_of(database, caplog, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    settings = Settings.load(tmp_path / "none")
    paid_model(settings, UsageLedger(database, Decimal(3), "x"), "gpt-4o")
    assert re.search(r"gpt-4o on=2027-01-14 instead=gpt-6-luna", caplog.text)


def test_without_a_model_the_rules_read_and_nothing_is_booked(database):
    opinion = OpenAIAnalyzer(None, resize).analyze_chart(VIEW, PNG)
    assert (opinion.analyst, opinion.note, opinion.cost_usd) == ("local", "", 0)
    assert booked(database) == []


def test_a_locked_database_means_no_paid_call(server, database, tmp_path):
    import sqlite3

    analyzer = build(server, TradingDatabase(f"sqlite:///{tmp_path}/t.db", patience_s=0.1))
    blocker = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        opinion = analyzer.analyze_chart(VIEW, PNG)
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
    assert opinion.analyst == "local" and "locked" in opinion.note
    assert server.requests == []


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"usage": null}', '{"usage": "none"}'])
def test_a_bill_that_makes_no_sense_is_no_bill(body):
    assert usage_in(body) is None


def test_a_picture_that_is_none_is_refused():
    with pytest.raises(ValueError, match="PNG"):
        png_size(b"GIF89a")


def test_the_schemas_hold_no_default_and_no_open_object():
    for schema in (ChartFormat, AdviceFormat):
        assert "'default'" not in str(schema.model_json_schema())
