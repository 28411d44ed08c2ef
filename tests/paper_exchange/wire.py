"""A bare client for tests: it signs as the documentation says and shows status, headers and body."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from src.paper_exchange.signing import signature_of
from tests.paper_exchange.running import API_KEY, API_SECRET, PaperExchange


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Any
    body: Any

    @property
    def code(self) -> int | None:
        """Binance's error code, None for success."""
        return self.body.get("code") if isinstance(self.body, dict) else None


class Wire:
    """Speaks to one exchange with one key."""

    def __init__(self, exchange: PaperExchange, key: str = API_KEY, secret: str = API_SECRET) -> None:
        self.exchange = exchange
        self.key = key
        self.secret = secret

    def plain(self, method: str, path: str, query: str = "", body: str = "", timeout: float = 20.0) -> Answer:
        """Send raw text."""
        address = f"{self.exchange.address}{path}" + (f"?{query}" if query else "")
        headers = {"X-MBX-APIKEY": self.key} if self.key else {}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        request = urllib.request.Request(address, body.encode() or None, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return Answer(answer.status, answer.headers, json.loads(answer.read() or b"null"))
        except urllib.error.HTTPError as error:
            text = error.read()
            try:
                return Answer(error.code, error.headers, json.loads(text))
            except json.JSONDecodeError:
                return Answer(error.code, error.headers, text.decode())

    def signed(self, method: str, path: str, timeout: float = 20.0, **parameters: Any) -> Answer:
        """Send signed parameters, in the query of a GET and in the body of everything else."""
        fields = {**parameters, "timestamp": parameters.get("timestamp", self.stamp()), "recvWindow": 60_000}
        text = urlencode(fields)
        text += f"&signature={signature_of(self.secret, text)}"
        in_query = method == "GET"
        return self.plain(method, path, text if in_query else "", "" if in_query else text, timeout)

    def stamp(self) -> int:
        """The exchange's time: markets need not run on the wall's."""
        if self.exchange.options["speed"] == 1 and self.exchange.options["market"].startswith("synthetic"):
            return int(time.time() * 1000)
        return self.exchange.now_ms()

    def order(self, **parameters: Any) -> Answer:
        """POST /fapi/v1/order; a MARKET BUY of 0.01 BTCUSDT unless told otherwise."""
        usual = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
        return self.signed("POST", "/fapi/v1/order", **{**usual, **parameters})

    def stop(self, price: float, **parameters: Any) -> Answer:
        """POST /fapi/v1/algoOrder: a STOP_MARKET that closes the whole position."""
        usual = {
            "algoType": "CONDITIONAL",
            "symbol": "BTCUSDT",
            "side": "SELL",
            "type": "STOP_MARKET",
            "closePosition": "true",
            "triggerPrice": f"{price:.1f}",
        }
        return self.signed("POST", "/fapi/v1/algoOrder", **{**usual, **parameters})

    def last(self, symbol: str = "BTCUSDT") -> float:
        """The last price."""
        return float(self.plain("GET", "/fapi/v1/ticker/price", f"symbol={symbol}").body["price"])
