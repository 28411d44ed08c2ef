"""Lets a user's strategy decide in a process of its own, which is ended when a decision takes too long.

The libraries that it imports, an endless loop and even a crash stay there: the trading process holds and goes on. The
process runs the bytes that passed the check when the bot started; a file that was changed since is not loaded.

``python -m src.runtime.strategy_process FOLDER NAME SHA256`` is the child's side.
"""

import sys
import threading
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from src.domain.errors import StrategyFailed
from src.domain.funding import FundingRate
from src.domain.market import INTERVAL_MS, Candle
from src.runtime.settings_fields import PROJECT_ROOT
from src.runtime.strategy_loader import (
    STRATEGIES,
    LoadedStrategy,
    StrategyFile,
    load_strategy,
    noted_facts,
    read_strategy_file,
)
from src.runtime.worker_process import WorkerProcess, WorkerRequestFailed, requests
from src.strategy.target_rules import PortfolioLimits, TargetRules
from src.strategy.targets import PortfolioObservation, Target
from src.strategy.user_strategy import fault_of, plain

DECISION_LIMIT_S: Final = 10.0
_KEPT_BELOW_MS: Final = INTERVAL_MS["1h"]


class IsolatedStrategy:
    """A user's strategy behind the strategy port; every failure is ``StrategyFailed``. Used from one thread.

    Args:
        file: the bytes that passed the check.
        facts: what the class said of itself then: the trading process itself never runs the file.
        stop: set when the process shall end: a decision under way is given up.
        limit_s: the longest that a decision may take, the start of Python included.
    """

    def __init__(
        self, file: StrategyFile, facts: Mapping[str, Any], stop: threading.Event, limit_s: float = DECISION_LIMIT_S
    ) -> None:
        self._file = file
        self._facts = facts
        self._stop = stop
        self._limit_s = limit_s
        arguments = (str(file.path.parent.resolve()), file.name, file.digest)
        self._worker = WorkerProcess("src.runtime.strategy_process", PROJECT_ROOT, arguments)

    @property
    def name(self) -> str:
        """The name of the file."""
        return self._file.name

    @property
    def candle_interval(self) -> str:
        """The candles it looks at."""
        return str(self._facts["interval"])

    @property
    def warm_up_candles(self) -> int:
        """How many closed candles a pair needs before it has a target."""
        return int(self._facts["warm_up"])

    @property
    def pairs(self) -> tuple[str, ...]:
        """The pairs that it is made for."""
        return tuple(self._facts["pairs"])

    @property
    def figures(self) -> Mapping[str, Any]:
        """The figures in force, by name."""
        return dict(self._facts["figures"])

    def targets(self, observation: PortfolioObservation) -> tuple[Target, ...]:
        """Return one target for each pair of the observation, in its order."""
        try:
            answer = self._worker.ask({"request": "targets", **_as_json(observation)}, self._limit_s, self._stop)
        except WorkerRequestFailed as error:
            raise StrategyFailed(_sentence(self._file, str(error))) from error
        finally:
            if INTERVAL_MS[self.candle_interval] >= _KEPT_BELOW_MS:
                self._worker.end(0.0)  # it is needed again in an hour or later: its memory is not
        found = [Target(*row[:6]) for row in answer["targets"]]
        fault = fault_of(found, tuple(observation.candles))
        if fault:
            raise StrategyFailed(f"{self._file.path.name}: {fault}.")
        return plain(found)

    def end(self) -> None:
        """Let the process go."""
        self._worker.end(0.0)


def checked_rules(state: Path, name: str, stop: threading.Event, folder: Path = STRATEGIES) -> TargetRules:
    """Return a user's strategy as a rule set that may trade: its decisions are made in a process of its own.

    Raises:
        StrategyFailed: there is no such file, or its bytes have not passed the check.
    """
    file = read_strategy_file(name, folder)
    facts = noted_facts(state, file)
    limits: dict[str, Any] = {each: Decimal(value) for each, value in facts["limits"].items()}
    return TargetRules(
        name=name,
        description=facts["description"],
        tried=facts["tried"],
        pairs=tuple(facts["pairs"]),
        limits=PortfolioLimits(**limits | {"leverage": int(limits["leverage"])}),
        own=IsolatedStrategy(file, facts, stop),
    )


def _sentence(file: StrategyFile, said: str) -> str:
    whole = said.startswith(file.path.name) or file.path.name in said
    return said if whole else f"{file.path.name} gave no decision: {said}."


def _as_json(seen: PortfolioObservation) -> dict[str, Any]:
    candles = {symbol: [tuple(each) for each in rows] for symbol, rows in seen.candles.items()}
    funding = {symbol: [tuple(each) for each in rows] for symbol, rows in seen.funding.items()}
    return {"now_ms": seen.now_ms, "candles": candles, "funding": funding}


def _observation(asked: Mapping[str, Any]) -> PortfolioObservation:
    candles = {symbol: [Candle(*row) for row in rows] for symbol, rows in asked["candles"].items()}
    funding = {symbol: [FundingRate(*row) for row in rows] for symbol, rows in asked["funding"].items()}
    return PortfolioObservation(asked["now_ms"], candles, funding)


def _answer(strategy: LoadedStrategy, asked: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found = strategy.targets(_observation(asked))
    except StrategyFailed as error:
        return {"ok": False, "error": str(error)}
    rows = [(each.symbol, each.weight, each.band, each.reason, each.signal, each.volatility) for each in found]
    return {"ok": True, "targets": rows}


def main(arguments: list[str]) -> int:
    """Serve decisions until the parent hangs up."""
    folder, name, digest = arguments
    with requests() as (asked, answer):
        strategy: LoadedStrategy | None = None
        for each in asked:
            try:
                file = read_strategy_file(name, Path(folder))
                if strategy is None and file.digest != digest:
                    raise StrategyFailed(f"{file.path.name} was changed after the start: check it and start anew.")
                strategy = strategy or load_strategy(file)
            except StrategyFailed as error:
                answer({"ok": False, "error": str(error)})
                continue
            answer(_answer(strategy, each))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
