"""Loads a user's strategy from its file, and knows which files have passed their check.

A strategy file is a program of the user: loading it runs it, with all rights of the process. Whatever goes wrong in it
becomes ``StrategyFailed`` with one sentence that names the file and, where there is one, the line.
"""

import importlib.abc
import importlib.util
import itertools
import json
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

from src.domain.errors import StrategyFailed
from src.runtime.settings_fields import PROJECT_ROOT
from src.strategy.target_rules import PortfolioLimits
from src.strategy.targets import PortfolioObservation, Target
from src.strategy.user_strategy import fault_of, misfit, plain

STRATEGIES: Final = PROJECT_ROOT / "config" / "strategies"
CHECKS_FILE: Final = "strategy_checks.json"  # in STATE_DIR
_numbers = itertools.count()
_Value = TypeVar("_Value")


def strategy_names(folder: Path = STRATEGIES) -> tuple[str, ...]:
    """Return the names of the strategy files of a folder."""
    return tuple(sorted(path.stem for path in folder.glob("*.py") if path.stem.isidentifier()))


@dataclass(frozen=True, slots=True)
class StrategyFile:
    """A strategy file as it was read: its name, path and bytes."""

    name: str
    path: Path
    source: bytes

    @property
    def digest(self) -> str:
        """The SHA-256 of the bytes, in hexadecimal."""
        return sha256(self.source).hexdigest()


def read_strategy_file(name: str, folder: Path = STRATEGIES) -> StrategyFile:
    """Return the file of a strategy.

    Raises:
        StrategyFailed: there is none of that name, or it cannot be read.
    """
    path = folder / f"{name}.py"
    if name not in strategy_names(folder):
        known = ", ".join(strategy_names(folder)) or "none"
        raise StrategyFailed(f"There is no strategy {name!r} in {folder.name}; known are {known}.")
    try:
        return StrategyFile(name, path, path.read_bytes())
    except OSError as error:
        raise StrategyFailed(f"{path.name} cannot be read: {error.strerror}.") from error


class _Source(importlib.abc.SourceLoader):
    """Hands the bytes that were read and hashed to the import system, so that no other bytes are run."""

    def __init__(self, file: StrategyFile) -> None:
        self._file = file

    def get_filename(self, fullname: str) -> str:
        return str(self._file.path)

    def get_data(self, path: str | bytes) -> bytes:
        if str(path) != str(self._file.path):
            raise OSError(path)  # no compiled copy
        return self._file.source


class LoadedStrategy:
    """An instance of a user's class behind the strategy port; whatever goes wrong in it is ``StrategyFailed``."""

    def __init__(self, file: StrategyFile, inner: Any) -> None:
        self.file = file
        self._inner = inner
        self._name = str(inner.name)
        self._interval = str(inner.candle_interval)
        self._warm_up = int(inner.warm_up_candles)

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.file.name

    @property
    def candle_interval(self) -> str:
        """The candles it looks at."""
        return self._interval

    @property
    def warm_up_candles(self) -> int:
        """How many closed candles a pair needs before it has a target."""
        return self._warm_up

    @property
    def class_name(self) -> str:
        """The name of the user's class."""
        return type(self._inner).__name__

    @property
    def pairs(self) -> tuple[str, ...]:
        """The pairs that it is made for."""
        return tuple(self._inner.pairs)

    @property
    def limits(self) -> PortfolioLimits:
        """The limits of its account: its own, or the usual ones."""
        return getattr(self._inner, "limits", PortfolioLimits())

    @property
    def tried(self) -> int:
        """How many variants its author tried before these figures."""
        return int(getattr(self._inner, "tried", 1))

    @property
    def description(self) -> str:
        """The first line of its class's docstring."""
        return (type(self._inner).__doc__ or "").strip().split("\n")[0]

    @property
    def figures(self) -> Mapping[str, Any]:
        """The figures in force, by name."""
        return {each.name: getattr(self._inner, each.name) for each in fields(self._inner)}

    def targets(self, observation: PortfolioObservation) -> tuple[Target, ...]:
        """Return one target for each pair of the observation, in its order."""
        found = _run(self.file, lambda: self._inner.targets(observation))
        fault = fault_of(found, tuple(observation.candles))
        if fault:
            raise StrategyFailed(f"{self.file.path.name}: {fault}.")
        return plain(found)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process loads the same bytes and sets the same figures."""
        return _revived, (self.file, dict(self.figures))

    def with_figures(self, figures: Mapping[str, object]) -> "LoadedStrategy":
        """Return the same strategy with other figures; ``StrategyFailed`` where the class refuses them."""
        inner = _run(self.file, lambda: replace(self._inner, **figures))
        reason = _run(self.file, lambda: misfit(inner))
        if reason:
            raise StrategyFailed(f"{self.file.path.name}: {reason}.")
        return _run(self.file, lambda: LoadedStrategy(self.file, inner))


def _revived(file: StrategyFile, figures: Mapping[str, object]) -> LoadedStrategy:
    return load_strategy(file).with_figures(figures)


def load_strategy(file: StrategyFile) -> LoadedStrategy:
    """Run a strategy file anew and return an instance of its class with the figures as they are written.

    Raises:
        StrategyFailed: it cannot be run, or holds no class that can be used.
    """
    module = _run(file, lambda: _module_of(file))
    classes = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and each.__module__ == module.__name__ and callable(getattr(each, "targets", None))
    ]
    if len(classes) != 1:
        found = ", ".join(each.__name__ for each in classes) or "none"
        raise StrategyFailed(f"{file.path.name} must hold exactly one class with a method targets; found: {found}.")
    inner = _run(file, classes[0])
    reason = _run(file, lambda: misfit(inner))
    if reason:
        raise StrategyFailed(f"{file.path.name}: {reason}.")
    return _run(file, lambda: LoadedStrategy(file, inner))


def _module_of(file: StrategyFile) -> ModuleType:
    name = f"user_strategy_{file.name}_{next(_numbers)}"
    spec = importlib.util.spec_from_loader(name, _Source(file))
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.path.name} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _run(file: StrategyFile, call: Callable[[], _Value]) -> _Value:
    """Return what a call into the user's code returns; whatever it raises becomes one sentence."""
    try:
        return call()
    except StrategyFailed:
        raise
    except ModuleNotFoundError as error:
        raise StrategyFailed(
            f"{file.path.name} imports {error.name}, which is not installed: .venv/bin/pip install {error.name}."
        ) from error
    except SyntaxError as error:
        raise StrategyFailed(f"{file.path.name}, line {error.lineno}: {error.msg}.") from error
    except (Exception, SystemExit) as error:
        lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == str(file.path)]
        place = f", line {lines[-1]}" if lines else ""
        said = " ".join([f"{type(error).__name__}:", *str(error).split()]).rstrip(":")
        raise StrategyFailed(f"{file.path.name}{place}: {said}.") from error


def note_check(state: Path, file: StrategyFile, facts: Mapping[str, Any], checked: str) -> None:
    """Write down that this file passed its check at an instant in words, with what its class says of itself."""
    known = _checks(state) | {file.name: {"sha256": file.digest, "checked": checked, "facts": dict(facts)}}
    state.mkdir(parents=True, exist_ok=True)
    part = state / f"{CHECKS_FILE}.part"
    part.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(state / CHECKS_FILE)


def check_missing(state: Path, file: StrategyFile) -> str:
    """Return why a file may not trade yet, in one sentence; empty when these very bytes passed their check."""
    noted = _checks(state).get(file.name)
    command = f"python3 -m src.backtest check {file.name}"
    if noted is None:
        return f"{file.path.name} has not passed its check: run {command}."
    if noted.get("sha256") != file.digest:
        return f"{file.path.name} was changed after its check of {noted.get('checked')}: run {command} again."
    return ""


def noted_pairs(state: Path, name: str) -> tuple[str, ...]:
    """Return the pairs of a user's strategy as its last check noted them; none without a check, or without a file."""
    noted = _checks(state).get(name, {}) if name in strategy_names() else {}
    return tuple(noted.get("facts", {}).get("pairs", ()))


def noted_facts(state: Path, file: StrategyFile) -> dict[str, Any]:
    """Return what the class said of itself when these very bytes passed their check.

    Raises:
        StrategyFailed: they did not.
    """
    missing = check_missing(state, file)
    if missing:
        raise StrategyFailed(missing)
    return dict(_checks(state)[file.name]["facts"])


def _checks(state: Path) -> dict[str, dict[str, Any]]:
    try:
        known = json.loads((state / CHECKS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
