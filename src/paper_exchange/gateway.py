"""Admits a request and carries it out, whether it came by REST or over a socket."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from src.paper_exchange import (
    rest_account,
    rest_algo,
    rest_charts,
    rest_context,
    rest_futures_data,
    rest_market,
    rest_orders,
    rest_other_markets,
)
from src.paper_exchange.exchange import PaperExchange
from src.paper_exchange.limits import OrderCount
from src.paper_exchange.model import VenueError
from src.paper_exchange.rest_call import Call, Endpoint

log = logging.getLogger(__name__)

ENDPOINTS: dict[str, Endpoint] = {
    endpoint.name: endpoint
    for module in (
        rest_market,
        rest_charts,
        rest_futures_data,
        rest_account,
        rest_orders,
        rest_algo,
        rest_context,
        rest_other_markets,
    )
    for endpoint in module.ENDPOINTS
}
_CHANGING = frozenset(
    endpoint.name
    for endpoint in ENDPOINTS.values()
    if endpoint.method != "GET" and endpoint.path != "/fapi/v1/order/test"
)


@dataclass(slots=True)
class Usage:
    """The usage of a request; filled while it is admitted, so that a refusal reports it too."""

    weight_1m: int | None = None
    orders: OrderCount | None = None


class Gateway:
    """Counts, identifies and performs requests for one exchange."""

    def __init__(self, exchange: PaperExchange) -> None:
        self._exchange = exchange
        self._side = ThreadPoolExecutor(max_workers=1, thread_name_prefix="charts")
        repeated = exchange.repeat(self._repeat)
        if repeated:
            log.info("journal carried out again: commands=%d", repeated)

    async def answer(
        self,
        endpoint: Endpoint,
        parameters: Mapping[str, str],
        address: str,
        *,
        identify: Callable[[], str],
        usage: Usage,
    ) -> Any:
        """Return the endpoint's answer.

        Args:
            endpoint: of the request.
            parameters: as they were sent.
            address: whose request weight it counts towards.
            identify: returns the calling account ("" without one); raises ``VenueError`` for an unknown key.
            usage: is filled with what the request used up.

        Raises:
            VenueError: over a limit, from an unknown key, or refused by the venue.
        """
        limits, now = self._exchange.limits, self._exchange.tick()
        if endpoint.funding_pool:
            limits.charge_funding(address, now)
        else:
            usage.weight_1m = limits.charge(address, endpoint.weight_of(parameters), now)
        account = identify()
        if endpoint.orders != (0, 0):
            usage.orders = limits.charge_orders(account, *endpoint.orders, now)
        return await self._perform(endpoint, Call(parameters, account, now))

    def close(self) -> None:
        """End the thread for long answers."""
        self._side.shutdown(wait=False, cancel_futures=True)

    async def _perform(self, endpoint: Endpoint, call: Call) -> Any:
        """Carry out the request; what changes something is on the disk before it happens."""
        exchange = self._exchange
        if endpoint.long is not None and endpoint.long(call.parameters):
            return await asyncio.get_running_loop().run_in_executor(self._side, endpoint.handler, exchange, call)
        if endpoint.name not in _CHANGING:
            return endpoint.handler(exchange, call)
        exchange.remember(call.account, endpoint.name, _kept(call.parameters))
        try:
            return endpoint.handler(exchange, call)
        finally:
            exchange.publish()

    def _repeat(self, name: str, account: str, parameters: dict[str, str]) -> None:
        """Carry out a command of the journal; one that was refused then is refused now."""
        endpoint = ENDPOINTS[name]
        try:
            endpoint.handler(self._exchange, Call(parameters, account, self._exchange.venue.now_ms))
        except VenueError as refusal:
            log.debug("refused again: endpoint=%s code=%d", name, refusal.code)


def _kept(parameters: Mapping[str, str]) -> dict[str, str]:
    """What the journal keeps of a request: everything but its signature."""
    return {name: value for name, value in parameters.items() if name != "signature"}
