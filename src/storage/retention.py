"""Retention: deletes rows older than KEEP_DAYS; trades and daily rows are kept.

``python3 -m src.storage.retention prune`` does it now; the watchdog does it once a day.
"""

import sys
from contextlib import closing

from sqlalchemy import func, select

from src.domain.clock import DAY_MS, instant_of
from src.domain.errors import SettingsError, StoreCorrupt, StoreUnavailable
from src.domain.version import VERSION_LINE
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.rows import Owner
from src.storage.tables import daily_performance


def prune_old(database: TradingDatabase, keep_days: int) -> int:
    """Delete rows older than ``keep_days`` and return their number.

    Days are counted back from each owner's last row, so rows of a replay of 2023 are not deleted at once.
    """
    deleted = 0
    for owner, last_day in _last_days(database):
        deleted += database.prune(instant_of(last_day) - (keep_days - 1) * DAY_MS, owner)
    return deleted


def _last_days(database: TradingDatabase) -> list[tuple[Owner, str]]:
    table = daily_performance
    columns = (table.c.bot_id, table.c.mode, table.c.world)
    with database.read() as connection:
        rows = connection.execute(select(*columns, func.max(table.c.day)).group_by(*columns)).all()
    return [(Owner(bot_id, mode, world), day) for bot_id, mode, world, day in rows]


def main(arguments: list[str]) -> int:
    """Run ``prune``; return the exit code."""
    if arguments == ["--version"]:
        print(VERSION_LINE)
        return 0
    if arguments != ["prune"]:
        print("Usage: python3 -m src.storage.retention prune", file=sys.stderr)
        return 2
    try:
        settings = Settings.load()
        with closing(TradingDatabase(settings.database_url)) as database:
            database.migrate()
            deleted = prune_old(database, settings.keep_days)
    except SettingsError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 78
    except (StoreUnavailable, StoreCorrupt) as error:
        print(error, file=sys.stderr)
        return 65 if isinstance(error, StoreCorrupt) else 75
    print(f"{deleted} rows older than {settings.keep_days} days deleted; trades and days are kept for ever.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
