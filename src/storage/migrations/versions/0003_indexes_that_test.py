"""Indexes of signals and trades that can test each filter before a row is looked up.

A rare pair of filters (HOLD signals of five votes) read 200,000 rows of a million through the old ones.
"""

from collections.abc import Mapping

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_LEADS = {
    "signals": ("", "symbol", "bot_id", "signal_type", "strength", "acted"),
    "trades": ("", "symbol", "bot_id", "status", "side"),
}
_BEFORE = {"signals": (), "trades": ("pnl",)}
_AFTER = {
    "signals": ("mode", "world", "symbol", "signal_type", "strength", "acted"),
    "trades": ("mode", "world", "symbol", "status", "side", "pnl"),
}


def upgrade() -> None:
    """Build the indexes anew, with what they test behind what they sort by (20 s for a million signals)."""
    _build(_AFTER)


def downgrade() -> None:
    """Build them as they were."""
    _build(_BEFORE)


def _build(tested: Mapping[str, tuple[str, ...]]) -> None:
    for table, leads in _LEADS.items():
        for lead in leads:
            name = f"ix_{table}_{lead}_time" if lead else f"ix_{table}_time"
            first = [lead] if lead else []
            rest = [each for each in tested[table] if each != lead]
            op.drop_index(name, table_name=table)
            op.create_index(name, table, [*first, "timestamp", "id", *rest], unique=False)
