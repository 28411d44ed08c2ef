"""Sources of market context: two Fear & Greed providers, CoinGecko, the paper exchange's own market.

Each source is queried as rarely as its terms require, counted over all processes: responses, and refusals with the
back-off time, are in the shared cache. A failing source costs a figure, never a turn.
"""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from src.domain.clock import Clock, instant_of
from src.domain.errors import SourceUnavailable
from src.runtime.cache import CacheManager
from src.runtime.http_fetch import SourceRefused, WebFetcher

log = logging.getLogger(__name__)

ALTERNATIVE_ME_URL: Final = "https://api.alternative.me"
COINMARKETCAP_URL: Final = "https://pro-api.coinmarketcap.com"
COINGECKO_URL: Final = "https://api.coingecko.com/api/v3"

_HOUR_S: Final = 3_600.0
_COINGECKO_S: Final = 600.0
_OLDEST_INDEX_MS: Final = 26 * 3_600_000  # a day's value, and two hours until the next one appears
_AHEAD_MS: Final = 3_600_000
_QUIET_S: Final = 300.0
_QUIET_RATE_S: Final = 60.0
_QUIET_HOPELESS_S: Final = 3_600.0
_HOPELESS: Final = frozenset({401, 403, 404, 422, 426})


@dataclass(frozen=True, slots=True)
class SourceReading:
    """Figures from one source; ``as_of_ms`` is the time they refer to."""

    figures: Mapping[str, float]
    source: str
    as_of_ms: int
    label: str = ""


class ContextSource(Protocol):
    """Where figures come from."""

    @property
    def name(self) -> str:
        """The name shown with the figures."""

    def read(self) -> SourceReading:
        """Return its present figures; ``SourceUnavailable`` with the reason where there are none."""


class AlternativeMe:
    """The Crypto Fear & Greed Index of alternative.me, which requires attribution."""

    name = "alternative.me"

    def __init__(self, fetcher: WebFetcher, clock: Clock, base_url: str = "") -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._url = f"{(base_url or ALTERNATIVE_ME_URL).rstrip('/')}/fng/"

    def read(self) -> SourceReading:
        """Return ``fear_greed_index`` (0..100), of the UTC day that ``as_of_ms`` begins."""
        answer = _mapping(self._fetcher.get(self._url, {"limit": "1"}).json(), self.name)
        metadata, rows = answer.get("metadata"), answer.get("data")
        if isinstance(metadata, dict) and metadata.get("error"):
            raise SourceRefused(f"{self.name} reports an error: {str(metadata['error'])[:200]}")
        if not isinstance(rows, list) or not rows:
            raise SourceRefused(f"{self.name} sent no value")
        row = _mapping(rows[0], self.name)
        as_of_ms = int(_number(row.get("timestamp"), "timestamp", self.name)) * 1000
        return _index_reading(row, as_of_ms, self._clock, self.name)


class CoinMarketCap:
    """CoinMarketCap's own Fear & Greed Index, from its keyless endpoint; another method, another level."""

    name = "CoinMarketCap"

    def __init__(self, fetcher: WebFetcher, clock: Clock, base_url: str = "") -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._url = f"{(base_url or COINMARKETCAP_URL).rstrip('/')}/public-api/v3/fear-and-greed/latest"

    def read(self) -> SourceReading:
        """Return ``fear_greed_index`` (0..100) as of its last update."""
        answer = _mapping(self._fetcher.get(self._url).json(), self.name)
        status = answer.get("status")
        code = str(status.get("error_code", "0")) if isinstance(status, dict) else "0"
        if code != "0":  # status 200 with a code carries no valid data
            raise SourceRefused(f"{self.name} reports error {code}", 429 if code in {"1008", "1011"} else 403)
        row = _mapping(answer.get("data"), self.name)
        try:
            as_of_ms = instant_of(str(row.get("update_time")))
        except ValueError as error:
            raise SourceRefused(f"{self.name} sent no instant") from error
        return _index_reading(row, as_of_ms, self._clock, self.name)


class CoinGeckoPrices:
    """BTC and ETH averaged over many exchanges by CoinGecko: context, never a price to trade at."""

    name = "CoinGecko"

    def __init__(self, fetcher: WebFetcher, base_url: str = "", api_key: str = "") -> None:
        self._fetcher = fetcher
        self._url = f"{(base_url or COINGECKO_URL).rstrip('/')}/simple/price"
        self._headers = {"x-cg-demo-api-key": api_key} if api_key else {}

    def read(self) -> SourceReading:
        """Return ``btc_price btc_change_24h eth_price eth_change_24h`` (US dollars, percent), as far as sent."""
        wanted = {
            "ids": "bitcoin,ethereum",
            "vs_currencies": "usd",
            "include_24hr_change": "true",
            "include_last_updated_at": "true",
        }
        answer = _mapping(_coingecko(self._fetcher, self._url, wanted, self._headers), self.name)
        figures: dict[str, float] = {}
        instants: list[float] = []
        for coin, prefix in (("bitcoin", "btc"), ("ethereum", "eth")):
            row = answer.get(coin)
            if not isinstance(row, dict):
                continue  # an id it does not know is left out under status 200
            # asked for as 24hr, answered as 24h
            for figure, key in ((f"{prefix}_price", "usd"), (f"{prefix}_change_24h", "usd_24h_change")):
                if row.get(key) is not None:
                    figures[figure] = _number(row[key], key, self.name)
            instants.append(_number(row.get("last_updated_at"), "last_updated_at", self.name))
        if not figures:
            raise SourceRefused(f"{self.name} sent no price")
        if any(value <= 0 for name, value in figures.items() if name.endswith("_price")):
            raise SourceRefused(f"{self.name} sent a price of 0 or less")
        return SourceReading(figures, self.name, int(min(instants) * 1000))


class CoinGeckoDominance:
    """The share of BTC in the capitalisation of all coins, by CoinGecko."""

    name = "CoinGecko"

    def __init__(self, fetcher: WebFetcher, base_url: str = "", api_key: str = "") -> None:
        self._fetcher = fetcher
        self._url = f"{(base_url or COINGECKO_URL).rstrip('/')}/global"
        self._headers = {"x-cg-demo-api-key": api_key} if api_key else {}

    def read(self) -> SourceReading:
        """Return ``btc_dominance`` in percent."""
        answer = _mapping(_coingecko(self._fetcher, self._url, {}, self._headers), self.name)
        data = _mapping(answer.get("data"), self.name)
        shares = _mapping(data.get("market_cap_percentage"), self.name)
        dominance = _number(shares.get("btc"), "market_cap_percentage.btc", self.name)
        if not 0 < dominance <= 100:
            raise SourceRefused(f"{self.name} sent a dominance of {dominance:g} percent")
        as_of_ms = int(_number(data.get("updated_at"), "updated_at", self.name)) * 1000
        return SourceReading({"btc_dominance": dominance}, self.name, as_of_ms)


class PaperWorld:
    """The Fear & Greed index of the paper exchange's own market, if it has one; queried hourly, as it changes daily."""

    name = "paper exchange"

    def __init__(self, fetcher: WebFetcher, clock: Clock, base_url: str) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._url = f"{base_url.rstrip('/')}/paper/v1/fear_greed"
        self._asked_hour = -1
        self._answer: SourceReading | SourceRefused | None = None

    def read(self) -> SourceReading:
        """Return ``fear_greed_index`` (0..100) from ``{"value", "as_of_ms", "value_classification"}``."""
        hour = self._clock.now_ms() // 3_600_000
        if self._answer is None or hour != self._asked_hour:
            try:
                self._answer = self._ask()
            except SourceRefused as error:
                if error.status != 404:
                    raise
                self._answer = error
            self._asked_hour = hour
        if isinstance(self._answer, SourceRefused):
            raise self._answer
        return self._answer

    def _ask(self) -> SourceReading:
        try:
            row = _mapping(self._fetcher.get(self._url).json(), self.name)
        except SourceRefused as error:
            if error.status == 404:
                raise SourceRefused("this market has no Fear & Greed index", 404) from error
            raise
        as_of_ms = int(_number(row.get("as_of_ms"), "as_of_ms", self.name))
        return _index_reading(row, as_of_ms, self._clock, self.name)


class PaperDominance:
    """BTC's share of the paper exchange's own synthetic market."""

    name = "paper exchange"

    def __init__(self, fetcher: WebFetcher, base_url: str) -> None:
        self._fetcher = fetcher
        self._url = f"{base_url.rstrip('/')}/paper/v1/btc_dominance"

    def read(self) -> SourceReading:
        """Return ``btc_dominance`` in percent."""
        row = _mapping(self._fetcher.get(self._url).json(), self.name)
        share = _number(row.get("value"), "value", self.name)
        as_of_ms = int(_number(row.get("as_of_ms"), "as_of_ms", self.name))
        return SourceReading({"btc_dominance": share}, self.name, as_of_ms)


class PoliteSource:
    """A source queried at most every ``every_s`` by all processes together, with back-off after a refusal.

    Args:
        source: the source to query.
        cache: shared by all processes.
        clock: the cache's clock.
        every_s: how long an answer is good, in seconds.
        keep_ms: how long a response may still be used while the source is unavailable; 0 for never.
        key: name in the cache; two requests to one provider need two.
    """

    def __init__(
        self,
        source: ContextSource,
        cache: CacheManager,
        clock: Clock,
        *,
        every_s: float,
        keep_ms: int = 0,
        key: str = "",
    ) -> None:
        self._source = source
        self._cache = cache
        self._clock = clock
        self._every_s = every_s
        self._keep_ms = keep_ms
        self._key = key or source.name

    @property
    def name(self) -> str:
        """The name shown with the figures."""
        return self._source.name

    def read(self) -> SourceReading:
        """Return the cached figures or fresh ones; ``SourceUnavailable`` says why there are none."""
        try:
            record = self._cache.get_or_fetch(f"fresh:{self._key}", self._fetch, self._every_s, wait_s=3.0)
        except SourceUnavailable:
            record = self._cache.peek(f"kept:{self._key}") if self._keep_ms else None
            if record is None:
                raise
        return SourceReading(record["figures"], record["source"], record["as_of_ms"], record["label"])

    def _fetch(self) -> dict[str, Any]:
        refusal = self._cache.peek(f"quiet:{self._key}")
        if refusal is not None:  # queried just now, perhaps by the process we waited for
            raise SourceUnavailable(str(refusal))
        try:
            reading = self._source.read()
        except SourceUnavailable as error:
            wait_s = quiet_s(error)
            self._cache.set(f"quiet:{self._key}", str(error), wait_s)
            log.warning("context source away: source=%s retry_in_s=%.0f reason=%s", self.name, wait_s, error)
            raise
        record = {
            "figures": dict(reading.figures),
            "source": reading.source,
            "as_of_ms": reading.as_of_ms,
            "label": reading.label,
        }
        keep_s = (reading.as_of_ms + self._keep_ms - self._clock.now_ms()) / 1000
        if keep_s > 0:
            self._cache.set(f"kept:{self._key}", record, keep_s)
        return record


def quiet_s(error: SourceUnavailable) -> float:
    """Return the back-off in seconds after this kind of failure."""
    if not isinstance(error, SourceRefused):
        return _QUIET_S
    if error.retry_after_s is not None:
        return max(error.retry_after_s, _QUIET_RATE_S)
    if error.status == 429:
        return _QUIET_RATE_S
    return _QUIET_HOPELESS_S if error.status in _HOPELESS else _QUIET_S


def fear_greed_sources(
    fetcher: WebFetcher, cache: CacheManager, clock: Clock, fng_url: str = "", cmc_url: str = ""
) -> list[ContextSource]:
    """Return the two providers of the index, first choice first; the first one's value outlives an outage."""
    first = AlternativeMe(fetcher, clock, fng_url)
    second = CoinMarketCap(fetcher, clock, cmc_url)
    return [
        PoliteSource(first, cache, clock, every_s=_HOUR_S, keep_ms=_OLDEST_INDEX_MS),
        PoliteSource(second, cache, clock, every_s=_HOUR_S),
    ]


def coingecko_sources(
    fetcher: WebFetcher, cache: CacheManager, clock: Clock, base_url: str = "", api_key: str = ""
) -> tuple[ContextSource, ContextSource]:
    """Return CoinGecko's prices and its dominance, each asked every ten minutes: 8,640 calls of 10,000 a month."""
    prices = CoinGeckoPrices(fetcher, base_url, api_key)
    dominance = CoinGeckoDominance(fetcher, base_url, api_key)
    return (
        PoliteSource(prices, cache, clock, every_s=_COINGECKO_S, key="CoinGecko prices"),
        PoliteSource(dominance, cache, clock, every_s=_COINGECKO_S, key="CoinGecko dominance"),
    )


def _coingecko(fetcher: WebFetcher, url: str, parameters: Mapping[str, str], headers: Mapping[str, str]) -> Any:
    """Return CoinGecko's answer; its three shapes of error become one sentence."""
    try:
        answer = fetcher.get(url, parameters, headers).json()
    except SourceRefused as error:
        said = _coingecko_complaint(error.body)
        if not said:
            raise
        reason = f"CoinGecko answered HTTP {error.status}: {said}"
        raise SourceRefused(reason, error.status, error.retry_after_s) from error
    status = answer.get("status") if isinstance(answer, dict) else None
    if isinstance(status, dict) and status.get("error_code"):
        raise SourceRefused(f"CoinGecko: {str(status.get('error_message'))[:200]}", 429)
    return answer


def _coingecko_complaint(body: bytes) -> str:
    try:
        answer = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(answer, dict):
        return ""
    status = answer.get("status")
    said = status.get("error_message") if isinstance(status, dict) else answer.get("error")
    return str(said or "")[:120]


def _index_reading(row: Mapping[str, Any], as_of_ms: int, clock: Clock, name: str) -> SourceReading:
    value = _number(row.get("value"), "value", name)
    if value != int(value) or not 0 <= value <= 100:
        raise SourceRefused(f"{name} sent an index of {value:g}")
    age_ms = clock.now_ms() - as_of_ms
    if age_ms > _OLDEST_INDEX_MS:
        raise SourceRefused(f"{name} is out of date: its newest value is {age_ms / 3_600_000:.0f} h old")
    if age_ms < -_AHEAD_MS:
        raise SourceRefused(f"{name} sent a value from the future")
    label = str(row.get("value_classification") or "")[:40]
    return SourceReading({"fear_greed_index": value}, name, as_of_ms, label)


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SourceRefused(f"{name} sent another shape than documented")
    return value


def _number(value: Any, key: str, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise SourceRefused(f"{name} sent no number for {key}") from error
    if isinstance(value, bool) or not math.isfinite(number):
        raise SourceRefused(f"{name} sent no number for {key}")
    return number
