"""The best price is that of the candles since the entry, whoever looks and whenever; so is what follows from it."""

from decimal import Decimal

from src.domain.exit_rules import ExitRules
from src.domain.portfolio import Direction
from tests.execution.exits_world import FOLLOWING, opened, watch
from tests.world import World

D = Decimal
CLOSES = [30_400.0, 30_250.0, 30_700.0, 30_600.0, 30_650.0, 30_650.0]


def levels(looks: range, world: World, manager) -> Decimal:
    watch(world, manager, looks)
    return manager.trade.stop_price


def test_the_stop_is_the_same_however_seldom_one_looks():
    often = levels(range(11, 17), *opened(CLOSES, FOLLOWING))
    seldom = levels(range(16, 17), *opened(CLOSES, FOLLOWING))
    world, manager = opened(CLOSES, FOLLOWING)
    watch(world, manager, range(11, 13))
    restarted = levels(range(16, 17), world, world.position_manager())
    assert often == seldom == restarted > manager.trade.entry_price


def test_what_moves_the_stop_next_lies_beyond_the_best_price():
    world, manager = opened(CLOSES, FOLLOWING)
    assert manager.next_move_price == manager.trade.entry_price * D("1.01")
    watch(world, manager, range(11, 15))
    assert manager.next_move_price > D("30700")
    short, held = opened(CLOSES, FOLLOWING, Direction.SHORT)
    watch(short, held, range(11, 15))
    assert held.next_move_price < D("29300")


def test_a_position_without_such_exits_follows_nothing():
    world, manager = opened(CLOSES, ExitRules())
    watch(world, manager, range(11, 17))
    assert manager.next_move_price is None and manager.time_over_ms is None
    assert manager.trade.stop_price < manager.trade.entry_price
