"""Servers of one's own are set up with one command, checked with one question, and never billed."""

import json
import shutil
from contextlib import closing
from decimal import Decimal

import pytest
from sqlalchemy import select

import configure_costs
from src.domain.errors import SourceUnavailable
from src.llm.budgeted_model import paid_model
from src.llm.server_check import CheckFormat, api_address, check_server, chosen_model, models_at
from src.llm.usage_ledger import UsageLedger
from src.runtime.settings import Settings
from src.storage.tables import api_usage
from tests.shared_data import ROOT
from tests.standins.local_servers import KINDS, MODELS, local_stand_in
from tests.stores import new_store


@pytest.fixture
def env(tmp_path, monkeypatch):
    path = tmp_path / ".env"
    shutil.copy(ROOT / ".env.example", path)
    for name in ("CHART_ANALYST", "OPENAI_API_KEY", "OPENAI_MODEL", "OPENAI_NEWS_MODEL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return path


def run(env, *words):
    return configure_costs.main(["local", *words, "--env-file", str(env)])


@pytest.mark.parametrize("kind", KINDS)
def test_each_server_is_asked_until_it_answers_and_what_it_lacks_is_told(kind):
    with local_stand_in(kind) as server:
        found = check_server(server.url, MODELS[kind])
        assert (found.vision, found.schema, found.usage) == (False, kind != "llama_cpp", kind != "llama_cpp")
        assert isinstance(server.requests[-1]["messages"][1]["content"], str), "asked again without the picture"
        assert len(server.requests) == (3 if kind == "llama_cpp" else 2)
    with local_stand_in(kind, sees=True) as server:
        assert check_server(server.url, MODELS[kind]).vision


@pytest.mark.parametrize("kind", KINDS)
def test_one_command_writes_a_server_that_answers_and_the_bot_then_asks_it(env, tmp_path, capsys, kind):
    with local_stand_in(kind) as server, closing(new_store("sqlite", tmp_path)) as database:
        assert run(env, "--base-url", server.root) == 0
        settings = Settings.load(env)
        assert (settings.openai_base_url, settings.openai_model) == (server.url, MODELS[kind])
        assert (settings.openai_news_model, settings.chart_analyst_name) == (MODELS[kind], "openai")
        assert "sees no pictures" in capsys.readouterr().out
        model = paid_model(settings, UsageLedger(database, Decimal("0.01"), "test"), settings.openai_model)
        assert model.ask_text("Repeat.", "BTCUSDT 30000", CheckFormat).pair == "BTCUSDT"
        database.flush()
        with database.read() as connection:
            rows = connection.execute(select(api_usage).where(api_usage.c.outcome == "ok")).mappings().all()
    assert [row["cost_usd"] for row in rows] == [0]


def test_a_model_with_one_of_openai_s_names_on_an_own_server_is_never_billed(tmp_path):
    """vLLM serves under any name, also ``gpt-4o-mini``: no budget is reserved and none is spent."""
    with local_stand_in("vllm") as server, closing(new_store("sqlite", tmp_path)) as database:
        settings = Settings.model_validate({"openai_base_url": server.url, "openai_model": "gpt-4o-mini"})
        ledger = UsageLedger(database, Decimal(0), "test")
        model = paid_model(settings, ledger, "gpt-4o-mini")
        assert model.ask_text("Repeat.", "BTCUSDT 30000", CheckFormat).last_close == 30_000
        database.flush()
        assert ledger.month_cost_usd() == 0


def test_a_server_elsewhere_is_billed_by_the_price_of_its_model_s_name(tmp_path):
    with closing(new_store("sqlite", tmp_path)) as database:
        settings = Settings.model_validate({"openai_base_url": "https://models.example.org/v1"})
        model = paid_model(settings, UsageLedger(database, Decimal(1), "test"), "gpt-4o-mini")
        assert model.most_usd(model.question("a", "b", CheckFormat)) > 0


def test_a_slow_first_token_is_waited_for_and_the_timeout_follows_it(env, capsys):
    with local_stand_in("lm_studio", first_token_s=1.2) as server:
        assert run(env, "--base-url", server.url, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seconds"] >= 1.2 and told["free"] and told["written"]
    assert Settings.load(env).openai_timeout_s >= 30
    with (
        local_stand_in("ollama", first_token_s=5.0) as server,
        pytest.raises(SourceUnavailable, match="no answer within"),
    ):
        check_server(server.url, MODELS["ollama"], timeout_s=0.4)


@pytest.mark.parametrize("kind", ["ollama", "lm_studio", "vllm"])
def test_an_unknown_model_is_named_with_those_that_are_there(env, capsys, kind):
    before = env.read_bytes()
    with local_stand_in(kind) as server:
        assert run(env, "--base-url", server.url, "--model", "x") == 69
        assert MODELS[kind] in capsys.readouterr().err
        with pytest.raises(SourceUnavailable, match="has no model 'x'"):
            check_server(server.url, "x")
        assert len(server.requests) == 1, "asking again cannot help"
    assert env.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("I am a poet.", "never in the shape"),
        (json.dumps({"pair": "ETHUSDT", "last_close": 1, "picture": False}), "not what it was asked"),
    ],
)
def test_a_model_that_answers_nonsense_is_not_written(env, capsys, content, said):
    before = env.read_bytes()
    with local_stand_in("vllm") as server:
        server.content = content
        assert run(env, "--base-url", server.url) == 69
    assert said in capsys.readouterr().err and env.read_bytes() == before


def test_what_is_no_server_is_said_so(env, capsys):
    assert run(env, "--base-url", "http://127.0.0.1:9/v1") == 69
    assert run(env, "--base-url", "ftp://x") == 2
    assert "no http(s) address" in capsys.readouterr().err
    with local_stand_in("ollama") as server, pytest.raises(SourceUnavailable, match="give the address with its path"):
        check_server(f"{server.root}/other", MODELS["ollama"])


def test_a_dry_run_checks_and_writes_nothing(env, capsys):
    before = env.read_bytes()
    with local_stand_in("ollama") as server:
        assert run(env, "--base-url", server.root, "--dry-run") == 0
    assert env.read_bytes() == before and "nothing was written" in capsys.readouterr().out


def test_addresses_get_the_path_that_the_protocol_wants():
    assert api_address("localhost:11434") == "http://localhost:11434/v1"
    assert api_address("http://box.lan:8080/") == "http://box.lan:8080/v1"
    assert api_address("https://x.org/api/v1/") == "https://x.org/api/v1"


def test_of_several_models_one_must_be_named():
    assert chosen_model(["a"], "") == "a" and chosen_model([], "b") == "b"
    for models in (["a", "b"], []):
        with pytest.raises(SourceUnavailable, match="name one with --model"):
            chosen_model(models, "")
    with local_stand_in("vllm") as server:
        assert models_at(server.url) == ["gpt-4o-mini"]
