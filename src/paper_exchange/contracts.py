"""The listed contracts with their filters, leverage brackets and funding rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from src.domain.market import Instrument

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Bracket:
    """One row of the leverage table; notionals and ``cum`` in quote, ``maint_share`` of the notional."""

    number: int
    max_leverage: int
    floor: Decimal
    cap: Decimal
    maint_share: Decimal
    cum: Decimal


@dataclass(frozen=True, slots=True)
class Contract:
    """All rules of one perpetual contract; ``protect_share`` is triggerProtect, ``bound_share`` marketTakeBound."""

    rules: Instrument
    brackets: tuple[Bracket, ...]
    protect_share: Decimal
    bound_share: Decimal
    onboard_ms: int
    underlying: tuple[str, ...]
    funding_cap_share: Decimal
    max_open_orders: int = 200
    funding_hours: int = 8

    @property
    def symbol(self) -> str:
        """The contract's name."""
        return self.rules.symbol

    @property
    def max_leverage(self) -> int:
        """The highest leverage of the lowest bracket."""
        return self.brackets[0].max_leverage

    @property
    def funding_ms(self) -> int:
        """Milliseconds between two settlements of funding."""
        return self.funding_hours * HOUR_MS

    def bracket_of(self, notional: Decimal) -> Bracket:
        """Return the bracket in which a position of this (absolute) notional lies."""
        for bracket in self.brackets:
            if notional <= bracket.cap:
                return bracket
        return self.brackets[-1]

    def maint_margin(self, notional: Decimal) -> Decimal:
        """Return the maintenance margin of an absolute notional, in quote."""
        bracket = self.bracket_of(notional)
        return notional * bracket.maint_share - bracket.cum

    def max_notional(self, leverage: int) -> Decimal:
        """Return the largest notional that this leverage allows."""
        return max(bracket.cap for bracket in self.brackets if bracket.max_leverage >= leverage)


def brackets_from(table: str) -> tuple[Bracket, ...]:
    """Return the brackets of a table ``max_leverage cap maint_share cum | ...``; ``k`` and ``M`` scale a cap."""
    return tuple(_rows(table))


def _rows(table: str) -> Iterator[Bracket]:
    floor = Decimal(0)
    for number, row in enumerate(table.split("|"), start=1):
        leverage, cap_text, share, cum = row.split()
        cap = Decimal(cap_text.rstrip("kM")) * {"k": 1_000, "M": 1_000_000}.get(cap_text[-1], 1)
        yield Bracket(number, int(leverage), floor, cap, Decimal(share), Decimal(cum))
        floor = cap


_BRACKETS = {
    "BTCUSDT": "150 300k .004 0 | 100 800k .005 300 | 75 3M .0065 1500 | 50 12M .01 12000 | 25 70M .02 132000"
    " | 20 100M .025 482000 | 10 230M .05 2982000 | 5 480M .1 14482000 | 4 600M .125 26482000"
    " | 3 800M .15 41482000 | 2 1200M .25 121482000 | 1 1800M .5 421482000",
    "ETHUSDT": "150 300k .004 0 | 100 800k .005 300 | 75 3M .0065 1500 | 50 12M .01 12000 | 25 50M .02 132000"
    " | 20 65M .025 382000 | 10 150M .05 2007000 | 5 320M .1 9507000 | 4 400M .125 17507000"
    " | 3 530M .15 27507000 | 2 800M .25 80507000 | 1 1200M .5 280507000",
    "BNBUSDT": "75 10k .005 0 | 50 200k .006 10 | 40 400k .01 810 | 25 1.5M .02 4810 | 20 3M .025 12310"
    " | 10 15M .05 87310 | 5 30M .1 837310 | 4 37.5M .125 1587310 | 2 75M .25 6274810 | 1 150M .5 25024810",
    "SOLUSDT": "100 50k .005 0 | 75 400k .0065 75 | 50 1M .01 1475 | 25 4M .02 11475 | 20 8M .025 31475"
    " | 10 40M .05 231475 | 5 80M .1 2231475 | 4 100M .125 4231475 | 2 200M .25 16731475 | 1 400M .5 66731475",
    "XRPUSDT": "100 40k .005 0 | 75 80k .006 40 | 50 150k .01 360 | 40 400k .0125 735 | 25 1M .02 3735"
    " | 20 2M .025 8735 | 10 10M .05 58735 | 5 20M .1 558735 | 4 25M .125 1058735 | 2 50M .25 4183735"
    " | 1 100M .5 16683735",
    "DOGEUSDT": "75 80k .0065 0 | 50 150k .01 280 | 40 750k .0125 655 | 25 2M .02 6280 | 20 4M .025 16280"
    " | 10 20M .05 116280 | 5 40M .1 1116280 | 4 50M .125 2116280 | 2 100M .25 8366280 | 1 200M .5 33366280",
}

# symbol: tick step min-lot max-lot max-market min-notional up down price-digits quantity-digits
#         min-price max-price liquidation-fee protect bound onboard-ms kind funding-cap
_FILTERS = """
BTCUSDT 0.10 0.001 0.001 1000 120 50 1.05 0.95 2 3 556.80 4529764 0.0125 0.05 0.05 1567965300000 PoW 0.003
ETHUSDT 0.01 0.001 0.001 10000 2000 20 1.05 0.95 2 3 39.86 306177 0.0125 0.05 0.05 1569398400000 Layer-1 0.003
BNBUSDT 0.01 0.01 0.01 100000 20000 5 1.05 0.95 3 2 6.600 100000 0.0150 0.05 0.05 1581321600000 Layer-1 0.02
SOLUSDT 0.01 0.01 0.01 1000000 5000 5 1.05 0.95 4 2 0.42 6857 0.0150 0.05 0.05 1600066800000 Layer-1 0.02
XRPUSDT 0.0001 0.1 0.1 10000000 2000000 5 1.05 0.95 4 1 0.0143 100000 0.0100 0.05 0.05 1578297600000 Payment 0.02
DOGEUSDT 0.00001 1 1 50000000 30000000 5 1.10 0.90 6 0 0.002440 30 0.0100 0.10 0.10 1594368000000 Meme 0.02
"""


def _contract(row: str) -> Contract:
    symbol, *cells = row.split()
    tick, step, low_lot, high_lot, high_market, notional, up, down = (Decimal(cell) for cell in cells[:8])
    low, high, liquidation, protect, bound = (Decimal(cell) for cell in cells[10:15])
    rules = Instrument(
        symbol,
        symbol.removesuffix("USDT"),
        "USDT",
        tick,
        step,
        low_lot,
        high_lot,
        high_market,
        notional,
        low,
        high,
        int(cells[8]),
        int(cells[9]),
        up,
        down,
        liquidation,
    )
    return Contract(
        rules, brackets_from(_BRACKETS[symbol]), protect, bound, int(cells[15]), (cells[16],), Decimal(cells[17])
    )


CONTRACTS: dict[str, Contract] = {
    contract.symbol: contract for contract in map(_contract, _FILTERS.strip().splitlines())
}
