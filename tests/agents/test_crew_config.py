"""The crew's file cannot give an agent more than a brake; the verdict must rest on what stands now."""

import json

import pytest
import yaml

from src.agents.circuit_breaker_tools import ACTING, READING
from src.agents.crew_config import ACTING_TOOLS, READING_TOOLS, load_crew
from src.agents.crew_runner import CONFIG, main, verdict_guard
from src.domain.errors import SettingsError
from tests.agents.breaker_service import new_breaker_service

GIVEN = yaml.safe_load(CONFIG.read_text())


def test_the_file_that_is_shipped_is_in_order_and_names_every_tool():
    config = load_crew(CONFIG)
    assert {tool for agent in config.agents.values() for tool in agent.tools} == READING_TOOLS | ACTING_TOOLS
    assert [name for name, agent in config.agents.items() if agent.may_act] == ["risk_officer"]


def test_the_lists_of_tools_are_the_tools_there_are():
    assert {kind.model_fields["name"].default for kind in READING} == READING_TOOLS
    assert {kind.model_fields["name"].default for kind in ACTING} == ACTING_TOOLS


def test_the_command_checks_without_crewai(capsys, tmp_path):
    assert main(["--check"]) == 0
    assert "3 agents, 3 tasks" in capsys.readouterr().out
    assert main(["--check", "--config", str(tmp_path / "none.yaml")]) == 78


def changed(path, *keys, value):
    content = json.loads(json.dumps(GIVEN))
    part = content
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (("agents", "risk_officer", "tools"), ["reset_circuit_breaker"], "no tool reset_circuit_breaker"),
        (("agents", "market_analyst", "tools"), ["trip_circuit_breaker"], "may_act"),
        (("agents", "market_analyst", "may_act"), True, "only one agent may act"),
        (("agents", "market_analyst", "allow_code_execution"), True, "allow_code_execution"),
        (("tasks", "judge", "agent"), "nobody", "no agent nobody"),
        (("tasks", "look", "context"), ["report"], "does not come before"),
        (("telemetry",), True, "telemetry"),
        (("version",), 2, "version"),
        (("crew", "process"), "hierarchical", "process"),
        (("agents",), {}, "agents"),
    ],
)
def test_what_would_give_more_is_refused_in_words(tmp_path, keys, value, words):
    with pytest.raises(SettingsError) as refused:
        load_crew(changed(tmp_path / "crew.yaml", *keys, value=value))
    assert words in str(refused.value)


@pytest.mark.parametrize("text", ["", "- a list", "a: [", "!!python/object/apply:os.system ['true']", "x" * 100_001])
def test_nonsense_and_yaml_that_would_run_code_are_refused(tmp_path, text):
    (tmp_path / "crew.yaml").write_text(text)
    with pytest.raises(SettingsError):
        load_crew(tmp_path / "crew.yaml")


@pytest.fixture
def breaker_service(tmp_path):
    breaker_service, database, _ = new_breaker_service(tmp_path)
    yield breaker_service
    database.close()


def said(version, verdict="go_on", reason="All within limits."):
    return json.dumps({"breaker_version": version, "verdict": verdict, "reason": reason})


def test_a_verdict_about_the_present_version_passes_also_in_a_code_fence(breaker_service):
    guard, version = verdict_guard(breaker_service), breaker_service.state().version
    assert guard(said(version)) == (True, said(version))
    assert guard(f"```json\n{said(version)}\n```") == (True, said(version))


def test_a_verdict_about_another_version_or_in_other_words_is_sent_back(breaker_service):
    guard, version = verdict_guard(breaker_service), breaker_service.state().version
    breaker_service.trip("A reason that is long enough.", "agent:x")
    for text in (
        said(version),
        said(version + 1, "buy"),
        said(version + 1, reason="x" * 501),
        "All is well.",
        '["list"]',
    ):
        passed, why = guard(text)
        assert not passed
        assert why
    assert guard(said(version + 1, "tripped"))[0]


def test_nobody_says_tripped_who_did_not_trip(breaker_service):
    assert not verdict_guard(breaker_service)(said(breaker_service.state().version, "tripped"))[0]
