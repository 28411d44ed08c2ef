"""The evidence of the past: market regime, chart opinions and news events as they were known at each instant."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from src.backtest.config import PastContexts
from src.backtest.forecast_replay import CHART_INTERVAL, csv_rows, utc_day_ms
from src.backtest.past_timeframes import longer
from src.charts.analysis_schema import ChartView
from src.charts.rule_based_analyst import read_chart
from src.context.classify import UNKNOWN, btc_trend, market_regime, market_trend
from src.domain.clock import DAY_MS, MINUTE_MS
from src.domain.evidence import ChartOpinion, NewsEvent, ReportedHeadline
from src.domain.market import INTERVAL_MS, MarketContext
from src.market_data.columns import Candles
from src.news.events import events_in
from src.strategy.evidence import MOST_NEWS_HOURS
from src.strategy.indicators import EMPTY, Indicators, step

_CHART_CANDLES: Final = 120
_HOUR_MS: Final = 3_600_000
_MOST_NEWS_MS: Final = MOST_NEWS_HOURS * _HOUR_MS
_LATE_MS: Final = 10 * MINUTE_MS  # a price that is older is not the present one


class PastCharts:
    """What the rule-based analyst says of one pair's chart at an instant of the past."""

    def __init__(self, symbol: str, minutes: Candles) -> None:
        self._symbol = symbol
        self._minutes = minutes
        self._length = INTERVAL_MS[CHART_INTERVAL]
        self._read = lru_cache(256)(self._reading)

    def opinion(self, now_ms: int) -> ChartOpinion | None:
        """Return the opinion on the last closed candle of the chart, None before there are enough of them."""
        place = int(np.searchsorted(self._candles.open_ms, now_ms - self._length, side="right")) - 1
        return None if place < _CHART_CANDLES - 1 else self._read(place)

    @cached_property
    def _candles(self) -> Candles:
        return longer(self._minutes, self._length)

    @cached_property
    def _indicators(self) -> list[Indicators]:
        state, found = EMPTY, []
        for place in range(len(self._candles)):
            candle = self._candles.candle(place)
            state, now = step(state, candle.high, candle.low, candle.close, candle.volume)
            found.append(now)
        return found

    def _reading(self, place: int) -> ChartOpinion:
        rows = range(place - _CHART_CANDLES + 1, place + 1)
        seen = tuple(self._candles.candle(row) for row in rows)
        values = tuple(self._indicators[rows.start : rows.stop])
        said = read_chart(ChartView(self._symbol, CHART_INTERVAL, seen, values))
        closed_ms = seen[-1].open_ms + self._length
        return ChartOpinion(
            closed_ms, CHART_INTERVAL, "local", said.recommendation, said.confidence, Decimal(0), self._symbol
        )


class EvidenceHistory(PastContexts):
    """The market context of the past with news events and chart opinions."""

    def __init__(
        self,
        contexts: Sequence[MarketContext] = (),
        events: Sequence[NewsEvent] = (),
        charts: Sequence[PastCharts] = (),
    ) -> None:
        super().__init__(contexts)
        self._events = sorted(events, key=lambda each: each.known_ms)
        self._known = np.array([each.known_ms for each in self._events], dtype=np.int64)
        self._charts = tuple(charts)

    def observed_at(self, now_ms: int) -> MarketContext | None:
        """Return the context that was known then, with the events and opinions of that time."""
        context = self.at(now_ms)
        if not self._events and not self._charts:
            return context
        first, beyond = np.searchsorted(self._known, (now_ms - _MOST_NEWS_MS, now_ms), side="right")
        opinions = (chart.opinion(now_ms) for chart in self._charts)
        return replace(
            _unknown(now_ms) if context is None else context,
            events=tuple(self._events[first:beyond]),
            opinions=tuple(each for each in opinions if each is not None),
        )


def past_contexts(
    btc: Candles | None, eth: Candles | None, fear_greed: Mapping[int, int], from_ms: int, to_ms: int
) -> list[MarketContext]:
    """Return the context of each full hour, as far as candles of BTC and ETH and the daily index tell it.

    The index of a UTC day is known when the day begins.
    """
    found = []
    for now_ms in range(from_ms - from_ms % _HOUR_MS, to_ms, _HOUR_MS):
        (btc_price, btc_change), (eth_price, eth_change) = (_day_change(each, now_ms) for each in (btc, eth))
        index = fear_greed.get(now_ms // DAY_MS * DAY_MS)
        context = replace(
            _unknown(now_ms),
            btc_price=btc_price,
            btc_change_24h=btc_change,
            eth_price=eth_price,
            eth_change_24h=eth_change,
            fear_greed_index=index,
            market_trend=market_trend(btc_change, eth_change, index),
            btc_trend=btc_trend(btc_change),
            market_regime=market_regime(btc_change, eth_change, index),
        )
        found.append(context)
    return found


def read_news_events(path: Path, coins: Mapping[str, Sequence[str]]) -> tuple[NewsEvent, ...]:
    """Return the events in a CSV of headlines (``date,headline``); those of a day are known when it is over.

    Raises:
        DataRefused: the file cannot be read, or is of other columns.
    """
    rows = csv_rows(path, ("date", "headline"))
    return events_in(
        (ReportedHeadline(row["headline"], path.stem, utc_day_ms(path, row["date"]) + DAY_MS) for row in rows), coins
    )


def _day_change(candles: Candles | None, now_ms: int) -> tuple[float | None, float | None]:
    """Return the last close and its change over 24 hours in percent; None where candles do not tell."""
    if candles is None:
        return None, None
    places = [
        int(np.searchsorted(candles.open_ms, at - MINUTE_MS, side="right")) - 1 for at in (now_ms - DAY_MS, now_ms)
    ]
    times = (now_ms - DAY_MS, now_ms)
    if any(
        place < 0 or at - int(candles.open_ms[place]) - MINUTE_MS > _LATE_MS
        for place, at in zip(places, times, strict=True)
    ):
        return None, None
    before, now = (candles.close.item(place) for place in places)
    return now, (now / before - 1.0) * 100.0


def _unknown(now_ms: int) -> MarketContext:
    return MarketContext(None, None, None, None, None, None, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, now_ms, world="replay")
