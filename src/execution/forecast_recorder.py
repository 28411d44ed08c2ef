"""Writes down what everybody says of the price in each turn, and judges it when its time has come."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from src.domain.clock import DAY_MS, MINUTE_MS
from src.domain.errors import ExchangeError, StoreUnavailable
from src.domain.evidence import ChartOpinion, PanelistOpinion
from src.domain.forecasts import Forecast, Judged, OpenForecasts, is_missed, outcome_of
from src.domain.market import INTERVAL_MS, Candle, MarketContext
from src.execution.journal import Turn
from src.strategy import forecasters
from src.strategy.forecasters import ForecastContext
from src.strategy.votes import vote_values

log = logging.getLogger(__name__)

History = Callable[[str, str, int], Sequence[Candle]]
_STALE_MS = 2 * MINUTE_MS  # who sees no newer candle says nothing of the present price
_MOST_ASKED = 3_000  # minutes that are asked for at once, to judge what fell due while the bot was away


class ForecastStore(Protocol):
    """Where forecasts are kept, and what chart analyst and news have said; may raise ``StoreUnavailable``."""

    def open(self) -> list[Forecast]:
        """Return the forecasts that are not judged yet."""

    def add(self, made: Sequence[Forecast]) -> None:
        """Keep new forecasts."""

    def settle(self, judged: Sequence[Judged]) -> None:
        """Keep what became of forecasts; None means that no candle tells."""

    def chart_opinion(self, symbol: str) -> ChartOpinion | None:
        """Return the newest good look at the chart of ``symbol``, None before the first."""

    def panel_opinions(self, symbol: str, made_ms: int) -> Sequence[PanelistOpinion]:
        """Return what the analysts of a panel said of the chart of ``symbol`` at that instant; none without a panel."""

    def news_scores(self, since_ms: int, until_ms: int) -> Mapping[str, Sequence[float]]:
        """Return the scores of the articles known in that time, by reader."""


class Feed(Protocol):
    """Where the closed one-minute candles come from."""

    def candles(self, symbol: str) -> Sequence[Candle]:
        """Return the closed candles, oldest first."""


class ForecastRecorder:
    """The forecasts of one bot. Called after the turns of a cycle, by one thread; no failure of it stops a turn.

    Args:
        store: where forecasts are kept.
        feed: the newest minutes.
        history: called as ``history(symbol, "1m", count)``, for minutes that the feed no longer has.
        interval_ms: the length of the candles that the rules decide on.
        one_way_share: fee and spread of one order as a share of notional.
        trend: the trend portfolio's signal for a pair after so many closed minutes; None while it is not known.
    """

    def __init__(
        self,
        store: ForecastStore,
        feed: Feed,
        history: History,
        interval_ms: int,
        one_way_share: float,
        *,
        trend: Callable[[str, Sequence[Candle]], float | None] = lambda _symbol, _minutes: None,
    ) -> None:
        self._store = store
        self._feed = feed
        self._history = history
        self._interval_ms = interval_ms
        self._one_way_share = one_way_share
        self._trend = trend
        self._open: OpenForecasts | None = None

    def take(self, turns: Sequence[Turn]) -> None:
        """Judge what is due, and write down what is said in these turns by whoever has no forecast open."""
        if not turns:
            return
        try:
            if self._open is None:
                self._open = OpenForecasts(self._store.open())
            self._settle(self._open, max(turn.observation.now_ms for turn in turns))
            admit = self._open.admit
            self._store.add([each for turn in turns for each in self._said_in(turn) if admit(each)])
        except StoreUnavailable as error:
            log.warning("forecasts not noted: reason=%s", error)
        except ExchangeError as error:
            log.warning("forecasts not judged yet: reason=%s", error)

    def _said_in(self, turn: Turn) -> Iterator[Forecast]:
        seen = turn.observation
        if seen.candle is None or seen.indicators is None:
            return
        made_ms = seen.candle.open_ms + MINUTE_MS
        if seen.now_ms - made_ms >= _STALE_MS:
            return
        at = ForecastContext(seen.symbol, made_ms, seen.candle.close, self._interval_ms)
        yield from forecasters.of_votes(at, vote_values(seen.indicators), seen.signal.side.sign, seen.signal.strength)
        sign = seen.position.direction.sign if seen.own and seen.position is not None else 0
        agent = forecasters.of_agent(at, seen.recommendation, sign, self._one_way_share)
        mood = forecasters.of_fear_greed(at, seen.context.fear_greed_index if seen.context else None)
        trend = forecasters.of_trend(at, self._trend(seen.symbol, self._feed.candles(seen.symbol)))
        yield from (each for each in (agent, mood, trend) if each is not None)
        yield from self._evidence(at)
        yield from _external(at, seen.context)

    def _evidence(self, at: ForecastContext) -> Iterator[Forecast]:
        """What the chart analyst and the news say; an analysis older than its chart's interval has been scored."""
        seen = self._store.chart_opinion(at.symbol)
        if seen is not None and 0 <= at.made_ms - seen.made_ms + MINUTE_MS <= INTERVAL_MS[seen.interval]:
            chart = at._replace(interval_ms=INTERVAL_MS[seen.interval])
            said = forecasters.of_chart(chart, seen.recommendation, seen.confidence, seen.analyst, seen.cost_usd)
            yield from (said,) if said is not None else ()
            for each in self._store.panel_opinions(at.symbol, seen.made_ms):
                of_one = forecasters.of_panelist(chart, each)
                yield from (of_one,) if of_one is not None else ()
        for reader, scores in self._store.news_scores(at.made_ms - DAY_MS, at.made_ms).items():
            said = forecasters.of_news(at, scores, reader)
            yield from (said,) if said is not None else ()

    def _settle(self, known: OpenForecasts, now_ms: int) -> None:
        due = known.take_due(now_ms // MINUTE_MS * MINUTE_MS)
        while due:
            try:
                judged = self._judged(due[0], now_ms)
            except ExchangeError:
                for each in due:  # tried again with the next turn
                    known.admit(each)
                raise
            self._store.settle([judged])
            due.pop(0)

    def _judged(self, forecast: Forecast, now_ms: int) -> Judged:
        candle = last_before(self._feed.candles(forecast.symbol), forecast.due_ms)
        if candle is None:
            missing = (now_ms - forecast.due_ms) // MINUTE_MS + 2
            if missing > _MOST_ASKED:
                return forecast, None
            candle = last_before(self._history(forecast.symbol, "1m", int(missing) + 10), forecast.due_ms)
        if candle is None or is_missed(forecast, candle.open_ms + MINUTE_MS):
            return forecast, None
        return forecast, outcome_of(forecast, candle.close, 2.0 * self._one_way_share)


def _external(at: ForecastContext, context: MarketContext | None) -> Iterator[Forecast]:
    """What other programs said of the pair in the last minutes; what is older was said of another price."""
    for each in () if context is None else context.external:
        if each.symbol == at.symbol and 0 <= at.made_ms + MINUTE_MS - each.received_ms <= _STALE_MS:
            said = forecasters.of_external(at, each.source, each.direction)
            yield from (said,) if said is not None else ()


def last_before(candles: Sequence[Candle], instant_ms: int) -> Candle | None:
    """Return the last of ``candles`` (minutes, oldest first) that has closed by ``instant_ms``, None if none has."""
    low, high = 0, len(candles)
    while low < high:
        middle = (low + high) // 2
        if candles[middle].open_ms + MINUTE_MS <= instant_ms:
            low = middle + 1
        else:
            high = middle
    return candles[low - 1] if low else None
