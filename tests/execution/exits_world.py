"""A position under exits beside stop and target, on the venue in process; shared by the tests of those exits."""

from collections.abc import Sequence
from decimal import Decimal

from src.domain.exit_rules import ExitRules
from src.domain.portfolio import Direction
from src.domain.risk import RiskLimits
from src.execution.position_manager import PositionManager
from tests.world import SYMBOL, World, path

QUANTITY = Decimal("0.010")
D = Decimal
FOLLOWING = ExitRules(trailing_stop_share=D("0.01"), trailing_after_share=D("0.02"), break_even_after_share=D("0.01"))
PARTS = ExitRules(take_partial=((D("0.01"), D("0.5")), (D("0.02"), D("0.25"))))


def mirrored(closes: Sequence[float], direction: Direction) -> list[float]:
    """Return the closes as they are for long, turned at 30,000 for short."""
    return [30_000.0 + (close - 30_000.0) * direction.sign for close in closes]


def opened(
    closes: Sequence[float], exits: ExitRules, direction: Direction = Direction.LONG
) -> tuple[World, PositionManager]:
    """Return a world in which a position was opened at minute 10; ``closes`` are those of the minutes after that."""
    world = World(path(*[30_000.0] * 11, *mirrored(closes, direction)))
    world.active.replace(RiskLimits(exits=exits))
    world.at(10)
    manager = world.position_manager()
    manager.reconcile(world.inner.account())
    assert manager.open(direction, QUANTITY, world.clock.now_ms(), "test") == ""
    return world, manager


def watch(world: World, manager: PositionManager, minutes: range, step_s: int = 60) -> None:
    """Let the manager look every ``step_s`` seconds of those minutes, as turns and the stop monitor do."""
    for minute in minutes:
        for second in range(0, 60, step_s):
            world.at(minute, second)
            manager.reconcile(world.inner.account())


def uncovered(world: World) -> list[str]:
    """Return the list that takes down every call after which a position stands without a stop."""
    naked: list[str] = []

    def look(name: str) -> None:
        if world.inner.account().positions and not world.stops():
            naked.append(name)

    world.exchange.after = look
    return naked


def wallet_change(world: World) -> Decimal:
    """Return what the account gained since the start, by the exchange's own wallet."""
    return world.inner.account().wallet_balance - Decimal(10_000)


def parts_resting(world: World) -> list[tuple[Decimal, Decimal]]:
    """Return trigger price and quantity of the targets that close a part."""
    listed = world.inner.conditional_orders(SYMBOL)
    targets = (each for each in listed if each.kind == "TAKE_PROFIT_MARKET" and not each.close_position)
    return sorted((each.trigger_price or D(0), each.quantity) for each in targets)
