"""The command ``python3 -m src.market_data``: download, import, check.

Exit codes: 0 done, 2 wrong arguments, 65 bad data (nothing was changed), 69 the archive is away, 73 cannot write, 130
broken off (run again to continue).
"""

import argparse
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from src.domain.clock import SystemClock, utc_text
from src.domain.errors import DataRefused, SourceUnavailable
from src.domain.market import INTERVAL_MS
from src.domain.version import VERSION_LINE
from src.market_data.archive import BASE_URL, Archive, ArchiveFile, Part, day_files, month_file, months_of, span_of
from src.market_data.columns import Candles
from src.market_data.files import Funding, interval_ms_of, interval_name, read_candles, read_funding, symbol_of
from src.market_data.quality import Quality, examine
from src.market_data.store import MarketStore, Merged

ROOT = Path(__file__).resolve().parents[2]
_NAMED = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; return its exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wish = _parser().parse_args(arguments)
    try:
        done: int = wish.deed(wish, MarketStore(wish.data))
    except DataRefused as error:
        print(error, file=sys.stderr)
        return 65
    except SourceUnavailable as error:
        print(error, file=sys.stderr)
        return 69
    except OSError as error:
        print(f"Cannot write {error.filename}: {error.strerror}; the store is as it was.", file=sys.stderr)
        return 73
    except KeyboardInterrupt:
        print("Broken off; what was taken in stays, run again to continue.", file=sys.stderr)
        return 130
    return done


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m src.market_data", description="Past market data.")
    parser.add_argument("--version", action="version", version=VERSION_LINE)
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="folder of the store (default: data/)")
    deeds = parser.add_subparsers(required=True, metavar="COMMAND")
    fetch = deeds.add_parser("download", help="fetch candles, mark prices or funding from Binance's public archive")
    fetch.add_argument("symbol", help="contract, for example BTCUSDT")
    fetch.add_argument("interval", nargs="?", default="1m", choices=list(INTERVAL_MS), help="length of a candle")
    fetch.add_argument("--from", dest="from_text", required=True, metavar="YYYY-MM[-DD]", help="first month or day")
    fetch.add_argument("--to", dest="to_text", default="", metavar="YYYY-MM[-DD]", help="last one (default: yesterday)")
    fetch.add_argument("--kind", choices=("klines", "mark", "funding", "all"), default="all", help="what to fetch")
    fetch.add_argument("--base-url", default=BASE_URL, help="another address that serves the same tree")
    fetch.set_defaults(deed=_download)
    take = deeds.add_parser("import", help="take in files: Binance CSV or zip, klines JSON, feather, parquet")
    take.add_argument("files", nargs="+", type=Path)
    take.add_argument("--symbol", default="", help="contract, where the file's name does not begin with it")
    take.add_argument("--kind", choices=("klines", "mark", "funding"), default="klines", help="what the files hold")
    take.set_defaults(deed=_import)
    look = deeds.add_parser("check", help="report gaps, frozen and doubtful candles of the store or of files")
    look.add_argument("files", nargs="*", type=Path, help="files to look at (default: all of the store)")
    look.set_defaults(deed=_check)
    return parser


def _download(wish: argparse.Namespace, store: MarketStore) -> int:
    today = datetime.fromtimestamp(SystemClock().now_ms() / 1_000, UTC).date()
    first, last = span_of(wish.from_text, wish.to_text, today)
    archive = Archive(store.folder / "archive", wish.base_url.rstrip("/"))
    missing: list[str] = []
    kinds = ("klines", "mark", "funding") if wish.kind == "all" else (wish.kind,)
    parts = list(months_of(first, last))
    with _progress(archive, len(parts) * len(kinds)) as advance:
        for kind in kinds:
            for part in parts:
                missing += _fetch_part(archive, store, kind, wish, part)
                advance()
    for label in missing[:_NAMED]:
        print(f"the archive has no {label}")
    if len(missing) > _NAMED:
        print(f"... and {len(missing) - _NAMED} more")
    for kind in kinds:
        _say_stored(store, kind, wish.symbol, wish.interval)
    return 0


def _fetch_part(archive: Archive, store: MarketStore, kind: str, wish: argparse.Namespace, part: Part) -> list[str]:
    """Take in one month, as one file or day by day; return the names of what the archive has not."""
    month = month_file(kind, wish.symbol, wish.interval, part.first)
    if kind == "funding":  # comes in months only
        return [] if _take_in(archive, store, kind, wish, month) else [month.name]
    if part.whole and _take_in(archive, store, kind, wish, month):
        return []
    days = day_files(kind, wish.symbol, wish.interval, part.first, part.last)
    return [each.name for each in days if not _take_in(archive, store, kind, wish, each)]


def _take_in(archive: Archive, store: MarketStore, kind: str, wish: argparse.Namespace, file: ArchiveFile) -> bool:
    """Fetch a file and merge it into the store; return whether the archive has it."""
    checksum = archive.checksum(file)
    if checksum is None:
        return False
    if archive.known_sum(file) != checksum:
        _merge(store, _read(archive.fetch(file, checksum), kind), wish.symbol)
        archive.remember(file, checksum)
    return True


class _Series(NamedTuple):
    """What one file holds: funding rates, or candles of an interval."""

    kind: str
    interval: str
    rows: Candles | Funding


def _read(path: Path, kind: str) -> _Series:
    if kind == "funding":
        return _Series(kind, "", read_funding(path))
    candles = read_candles(path, volume_needed=kind != "mark")
    return _Series(kind, interval_name(interval_ms_of(candles, path.name)), candles)


def _merge(store: MarketStore, series: _Series, symbol: str) -> Merged:
    if isinstance(series.rows, Funding):
        return store.merge_funding(symbol, series.rows)
    return store.merge_candles(symbol, series.interval, series.rows, mark=series.kind == "mark")


def _import(wish: argparse.Namespace, store: MarketStore) -> int:
    """Take in all files or, where one of them is bad, none."""
    read = [(path, wish.symbol or symbol_of(path), _read(path, wish.kind)) for path in wish.files]
    for path, symbol, series in read:
        merged = _merge(store, series, symbol)
        print(f"{path.name}: {merged.added:,} new, {merged.replaced:,} replaced; {symbol} has {merged.total:,} now")
    return 0


def _check(wish: argparse.Namespace, store: MarketStore) -> int:
    files = wish.files or [path for path in store.series() if "-funding" not in path.name]
    if not files:
        raise DataRefused(f"Nothing is stored in {store.folder}; download or import something first.")
    for path in files:
        mark = "-mark-" in path.name or "_mark_" in path.name
        _say_quality(path.name, examine(read_candles(path, volume_needed=not mark), has_volume=not mark))
    return 0


def _say_quality(name: str, found: Quality) -> None:
    span = f"{utc_text(found.first_ms)[:16]} .. {utc_text(found.last_ms)[:16]}"
    print(f"{name}: {found.candles:,} candles of {found.interval_ms // 60_000} min, {span}, {found.missing:,} missing")
    for what, stretches in (("gap", found.gaps), ("frozen", found.frozen), ("jump", found.jumps)):
        for stretch in stretches[:_NAMED]:
            print(f"  {what} {stretch}")
        if len(stretches) > _NAMED:
            print(f"  ... and {len(stretches) - _NAMED} more of kind {what}")


def _say_stored(store: MarketStore, kind: str, symbol: str, interval: str) -> None:
    mark = kind == "mark"
    if kind == "funding":
        rates = store.funding(symbol)
        print(f"{store.funding_path(symbol).name}: {len(rates):,} settlements")
    elif store.candle_path(symbol, interval, mark).is_file():
        candles = store.candles(symbol, interval, mark)
        _say_quality(store.candle_path(symbol, interval, mark).name, examine(candles, has_volume=not mark))


@contextmanager
def _progress(archive: Archive, parts: int) -> Iterator[Callable[[], None]]:
    """Show a bar for all parts and one for the file on its way; yield what moves the first on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        months = bars.add_task("parts", total=parts)
        file = bars.add_task("", total=None, visible=False)

        def on_bytes(name: str, there: int, total: int) -> None:
            bars.update(file, description=name, completed=there, total=total or None, visible=True)

        archive.progress = on_bytes
        yield lambda: bars.advance(months)


if __name__ == "__main__":
    sys.exit(main())
