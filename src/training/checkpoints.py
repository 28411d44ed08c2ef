"""The model's file during retraining: backups, rollback, and an interrupted run."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.domain.clock import utc_text
from src.domain.errors import ModelRefused, SuiteError
from src.strategy.q_agent import QLearningAgent
from src.strategy.q_checkpoint import Arrays, read_model, write_model

KEPT_BACKUPS = 10


class NoCheckpoint(SuiteError):
    """Signals, a backup or an interrupted run are missing."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An interrupted run: the fold it was in, that fold's tables and episodes, and what earlier folds brought.

    ``key`` identifies data, seed and rules: another run cannot continue from here. ``episodes`` has a row of number,
    trades, wins, mean reward and net return for each.
    """

    key: dict[str, Any]
    fold: int
    earlier: list[dict[str, Any]]
    episodes: NDArray[np.float64]
    tables: Arrays


class ModelFiles:
    """The files beside ``model``: ``NAME_backup_*.pkl`` and ``NAME_checkpoint.pkl``."""

    def __init__(self, model: Path) -> None:
        self.model = model

    @property
    def checkpoint(self) -> Path:
        """The file of an interrupted run."""
        return self.model.with_name(f"{self.model.stem}_checkpoint{self.model.suffix}")

    def backups(self) -> list[Path]:
        """Return the backups, oldest first."""
        found = self.model.parent.glob(f"{self.model.stem}_backup_*{self.model.suffix}")
        return sorted(found, key=lambda path: path.name)

    def back_up(self, now_ms: int) -> Path | None:
        """Copy the present model as it is to a new backup and return its path; None where there is no model.

        Raises:
            OSError: the disk refused.
        """
        if not self.model.exists():
            return None
        content = self.model.read_bytes()
        path = self._backup_path(now_ms, "")
        path.touch(mode=0o600)
        path.write_bytes(content)
        self._hash_of(path).write_text(f"{hashlib.sha256(content).hexdigest()}  {path.name}\n", encoding="ascii")
        self.prune()
        return path

    def back_up_episode(self, agent: QLearningAgent, episode: int, now_ms: int) -> Path:
        """Save the agent in training to a backup that names the episode; return its path."""
        path = self._backup_path(now_ms, f"_episode{episode:03d}")
        agent.save(path, now_ms)
        self.prune()
        return path

    def prune(self) -> None:
        """Delete all but the last ten backups."""
        for path in self.backups()[:-KEPT_BACKUPS]:
            path.unlink(missing_ok=True)
            self._hash_of(path).unlink(missing_ok=True)

    def roll_back(self, now_ms: int) -> Path:
        """Put the newest backed-up model that differs from the present one in its place; return the backup's path.

        The present one is backed up first, so that rolling back twice changes nothing.

        Raises:
            NoCheckpoint: there is no such backup.
            ModelRefused: the backup is damaged; the present model stands.
        """
        present = self.model.read_bytes() if self.model.exists() else b""
        whole = [path for path in self.backups() if not re.search(r"_episode\d+$", path.stem)]
        found = next((path for path in reversed(whole) if path.read_bytes() != present), None)
        if found is None:
            raise NoCheckpoint(f"There is no backup of another model than the present one beside {self.model}.")
        arrays, about = read_model(found)
        self.back_up(now_ms)
        write_model(self.model, arrays, about)
        return found

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep an interrupted run."""
        about = {"key": checkpoint.key, "fold": checkpoint.fold, "earlier": checkpoint.earlier}
        write_model(self.checkpoint, {**checkpoint.tables, "episodes": checkpoint.episodes}, about)

    def load_checkpoint(self, key: dict[str, Any]) -> Checkpoint:
        """Return the interrupted run.

        Raises:
            NoCheckpoint: there is none.
            ModelRefused: it is damaged, or of other data, seed or rules.
        """
        if not self.checkpoint.exists():
            raise NoCheckpoint("There is no interrupted run to go on with: start without --resume.")
        arrays, about = read_model(self.checkpoint)
        other = [name for name, value in key.items() if about["key"].get(name) != value]
        if other:
            raise ModelRefused(
                f"The interrupted run differs in {', '.join(other)}; start anew without --resume, or give the same."
            )
        return Checkpoint(key, int(about["fold"]), about["earlier"], arrays.pop("episodes"), arrays)

    def drop_checkpoint(self) -> None:
        """Delete the interrupted run, if there is one."""
        self.checkpoint.unlink(missing_ok=True)
        self._hash_of(self.checkpoint).unlink(missing_ok=True)

    def _backup_path(self, now_ms: int, suffix: str) -> Path:
        stamp = re.sub(r"[-:.TZ]", "", utc_text(now_ms))
        name = f"{self.model.stem}_backup_{stamp[:8]}_{stamp[8:]}{suffix}{self.model.suffix}"
        return self.model.with_name(name)

    @staticmethod
    def _hash_of(path: Path) -> Path:
        return path.with_name(path.name + ".sha256")
