"""The command ``python3 -m src.market_data``: download, import, check.

Exit codes: 0 done, 2 wrong arguments, 65 bad data (nothing was changed), 69 the archive is unavailable, 73 cannot
write, 130 interrupted (run again to continue).
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

from src.domain.candle_names import SeriesKind
from src.domain.candle_reader import CandleFile, Told, whole_files
from src.domain.clock import SystemClock, utc_text
from src.domain.errors import DataRefused, SourceUnavailable
from src.domain.market import INTERVAL_MS
from src.domain.version import VERSION_LINE
from src.market_data.archive import BASE_URL, Archive, ArchiveFile, Part, day_files, month_file, months_of, span_of
from src.market_data.columns import Candles
from src.market_data.contract_update import BASE_URL as CONTRACTS_URL
from src.market_data.contract_update import FILE_NAME as CONTRACTS_FILE
from src.market_data.contract_update import brackets_in, fetch_contracts, read_contracts, store_contracts
from src.market_data.files import (
    Funding,
    candles_of,
    holds_funding,
    interval_name,
    read_candles,
    read_file,
    read_funding,
)
from src.market_data.quality import Quality, examine
from src.market_data.store import MarketStore, Merged

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "config" / "contracts.json"
_NAMED = 20
_KINDS = {
    "klines": SeriesKind.PERPETUAL,
    "spot": SeriesKind.SPOT,
    "mark": SeriesKind.MARK,
    "funding": SeriesKind.FUNDING,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; return its exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command = _parser().parse_args(arguments)
    try:
        done: int = command.action(command, MarketStore(command.data))
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
    actions = parser.add_subparsers(required=True, metavar="COMMAND")
    fetch = actions.add_parser("download", help="fetch candles, mark prices or funding from Binance's public archive")
    fetch.add_argument("symbol", help="contract, for example BTCUSDT")
    fetch.add_argument("interval", nargs="?", default="1m", choices=list(INTERVAL_MS), help="length of a candle")
    fetch.add_argument("--from", dest="from_text", required=True, metavar="YYYY-MM[-DD]", help="first month or day")
    fetch.add_argument("--to", dest="to_text", default="", metavar="YYYY-MM[-DD]", help="last one (default: yesterday)")
    fetch.add_argument("--kind", choices=("klines", "mark", "funding", "all"), default="all", help="what to fetch")
    fetch.add_argument("--base-url", default=BASE_URL, help="another address that serves the same tree")
    fetch.set_defaults(action=_download)
    take = actions.add_parser("import", help="take in files of candles or funding rates (docs/data-formats.md)")
    take.add_argument("files", nargs="+", type=Path)
    take.add_argument("--symbol", default="", help="contract, where the file does not say it")
    take.add_argument("--kind", choices=tuple(_KINDS), default="", help="what the files hold, where they do not say it")
    take.add_argument("--interval", choices=list(INTERVAL_MS), default="", help="length of a candle, likewise")
    take.add_argument("--utc-offset", default="", metavar="+HH:MM", help="of instants that are written without a zone")
    take.add_argument("--replace", action="store_true", help="take candles that differ from the stored ones")
    take.set_defaults(action=_import)
    look = actions.add_parser("check", help="report gaps, frozen and doubtful candles of the store or of files")
    look.add_argument("files", nargs="*", type=Path, help="files to look at (default: all of the store)")
    look.set_defaults(action=_check)
    listed = actions.add_parser("contracts", help="the exchange's list of contracts: filters, ticks, funding intervals")
    listed.add_argument("--update", action="store_true", help="fetch the present list and keep it in the store")
    listed.add_argument("--brackets", type=Path, metavar="FILE", help="a saved answer of /fapi/v1/leverageBracket")
    listed.add_argument("--base-url", default=CONTRACTS_URL, help="another address that serves the same")
    listed.set_defaults(action=_contracts)
    return parser


def _download(command: argparse.Namespace, store: MarketStore) -> int:
    today = datetime.fromtimestamp(SystemClock().now_ms() / 1_000, UTC).date()
    first, last = span_of(command.from_text, command.to_text, today)
    archive = Archive(store.folder / "archive", command.base_url.rstrip("/"))
    missing: list[str] = []
    kinds = ("klines", "mark", "funding") if command.kind == "all" else (command.kind,)
    parts = list(months_of(first, last))
    with _progress(archive, len(parts) * len(kinds)) as advance:
        for kind in kinds:
            for part in parts:
                missing += _fetch_part(archive, store, kind, command, part)
                advance()
    for label in missing[:_NAMED]:
        print(f"the archive has no {label}")
    if len(missing) > _NAMED:
        print(f"... and {len(missing) - _NAMED} more")
    for kind in kinds:
        _say_stored(store, kind, command.symbol, command.interval)
    return 0


def _fetch_part(archive: Archive, store: MarketStore, kind: str, command: argparse.Namespace, part: Part) -> list[str]:
    """Import one month, as one file or day by day; return the files missing in the archive."""
    month = month_file(kind, command.symbol, command.interval, part.first)
    if kind == "funding":  # comes in months only
        return [] if _take_in(archive, store, kind, command, month) else [month.name]
    if part.whole and _take_in(archive, store, kind, command, month):
        return []
    days = day_files(kind, command.symbol, command.interval, part.first, part.last)
    return [each.name for each in days if not _take_in(archive, store, kind, command, each)]


def _take_in(archive: Archive, store: MarketStore, kind: str, command: argparse.Namespace, file: ArchiveFile) -> bool:
    """Download a file and merge it into the store; return whether the archive has it."""
    checksum = archive.checksum(file)
    if checksum is None:
        return False
    if archive.known_sum(file) != checksum:
        _merge(store, _read_fetched(archive.fetch(file, checksum), kind, command.symbol, command.interval))
        archive.remember(file, checksum)
    return True


class _Part(NamedTuple):
    """The content of one file: funding rates, or candles of an interval; and the contract."""

    name: str
    symbol: str
    series: SeriesKind
    interval: str
    rows: Candles | Funding
    understood: str = ""


def _read_fetched(path: Path, kind: str, symbol: str, interval: str) -> _Part:
    """Return the content of an archive file; command and archive folder determine its kind."""
    if kind == "funding":
        return _Part(path.name, symbol, SeriesKind.FUNDING, "", read_funding(path))
    series = _KINDS[kind]
    return _Part(path.name, symbol, series, interval, read_candles(path, series, INTERVAL_MS[interval]))


def _merge(store: MarketStore, part: _Part) -> Merged:
    if isinstance(part.rows, Funding):
        return store.merge_funding(part.symbol, part.rows)
    return store.merge_candles(part.symbol, part.interval, part.rows, part.series)


def _import(command: argparse.Namespace, store: MarketStore) -> int:
    """Import all files, or none if one of them is bad."""
    parts = _parts(command)
    for part in parts:
        if not part.symbol:
            raise DataRefused(f"{part.name}: neither name nor rows say the contract; say it with --symbol BTCUSDT.")
        if not command.replace and isinstance(part.rows, Candles):
            _refuse_doubtful(store, part)
    for part in parts:
        merged = _merge(store, part)
        if part.understood:
            print(f"{part.name}: {part.understood}")
        print(
            f"{part.name}: {merged.added:,} new, {merged.replaced:,} replaced; "
            f"{_stored_name(store, part)} has {merged.total:,} now"
        )
    return 0


def _parts(command: argparse.Namespace) -> list[_Part]:
    """Return the content of each file, in the given order."""
    series = _KINDS[command.kind] if command.kind else None
    told = Told(command.symbol.upper(), series, INTERVAL_MS.get(command.interval, 0), command.utc_offset)
    rates = [series is SeriesKind.FUNDING or (series is None and holds_funding(path)) for path in command.files]
    candle_paths = [path for path, is_rate in zip(command.files, rates, strict=True) if not is_rate]
    files = iter(whole_files([read_file(path, told) for path in candle_paths]))
    return [
        _rates(path, told) if is_rate else _candles(next(files))
        for path, is_rate in zip(command.files, rates, strict=True)
    ]


def _rates(path: Path, told: Told) -> _Part:
    rates = read_funding(path, told)
    return _Part(
        path.name, rates.symbol, SeriesKind.FUNDING, "", rates, f"funding rates, {len(rates.rate):,} settlements"
    )


def _candles(file: CandleFile) -> _Part:
    interval = interval_name(file.interval_ms)
    return _Part(file.name, file.symbol, file.series, interval, candles_of(file), file.understood)


def _refuse_doubtful(store: MarketStore, part: _Part) -> None:
    """Raise ``DataRefused`` if a file seems to belong to another market than the stored series."""
    if isinstance(part.rows, Candles):
        doubt = store.mismatch(part.symbol, part.interval, part.rows, part.series)
        if doubt:
            raise DataRefused(
                f"{part.name} does not look like {_stored_name(store, part)}: {doubt}; say what it is (--kind spot, "
                "--kind mark, --symbol), or --replace if it is right."
            )


def _stored_name(store: MarketStore, part: _Part) -> str:
    if part.series is SeriesKind.FUNDING:
        return store.funding_path(part.symbol).stem
    return store.candle_path(part.symbol, part.interval, part.series).stem


def _check(command: argparse.Namespace, store: MarketStore) -> int:
    files = command.files or [path for path in store.series() if "-funding" not in path.name]
    if not files:
        raise DataRefused(f"Nothing is stored in {store.folder}; download or import something first.")
    for path in files:
        read = whole_files([read_file(path)])[0]
        if command.files:
            print(f"{path.name}: {read.understood}")
        quality = examine(candles_of(read), read.series is not SeriesKind.MARK, read.interval_ms)
        _say_quality(path.name, quality)
    return 0


def _contracts(command: argparse.Namespace, store: MarketStore) -> int:
    """Fetch or show the list of contracts."""
    path = store.folder / CONTRACTS_FILE
    present = path if path.is_file() else SHIPPED
    if command.update or command.brackets:
        document = fetch_contracts(command.base_url) if command.update else read_contracts(present)
        if command.brackets:
            document["leverageBracket"] = brackets_in(command.brackets)
        store_contracts(store.folder, document)
    document = read_contracts(path if path.is_file() else SHIPPED)
    count, told = len(document["exchangeInfo"]["symbols"]), len(document.get("leverageBracket", ()))
    where = path if path.is_file() else SHIPPED
    print(f"{count:,} contracts as of {document['taken'][:10]}, leverage brackets of {told:,} ({where})")
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
    series = _KINDS[kind]
    if series is SeriesKind.FUNDING:
        rates = store.funding(symbol)
        print(f"{store.funding_path(symbol).name}: {len(rates):,} settlements")
    elif store.candle_path(symbol, interval, series).is_file():
        quality = examine(store.candles(symbol, interval, series), series is not SeriesKind.MARK, INTERVAL_MS[interval])
        _say_quality(store.candle_path(symbol, interval, series).name, quality)


@contextmanager
def _progress(archive: Archive, parts: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar for all parts and one for the current file; yield the callback that advances the first."""
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
