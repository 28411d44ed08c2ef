"""The command ``python3 -m src.backtest forecasts``: fills the ledger from past candles and shows the scores."""

import argparse
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from src.backtest.config import Setup
from src.backtest.forecast_replay import ForecastReplay, PastEvidence, read_fear_greed, read_headlines
from src.backtest.options import PastMarketData
from src.domain.clock import utc_text
from src.domain.costs import CostRates
from src.domain.errors import DataRefused
from src.domain.forecast_scores import Interval
from src.domain.forecasts import Judged
from src.news.lexicon import LocalSentimentAnalyzer, parse_lexicon
from src.news.sentiment import LEXICON_FILE
from src.reporting.forecasts import PAST, ForecasterScore
from src.reporting.pages import Scope
from src.reporting.service import ReportService
from src.runtime.settings import PROJECT_ROOT, Settings
from src.storage.database import TradingDatabase
from src.storage.forecast_repository import ForecastRepository
from src.storage.rows import Owner
from src.strategy.q_agent import QLearningAgent

HEAD = (
    "forecaster", "horizon", "settled", "hit rate", "base rate", "Brier skill", "rank correlation", "net a forecast",
    "verdict",
)  # fmt: skip
BOT_ID = "past"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command can be told beside market and rules."""
    add = parser.add_argument
    add("--fear-greed", type=Path, help="a file of the daily index: CSV (date,value) or parquet (day_time,value)")
    add("--news", type=Path, help="a CSV of headlines (date,headline), scored by the lexicon against the next day")
    add("--markdown", action="store_true", help="print the scores as a table for a document")


def replayed(command: argparse.Namespace, setup: Setup, past: PastMarketData, agent: QLearningAgent) -> list[Judged]:
    """Return all forecasts of the span with what followed.

    Raises:
        DataRefused: a file cannot be used, or nothing was said.
    """
    analyzer = LocalSentimentAnalyzer(parse_lexicon((PROJECT_ROOT / LEXICON_FILE).read_text(encoding="utf-8")))
    evidence = PastEvidence(
        read_fear_greed(command.fear_greed) if command.fear_greed else {},
        read_headlines(command.news, analyzer) if command.news else {},
    )
    costs = CostRates(taker_share=setup.taker_share, maker_share=setup.maker_share)
    replay = ForecastReplay(
        symbol=setup.symbol,
        minutes=past.candles,
        rules=setup.rules,
        agent=agent,
        one_way_share=costs.one_way_share,
        evidence=evidence,
        source_ms=past.source_ms,
    )
    judged = replay.run(past.span.from_ms, past.span.to_ms)
    if not judged:
        raise DataRefused("Nobody said anything that the candles could judge: give a longer span.")
    return judged


def store(settings: Settings, judged: Sequence[Judged]) -> tuple[int, list[ForecasterScore]]:
    """Write the forecasts into the ledger as those of the past; return how many were new, and the scores of them all.

    They stand under a bot's name of their own, so that no running bot's figures change; the same command twice adds
    nothing.
    """
    owner = Owner(BOT_ID, settings.mode, settings.world)
    with closing(TradingDatabase(settings.database_url, owner)) as database:
        database.migrate()
        new = ForecastRepository(database, PAST).fill(judged)
        symbol = judged[0][0].symbol
        scope = Scope(bot_id=BOT_ID, mode=owner.mode, world=owner.world, symbol=symbol)
        return new, ReportService(database).forecast_scores(scope, PAST)


def score_rows(scores: Sequence[ForecasterScore]) -> list[tuple[str, ...]]:
    """Return the scoreboard as text, a row for each forecaster."""
    return [
        (
            line.name, _horizon(line.horizon_s), f"{line.score.settled:,}",
            _percent(line.score.hit_rate, line.score.hit_interval), _percent(line.score.base_rate),
            _percent(line.score.skill, line.score.skill_interval, 2),
            _plain(line.score.information_coefficient, line.score.information_interval),
            _percent(line.score.net_mean, line.score.net_interval, 3), line.score.verdict,
        )
        for line in scores
    ]  # fmt: skip


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return head and rows as a table of a Markdown document."""
    lines = [HEAD, ["---"] * len(HEAD), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def span_in_words(judged: Sequence[Judged]) -> str:
    """Return from when to when something was said."""
    made = [each.made_ms for each, _ in judged]
    return f"{utc_text(min(made))[:16]} to {utc_text(max(made))[:16]} UTC"


def _horizon(seconds: int) -> str:
    for length, unit in ((86_400, "d"), (3_600, "h")):
        if seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds // 60} min"


def _percent(value: float | None, interval: Interval | None = None, places: int = 1) -> str:
    if value is None:
        return "-"
    around = "" if interval is None else f" ({interval[0]:.{places}%} to {interval[1]:.{places}%})"
    return f"{value:.{places}%}{around}"


def _plain(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "-"
    return f"{value:+.3f}" + ("" if interval is None else f" ({interval[0]:+.3f} to {interval[1]:+.3f})")
