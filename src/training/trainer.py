"""Retrains the agent: trains on past data, evaluates on unseen data, replaces only by a better model.

The walk-forward has one step or three (``evaluation.folds_of``). In each step a new agent is trained on all data before
the step's test data and evaluated on these. The agent of the last step, trained on the most data, is the one that may
be promoted: exactly the evaluated tables, without further training.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from src.domain.clock import Clock, monotonic_s, utc_text
from src.domain.errors import ModelRefused, SuiteError
from src.storage.database import TradingDatabase
from src.storage.rows import TrainingEnd, TrainingEpisode, TrainingStart
from src.storage.tables import EVERY
from src.strategy.q_agent import QLearningAgent
from src.strategy.q_checkpoint import read_model
from src.strategy.rules import Thresholds
from src.training.checkpoints import Checkpoint, ModelFiles
from src.training.dataset import Samples
from src.training.episodes import Episode, EpisodeRunner
from src.training.evaluation import ModelEvaluator, ModelScore, ValidationFold, folds_of, has_seen, verdict

log = logging.getLogger(__name__)

EPISODES = 150
BACKUP_EVERY = 50
RECENT = 50
_NOTHING = ModelScore()
_OF_RULES = ("candle_interval", "allow_short", "trend_intervals")


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """The request; ``force`` promotes the new model whatever the evaluation says."""

    episodes: int = EPISODES
    seed: int = 7
    force: bool = False
    resume: bool = False


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How a run ended: ``status`` is promoted, not_better or interrupted; scores are of unseen data after costs."""

    status: str
    verdict: str
    episodes: tuple[Episode, ...]
    duration_s: float
    folds: tuple[ValidationFold, ...] = ()
    candidate: ModelScore = _NOTHING
    present: ModelScore | None = None
    buy_and_hold: ModelScore = _NOTHING
    present_had_seen: bool = False
    model_sha256: str = ""
    backup: Path | None = None
    run_id: int | None = None


@dataclass(slots=True)
class _Walk:
    """The results of the walk-forward steps so far."""

    scores: list[dict[str, Any]] = field(default_factory=list)

    def total(self, name: str) -> ModelScore:
        total = ModelScore()
        for step in self.scores:
            total = total.then(ModelScore(**step[name]))
        return total


class ModelTrainer:
    """One run.

    Args:
        samples: training and test data.
        judge: evaluates on unseen data.
        t: the rules, for rehearsals.
        blank: creates an untrained agent.
        files: where models are kept.
        database: records the run; None: not recorded.
        clock: for timestamps.
        stop: when set, the run is kept for later and ends.
        on_episode: called after each episode with the step's number, how many steps there are, and the episode.
    """

    def __init__(
        self,
        *,
        samples: Samples,
        judge: ModelEvaluator,
        t: Thresholds,
        blank: Callable[[], QLearningAgent],
        files: ModelFiles,
        database: TradingDatabase | None,
        clock: Clock,
        stop: Event,
        on_episode: Callable[[int, int, Episode], None],
    ) -> None:
        self._samples = samples
        self._judge = judge
        self._thresholds = t
        self._blank = blank
        self._files = files
        self._database = database
        self._clock = clock
        self._stop = stop
        self._on_episode = on_episode
        self._folds = folds_of(samples)
        self._run_id: int | None = None
        self._backup: Path | None = None

    def run(self, order: TrainingRequest, rules_name: str) -> TrainingResult:
        """Train, evaluate and, if better, promote; return the result.

        Raises:
            NoCheckpoint, ModelRefused: there is no run to resume, or it is another run.
            OSError: a model cannot be written; the present one stands.
            StoreUnavailable: the run cannot be recorded; nothing was promoted.
        """
        began_s = monotonic_s()
        key = {
            "data": self._samples.data_sha256, "seed": order.seed, "episodes": order.episodes, "rules": rules_name,
            "cost": self._blank().one_way_cost_share, "trends": list(self._blank().trend_intervals),
        }  # fmt: skip
        checkpoint = self._files.load_checkpoint(key) if order.resume else None
        present, present_saved_ms = self._present()
        self._backup = self._files.back_up(self._clock.now_ms())
        self._note_start(order)
        try:
            seen = has_seen(present, present_saved_ms, self._folds)
            result = self._walk(order, key, checkpoint, present, seen)
        except (SuiteError, OSError) as error:
            self._note_failure(error)
            raise
        result = replace(result, duration_s=monotonic_s() - began_s, run_id=self._run_id, backup=self._backup)
        self._note_end(result)
        return result

    def _walk(
        self,
        order: TrainingRequest,
        key: dict[str, Any],
        checkpoint: Checkpoint | None,
        present: QLearningAgent | None,
        seen: bool,
    ) -> TrainingResult:
        walk = _Walk(list(checkpoint.earlier) if checkpoint else [])
        for number in range(checkpoint.fold if checkpoint else 0, len(self._folds)):
            fold = self._folds[number]
            pupil = self._pupil(order, number, checkpoint if checkpoint and checkpoint.fold == number else None)
            done = pupil.learn_until(order.episodes, self._stop.is_set, self._after_episode(pupil, number))
            if done:
                agent = pupil.finish({})
                step = {"candidate": self._judge.score(agent, fold), "buy_and_hold": self._judge.buy_and_hold(fold)}
                if present is not None:
                    step["present"] = self._judge.score(present, fold)
                walk.scores.append({name: asdict(score) for name, score in step.items()})
            if self._stop.is_set():
                return self._interrupted(key, number, walk.scores[:number], pupil)
        return self._end(order, pupil, walk, present is not None, seen)

    def _pupil(self, order: TrainingRequest, number: int, checkpoint: Checkpoint | None) -> EpisodeRunner:
        heard = self._samples.between(0, self._folds[number].test_from_ms)
        share = self._judge.notional_share
        pupil = EpisodeRunner(self._blank(), heard, self._thresholds, share, (order.seed, number))
        if checkpoint is not None:
            tables = {"value": pupil.agent.value, "mean_square": pupil.agent.mean_square, "lessons": pupil.visits}
            for name, table in tables.items():
                table[...] = checkpoint.tables[name]
            pupil.episodes += [_episode(row) for row in checkpoint.episodes.tolist()]
        return pupil

    def _after_episode(self, pupil: EpisodeRunner, number: int) -> Callable[[Episode], None]:
        last = number == len(self._folds) - 1

        def note(episode: Episode) -> None:
            self._on_episode(number + 1, len(self._folds), episode)
            if last and episode.number % BACKUP_EVERY == 0:
                self._files.back_up_episode(pupil.agent, episode.number, self._clock.now_ms())

        return note

    def _interrupted(
        self, key: dict[str, Any], number: int, earlier: list[dict[str, Any]], pupil: EpisodeRunner
    ) -> TrainingResult:
        rows = np.array([_row(each) for each in pupil.episodes]).reshape(-1, 5)
        tables = {"value": pupil.agent.value, "mean_square": pupil.agent.mean_square, "lessons": pupil.visits}
        self._files.save_checkpoint(Checkpoint(key, number, earlier, rows, tables))
        done = f"step {number + 1} of {len(self._folds)}, episode {len(pupil.episodes)}"
        return TrainingResult("interrupted", f"Interrupted in {done}; go on with --resume.", tuple(pupil.episodes), 0.0)

    def _end(
        self, order: TrainingRequest, pupil: EpisodeRunner, walk: _Walk, compared: bool, seen: bool
    ) -> TrainingResult:
        candidate, present = walk.total("candidate"), walk.total("present") if compared else None
        better, why = verdict(candidate, present)
        if order.force and not better:
            better, why = True, f"{why} Promoted all the same (--force)."
        sha256 = ""
        if better:
            pupil.agent.training = replace(
                pupil.agent.training, metrics={"unseen_return": candidate.net_return, "unseen_trades": candidate.trades}
            )
            sha256 = pupil.agent.save(self._files.model, self._clock.now_ms())
        self._files.drop_checkpoint()
        return TrainingResult(
            "promoted" if better else "not_better", why, tuple(pupil.episodes), 0.0, tuple(self._folds), candidate,
            present, walk.total("buy_and_hold"), seen, sha256,
        )  # fmt: skip

    def _present(self) -> tuple[QLearningAgent | None, int]:
        """Return the present model and when it was saved; None if it cannot be used."""
        if not self._files.model.exists():
            return None, 0
        try:
            agent = QLearningAgent.load(self._files.model)
            _, about = read_model(self._files.model)
        except ModelRefused as error:
            log.warning("present model refused, compared with no trading alone: reason=%s", error)
            return None, 0
        other = self._blank()
        if any(getattr(agent, name) != getattr(other, name) for name in _OF_RULES):
            log.warning("present model is for other rules, compared with no trading alone: file=%s", self._files.model)
            return None, 0
        return agent, int(about.get("saved_ms", 0))

    def _note_start(self, order: TrainingRequest) -> None:
        if self._database is None:
            return
        samples = self._samples
        first_ms, last_ms = samples.span_ms
        start = TrainingStart(
            timestamp=utc_text(self._clock.now_ms()),
            symbol=samples.symbols[0] if len(samples.symbols) == 1 else EVERY,
            source=samples.source[:200],
            episodes=order.episodes,
            seed=order.seed,
            samples=len(samples),
            data_hash=samples.data_sha256,
            data_start=utc_text(first_ms),
            data_end=utc_text(last_ms),
        )
        self._run_id = self._database.start_training(start)

    def _note_failure(self, error: Exception) -> None:
        log.error("retraining failed: reason=%s", error)
        if self._database is not None and self._run_id is not None:
            end = TrainingEnd(finished_at=utc_text(self._clock.now_ms()), status="failed", verdict=str(error))
            self._database.finish_training(self._run_id, end)

    def _note_end(self, result: TrainingResult) -> None:
        log.info("retraining %s: verdict=%s", result.status, result.verdict)
        if self._database is None or self._run_id is None:
            return
        now = utc_text(self._clock.now_ms())
        self._database.record_episodes(self._run_id, [_episode_row(each, now) for each in result.episodes])
        interrupted = result.status == "interrupted"
        metrics = None if interrupted else unseen_figures(result)
        end = TrainingEnd(
            finished_at=now,
            status="stopped" if interrupted else "done",
            accepted=None if interrupted else result.status == "promoted",
            verdict=result.verdict,
            metrics=metrics,
            model_file=self._files.model.name if result.model_sha256 else "",
            model_sha256=result.model_sha256,
        )
        self._database.finish_training(self._run_id, end)


def unseen_figures(result: TrainingResult) -> dict[str, Any]:
    """Return the results of the new model, the present one, no trading and buy-and-hold on unseen data."""
    return {
        "candidate": result.candidate.as_dict(),
        "present": None if result.present is None else result.present.as_dict(),
        "always_flat": ModelScore().as_dict(),
        "buy_and_hold": {"net_return": result.buy_and_hold.net_return},
        "present_had_seen_it": result.present_had_seen,
        "folds": [{"from": utc_text(fold.test_from_ms), "to": utc_text(fold.test_to_ms)} for fold in result.folds],
    }


@dataclass(frozen=True, slots=True)
class Analytics:
    """Statistics of the episodes; win rates and returns are shares, None without trades.

    ``improvement`` is the recent win rate against the early one, as a share of the early one.
    """

    best: Episode | None
    recent_win_rate: float | None
    recent_trades: float
    early_win_rate: float | None
    improvement: float | None


def analytics_of(episodes: Sequence[Episode]) -> Analytics:
    """Return the best episode by mean reward, and the first against the last 50 (or halves of fewer than 100)."""
    span = min(RECENT, max(len(episodes) // 2, 1))
    early, recent = _win_rate(episodes[:span]), _win_rate(episodes[-span:])
    traded = [each for each in episodes if each.trades]
    return Analytics(
        best=max(traded, key=lambda each: each.reward_mean, default=None),
        recent_win_rate=recent,
        recent_trades=sum(each.trades for each in episodes[-span:]) / span,
        early_win_rate=early,
        improvement=recent / early - 1.0 if early and recent is not None else None,
    )


def _win_rate(episodes: Sequence[Episode]) -> float | None:
    rates = [each.win_rate for each in episodes if each.win_rate is not None]
    return sum(rates) / len(rates) if rates else None


def _row(each: Episode) -> tuple[float, ...]:
    return each.number, each.trades, each.wins, each.reward_mean, each.net_return


def _episode(row: Sequence[float]) -> Episode:
    return Episode(int(row[0]), int(row[1]), int(row[2]), row[3], row[4])


def _episode_row(each: Episode, now: str) -> TrainingEpisode:
    return TrainingEpisode(
        timestamp=now,
        episode=each.number,
        exploration=0.0,
        reward_mean=each.reward_mean,
        trades=each.trades,
        win_rate=each.win_rate,
        net_return=each.net_return,
    )
