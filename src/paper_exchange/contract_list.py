"""Reads lists of contracts in the form of Binance's exchangeInfo: the one shipped, and a newer one where there is one.

The public list tells filters and ticks, ``fundingInfo`` the interval and cap of funding where they are not the usual
ones. Leverage brackets are available to account holders only: if a list has none for a contract, a conservative table
is used (``assumed_brackets``), and ``assumed`` names the contract.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from src.domain.errors import DataRefused
from src.domain.market import Instrument
from src.paper_exchange.contracts import CONTRACTS, Bracket, Contract

Json = Mapping[str, Any]

SHIPPED: Final = Path(__file__).resolve().parents[2] / "config" / "contracts.json"
FILE_NAME: Final = "contracts.json"
USUAL_FUNDING_CAP: Final = Decimal("0.02")
USUAL_FUNDING_HOURS: Final = 8
_LEVERAGES: Final = (
    (20, 25_000, ".025"),
    (10, 100_000, ".05"),
    (5, 250_000, ".1"),
    (2, 1_000_000, ".25"),
    (1, 5_000_000, ".5"),
)
_KIND: Final = "PERPETUAL"
_TRADED: Final = "TRADING"


@dataclass(frozen=True, slots=True)
class ContractList:
    """The contracts known, when the newest list was taken (UTC text), and those whose brackets are assumed."""

    contracts: Mapping[str, Contract]
    taken: str
    assumed: frozenset[str] = field(default_factory=frozenset)

    def contract(self, symbol: str) -> Contract:
        """Return a contract's rules; ``DataRefused`` says how to add one that is not listed."""
        found = self.contracts.get(symbol)
        if found is None:
            raise DataRefused(
                f"{symbol} is not among the {len(self.contracts):,} contracts known (list of {self.taken[:10]}); fetch "
                "the present list with python3 -m src.market_data contracts --update."
            )
        return found


def assumed_brackets() -> tuple[Bracket, ...]:
    """Return the cautious table: 20 times at most, and less the larger the position."""
    rows: list[Bracket] = []
    floor, cum, before = Decimal(0), Decimal(0), Decimal(0)
    for number, (leverage, cap, share) in enumerate(_LEVERAGES, start=1):
        maintenance = Decimal(share)
        cum += floor * (maintenance - before) if rows else Decimal(0)
        rows.append(Bracket(number, leverage, floor, Decimal(cap), maintenance, cum))
        floor, before = Decimal(cap), maintenance
    return tuple(rows)


def known_contracts(folder: Path | None = None) -> ContractList:
    """Return the contracts of the shipped list and, over them, those of ``contracts.json`` in a folder.

    Raises:
        DataRefused: a list is damaged.
    """
    path = folder / FILE_NAME if folder is not None else None
    shipped = read_list(SHIPPED)
    if path is None or not path.is_file():
        return shipped
    newer = read_list(path)
    brackets = {symbol: contract.brackets for symbol, contract in shipped.contracts.items()}
    kept = {
        symbol: replace(contract, brackets=brackets[symbol]) if symbol in newer.assumed & brackets.keys() else contract
        for symbol, contract in newer.contracts.items()
    }
    return ContractList({**shipped.contracts, **kept}, newer.taken, newer.assumed - brackets.keys())


def read_list(path: Path) -> ContractList:
    """Return the perpetual contracts of one file; ``DataRefused`` where it is damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        hours = {row["symbol"]: row for row in document.get("fundingInfo", ())}
        tables = {row["symbol"]: row["brackets"] for row in document.get("leverageBracket", ())}
        rows = [row for row in document["exchangeInfo"]["symbols"] if _is_traded(row)]
        made = {row["symbol"]: _contract(row, hours.get(row["symbol"], {}), tables.get(row["symbol"])) for row in rows}
        taken = str(document["taken"])
    except OSError as error:
        raise DataRefused(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataRefused(f"{path} is no list of contracts ({reason}); fetch it anew.") from error
    return ContractList(made, taken, frozenset(made.keys() - tables.keys()))


def _is_traded(row: Json) -> bool:
    in_quote = row["marginAsset"] == row["quoteAsset"]
    return bool(row["contractType"] == _KIND and row.get("status", _TRADED) == _TRADED and in_quote)


def _contract(row: Json, funding: Json, brackets: Sequence[Json] | None) -> Contract:
    return Contract(
        rules=_instrument(row),
        brackets=tuple(_brackets(brackets)) if brackets else assumed_brackets(),
        protect_share=Decimal(row.get("triggerProtect", "0.05")),
        bound_share=Decimal(row.get("marketTakeBound", "0.05")),
        onboard_ms=int(row.get("onboardDate", 0)),
        underlying=tuple(row.get("underlyingSubType", ())),
        funding_cap_share=Decimal(funding.get("adjustedFundingRateCap", USUAL_FUNDING_CAP)),
        max_open_orders=int(_filter(row, "MAX_NUM_ORDERS").get("limit", 200)),
        funding_hours=int(funding.get("fundingIntervalHours", USUAL_FUNDING_HOURS)),
    )


def _instrument(row: Json) -> Instrument:
    price, lot, market = (_filter(row, kind) for kind in ("PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE"))
    percent, notional = _filter(row, "PERCENT_PRICE"), _filter(row, "MIN_NOTIONAL")
    return Instrument(
        symbol=row["symbol"],
        base_asset=row["baseAsset"],
        quote_asset=row["quoteAsset"],
        tick_size=Decimal(price["tickSize"]),
        step_size=Decimal(lot["stepSize"]),
        min_quantity=Decimal(lot["minQty"]),
        max_quantity=Decimal(lot["maxQty"]),
        max_market_quantity=Decimal((market or lot)["maxQty"]),
        min_notional=Decimal(notional.get("notional", "5")),
        min_price=Decimal(price["minPrice"]),
        max_price=Decimal(price["maxPrice"]),
        price_precision=int(row["pricePrecision"]),
        quantity_precision=int(row["quantityPrecision"]),
        multiplier_up=Decimal(percent.get("multiplierUp", "1.05")),
        multiplier_down=Decimal(percent.get("multiplierDown", "0.95")),
        liquidation_fee_share=Decimal(row.get("liquidationFee", "0.0125")),
    )


def _filter(row: Json, kind: str) -> Json:
    return next((each for each in row["filters"] if each["filterType"] == kind), {})


def _brackets(rows: Sequence[Json]) -> Iterator[Bracket]:
    for row in sorted(rows, key=lambda each: int(each["bracket"])):
        figures = (Decimal(str(row[name])) for name in ("notionalFloor", "notionalCap", "maintMarginRatio", "cum"))
        yield Bracket(int(row["bracket"]), int(row["initialLeverage"]), *figures)


def shipped_document(taken: str) -> dict[str, Any]:
    """Return the document of the contracts that the program itself lists, in the form of ``config/contracts.json``."""
    from src.paper_exchange.formats_market import exchange_info

    return {
        "taken": taken,
        "exchangeInfo": {"symbols": exchange_info(dict(CONTRACTS), 0)["symbols"]},
        "fundingInfo": [
            {
                "symbol": each.symbol,
                "adjustedFundingRateCap": str(each.funding_cap_share),
                "fundingIntervalHours": each.funding_hours,
            }
            for each in CONTRACTS.values()
        ],
        "leverageBracket": [
            {
                "symbol": each.symbol,
                "brackets": [
                    {
                        "bracket": row.number,
                        "initialLeverage": row.max_leverage,
                        "notionalCap": str(row.cap),
                        "notionalFloor": str(row.floor),
                        "maintMarginRatio": str(row.maint_share),
                        "cum": str(row.cum),
                    }
                    for row in each.brackets
                ],
            }
            for each in CONTRACTS.values()
        ],
    }
