"""Figures leave with at most 8 decimals, each the nearest of those to what is stored."""

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Float, MetaData, String, Table

from src.api.shapes import RowShape

SHAPE = RowShape(Table("some", MetaData(), Column("symbol", String), Column("rsi", Float)))


def told(value: float | None) -> Any:
    return SHAPE.json({"symbol": "BTCUSDT", "rsi": value}, {})["rsi"]


@given(st.floats(-1e15, 1e15) | st.floats(-1e-6, 1e-6) | st.integers(-(10**8), 10**8).map(lambda n: n / 10**8))
def test_a_figure_is_rounded_to_the_nearest_of_eight_decimals(value: float) -> None:
    found = told(value)
    places = Decimal(repr(found)).normalize().as_tuple().exponent
    assert isinstance(places, int)
    assert -places <= 8
    assert abs(Decimal(found) - Decimal(value)) <= max(Decimal("0.5000001e-8"), abs(Decimal(value)) * Decimal("3e-16"))
    assert told(found) == found


def test_what_is_unknown_stays_so() -> None:
    assert told(None) is None
