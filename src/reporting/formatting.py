"""Rows as stored in the database, for answers that are passed on without calculation.

A long list is mostly figures that are passed on and JSON that is written out again as it was. Made into ``Decimal``
and lists first, as the rows of ``reports.py`` are, it takes three times as long.
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
    """How rows are wanted: which ``columns`` are read (as ``as_kept`` returns them), and what ``make`` makes of them.

    ``timestamp`` and ``id`` are among the columns, and under these names in what is made.
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
    """Return the column, under its name, so that its values come as the database keeps them.

    JSON comes as text, money as float or int from SQLite, as ``Decimal`` from PostgreSQL; all else as ever.
    """
    if isinstance(column.type, JSON):
        return JsonText(column, Text).label(column.name)
    return type_coerce(column, NullType()).label(column.name) if isinstance(column.type, Money) else column


def money_of(kept: float | Decimal) -> Decimal:
    """Return the money that lies in the database as ``kept``; the same that a query for money returns."""
    found = _MONEY.process_result_value(kept, _SQLITE)
    assert found is not None
    return found


def clean(total: Any) -> Decimal:
    """Return a sum without the dust that adding doubles leaves behind (8 decimals)."""
    return round(Decimal(total or 0), 8).normalize() + 0
