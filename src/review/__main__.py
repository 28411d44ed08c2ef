"""The command ``python3 -m src.review day|week``: what was traded, refused, paid and foretold, and one suggestion.

Exit codes: 0 done, 2 wrong arguments, 65 the database is damaged, 75 it cannot be read now, 78 wrong settings.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing

from src.domain.clock import DAY_MS, SystemClock, instant_of, utc_text
from src.domain.errors import SettingsError, StoreCorrupt, StoreUnavailable
from src.reporting.pages import Scope
from src.reporting.service import ReportService
from src.review.figures import read_figures
from src.review.text import review_text
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase

_SPANS = {"day": DAY_MS, "week": 7 * DAY_MS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the review; return the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m src.review", description="What a day or a week brought.")
    parser.add_argument("span", choices=list(_SPANS), help="a day or seven days")
    parser.add_argument("--to", default="", metavar="INSTANT", help="its end (default: the bot's present time)")
    parser.add_argument("--bot", default="", help="the bot (default: BOT_ID)")
    command = parser.parse_args(arguments)
    try:
        settings = Settings.load()
        print(_review(settings, command.span, command.to, command.bot or settings.bot_id), end="")
    except SettingsError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 78
    except ValueError:
        print(f"--to: {command.to!r} is no instant; write 2026-11-22 or 2026-11-22T10:30:00Z.", file=sys.stderr)
        return 2
    except (StoreCorrupt, StoreUnavailable) as error:
        print(error, file=sys.stderr)
        return 65 if isinstance(error, StoreCorrupt) else 75
    return 0


def _review(settings: Settings, span: str, end: str, bot_id: str) -> str:
    scope = Scope(bot_id, settings.mode, settings.world)
    with closing(TradingDatabase(settings.database_url, read_only=True)) as database:
        last_ms = instant_of(end) if end else _present_ms(database, bot_id)
        with database.read() as connection:
            figures = read_figures(connection, scope, last_ms - _SPANS[span], last_ms)
    return review_text(figures, f"Review of the {span} of {bot_id} ({settings.mode}, {settings.world})")


def _present_ms(database: TradingDatabase, bot_id: str) -> int:
    """Return the instant of the bot's last sign of life in the market's time, else the machine's time."""
    wall_ms = SystemClock().now_ms()
    beats = [row for row in ReportService(database).bot_status(wall_ms) if row["bot_id"] == bot_id]
    return instant_of(max((row["timestamp"] for row in beats), default=utc_text(wall_ms)))


if __name__ == "__main__":
    sys.exit(main())
