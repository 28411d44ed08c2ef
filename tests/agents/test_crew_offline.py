"""A whole crew of the real CrewAI against a scripted model, offline. Only in CrewAI's own environment."""

import pytest

from src.agents.circuit_breaker_tools import tools_for
from src.agents.crew_config import load_crew
from src.agents.crew_runner import CONFIG, build_crew
from src.agents.tool_base import HAS_CREWAI, BaseTool, ToolFailure
from tests.agents.breaker_service import new_breaker_service

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not HAS_CREWAI, reason="CrewAI needs an environment of its own: docs/operations.md says which"),
]

ACTION = "Thought: I look.\nAction: {name}\nAction Input: {arguments}\n"
ANSWER = "Thought: I now know the final answer\nFinal Answer: {text}"


@pytest.fixture
def service(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    breaker_service, database, _ = new_breaker_service(tmp_path)
    yield breaker_service
    database.close()


def scripted(lines):
    from crewai import BaseLLM

    class Scripted(BaseLLM):
        """Says its lines in order, whatever it hears, and keeps what it heard."""

        def call(self, messages, *_args, **_kwargs):
            HEARD.append(str(messages))
            return next(coming)

        def supports_function_calling(self):
            return False

    HEARD.clear()
    coming = iter(lines)
    return Scripted(model="scripted")


HEARD: list[str] = []


def test_the_tools_really_are_crewais(service):
    (tool,) = tools_for("risk_officer", ["check_circuit_breaker"], service)
    assert BaseTool.__module__.startswith("crewai")
    assert isinstance(tool, BaseTool)
    assert ToolFailure.__module__.startswith("crewai")


def test_a_crew_that_sees_danger_trips_the_breaker_and_its_verdict_quotes_the_version(service):
    version = service.state().version
    model = scripted(
        [
            ACTION.format(name="get_risk_metrics", arguments="{}"),
            ANSWER.format(text="Nothing is near a limit."),
            ACTION.format(name="check_circuit_breaker", arguments="{}"),
            ACTION.format(
                name="trip_circuit_breaker", arguments='{"reason": "Two exchanges report halted withdrawals."}'
            ),
            ANSWER.format(text='{"breaker_version": 1, "verdict": "tripped", "reason": "An old version."}'),
            ANSWER.format(
                text=f'{{"breaker_version": {version + 1}, "verdict": "tripped", "reason": "Withdrawals halted."}}'
            ),
            ANSWER.format(text="The risk officer stopped new entries."),
        ]
    )
    crew = build_crew(load_crew(CONFIG), service, model)
    result = crew.kickoff(inputs={"bot_id": "main", "label": "paper, synthetic"})
    assert "stopped new entries" in result.raw
    assert service.state().tripped
    assert service.state().actor == "agent:risk_officer"
    assert any("read it again" in heard for heard in HEARD)


def test_an_agent_that_asks_for_a_tool_to_reset_gets_none(service):
    service.trip("A reason that is long enough.", "agent:risk_officer")
    version = service.state().version
    verdict = f'{{"breaker_version": {version}, "verdict": "tripped", "reason": "It stays so."}}'
    model = scripted(
        [
            ANSWER.format(text="The breaker is tripped."),
            ACTION.format(name="reset_circuit_breaker", arguments='{"pin": "123456"}'),
            ANSWER.format(text=verdict),
            ANSWER.format(text="Nothing changed."),
        ]
    )
    build_crew(load_crew(CONFIG), service, model).kickoff(inputs={"bot_id": "main", "label": "paper, synthetic"})
    assert service.state().tripped
    assert service.state().version == version
