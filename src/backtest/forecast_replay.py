"""What votes, agent, chart analyst, news and Fear & Greed would have said over past candles, and what followed.

The same functions as in the live loop say it and judge it: one forecast of each forecaster is open at a time, made at
the close of a candle and judged by the last close at or before its end.
"""

import csv
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np

from src.backtest.past_timeframes import longer, trends_known
from src.charts.analysis_schema import ChartView
from src.charts.rule_based_analyst import read_chart
from src.domain.clock import DAY_MS, MINUTE_MS, instant_of
from src.domain.errors import DataRefused
from src.domain.forecasts import Forecast, Judged, OpenForecasts, is_missed, outcome_of
from src.domain.market import INTERVAL_MS, Candle
from src.market_data.columns import Candles
from src.news.lexicon import LocalSentimentAnalyzer
from src.strategy import forecasters
from src.strategy.decision import DecisionRules
from src.strategy.forecasters import ForecastContext
from src.strategy.indicators import EMPTY, Indicators, ready, step
from src.strategy.q_agent import QLearningAgent, encode
from src.strategy.q_state import REGIMES
from src.strategy.signals import signal_code
from src.strategy.trend_forecast import TrendReader
from src.strategy.trend_portfolio import TrendPortfolioRules
from src.strategy.votes import vote_values, votes_mask

CHART_INTERVAL = "15m"
_CHART_CANDLES = 120


@dataclass(frozen=True, slots=True)
class PastEvidence:
    """What is known of the past beside candles: the Fear & Greed index and scores of headlines, by UTC day's start."""

    fear_greed: Mapping[int, int] = field(default_factory=dict)
    news: Mapping[int, Sequence[float]] = field(default_factory=dict)


class ForecastReplay:
    """Walks through past candles once and judges all that was said on the way.

    Args:
        symbol: the pair.
        minutes: one-minute candles, with those before ``from_ms`` that the indicators want.
        rules: whose candles and votes count.
        agent: taught by what lies before; it goes on learning.
        one_way_share: fee and spread of one order as a share of notional.
        evidence: what else is known of that time.
        source_ms: the length of the candles that the minutes were made of; charts of shorter ones are left out, since
            prices within a candle are made up and can be foretold.
    """

    def __init__(
        self,
        *,
        symbol: str,
        minutes: Candles,
        rules: DecisionRules,
        agent: QLearningAgent,
        one_way_share: float,
        evidence: PastEvidence | None = None,
        source_ms: int = MINUTE_MS,
    ) -> None:
        self._symbol = symbol
        self._minutes = minutes
        self._rules = rules
        self._agent = agent
        self._one_way_share = one_way_share
        self._evidence = evidence or PastEvidence()
        self._with_charts = source_ms <= INTERVAL_MS[CHART_INTERVAL]

    def run(self, from_ms: int, to_ms: int) -> list[Judged]:
        """Return every forecast made in ``from_ms <= instant < to_ms`` whose end lies in the candles, as it ended."""
        last_ms = int(self._minutes.open_ms[-1]) + MINUTE_MS
        judged: list[Judged] = []
        streams = (self._of_rules, *((self._of_charts,) if self._with_charts else ()), self._of_days, self._of_trend)
        for stream in streams:
            known = OpenForecasts()
            for said in stream(from_ms, to_ms):
                for each in said:
                    judged += [self._judged(ended) for ended in known.take_due(each.made_ms)]
                    known.admit(each)
            judged += [self._judged(each) for each in known.take_due(last_ms)]
        return sorted(judged, key=lambda each: (each[0].made_ms, each[0].forecaster))

    def _judged(self, forecast: Forecast) -> Judged:
        place = int(np.searchsorted(self._minutes.open_ms, forecast.due_ms - MINUTE_MS, side="right")) - 1
        closed_ms = int(self._minutes.open_ms[place]) + MINUTE_MS
        if is_missed(forecast, closed_ms):
            return forecast, None
        return forecast, outcome_of(forecast, self._minutes.close.item(place), 2.0 * self._one_way_share)

    def _of_rules(self, from_ms: int, to_ms: int) -> Iterator[list[Forecast]]:
        """What votes, signal and agent say after each candle that the rules decide on."""
        interval_ms = INTERVAL_MS[self._rules.candle_interval]
        candles = self._minutes if interval_ms == MINUTE_MS else longer(self._minutes, interval_ms)
        closed_ms = candles.open_ms + interval_ms
        trends = trends_known(self._minutes, self._rules.trend_intervals, closed_ms)
        mask, state, before = votes_mask(self._rules.votes), EMPTY, -1
        last_close = np.nan
        for place in range(len(candles)):
            candle = candles.candle(place)
            if candle.open_ms + interval_ms >= to_ms:
                return
            state, seen = step(state, candle.high, candle.low, candle.close, candle.volume)
            if not ready(seen):
                continue
            votes, made_ms = vote_values(seen), candle.open_ms + interval_ms
            code = encode(seen, votes, REGIMES * int(trends[place]))
            if made_ms >= from_ms:
                if before >= 0:
                    self._agent.learn(before, 0, candle.close / last_close - 1.0, code)
                at = ForecastContext(self._symbol, made_ms, candle.close, interval_ms)
                said = forecasters.of_votes(at, votes, *signal_code(votes, mask))
                advice = self._agent.recommend(code, 0, candle.open_ms)
                agent = forecasters.of_agent(at, advice, 0, self._agent.one_way_cost_share)
                yield said if agent is None else [*said, agent]
            before, last_close = code, candle.close

    def _of_charts(self, from_ms: int, to_ms: int) -> Iterator[list[Forecast]]:
        """What the rule-based analyst says of each quarter-hour's chart while its last forecast is not open."""
        interval_ms = INTERVAL_MS[CHART_INTERVAL]
        candles = longer(self._minutes, interval_ms)
        seen: deque[Candle] = deque(maxlen=_CHART_CANDLES)
        values: deque[Indicators] = deque(maxlen=_CHART_CANDLES)
        state, free_ms = EMPTY, from_ms
        for place in range(len(candles)):
            candle = candles.candle(place)
            made_ms = candle.open_ms + interval_ms
            if made_ms >= to_ms:
                return
            state, latest = step(state, candle.high, candle.low, candle.close, candle.volume)
            seen.append(candle)
            values.append(latest)
            if made_ms < free_ms or len(seen) < _CHART_CANDLES:
                continue
            reading = read_chart(ChartView(self._symbol, CHART_INTERVAL, tuple(seen), tuple(values)))
            at = ForecastContext(self._symbol, made_ms, candle.close, interval_ms)
            said = forecasters.of_chart(at, reading.recommendation, reading.confidence, "local")
            if said is not None:
                free_ms = said.due_ms
                yield [said]

    def _of_trend(self, from_ms: int, to_ms: int) -> Iterator[list[Forecast]]:
        """What the trend portfolio's signal says after each of its candles, from enough of them on."""
        rules = TrendPortfolioRules()
        interval_ms = INTERVAL_MS[rules.candle_interval]
        candles = longer(self._minutes, interval_ms)
        reader = TrendReader(rules.forecast(), rules.history_days * rules.candles_a_day)
        for place in range(len(candles)):
            candle = candles.candle(place)
            made_ms = candle.open_ms + interval_ms
            signal = reader.take(candle)
            if from_ms <= made_ms < to_ms:
                said = forecasters.of_trend(ForecastContext(self._symbol, made_ms, candle.close, interval_ms), signal)
                yield [] if said is None else [said]

    def _of_days(self, from_ms: int, to_ms: int) -> Iterator[list[Forecast]]:
        """What the day's Fear & Greed index and yesterday's headlines say at midnight."""
        for day_ms in range(-(-from_ms // DAY_MS) * DAY_MS, to_ms, DAY_MS):
            place = int(np.searchsorted(self._minutes.open_ms, day_ms - MINUTE_MS, side="right")) - 1
            if place < 0 or day_ms - int(self._minutes.open_ms[place]) - MINUTE_MS > INTERVAL_MS["1h"]:
                continue
            at = ForecastContext(self._symbol, day_ms, self._minutes.close.item(place), DAY_MS)
            mood = forecasters.of_fear_greed(at, self._evidence.fear_greed.get(day_ms))
            news = forecasters.of_news(at, self._evidence.news.get(day_ms - DAY_MS, ()), "local")
            yield [each for each in (mood, news) if each is not None]


def read_headlines(path: Path, analyzer: LocalSentimentAnalyzer) -> dict[int, list[float]]:
    """Return the local scores of a CSV's headlines (columns ``date`` and ``headline``) by the start of their UTC day.

    Raises:
        DataRefused: missing, or without these columns, or with a date that is none.
    """
    found: dict[int, list[float]] = {}
    for row in csv_rows(path, ("date", "headline")):
        found.setdefault(utc_day_ms(path, row["date"]), []).append(analyzer.analyze(row["headline"]).score)
    return found


def read_fear_greed(path: Path) -> dict[int, int]:
    """Return the index by the start of its UTC day from a CSV (``date,value``) or parquet (``day_time,value``) file.

    Raises:
        DataRefused: missing, or of other columns.
    """
    if path.suffix != ".parquet":
        return {utc_day_ms(path, row["date"]): int(row["value"]) for row in csv_rows(path, ("date", "value"))}
    from pyarrow import parquet  # here: only who replays such a file needs it

    try:
        table = parquet.read_table(path, columns=["day_time", "value"])
    except (OSError, ValueError, KeyError) as error:
        raise DataRefused(f"{path.name} holds no columns day_time and value: {error}.") from error
    return dict(zip(table["day_time"].to_pylist(), table["value"].to_pylist(), strict=True))


def csv_rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of a CSV file; raises ``DataRefused`` where it cannot be read or lacks one of ``columns``."""
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise DataRefused(f"{path.name} cannot be read: {error}.") from error
    missing = [name for name in columns if not rows or name not in rows[0]]
    if missing:
        raise DataRefused(f"{path.name} needs the columns {', '.join(columns)}; missing: {', '.join(missing)}.")
    return rows


def utc_day_ms(path: Path, text: str) -> int:
    """Return the start of a day written YYYY-MM-DD; raises ``DataRefused``, naming the file, where it is none."""
    try:
        return instant_of(date.fromisoformat(text).isoformat())
    except ValueError as error:
        raise DataRefused(f"{path.name}: {text!r} is no date; write YYYY-MM-DD.") from error
