"""What every ``Exchange`` promises, whoever stands behind it: the client on a wire, the venue in process.

A test class inherits ``ExchangeContract`` and gives it the fixture ``world``: a fresh account, flat, with money, whose
fee is paid in the quote asset, on a market that lives.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

import pytest

from src.domain.errors import OrderRefused, Rejection
from src.domain.market import INTERVAL_MS, Instrument
from src.domain.orders import Fill, Order, OrderIntent, OrderKind, OrderStatus, Purpose, Side, client_id
from src.domain.portfolio import Direction, Position
from src.domain.ports import Exchange
from src.domain.risk import RiskLimits, position_quantity, stop_price, target_price

LIMITS = RiskLimits(leverage=10)
MINUTE_MS = 60_000


class World(Protocol):
    """An exchange under test and a hand on its market."""

    exchange: Exchange
    symbol: str

    def now_ms(self) -> int:
        """Return the exchange's present instant."""

    def pass_time(self, duration_ms: int) -> None:
        """Let market time pass; all that is due then has happened when this returns."""

    def move_price(self, percent: float) -> None:
        """Move the market's prices by so many percent, from now on."""


class TraderControl:
    """Makes intents the way the trader does, each with an id of its own."""

    def __init__(self, world: World) -> None:
        self.world, self.exchange, self.symbol = world, world.exchange, world.symbol
        self.rules: Instrument = self.exchange.instrument(self.symbol)
        self._made = 0

    def intent(self, purpose: Purpose, side: Side, quantity: Decimal, **more: object) -> OrderIntent:
        self._made += 1
        now_ms = self.world.now_ms()
        kind = {Purpose.STOP: OrderKind.STOP_MARKET, Purpose.TARGET: OrderKind.TAKE_PROFIT_MARKET}
        return OrderIntent(
            client_id=client_id("contract", self.symbol, now_ms, purpose, self._made),
            symbol=self.symbol,
            side=side,
            kind=kind.get(purpose, OrderKind.MARKET),
            purpose=purpose,
            quantity=quantity,
            decided_ms=now_ms,
            **more,  # type: ignore[arg-type]
        )

    def size(self) -> Decimal:
        price = self.exchange.mark_price(self.symbol).mark
        return position_quantity(self.exchange.account().equity, price, LIMITS, self.rules)

    def enter(self, direction: Direction = Direction.LONG) -> Order:
        intent = self.intent(Purpose.ENTRY, direction.entry_side, self.size())
        self.exchange.send(intent)
        return self.settled(intent)

    def leave(self) -> Order:
        held = self.held()
        assert held is not None
        side = held.direction.entry_side.opposite
        intent = self.intent(Purpose.EXIT, side, held.quantity, reduce_only=True)
        self.exchange.send(intent)
        return self.settled(intent)

    def settled(self, intent: OrderIntent) -> Order:
        for _ in range(20):
            found = self.exchange.find_order(intent)
            if found is not None and found.status.final:
                return found
            self.world.pass_time(100)
        raise AssertionError(f"{intent.client_id} does not come to an end: {found}")

    def protection(self, purpose: Purpose, level: Decimal, side: Side) -> OrderIntent:
        return self.intent(purpose, side, Decimal(0), trigger_price=level, close_position=True)

    def protect(self) -> tuple[OrderIntent, OrderIntent]:
        held = self.held()
        assert held is not None
        side, entry, direction = held.direction.entry_side.opposite, held.entry_price, held.direction
        stop = self.protection(Purpose.STOP, stop_price(entry, direction, LIMITS, self.rules), side)
        target = self.protection(Purpose.TARGET, target_price(entry, direction, LIMITS, self.rules), side)
        for intent in (stop, target):
            self.exchange.send(intent)
        return stop, target

    def held(self) -> Position | None:
        return self.exchange.account().position(self.symbol)

    def wallet(self) -> Decimal:
        return self.exchange.account().wallet_balance


def paid(fills: list[Fill]) -> Decimal:
    """Return what the fills did to the wallet: realised profit less fees."""
    return sum((fill.realized_pnl - fill.fee for fill in fills), start=Decimal(0))


class ExchangeContract:
    """The promises; a subclass gives the fixture ``world``."""

    @pytest.fixture
    def world(self) -> World:
        raise NotImplementedError("the subclass gives a world")

    @pytest.fixture
    def hand(self, world: World) -> TraderControl:
        return TraderControl(world)

    # Reading

    def test_the_rules_of_a_contract_can_be_traded_by(self, hand: TraderControl) -> None:
        rules = hand.rules
        assert rules.symbol == hand.symbol
        assert min(rules.tick_size, rules.step_size, rules.min_quantity, rules.min_notional) > 0
        assert rules.min_quantity <= rules.max_market_quantity <= rules.max_quantity

    def test_a_symbol_that_is_not_traded_is_refused(self, hand: TraderControl) -> None:
        with pytest.raises(OrderRefused) as refusal:
            hand.exchange.instrument("NOSUCHUSDT")
        assert refusal.value.code == -1121

    def test_fees_are_small_shares(self, hand: TraderControl) -> None:
        costs = hand.exchange.cost_rates(hand.symbol)
        assert 0 <= costs.maker_share <= costs.taker_share < Decimal("0.01")

    @pytest.mark.parametrize(("interval", "limit"), [("1m", 1), ("1m", 300), ("1m", 1_700), ("15m", 20), ("1h", 5)])
    def test_candles_are_as_many_as_asked_closed_in_order_without_hole(
        self, hand: TraderControl, interval: str, limit: int
    ) -> None:
        found = hand.exchange.candles(hand.symbol, interval, limit)
        step_ms = INTERVAL_MS[interval]
        assert len(found) == limit
        assert [each.open_ms - found[0].open_ms for each in found] == [step_ms * index for index in range(limit)]
        assert found[0].open_ms % step_ms == 0
        assert hand.world.now_ms() - 2 * step_ms - 1_000 <= found[-1].open_ms <= hand.world.now_ms() - step_ms
        assert all(each.low <= min(each.open, each.close) <= max(each.open, each.close) <= each.high for each in found)

    def test_a_closed_candle_never_changes(self, hand: TraderControl) -> None:
        before = hand.exchange.candles(hand.symbol, "1m", 50)
        hand.world.pass_time(3 * MINUTE_MS)
        after = {each.open_ms: each for each in hand.exchange.candles(hand.symbol, "1m", 60)}
        assert all(after[each.open_ms] == each for each in before)

    def test_the_mark_price_is_near_the_market(self, hand: TraderControl) -> None:
        mark = hand.exchange.mark_price(hand.symbol)
        close = Decimal(str(hand.exchange.candles(hand.symbol, "1m", 1)[0].close))
        assert mark.symbol == hand.symbol
        assert abs(mark.mark / close - 1) < Decimal("0.05")
        assert mark.next_funding_ms > mark.time_ms

    def test_a_flat_account_is_worth_its_wallet(self, hand: TraderControl) -> None:
        account = hand.exchange.account()
        assert account.positions == ()
        assert account.equity == account.wallet_balance == account.available_balance > 0
        assert hand.exchange.open_orders(hand.symbol) == []

    # Trading

    def test_preparing_twice_is_preparing_once(self, hand: TraderControl) -> None:
        for _ in range(2):
            hand.exchange.prepare(hand.symbol, 7, "CROSSED")
        hand.enter()
        held = hand.held()
        assert held is not None
        assert (held.leverage, held.margin_type) == (7, "CROSSED")

    @pytest.mark.parametrize("direction", list(Direction))
    def test_a_market_order_fills_and_shows_everywhere(self, hand: TraderControl, direction: Direction) -> None:
        wallet, size = hand.wallet(), hand.size()
        order = hand.enter(direction)
        fills, held = hand.exchange.order_fills(order), hand.held()
        assert order.status is OrderStatus.FILLED
        assert held is not None
        assert order.executed_quantity == sum(fill.quantity for fill in fills) == held.quantity
        assert abs(order.executed_quantity / size - 1) < Decimal("0.05")
        assert held.direction is direction
        worth = sum(fill.price * fill.quantity for fill in fills)
        assert abs(order.average_price - worth / order.executed_quantity) <= hand.rules.tick_size
        assert abs(held.entry_price - order.average_price) <= hand.rules.tick_size
        assert all(fill.client_id == order.client_id and fill.fee > 0 for fill in fills)
        assert hand.wallet() - wallet == paid(fills) < 0

    @pytest.mark.parametrize("direction", list(Direction))
    def test_a_round_trip_changes_the_wallet_by_profit_less_fees(
        self, hand: TraderControl, direction: Direction
    ) -> None:
        wallet = hand.wallet()
        began_ms = hand.world.now_ms()
        entry = hand.enter(direction)
        hand.world.move_price(0.5)
        hand.world.pass_time(2 * MINUTE_MS)
        leave = hand.leave()
        assert hand.held() is None
        fills = [*hand.exchange.order_fills(entry), *hand.exchange.order_fills(leave)]
        funding = [each for each in hand.exchange.income(began_ms - 1_000) if each.kind == "FUNDING_FEE"]
        assert hand.wallet() - wallet == paid(fills) + sum((each.amount for each in funding), start=Decimal(0))
        shown = hand.exchange.fills(hand.symbol, began_ms - 1_000)
        assert [each.trade_id for each in shown] == [each.trade_id for each in fills]
        assert [each.time_ms for each in shown] == sorted(each.time_ms for each in shown)

    def test_fills_before_the_instant_are_left_out(self, hand: TraderControl) -> None:
        hand.enter()
        hand.world.pass_time(2 * MINUTE_MS)
        assert hand.exchange.fills(hand.symbol, hand.world.now_ms() - MINUTE_MS) == []

    def test_an_order_is_found_by_the_intents_id_and_a_strange_one_is_not(self, hand: TraderControl) -> None:
        intent = hand.intent(Purpose.ENTRY, Side.BUY, hand.size())
        assert hand.exchange.find_order(intent) is None
        sent = hand.exchange.send(intent)
        found = hand.exchange.find_order(intent)
        assert found is not None
        assert (found.client_id, found.order_id) == (intent.client_id, sent.order_id)

    def test_reducing_nothing_is_refused(self, hand: TraderControl) -> None:
        with pytest.raises(OrderRefused) as refusal:
            hand.exchange.send(hand.intent(Purpose.EXIT, Side.SELL, hand.size(), reduce_only=True))
        assert refusal.value.code == -2022
        assert hand.held() is None

    @pytest.mark.parametrize(
        ("quantity_of", "codes"),
        [
            (lambda rules: rules.step_size * Decimal("0.1"), {-1111, -4003, -4004, -4023}),
            (lambda rules: rules.max_market_quantity + rules.step_size, {-4005}),
            (lambda rules: rules.min_quantity, {-4164}),
        ],
        ids=["less than a step", "more than the most", "less than the least notional"],
    )
    def test_sizes_against_the_rules_are_refused_with_binances_code(
        self, hand: TraderControl, quantity_of: Callable[[Instrument], Decimal], codes: set[int]
    ) -> None:
        quantity = quantity_of(hand.rules)
        if codes == {-4164} and quantity * hand.exchange.mark_price(hand.symbol).mark >= hand.rules.min_notional:
            codes = set()
        if not codes:
            pytest.skip("the least quantity of this contract is worth more than its least notional")
        with pytest.raises(OrderRefused) as refusal:
            hand.exchange.send(hand.intent(Purpose.ENTRY, Side.BUY, quantity))
        assert refusal.value.code in codes
        assert hand.held() is None

    def test_more_than_the_margin_allows_is_refused(self, hand: TraderControl) -> None:
        hand.exchange.prepare(hand.symbol, 2, "CROSSED")
        quantity = hand.rules.quantity_down(hand.size() * 80)
        with pytest.raises(OrderRefused) as refusal:
            hand.exchange.send(hand.intent(Purpose.ENTRY, Side.BUY, min(quantity, hand.rules.max_market_quantity)))
        assert refusal.value.code in {-2019, -2027}

    # Protection

    @pytest.mark.parametrize("direction", list(Direction))
    def test_stop_and_target_stand_in_the_open_orders_until_cancelled(
        self, hand: TraderControl, direction: Direction
    ) -> None:
        hand.enter(direction)
        stop, target = hand.protect()
        shown = {order.client_id: order for order in hand.exchange.open_orders(hand.symbol)}
        assert set(shown) == {stop.client_id, target.client_id}
        for intent in (stop, target):
            order = shown[intent.client_id]
            assert (order.kind, order.side, order.trigger_price) == (intent.kind, intent.side, intent.trigger_price)
            assert order.close_position
            assert order.status is OrderStatus.NEW
            for _ in range(2):
                hand.exchange.cancel(order)
        assert hand.exchange.open_orders(hand.symbol) == []
        gone = hand.exchange.find_order(stop)
        assert gone is not None
        assert gone.status is OrderStatus.CANCELED

    def test_a_stop_beyond_the_market_is_refused(self, hand: TraderControl) -> None:
        hand.enter()
        above = hand.rules.price_near(hand.exchange.mark_price(hand.symbol).mark * Decimal("1.02"))
        with pytest.raises(OrderRefused) as refusal:
            hand.exchange.send(hand.protection(Purpose.STOP, above, Side.SELL))
        assert refusal.value.code == -2021
        assert hand.exchange.open_orders(hand.symbol) == []

    @pytest.mark.parametrize("direction", list(Direction))
    @pytest.mark.parametrize("purpose", [Purpose.STOP, Purpose.TARGET])
    def test_a_touched_level_closes_the_position_once(
        self, hand: TraderControl, direction: Direction, purpose: Purpose
    ) -> None:
        wallet = hand.wallet()
        entry = hand.enter(direction)
        stop, target = hand.protect()
        adverse = -1 if purpose is Purpose.STOP else 1
        hand.world.move_price((3 if purpose is Purpose.STOP else 6) * adverse * direction.sign)
        hand.world.pass_time(2 * MINUTE_MS)
        touched = stop if purpose is Purpose.STOP else target
        order = hand.exchange.find_order(touched)
        assert order is not None
        assert order.status is OrderStatus.FILLED
        assert hand.held() is None
        fills = hand.exchange.order_fills(order)
        assert sum(fill.quantity for fill in fills) == entry.executed_quantity
        assert (paid(fills) > 0) == (purpose is Purpose.TARGET)
        assert hand.wallet() - wallet == paid([*hand.exchange.order_fills(entry), *fills])
        assert touched.client_id not in {each.client_id for each in hand.exchange.open_orders(hand.symbol)}
        hand.exchange.cancel(order)  # finished: counts as cancelled

    def test_an_interval_that_is_not_known_is_refused(self, hand: TraderControl) -> None:
        with pytest.raises(OrderRefused) as refusal:
            hand.exchange.candles(hand.symbol, "7m", 5)
        assert refusal.value.code == -1120

    # What reconciliation relies on

    def test_the_history_names_the_client_id_behind_every_fill(self, hand: TraderControl) -> None:
        """Also of an order that a conditional one has placed, and of one that another program has sent."""
        since_ms = hand.world.now_ms() - 1_000
        entry = hand.enter()
        stop, _ = hand.protect()
        hand.world.move_price(-3)
        hand.world.pass_time(2 * MINUTE_MS)
        by_hand = hand.intent(Purpose.ENTRY, Side.BUY, hand.rules.min_quantity * 10)
        other = OrderIntent(**{**_fields(by_hand), "client_id": "by-hand-1"})
        hand.exchange.send(other)
        hand.settled(other)
        names = {each.order_id: each.client_id for each in hand.exchange.order_history(hand.symbol, since_ms)}
        senders = [names[fill.order_id] for fill in hand.exchange.fills(hand.symbol, since_ms)]
        assert list(dict.fromkeys(senders)) == [entry.client_id, stop.client_id, "by-hand-1"]

    def test_a_post_only_order_rests_at_the_best_price_and_is_refused_beyond_it(self, hand: TraderControl) -> None:
        bid, ask = hand.exchange.best_prices(hand.symbol)
        assert 0 < bid < ask
        intent = replace(hand.intent(Purpose.ENTRY, Side.BUY, hand.size()), kind=OrderKind.POST_ONLY)
        with pytest.raises(OrderRefused) as refused:
            hand.exchange.send(replace(intent, price=ask * 2 // hand.rules.tick_size * hand.rules.tick_size))
        assert refused.value.rejection in (Rejection.WOULD_TAKE, Rejection.OTHER)  # too far from the mark is another
        low = hand.rules.price_near(bid * Decimal("0.99"))
        order = hand.exchange.send(replace(intent, client_id=intent.client_id + "1", price=low))
        assert (order.kind, order.price, order.status) == (OrderKind.POST_ONLY, low, OrderStatus.NEW)
        [resting] = [each for each in hand.exchange.open_orders(hand.symbol) if not each.kind.conditional]
        assert (resting.client_id, resting.kind) == (order.client_id, OrderKind.POST_ONLY)
        hand.exchange.cancel(order)
        assert hand.exchange.open_orders(hand.symbol) == []

    def test_a_stop_may_stand_before_its_position_and_closes_it(self, hand: TraderControl) -> None:
        """So that no instant without a stop lies between an entry and its protection."""
        mark = hand.exchange.mark_price(hand.symbol).mark
        stop = hand.protection(Purpose.STOP, stop_price(mark, Direction.LONG, LIMITS, hand.rules), Side.SELL)
        hand.exchange.send(stop)
        assert [each.client_id for each in hand.exchange.conditional_orders(hand.symbol)] == [stop.client_id]
        entry = hand.enter()
        again = hand.protection(Purpose.STOP, stop.trigger_price or mark, Side.SELL)
        with pytest.raises(OrderRefused) as refused:
            hand.exchange.send(again)
        assert refused.value.rejection is Rejection.ANOTHER_STANDS
        part = {"quantity": entry.executed_quantity, "reduce_only": True, "close_position": False}
        between = hand.protection(Purpose.STOP, stop.trigger_price or mark, Side.SELL)
        hand.exchange.send(replace(between, **part))
        assert len(hand.exchange.conditional_orders(hand.symbol)) == 2, "a stop is moved by placing one of a quantity"
        hand.world.move_price(-3)
        hand.world.pass_time(2 * MINUTE_MS)
        assert hand.held() is None


def _fields(intent: OrderIntent) -> dict[str, object]:
    return {name: getattr(intent, name) for name in intent.__dataclass_fields__}
