"""Runs the CrewAI crew of config/crewai_config.yaml once, in CrewAI's own environment.

``python -m src.agents.crew_runner`` prints the report; ``--check`` reads the configuration alone, without CrewAI. The
crew is advice and a brake: that it fails, is slow or says nonsense changes nothing about trading.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from src.agents.circuit_breaker_service import CircuitBreakerService
from src.agents.crew_config import CrewConfig, TaskPart, load_crew
from src.domain.clock import SystemClock, monotonic_s, utc_text
from src.domain.errors import SettingsError, StoreCorrupt, StoreUnavailable
from src.domain.version import VERSION_LINE
from src.llm.pricing import cost_usd
from src.runtime.logging_setup import configure_logs
from src.runtime.settings import PROJECT_ROOT, Settings, export
from src.storage.database import TradingDatabase
from src.storage.rows import ApiUsage, Owner

log = logging.getLogger("crew_runner")

CONFIG: Final = PROJECT_ROOT / "config" / "crewai_config.yaml"
_STALE_AFTER: Final = {  # nothing is reported to anybody
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "OTEL_SDK_DISABLED": "true",
}
_VERDICTS: Final = frozenset({"go_on", "tripped", "reset_requested"})


def verdict_guard(breaker_service: CircuitBreakerService) -> Callable[[Any], tuple[bool, Any]]:
    """Return the check of a verdict: JSON, a known word, and the version of the breaker that stands now.

    A verdict about a state that is over, or one that was never read, is sent back with the reason.
    """

    def guard(output: Any) -> tuple[bool, Any]:
        text = str(getattr(output, "raw", output)).strip().removeprefix("```json").strip("`\n ")
        try:
            said = json.loads(text)
            version, verdict, reason = said["breaker_version"], said["verdict"], said["reason"]
        except (ValueError, KeyError, TypeError):
            return False, "Answer with a JSON object of breaker_version, verdict and reason alone."
        if verdict not in _VERDICTS or not isinstance(reason, str) or len(reason) > 500:
            return False, f"verdict must be one of {', '.join(sorted(_VERDICTS))}, reason one sentence."
        state = breaker_service.state()
        if version != state.version:
            return False, f"The breaker's version is {state.version}: read it again and judge anew."
        if verdict == "tripped" and not state.tripped:
            return False, "The breaker is ARMED: trip it with the tool or say go_on."
        return True, json.dumps({"breaker_version": version, "verdict": verdict, "reason": reason})

    return guard


def build_crew(config: CrewConfig, breaker_service: CircuitBreakerService, llm: Any) -> Any:
    """Return CrewAI's crew for the configuration; ``llm`` is a CrewAI model, or a scripted one in tests.

    Raises:
        SettingsError: CrewAI is not installed here.
    """
    export(_STALE_AFTER | {"CREWAI_STORAGE_DIR": str(PROJECT_ROOT / "state" / "crewai")})
    try:
        from crewai import Agent, Crew, Process, Task
    except ImportError as error:
        install = ".venv-agents/bin/python scripts/install_packages.py requirements-agents.txt"
        how = f"python3 -m venv .venv-agents && {install}"
        raise SettingsError((f"CrewAI is not installed in this environment: type `{how}`.",)) from error
    from src.agents.circuit_breaker_tools import tools_for

    agents = {
        name: Agent(
            role=part.role,
            goal=part.goal,
            backstory=part.backstory,
            tools=tools_for(name, part.tools, breaker_service),
            llm=llm,
            max_iter=part.max_iter,
            max_execution_time=int(config.crew.max_seconds),
            allow_delegation=False,
            cache=False,
            verbose=False,
        )
        for name, part in config.agents.items()
    }
    tasks: dict[str, Any] = {}
    for name, part in config.tasks.items():
        tasks[name] = Task(agent=agents[part.agent], **_task_words(part, tasks, breaker_service))
    return Crew(
        agents=list(agents.values()),
        tasks=list(tasks.values()),
        process=Process.sequential,
        max_rpm=config.crew.max_rpm,
        cache=False,
        memory=False,
        tracing=False,
        verbose=False,
    )


def _task_words(part: TaskPart, before: dict[str, Any], breaker_service: CircuitBreakerService) -> dict[str, Any]:
    words: dict[str, Any] = {"description": part.description, "expected_output": part.expected_output}
    if part.context:
        words["context"] = [before[name] for name in part.context]
    if part.verdict:
        words["guardrail"] = verdict_guard(breaker_service)
    return words


def build_model(config: CrewConfig, settings: Settings) -> Any:
    """Return CrewAI's model for the settings; raises ``SettingsError`` without key and without a local address."""
    key, address = settings.openai_api_key.get_secret_value(), settings.openai_base_url
    if not key and not address:
        raise SettingsError(("OPENAI_API_KEY is empty: write yours, or OPENAI_BASE_URL of a local server.",))
    export(_STALE_AFTER)
    from crewai import LLM

    return LLM(
        model=f"openai/{settings.openai_model}",
        base_url=address or None,
        api_key=key or "local",
        timeout=config.llm.timeout_s,
        max_completion_tokens=config.llm.max_completion_tokens,
        max_retries=0,
    )


def run_once(config: CrewConfig, settings: Settings, database: TradingDatabase, llm: Any) -> str:
    """Let the crew look once, book what it cost, and return its report."""
    breaker_service = CircuitBreakerService(database, settings, SystemClock())
    crew = build_crew(config, breaker_service, llm)
    began_s = monotonic_s()
    result = crew.kickoff(inputs={"bot_id": settings.bot_id, "label": f"{settings.mode}, {settings.world}"})
    usage = crew.usage_metrics
    tokens = (getattr(usage, "prompt_tokens", 0), getattr(usage, "completion_tokens", 0))
    database.record_api_usage(
        ApiUsage(
            timestamp=utc_text(SystemClock().now_ms()),
            process="crew_runner",
            service="openai",
            operation="agents",
            model=settings.openai_model,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            cost_usd=cost_usd(settings.openai_model, *tokens) or Decimal(0),
            latency_ms=(monotonic_s() - began_s) * 1_000.0,
        )
    )
    return str(result.raw)


def refuse_without_budget(settings: Settings, database: TradingDatabase) -> None:
    """Raise ``SettingsError`` where the month's budget is spent."""
    month = utc_text(SystemClock().now_ms())[:7]
    spent = database.month_cost_usd(month, "openai")
    if spent >= settings.openai_monthly_budget_usd:
        raise SettingsError((f"OPENAI_MONTHLY_BUDGET_USD is spent ({spent} of this month): raise it or wait.",))


def main(arguments: list[str]) -> int:
    """Run once, or check the configuration; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m src.agents.crew_runner", description="Let the agents look at the bot once."
    )
    parser.add_argument("--version", action="version", version=VERSION_LINE)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--check", action="store_true", help="read the configuration only")
    command = parser.parse_args(arguments)
    os.umask(0o077)
    try:
        settings, config = Settings.load(), load_crew(command.config)
        configure_logs(settings)
        if command.check:
            print(f"{command.config.name}: {len(config.agents)} agents, {len(config.tasks)} tasks, in order.")
            return 0
        owner = Owner(settings.bot_id, settings.mode, settings.world)
        with closing(TradingDatabase(settings.database_url, owner)) as database:
            refuse_without_budget(settings, database)
            print(run_once(config, settings, database, build_model(config, settings)))
    except SettingsError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 78
    except (StoreUnavailable, StoreCorrupt) as error:
        print(error, file=sys.stderr)
        return 65 if isinstance(error, StoreCorrupt) else 75
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
