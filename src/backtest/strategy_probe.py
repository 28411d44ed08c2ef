"""Runs a strategy file over made candles in a process of its own and reports, line by line, what it finds.

``python -m src.backtest.strategy_probe NAME FOLDER SHA256`` writes one JSON object a line: ``{"doing": ...}`` before
each call into the file, so that the parent can tell a call that hangs, and at last ``{"refused": ...}`` or
``{"passed": ...}``.
"""

import json
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from src.backtest.portfolio_setup import HistoryView
from src.backtest.strategy_lint import findings
from src.domain.clock import monotonic_s, utc_text
from src.domain.errors import StrategyFailed
from src.domain.funding import FundingRate
from src.domain.market import INTERVAL_MS, Candle
from src.runtime.strategy_loader import LoadedStrategy, StrategyFile, load_strategy, read_strategy_file
from src.strategy.targets import PortfolioObservation, Target

_FIRST_MS: Final = 1_672_531_200_000  # 2023-01-01
_DECISIONS: Final = 96
_COMPARED: Final = 12
_EIGHT_HOURS_MS: Final = 28_800_000
_OUTSIDE: Final = (
    *("open", "socket.", "subprocess.", "os.", "shutil.", "sqlite3.", "urllib.", "http.", "ftplib.", "smtplib."),
    *("tempfile.", "glob.", "webbrowser.", "pty."),
)
Weights = tuple[tuple[str, float | None, float], ...]


class OutsideAccess(BaseException):
    """The strategy reached for a file, a socket or a process: no handler of ``Exception`` in it may hide that."""


@dataclass(slots=True)
class IoGuard:
    """Stops what a strategy does outside of its argument; what its imports do is not its own doing."""

    path: str
    attempts: list[str] = field(default_factory=list)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Raise ``OutsideAccess`` when the strategy's own code causes the event."""
        if not event.startswith(_OUTSIDE):
            return
        line = self._line_of_strategy()
        if line:
            what = f"{event} {arguments[0]!r}" if arguments and isinstance(arguments[0], str) else event
            self.attempts.append(f"line {line}: it reaches outside of its argument ({what})")
            raise OutsideAccess(self.attempts[-1])

    def _line_of_strategy(self) -> int:
        """Return the line of the strategy that is at work, 0 when it is none or only imports something."""
        frame = sys._getframe(2)
        while frame is not None:
            if frame.f_code.co_filename == self.path:
                return frame.f_lineno
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                return 0
            frame = frame.f_back  # type: ignore[assignment]
        return 0


@dataclass(frozen=True, slots=True)
class MadeMarket:
    """Candles and funding of all pairs; ``beyond`` says how many candles are closed at each decision."""

    interval_ms: int
    candles: Mapping[str, list[Candle]]
    funding: Mapping[str, list[FundingRate]]

    def now_ms(self, beyond: int) -> int:
        """Return the instant at which so many candles are closed."""
        return _FIRST_MS + beyond * self.interval_ms

    def settled(self, beyond: int) -> dict[str, list[FundingRate]]:
        """Return what was settled by then."""
        now = self.now_ms(beyond)
        return {symbol: [each for each in rows if each.time_ms <= now] for symbol, rows in self.funding.items()}

    def lists(self, beyond: int) -> PortfolioObservation:
        """Return the observation with copies of the closed candles."""
        closed = {symbol: rows[:beyond] for symbol, rows in self.candles.items()}
        return PortfolioObservation(self.now_ms(beyond), closed, self.settled(beyond))

    def views(self, beyond: int, later: Mapping[str, Sequence[Candle]]) -> PortfolioObservation:
        """Return the observation as a backtest hands it over: views of rows that go on with ``later``."""
        closed = {
            symbol: HistoryView([*rows[:beyond], *later.get(symbol, ())], beyond)
            for symbol, rows in self.candles.items()
        }
        return PortfolioObservation(self.now_ms(beyond), closed, self.settled(beyond))


def made_market(pairs: Sequence[str], interval: str, count: int, seed: int = 5) -> MadeMarket:
    """Return a market that trends, turns and calms down, the same one for the same arguments."""
    dice = np.random.default_rng(seed)
    length = INTERVAL_MS[interval]
    days = count * length // 86_400_000 + 2
    candles = {symbol: _walk(dice, count, length, 50.0 * 7.0**place) for place, symbol in enumerate(pairs)}
    funding = {
        symbol: [
            FundingRate(_FIRST_MS + number * _EIGHT_HOURS_MS, float(rate))
            for number, rate in enumerate(np.cumsum(dice.normal(0.0, 0.00015, days * 3)).clip(-0.002, 0.002))
        ]
        for symbol in pairs
    }
    return MadeMarket(length, candles, funding)


def _walk(dice: np.random.Generator, count: int, length: int, price: float) -> list[Candle]:
    scale = 0.03 * (length / 86_400_000) ** 0.5
    drift = np.repeat(dice.normal(0.0, 0.4, count // 40 + 1), 40)[:count] * scale
    steps = drift + scale * np.repeat(dice.uniform(0.3, 1.7, count // 25 + 1), 25)[:count] * dice.normal(size=count)
    close = price * np.exp(np.cumsum(steps))
    opened = np.concatenate(([price], close[:-1]))
    reach = 1.0 + np.abs(dice.normal(0.0, scale / 2, (2, count)))
    high, low = np.maximum(opened, close) * reach[0], np.minimum(opened, close) / reach[1]
    volume = dice.uniform(100.0, 900.0, count)
    columns = zip(opened.tolist(), high.tolist(), low.tolist(), close.tolist(), volume.tolist(), strict=True)
    return [Candle(_FIRST_MS + number * length, *row) for number, row in enumerate(columns)]


def _moved(rows: Sequence[Candle]) -> list[Candle]:
    """Return later candles as they might have been as well: mirrored, and half as high again."""
    first = rows[0].open if rows else 1.0
    level = 1.5 * first * first
    return [
        Candle(c.open_ms, level / c.open, level / c.low, level / c.high, level / c.close, c.volume * 3.0) for c in rows
    ]


class Probe:
    """All checks of one file, one after the other; the first that fails raises ``StrategyFailed``."""

    def __init__(self, file: StrategyFile, answer: Any) -> None:
        self._file = file
        self._answer = answer
        self._guard = IoGuard(str(file.path))
        self._took_s = 0.0

    def run(self) -> dict[str, Any]:
        """Return what is known of a strategy that passed."""
        for each in findings(self._file.source.decode("utf-8")):
            raise StrategyFailed(f"{self._file.path.name}, {each}.")
        sys.addaudithook(self._guard.audit)
        strategy = self._loaded("loading the file")
        count = strategy.warm_up_candles + _DECISIONS
        self._market = made_market(strategy.pairs, strategy.candle_interval, count)
        instants = range(count - _DECISIONS, count)
        walked = {beyond: self._unchanged(strategy, beyond) for beyond in instants}
        for beyond in list(instants)[:: _DECISIONS // _COMPARED]:
            self._same_again(walked[beyond], beyond)
            self._later_candles_do_not_matter(walked[beyond], beyond)
        return self._facts(strategy, walked)

    def _loaded(self, doing: str) -> LoadedStrategy:
        self._say(doing)
        try:
            return load_strategy(self._file)
        except OutsideAccess as error:
            raise StrategyFailed(f"{self._file.path.name}, {error}.") from error
        finally:
            self._refuse_attempts()

    def _asked(self, strategy: LoadedStrategy, observation: PortfolioObservation) -> Weights:
        self._say(f"deciding at {utc_text(observation.now_ms)[:16]}")
        began_s = monotonic_s()
        try:
            found = strategy.targets(observation)
        except OutsideAccess as error:
            raise StrategyFailed(f"{self._file.path.name}, {error}.") from error
        finally:
            self._refuse_attempts()
        self._took_s = max(self._took_s, monotonic_s() - began_s)
        return tuple(_of(each) for each in found)

    def _refuse_attempts(self) -> None:
        if self._guard.attempts:
            raise StrategyFailed(f"{self._file.path.name}, {self._guard.attempts[0]}.")

    def _unchanged(self, strategy: LoadedStrategy, beyond: int) -> Weights:
        """Return the decision; refuse a strategy that changes what it was handed."""
        seen, twin = self._market.lists(beyond), self._market.lists(beyond)
        weights = self._asked(strategy, seen)
        if seen.candles != twin.candles or seen.funding != twin.funding:
            raise StrategyFailed(f"{self._file.path.name} changes the candles or rates that it is handed: copy them.")
        return weights

    def _same_again(self, walked: Weights, beyond: int) -> None:
        """Refuse a strategy that says something else when it is run anew, asked again, or asked in another order."""
        fresh = self._loaded("loading the file anew")
        first = self._asked(fresh, self._market.lists(beyond))
        second = self._asked(self._loaded("loading the file anew"), self._market.lists(beyond))
        if first != second:
            self._refuse(beyond, first, second, "is not deterministic: the same candles gave {} and then {}")
        if first != walked:
            self._refuse(beyond, walked, first, "keeps state between two decisions: it said {}, and run anew {}")
        seen = self._market.lists(beyond)
        turned = PortfolioObservation(seen.now_ms, dict(reversed(list(seen.candles.items()))), seen.funding)
        other = tuple(sorted(self._asked(self._loaded("loading the file anew"), turned)))
        if other != tuple(sorted(first)):
            self._refuse(beyond, tuple(sorted(first)), other, "keeps state between pairs: {}, in another order {}")

    def _later_candles_do_not_matter(self, walked: Weights, beyond: int) -> None:
        """Refuse a strategy whose decision changes with candles that had not closed: real, other, or none."""
        later = {symbol: rows[beyond:] for symbol, rows in self._market.candles.items()}
        others = {symbol: _moved(rows) for symbol, rows in later.items()}
        for name, rows in (("the real ones", later), ("other ones", others), ("none", {})):
            said = self._asked(self._loaded("loading the file anew"), self._market.views(beyond, rows))
            if said != walked:
                what = f"looks ahead: with {name} as later candles it said {{}}, without them {{}}"
                self._refuse(beyond, said, walked, what)

    def _refuse(self, beyond: int, one: Weights, other: Weights, what: str) -> None:
        pairs = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
        (symbol, first, _), (_, second, _) = pairs[0]
        said = what.format(f"{symbol} {_text(first)}", _text(second))
        raise StrategyFailed(f"{self._file.path.name} {said} (at candle {beyond}).")

    def _facts(self, strategy: LoadedStrategy, walked: Mapping[int, Weights]) -> dict[str, Any]:
        weights = [weight for each in walked.values() for _, weight, _ in each]
        return {
            "class": strategy.class_name,
            "interval": strategy.candle_interval,
            "warm_up": strategy.warm_up_candles,
            "pairs": list(strategy.pairs),
            "figures": dict(strategy.figures),
            "limits": {name: str(value) for name, value in asdict(strategy.limits).items()},
            "description": strategy.description,
            "tried": strategy.tried,
            "decisions": len(walked),
            "compared": _COMPARED,
            "invested": sum(bool(weight) for weight in weights) / len(weights),
            "slowest_ms": round(self._took_s * 1_000, 1),
        }

    def _say(self, doing: str) -> None:
        self._answer({"doing": doing})


def _of(target: Target) -> tuple[str, float | None, float]:
    return target.symbol, target.weight, target.band


def _text(weight: float | None) -> str:
    return "no target" if weight is None else f"{weight:.4g}"


def main(arguments: list[str]) -> int:
    """Check one file; what it prints goes to standard error, the report to standard output."""
    report = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    warnings.simplefilter("ignore")

    def answer(said: Mapping[str, Any]) -> None:
        report.write(json.dumps(said) + "\n")

    try:
        file = read_strategy_file(arguments[0], Path(arguments[1]))
        if file.digest != arguments[2]:
            raise StrategyFailed(f"{file.path.name} was changed while it was being checked: check it again.")
        answer({"passed": Probe(file, answer).run()})
    except SyntaxError as error:
        answer({"refused": f"{arguments[0]}.py, line {error.lineno}: {error.msg}."})
    except StrategyFailed as error:
        answer({"refused": str(error)})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
