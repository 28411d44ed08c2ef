"""Stand-ins for alternative.me, CoinMarketCap's door without a key, and CoinGecko."""

from typing import Any, ClassVar

from src.domain.clock import DAY_MS, utc_text
from tests.standins.server import Reply, Request, StandIn

NOW_MS = 1_795_305_600_000 + 7 * 3_600_000  # some day, 07:00 UTC


class AlternativeMeStandIn(StandIn):
    """Every number is a string; the newest row is dated 00:00 UTC of the day."""

    def __init__(self) -> None:
        super().__init__()
        self.value = "42"
        self.day_ms = NOW_MS // DAY_MS * DAY_MS

    def reply_to(self, request: Request) -> Reply:
        """Answer ``GET /fng/``; refuses the formats that nobody should ask for."""
        if request.path != "/fng/" or "format" in request.query or "date_format" in request.query:
            return Reply(b"<html>404 Not Found</html>", 404)
        if self.scenario == "rate limit":
            return Reply(b"<html><h1>429 Too Many Requests</h1></html>", 429)
        row = {
            "value": self.value,
            "value_classification": "Fear",
            "timestamp": str(self.day_ms // 1000),
            "time_until_update": "61200",
        }
        rows: list[Any] = [] if self.scenario == "empty" else [row]
        error = "maintenance" if self.scenario == "error with 200" else None
        return Reply({"name": "Fear and Greed Index", "data": rows, "metadata": {"error": error}})


class CoinMarketCapStandIn(StandIn):
    """A number is a number here; an error code under status 200 means there is no valid data."""

    def reply_to(self, request: Request) -> Reply:
        """Answer the keyless path only."""
        if request.path != "/public-api/v3/fear-and-greed/latest" or "x-cmc_pro_api_key" in request.headers:
            return Reply({"status": {"error_code": 1002, "error_message": "API key missing."}}, 401)
        code: int | str = 1011 if self.scenario == "code with 200" else "0"
        data = {"value": 40, "update_time": utc_text(NOW_MS - 900_000), "value_classification": "Neutral"}
        return Reply({"data": data, "status": {"error_code": code, "error_message": None, "credit_count": 1}})


class CoinGeckoStandIn(StandIn):
    """Asked for ``24hr``, answers ``24h``; an unknown id is left out; errors come in three shapes."""

    limit: ClassVar[dict[str, Any]] = {
        "error_code": 429,
        "error_message": "You've exceeded the Rate Limit. Please visit the pricing page.",
    }

    def reply_to(self, request: Request) -> Reply:
        """Answer ``/simple/price`` and ``/global``."""
        if self.scenario == "rate limit":
            return Reply({"status": self.limit}, 429, {"Retry-After": "90"})
        if self.scenario == "rate limit with 200":
            return Reply({"status": self.limit})
        if self.scenario == "wrong key":
            return Reply({"status": {"error_code": 10002, "error_message": "API Key Missing"}}, 401)
        if self.scenario == "wrong host":
            return Reply({"error_code": 10011, "status": {"error_message": "change your root URL"}}, 400)
        if request.path == "/global":
            shares = {"btc": 54.2, "eth": 11.6}
            return Reply({"data": {"market_cap_percentage": shares, "updated_at": NOW_MS // 1000}})
        if request.path != "/simple/price":
            return Reply({"error": "coin not found"}, 404)
        if "vs_currencies" not in request.query:
            return Reply({"error": "Missing parameter vs_currencies"}, 422)
        return Reply(self._prices(request.query))

    def _prices(self, query: dict[str, str]) -> dict[str, dict[str, float | None]]:
        known = {"bitcoin": (65432.10, -2.3), "ethereum": (3254.80, -1.8)}
        if self.scenario == "unknown id":
            known = {}
        rows: dict[str, dict[str, float | None]] = {}
        for coin in set(query["ids"].split(",")) & set(known):
            price, change = known[coin]
            rows[coin] = {"usd": price}
            if query.get("include_24hr_change") == "true":
                rows[coin]["usd_24h_change"] = None if self.scenario == "null change" else change
            if query.get("include_last_updated_at") == "true":
                rows[coin]["last_updated_at"] = NOW_MS // 1000 - 30
        return rows
