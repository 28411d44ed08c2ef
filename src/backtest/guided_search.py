"""Guided search with Optuna: proposes variants, works them out fold by fold, gives up early on those that fall behind.

Every trial is kept in a study, those given up included, and every one counts in the deflated Sharpe ratio. The study
knows a hold-out span that no trial sees; it is opened once, and says when.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from src.backtest.deflated import Deflated, daily_ratio, deflated_sharpe, distinct_ratios
from src.backtest.fold_runner import Submit
from src.backtest.portfolio_sweep import Span
from src.backtest.search_space import Dimension, suggested
from src.backtest.sweep_log import Row
from src.backtest.variants import Variant, label
from src.domain.errors import SettingsError
from src.domain.metrics import drawdown

if TYPE_CHECKING:
    import optuna

OBJECTIVES: Final = {"sharpe": "maximize", "drawdown": "minimize", "return": "maximize"}
_INSTALL: Final = (
    "a guided search needs Optuna: .venv/bin/python scripts/install_packages.py requirements-strategies.txt"
)
_STARTUP_TRIALS: Final = 10


def optuna_or_refusal() -> Any:
    """Return the library; ``SettingsError`` with the command that installs it where it is missing."""
    try:
        import optuna
    except ImportError as error:
        raise SettingsError((_INSTALL,)) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def figures_of(returns: Sequence[float]) -> dict[str, float]:
    """Return every objective of a series of daily returns: Sharpe ratio a day, deepest drawdown, whole return."""
    values = np.array(returns)
    worth = np.concatenate(([1.0], np.cumprod(1.0 + values)))
    return {
        "sharpe": daily_ratio(values),
        "drawdown": drawdown(worth).worst_share,
        "return": float(worth[-1] - 1.0),
    }


@dataclass(slots=True)
class _Running:
    """A trial under way: its variant, and the daily returns of the folds that are done."""

    trial: "optuna.trial.Trial"
    variant: Variant
    returns: list[float] = field(default_factory=list)
    folds: int = 0


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One finished trial; ``folds`` is how many were worked out before it ended, ``pruned`` whether it was given up."""

    number: int
    variant: str
    figures: Mapping[str, float]
    folds: int
    pruned: bool
    daily_returns: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """All trials of a study; ``best`` are those that no other one beats in every objective, best Sharpe ratio first."""

    trials: tuple[TrialRow, ...]
    best: tuple[TrialRow, ...]
    deflated: Deflated


class GuidedSearch:
    """One study.

    Args:
        space: what may be varied.
        folds: spans that follow one another, outside of the hold-out span.
        objectives: names of ``OBJECTIVES``; with several nothing is given up early.
        storage: file of the study, None for one in memory.
        inputs: what the study's results follow from; another study of that file is refused.
        seed: of the proposals.
        recorded: how many variants were tried before (``tried`` of the rules).
    """

    def __init__(
        self,
        space: Sequence[Dimension],
        folds: Sequence[Span],
        objectives: Sequence[str] = ("sharpe",),
        *,
        storage: Path | None = None,
        inputs: Mapping[str, str] | None = None,
        seed: int = 7,
        recorded: int = 1,
    ) -> None:
        self._optuna = optuna_or_refusal()
        self._space = tuple(space)
        self._folds = tuple(folds)
        self._objectives = tuple(objectives)
        self._recorded = recorded
        self.study = self._opened(storage, dict(inputs or {}), seed)

    def _opened(self, storage: Path | None, inputs: dict[str, str], seed: int) -> "optuna.Study":
        if storage is not None:
            storage.parent.mkdir(parents=True, exist_ok=True)
        study: optuna.Study = self._optuna.create_study(
            study_name="search",
            storage=None if storage is None else f"sqlite:///{storage}",
            directions=[OBJECTIVES[each] for each in self._objectives],
            load_if_exists=True,
        )
        study.sampler = self._optuna.samplers.TPESampler(
            seed=seed + len(study.trials), n_startup_trials=_STARTUP_TRIALS
        )
        study.pruner = self._optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS)
        self._refuse_another(study, storage, inputs | {"objectives": ",".join(self._objectives)})
        for trial in study.get_trials(deepcopy=False, states=(self._state("RUNNING"),)):
            study.tell(trial.number, state=self._state("FAIL"))  # its process was ended in the middle of it
        return study

    def _refuse_another(self, study: "optuna.Study", storage: Path | None, inputs: dict[str, str]) -> None:
        before = study.user_attrs.get("inputs")
        if before is None:
            study.set_user_attr("inputs", inputs)
            return
        changed = [name for name in inputs if before.get(name) != inputs[name]]
        if changed:
            raise SettingsError(
                (f"{storage} is another study (different: {', '.join(changed)}); take another --study.",)
            )

    def _state(self, name: str) -> "optuna.trial.TrialState":
        state: optuna.trial.TrialState = self._optuna.trial.TrialState[name]
        return state

    @property
    def opened(self) -> dict[str, Any] | None:
        """When the hold-out span was opened, for which variant, and what it brought; None while it is sealed."""
        found: dict[str, Any] | None = self.study.user_attrs.get("holdout")
        return found

    def run(
        self, trials: int, submit: Submit, workers: int = 1, progress: Callable[[int], None] = lambda _done: None
    ) -> SearchResult:
        """Finish trials until the study has ``trials`` of them and return the whole.

        Args:
            trials: how many there shall be, earlier ones included.
            submit: has a variant worked out over a span.
            workers: how many trials are under way at a time; with 1 the same seed gives the same trials.
            progress: called with the number of finished trials.

        Raises:
            SettingsError: the hold-out span was opened: what is found now could have been chosen by it.
        """
        if self.opened is not None and self._finished() < trials:
            raise SettingsError((f"{self.opened_sentence()} Further trials need another --study.",))
        running: dict[Future[Row], _Running] = {}
        while True:
            while len(running) < workers and self._finished() + len(running) < trials:
                begun = self._begun()
                running[submit(begun.variant, self._folds[0])] = begun
            if not running:
                return self.result()
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda each: running[each].trial.number):
                taken = running.pop(future)
                if self._goes_on(taken, future.result()):
                    running[submit(taken.variant, self._folds[taken.folds])] = taken
            progress(self._finished())

    def _finished(self) -> int:
        states = (self._state("COMPLETE"), self._state("PRUNED"))
        return len(self.study.get_trials(deepcopy=False, states=states))

    def _begun(self) -> _Running:
        trial = self.study.ask()
        variant = suggested(self._space, trial)
        trial.set_user_attr("variant", label(variant))
        return _Running(trial, variant)

    def _goes_on(self, running: _Running, row: Row) -> bool:
        """Take in a fold; return whether another one follows, else the trial is told to the study."""
        trial = running.trial
        running.returns += row["daily_returns"]
        running.folds += 1
        found = figures_of(running.returns)
        complete, pruned = running.folds == len(self._folds), False
        if len(self._objectives) == 1:
            trial.report(found[self._objectives[0]], running.folds)
            pruned = not complete and trial.should_prune()
        if not complete and not pruned:
            return True
        trial.set_user_attr("daily_returns", running.returns)
        trial.set_user_attr("folds", running.folds)
        values = None if pruned else [found[each] for each in self._objectives]
        self.study.tell(trial, values, state=self._state("PRUNED" if pruned else "COMPLETE"))
        return False

    def result(self) -> SearchResult:
        """Return all finished trials, and how the best looks after so many tries."""
        states = (self._state("COMPLETE"), self._state("PRUNED"))
        rows = tuple(self._row(each) for each in self.study.get_trials(deepcopy=False, states=states))
        fronts = {each.number for each in self.study.best_trials} if any(not row.pruned for row in rows) else set()
        each = {row.variant: row for row in reversed(rows) if row.number in fronts}  # the first trial of a variant
        best = sorted(each.values(), key=lambda row: (-row.figures["sharpe"], row.number))
        returns = np.array(best[0].daily_returns) if best else np.empty(0)
        judged = deflated_sharpe(returns, distinct_ratios(row.daily_returns for row in rows), self._recorded)
        return SearchResult(rows, tuple(best), judged)

    def _row(self, trial: "optuna.trial.FrozenTrial") -> TrialRow:
        returns = tuple(trial.user_attrs["daily_returns"])
        return TrialRow(
            number=trial.number,
            variant=trial.user_attrs["variant"],
            figures=figures_of(returns),
            folds=trial.user_attrs["folds"],
            pruned=trial.state == self._state("PRUNED"),
            daily_returns=returns,
        )

    def variant_of(self, number: int) -> Variant:
        """Return the variant of a trial."""
        frozen = self._optuna.trial.FixedTrial(self.study.trials[number].params)
        return suggested(self._space, frozen)

    def open_holdout(self, span: Span, submit: Submit, opened: str) -> dict[str, Any]:
        """Return what the best trial's variant brings in the hold-out span; only the first call works it out.

        Args:
            span: the hold-out span.
            submit: has a variant worked out over a span.
            opened: the present instant in words.

        Raises:
            SettingsError: no trial is complete.
        """
        if self.opened is None:
            best = self.result().best
            if not best:
                raise SettingsError(("There is no complete trial whose variant could be tried on the hold-out span.",))
            row = submit(self.variant_of(best[0].number), span).result()
            found = {"opened": opened, "variant": best[0].variant, "trials": self._finished(), "row": row}
            self.study.set_user_attr("holdout", found)
        return self.opened or {}

    def opened_sentence(self) -> str:
        """Return when the hold-out span was opened and for what; that it is sealed while it is."""
        found = self.opened
        if found is None:
            return "The hold-out span is sealed."
        return (
            f"The hold-out span was opened at {found['opened']} after {found['trials']} trials, for {found['variant']}."
        )
