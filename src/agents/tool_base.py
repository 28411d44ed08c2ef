"""CrewAI's BaseTool and ToolFailure where CrewAI is installed, otherwise a compatible substitute.

The shim is what the suite itself runs and tests: ``run`` checks its keyword arguments by the schema, counts its uses
and calls ``_run``. CrewAI needs an environment of its own (``requirements-agents.txt``).
"""

import importlib
from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

HAS_CREWAI = find_spec("crewai") is not None


class ShimFailure(BaseModel):
    """A tool's failure as a value, so that nobody takes an error's words for a result."""

    message: str


class ShimTool(BaseModel, ABC):
    """The part of CrewAI's BaseTool that our tools stand on."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str
    description: str
    args_schema: type[BaseModel]
    cache_function: Any = None
    max_usage_count: int | None = None
    current_usage_count: int = 0

    def run(self, **arguments: Any) -> Any:
        """Check the arguments, count the use, and return what the tool says.

        Raises:
            ValueError: the arguments do not fit the schema.
        """
        try:
            checked = self.args_schema.model_validate(arguments)
        except ValidationError as error:
            raise ValueError(f"Tool '{self.name}' was given wrong arguments: {error}") from error
        if self.max_usage_count is not None and self.current_usage_count >= self.max_usage_count:
            return ShimFailure(message=f"Tool '{self.name}' has been used {self.max_usage_count} times: that is all.")
        self.current_usage_count += 1
        return self._run(**checked.model_dump())

    @abstractmethod
    def _run(self, *args: Any, **kwargs: Any) -> Any:
        """Do it; each tool names its own arguments."""


if TYPE_CHECKING:
    BaseTool = ShimTool
    ToolFailure = ShimFailure
elif HAS_CREWAI:
    BaseTool = importlib.import_module("crewai.tools").BaseTool
    ToolFailure = importlib.import_module("crewai.tools.tool_failure").ToolFailure
else:
    BaseTool, ToolFailure = ShimTool, ShimFailure
