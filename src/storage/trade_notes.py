"""Notes and tags on trades: read with the trade, replaced by the next edit."""

import re
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select

from src.domain.clock import utc_text
from src.storage.engine import Database
from src.storage.tables import trade_notes, trades

LONGEST_NOTE: Final = 2_000
MOST_TAGS: Final = 10
_TAG: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,23}")


def checked_note(note: object, tags: object) -> tuple[str, list[str]]:
    """Return note and tags if both are valid; ``ValueError`` says what is wrong."""
    if not isinstance(note, str) or len(note) > LONGEST_NOTE:
        raise ValueError(f"note must be text of at most {LONGEST_NOTE:,} characters.")
    if not isinstance(tags, list) or len(tags) > MOST_TAGS:
        raise ValueError(f"tags must be a list of at most {MOST_TAGS}.")
    for tag in tags:
        if not isinstance(tag, str) or not _TAG.fullmatch(tag):
            raise ValueError("A tag is 1 to 24 of a-z, 0-9, - and _.")
    return "".join(each for each in note if each.isprintable() or each == "\n"), list(dict.fromkeys(tags))


def save_note(store: Database, trade_id: int, note: str, tags: Sequence[str], actor: str, now_ms: int) -> bool:
    """Replace a trade's note; return whether the trade exists."""
    row = {"timestamp": utc_text(now_ms), "trade_id": trade_id, "note": note, "tags": list(tags), "actor": actor}

    def write(connection: Connection) -> bool:
        if connection.execute(select(trades.c.id).where(trades.c.id == trade_id)).first() is None:
            return False
        connection.execute(delete(trade_notes).where(trade_notes.c.trade_id == trade_id))
        connection.execute(insert(trade_notes), row)
        return True

    return bool(store.write(write))


def note_query(trade_id: int) -> Any:
    """Return the query for a trade's note."""
    return select(trade_notes).where(trade_notes.c.trade_id == trade_id)
