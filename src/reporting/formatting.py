"""Rows as stored in the database, for answers that are passed on without calculation.

A long list is mostly figures and JSON that are passed on unchanged. Converting them to ``Decimal`` and lists first, as
other reports do, takes three times as long.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, Cast, Column, ColumnElement, Text, type_coerce
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import NullType

from src.storage.tables import Money

Make = Callable[[Sequence[Any]], dict[str, Any]]

_MONEY, _SQLITE = Money(), sqlite.dialect()


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """The format of rows: the ``columns`` to read (as ``as_kept`` returns them), and the conversion ``make``.

    ``timestamp`` and ``id`` are among the columns, and have these names in the result.
    """

    columns: tuple[ColumnElement[Any], ...]
    make: Make


class JsonText(Cast[str]):
    """A column of JSON as its text; SQLite checks it here (and takes the spaces out), PostgreSQL keeps nothing else."""

    inherit_cache = True


@compiles(JsonText, "sqlite")
def _json_of_sqlite(element: JsonText, compiler: SQLCompiler, **rest: Any) -> str:
    return f"json({compiler.process(element.clause, **rest)})"


@compiles(JsonText)
def _json_of_others(element: JsonText, compiler: SQLCompiler, **rest: Any) -> str:
    return f"CAST({compiler.process(element.clause, **rest)} AS TEXT)"


def as_kept(column: Column[Any]) -> ColumnElement[Any]:
    """Return the column, under its name, so that its values are returned as stored.

    JSON is returned as text, money as float or int from SQLite, as ``Decimal`` from PostgreSQL; others unchanged.
    """
    if isinstance(column.type, JSON):
        return JsonText(column, Text).label(column.name)
    return type_coerce(column, NullType()).label(column.name) if isinstance(column.type, Money) else column


def money_of(kept: float | Decimal) -> Decimal:
    """Return the amount stored as ``kept``, equal to the result of a query for money."""
    found = _MONEY.process_result_value(kept, _SQLITE)
    assert found is not None
    return found


def clean(total: Any) -> Decimal:
    """Return a sum without floating-point residue (8 decimals)."""
    return round(Decimal(total or 0), 8).normalize() + 0
