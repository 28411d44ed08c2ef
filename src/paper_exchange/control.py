"""The control endpoints, for tests only: faults, the clock, and inspection."""

import hmac
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import orjson
from aiohttp import web

from src.domain.clock import utc_text
from src.paper_exchange.exchange import PaperExchange
from src.paper_exchange.faults import Fault
from src.paper_exchange.formats import algo_row, order_row
from src.paper_exchange.formats_account import balance_row, risk_v2
from src.paper_exchange.model import VenueError
from src.paper_exchange.streams import Hub

TOKEN_HEADER = "X-Control-Token"  # noqa: S105  # the name of a header
OperatorCommand = dict[str, Any]


class Control:
    """Answers ``/control/...``; every request must carry the token."""

    def __init__(self, exchange: PaperExchange, hub: Hub) -> None:
        self._exchange = exchange
        self._hub = hub
        self._handlers: dict[tuple[str, str], Callable[[OperatorCommand], Awaitable[Any]]] = {
            ("POST", "faults"): self._add_fault,
            ("GET", "faults"): self._faults,
            ("DELETE", "faults"): self._clear_faults,
            ("POST", "clock"): self._clock,
            ("GET", "clock"): self._clock_state,
            ("POST", "ban"): self._ban,
            ("POST", "skew"): self._skew,
            ("POST", "shock"): self._shock,
            ("POST", "hold_triggers"): self._hold_triggers,
            ("POST", "expire_listen_keys"): self._expire_keys,
            ("POST", "sockets"): self._end_sockets,
            ("GET", "sockets"): self._sockets,
            ("GET", "requests"): self._requests,
            ("GET", "client_ids"): self._client_ids,
            ("GET", "state"): self._state,
            ("POST", "transfer"): self._transfer,
            ("POST", "contract"): self._contract,
        }

    async def answer(self, request: web.Request) -> web.Response:
        """Carry out one request: 404 when switched off, 403 without the token, 400 for nonsense."""
        token = self._exchange.config.control_token
        if not token:
            return web.Response(status=404)
        if not hmac.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), token.encode()):
            return web.Response(status=403)
        action = self._handlers.get((request.method, request.path.removeprefix("/control/")))
        if action is None:
            return web.Response(status=404)
        try:
            body = await request.read()
            command = orjson.loads(body) if body else dict(request.query)
            self._exchange.tick()
            found = await action(command)
        except (KeyError, TypeError, ValueError, VenueError) as error:
            return _json({"error": f"{type(error).__name__}: {error}"}, 400)
        return _json(found)

    async def _add_fault(self, command: OperatorCommand) -> Any:
        return _fault(self._exchange.faults.add(str(command.pop("kind")), **command))

    async def _faults(self, command: OperatorCommand) -> Any:
        return [_fault(fault) for fault in self._exchange.faults.active()]

    async def _clear_faults(self, command: OperatorCommand) -> Any:
        self._exchange.faults.clear()
        return {}

    async def _clock(self, command: OperatorCommand) -> Any:
        """``{"freeze": true}``, ``{"freeze": false}`` or ``{"advance_ms": 60000}``, ``{"advance_to": instant}``.

        The state is saved at once unless ``{"save": false}`` is given.
        """
        market_clock = self._exchange.market_clock
        if "freeze" in command:
            (market_clock.freeze if command["freeze"] else market_clock.resume)()
        if "advance_ms" in command:
            market_clock.advance_to(market_clock.now_ms() + int(command["advance_ms"]))
        if "advance_to" in command:
            market_clock.advance_to(int(command["advance_to"]))
        self._hub.pump(self._exchange.tick())
        if command.get("save", True):
            self._exchange.save()
        return await self._clock_state(command)

    async def _clock_state(self, command: OperatorCommand) -> Any:
        """Return the time, and the state of clients for a stepping test: sockets and requests."""
        market_clock, asked = self._exchange.market_clock, Counter[str]()
        for (_, endpoint), count in self._exchange.limits.requests.items():
            asked[endpoint] += count
        return {
            "now_ms": self._exchange.venue.now_ms,
            "now": utc_text(self._exchange.venue.now_ms),
            "speed": market_clock.speed,
            "frozen": market_clock.frozen,
            "finished": market_clock.finished,
            "world": self._exchange.market.world,
            "routes": sorted({one["route"] for one in self._hub.open_sockets()}),
            "asked": asked,
        }

    async def _ban(self, command: OperatorCommand) -> Any:
        """``{"for_s": wall seconds, "address": "127.0.0.1"}``: 418 until then."""
        span_ms = float(command["for_s"]) * 1000.0 * self._exchange.market_clock.speed
        until_ms = self._exchange.venue.now_ms + int(span_ms)
        self._exchange.limits.ban(str(command.get("address", "127.0.0.1")), until_ms)
        return {"until_ms": until_ms}

    async def _skew(self, command: OperatorCommand) -> Any:
        self._exchange.faults.skew_ms = int(command["skew_ms"])
        return {"skew_ms": self._exchange.faults.skew_ms}

    async def _shock(self, command: OperatorCommand) -> Any:
        """``{"symbol": "BTCUSDT", "percent": -3}``: all prices of the symbol from the next whole second on."""
        symbol = str(command["symbol"])
        self._exchange.venue.shock(symbol, 1.0 + float(command["percent"]) / 100.0)
        self._exchange.forget_ticks()
        self._exchange.publish()
        self._exchange.save()
        return {}

    async def _hold_triggers(self, command: OperatorCommand) -> Any:
        self._exchange.venue.hold_triggers(int(command["count"]))
        self._exchange.save()
        return {}

    async def _expire_keys(self, command: OperatorCommand) -> Any:
        self._exchange.listen_keys.expire_all(self._exchange.venue.now_ms)
        self._exchange.tick()
        self._exchange.save()
        return {}

    async def _end_sockets(self, command: OperatorCommand) -> Any:
        """``{"how": "drop" | "close", "route": "" | "market" | "public" | "private"}``: drop cuts, close says so."""
        route = str(command.get("route", ""))
        if command["how"] == "drop":
            return {"ended": self._hub.drop_all(route)}
        if command["how"] != "close":
            raise ValueError("how must be drop or close")
        return {"ended": await self._hub.close_all(route)}

    async def _sockets(self, command: OperatorCommand) -> Any:
        return self._hub.open_sockets()

    async def _requests(self, command: OperatorCommand) -> Any:
        """Requests per market hour and endpoint, the control paths left out."""
        hours: dict[str, dict[str, int]] = {}
        for (hour_ms, endpoint), count in sorted(self._exchange.limits.requests.items()):
            hours.setdefault(utc_text(hour_ms), {})[endpoint] = count
        return hours

    async def _client_ids(self, command: OperatorCommand) -> Any:
        """How many orders, regular and conditional, each client id has led to."""
        venue, counts = self._exchange.venue, Counter[str]()
        for account in venue.accounts():
            counts.update(order.client_id for order in self._all_orders(account) if not order.algo_id)
            for symbol in self._exchange.contracts:
                algos = venue.all_algo_orders(account, symbol, start_ms=0, limit=_EVERYTHING)
                counts.update(order.client_id for order in algos)
        return counts

    def _all_orders(self, account: str) -> list[Any]:
        venue = self._exchange.venue
        return [
            order
            for symbol in self._exchange.contracts
            for order in venue.all_orders(account, symbol, start_ms=0, limit=_EVERYTHING)
        ]

    async def _state(self, command: OperatorCommand) -> Any:
        """What an independent observer sees: balances, open positions, open orders of both families, limits."""
        return {
            "clock": await self._clock_state(command),
            "limits": asdict(self._exchange.limits.strain),
            "accounts": {account: self._account(account) for account in self._exchange.venue.accounts()},
        }

    def _account(self, account: str) -> Any:
        venue, rules = self._exchange.venue, self._exchange.instruments
        return {
            "transferred": str(venue.transferred(account)),
            "balances": [balance_row(row) for row in venue.account(account).balances],
            "positions": [risk_v2(row, rules[row.symbol]) for row in venue.positions(account) if row.amount],
            "orders": [order_row(order, rules[order.symbol]) for order in venue.open_orders(account)],
            "algo_orders": [algo_row(order, rules[order.symbol]) for order in venue.open_algo_orders(account)],
        }

    async def _transfer(self, command: OperatorCommand) -> Any:
        """``{"asset": "USDT", "amount": "100"}``: money comes in, or goes when negative."""
        account = str(command.get("account") or self._exchange.venue.accounts()[0])
        number = self._exchange.venue.transfer(account, str(command["asset"]), Decimal(str(command["amount"])))
        self._exchange.publish()
        self._exchange.save()
        return {"tranId": number}

    async def _contract(self, command: OperatorCommand) -> Any:
        """``{"symbol": "BTCUSDT", "tick_size": "0.5"}``: other rules; ``{..., "listed": false}``: settled and gone."""
        symbol, listed = str(command.pop("symbol")), bool(command.pop("listed", True))
        self._exchange.change_contract(symbol, command, listed)
        self._exchange.publish()
        return {}


_EVERYTHING = 1_000_000


def _fault(fault: Fault) -> dict[str, Any]:
    return {"number": fault.number, "kind": fault.kind, "paths": list(fault.paths), "times": fault.times}


def _json(found: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(found), status=status, content_type="application/json")
