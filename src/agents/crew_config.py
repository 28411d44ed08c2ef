"""Loads config/crewai_config.yaml and refuses any tool that could do more than reduce risk."""

from pathlib import Path
from typing import Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from src.domain.errors import SettingsError

READING_TOOLS: Final = frozenset({"check_circuit_breaker", "get_risk_metrics", "get_circuit_breaker_history"})
ACTING_TOOLS: Final = frozenset({"trip_circuit_breaker", "request_circuit_breaker_reset"})
_LONGEST_FILE: Final = 100_000


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelPart(_Part):
    """How the model is asked; which one, where and for how much is in the settings."""

    max_completion_tokens: int = Field(1_200, ge=1, le=32_000)
    timeout_s: float = Field(60, gt=0, le=600)


class CrewPart(_Part):
    """How the crew works: one task after the other, within these limits."""

    process: Literal["sequential"] = "sequential"
    max_rpm: int = Field(20, ge=1, le=600)
    max_seconds: float = Field(300, gt=0, le=3_600)


class AgentPart(_Part):
    """One agent; ``may_act`` is what an acting tool asks for."""

    role: str = Field(min_length=1)
    goal: str = Field(min_length=1)
    backstory: str = Field(min_length=1)
    tools: list[str] = Field(default_factory=list)
    may_act: bool = False
    max_iter: int = Field(8, ge=1, le=25)

    @model_validator(mode="after")
    def _only_what_is_allowed(self) -> Self:
        unknown = set(self.tools) - READING_TOOLS - ACTING_TOOLS
        if unknown:
            raise ValueError(f"there is no tool {', '.join(sorted(unknown))}")
        if not self.may_act and set(self.tools) & ACTING_TOOLS:
            raise ValueError("only an agent with may_act: true may have a tool that acts")
        return self


class TaskPart(_Part):
    """One task; with ``verdict`` its answer must quote the breaker's version that stands then."""

    agent: str
    description: str = Field(min_length=1)
    expected_output: str = Field(min_length=1)
    context: list[str] = Field(default_factory=list)
    verdict: bool = False


class CrewConfig(_Part):
    """The whole crew; tasks run in the order written."""

    version: Literal[1]
    telemetry: Literal[False]
    llm: ModelPart = ModelPart()
    crew: CrewPart = CrewPart()
    agents: dict[str, AgentPart] = Field(min_length=1)
    tasks: dict[str, TaskPart] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if sum(agent.may_act for agent in self.agents.values()) > 1:
            raise ValueError("only one agent may act, so that it is known who did")
        done: set[str] = set()
        for name, task in self.tasks.items():
            if task.agent not in self.agents:
                raise ValueError(f"task {name}: there is no agent {task.agent}")
            if not set(task.context) <= done:
                raise ValueError(f"task {name}: context names a task that does not come before it")
            done.add(name)
        return self


def load_crew(path: Path) -> CrewConfig:
    """Return the crew of a file.

    Raises:
        SettingsError: the file is missing or wrong, one sentence for each fault.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if len(text) > _LONGEST_FILE:
            raise SettingsError((f"{path.name} is longer than {_LONGEST_FILE} characters.",))
        content: Any = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError((f"{path.name} cannot be read: {' '.join(str(error).split())}.",)) from error
    try:
        return CrewConfig.model_validate(content)
    except ValidationError as error:
        raise SettingsError(tuple(_sentence(path, each) for each in error.errors())) from error


def _sentence(path: Path, fault: Any) -> str:
    place = ".".join(map(str, fault["loc"])) or "the file"
    return f"{path.name}: {place}: {fault['msg'].removeprefix('Value error, ')}."
