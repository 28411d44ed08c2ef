"""Appends exposure-reducing intents to a small file next to the database before they are sent.

The database may be locked at that moment, and the process may die before it is free again. The next start writes the
intents of the file into the database.
"""

import json
import logging
import os
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

from src.domain.orders import OrderIntent, OrderKind, Purpose, Side

log = logging.getLogger(__name__)


class IntentLog:
    """One bot's file of intents, one JSON line each; thread-safe.

    A file that cannot be written is logged and does not block an exit.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._empty = not path.exists() or path.stat().st_size == 0

    def append(self, intent: OrderIntent) -> None:
        """Write an intent; it is on disk when this returns."""
        line = json.dumps(_row(intent)) + "\n"
        with self._lock:
            try:
                with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
                self._empty = False
            except OSError as error:
                log.error("intent not written: file=%s client_id=%s reason=%s", self._path, intent.client_id, error)

    def clear(self) -> None:
        """Delete all intents: they are in the database."""
        with self._lock:
            if self._empty:
                return
            try:
                os.truncate(self._path, 0)
                self._empty = True
            except OSError as error:
                log.warning("intents not cleared: file=%s reason=%s", self._path, error)

    def read(self) -> list[OrderIntent]:
        """Return the intents in the file, oldest first; a truncated line is skipped."""
        with self._lock:
            try:
                lines = self._path.read_text(encoding="utf-8").splitlines()
            except FileNotFoundError:
                return []
            except OSError as error:
                log.error("intents not read: file=%s reason=%s", self._path, error)
                return []
        found = []
        for line in lines:
            try:
                found.append(_intent(json.loads(line)))
            except (ValueError, KeyError, TypeError, ArithmeticError):
                log.warning("intent skipped, its line is damaged: file=%s", self._path)
        return found


def _row(intent: OrderIntent) -> dict[str, Any]:
    return {
        "client_id": intent.client_id,
        "symbol": intent.symbol,
        "side": str(intent.side),
        "kind": str(intent.kind),
        "purpose": str(intent.purpose),
        "quantity": str(intent.quantity),
        "decided_ms": intent.decided_ms,
        "reduce_only": intent.reduce_only,
        "trigger_price": None if intent.trigger_price is None else str(intent.trigger_price),
        "close_position": intent.close_position,
        "reason": intent.reason,
    }


def _intent(row: dict[str, Any]) -> OrderIntent:
    return OrderIntent(
        client_id=str(row["client_id"]),
        symbol=str(row["symbol"]),
        side=Side(row["side"]),
        kind=OrderKind(row["kind"]),
        purpose=Purpose(row["purpose"]),
        quantity=Decimal(row["quantity"]),
        decided_ms=int(row["decided_ms"]),
        reduce_only=bool(row["reduce_only"]),
        trigger_price=None if row["trigger_price"] is None else Decimal(row["trigger_price"]),
        close_position=bool(row["close_position"]),
        reason=str(row["reason"]),
    )
