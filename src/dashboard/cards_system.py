"""The cards of the system page: alerts with what to do, data sources, log, backups."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select

from src.dashboard.bot_view import CHARTS, BotView
from src.dashboard.states import ENDED
from src.dashboard.widgets import (
    UNKNOWN,
    Card,
    Cell,
    Fact,
    Row,
    RowFreshness,
    Table,
    count,
    gone,
    instant,
    word,
    words,
)
from src.domain.clock import instant_of, utc_text
from src.monitoring.alert_rules import RUNBOOK, AlertKind
from src.runtime.log_reader import LOG_NAMES, read_log
from src.runtime.settings import Settings
from src.storage.tables import api_usage, candles

LOG_LINES: Final = 200
BACKUPS_SHOWN: Final = 20
BACKUP_NAME: Final = re.compile(r"backup-[a-z0-9_-]{1,32}-\d{8}T\d{9}Z\.tar\.gz")
_WATCHER_AGE_S: Final = 60.0
_BACKUP_AGE_S: Final = 8 * 86_400.0
_TONES: Final = {"ERROR": "bad", "CRITICAL": "bad", "WARNING": "warn"}
_STEP: Final = re.compile(r"\*\*(Means|Check|Act|Undo)\*\*\s*")


def alerts(look: BotView) -> Card:
    """Return what the watcher found alarming, each kind with what it means and what to do."""
    title, settings = "Alerts", look.settings
    beat = look.beat("watcher")
    if beat is None or settings is None:
        return Card("alerts", title, source="", reason="The watcher has not reported: ./scripts/watch.sh start.")
    seen = instant_of(beat["beat_at"])
    if beat["phase"] in ENDED:
        return Card(
            "alerts", title, "error", seen, _WATCHER_AGE_S, "", "The watcher is stopped: nobody tells of alarms."
        )
    try:
        cases = _cases(settings.state_dir / f"alerts-{settings.bot_id}.json")
    except (OSError, ValueError, TypeError, KeyError):
        return Card("alerts", title, "error", seen, _WATCHER_AGE_S, "", "The watcher's record cannot be read.")
    runbook = runbook_pages(settings.project_root / RUNBOOK)
    rows = tuple(_alert(case, runbook) for case in cases)
    kinds = tuple(
        Row((words(kind.replace("-", " ")), _step(page, "Means")), key=f"runbook-{kind}", details=_steps(page))
        for kind, page in runbook.items()
    )
    tables = [Table("Open alerts", ("Since", "What", "About", "Text", "What to do"), rows)] if rows else []
    tables.append(Table("What each alert means and what to do", ("Alert", "Means"), kinds, folded=True))
    facts = (Fact("Open alerts", word(str(len(rows)), "bad" if rows else "good")),)
    return Card("alerts", title, "data", seen, _WATCHER_AGE_S, "", facts=facts, tables=tuple(tables))


def _cases(path: Path) -> list[Mapping[str, Any]]:
    """Return the alerts that people were told and that are not over, newest first."""
    if not path.is_file():
        return []
    kept = json.loads(path.read_text(encoding="utf-8"))
    told = [case for case in kept.get("cases", []) if case["told_ms"]]
    return sorted(told, key=lambda case: -int(case["since_ms"]))


def _alert(case: Mapping[str, Any], runbook: Mapping[str, Mapping[str, str]]) -> Row:
    kind = str(case["kind"])
    page = runbook.get(kind, {})
    cells = (
        instant(utc_text(int(case["since_ms"]))),
        word(kind.replace("-", " ").upper(), "bad"),
        words(str(case["subject"])),
        words(str(case["text"])),
        words("runbook"),
    )
    return Row(cells, key=f"alert-{kind}-{case['subject']}", details=_steps(page))


def _steps(page: Mapping[str, str]) -> tuple[Fact, ...]:
    return tuple(Fact(name, words(text)) for name, text in page.items())


def _step(page: Mapping[str, str], name: str) -> Cell:
    return words(page.get(name, ""))


def runbook_pages(path: Path) -> dict[str, dict[str, str]]:
    """Return for each kind of alert what the runbook says: means, check, act, undo; empty where it has no page."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return {}
    found = {}
    for kind in AlertKind:
        part = text.partition(f"\n### {kind}\n")[2].partition("\n#")[0]
        pieces = _STEP.split(part)[1:]
        steps = dict(zip(pieces[::2], (" ".join(each.split()).replace("`", "") for each in pieces[1::2]), strict=False))
        if steps:
            found[str(kind)] = steps
    return found


def data_sources(look: BotView) -> Card:
    """Return where data come from, each source with the age of its own last data."""
    title, beat = "Data sources", look.beat()
    if beat is None or look.turned_ms is None:
        return Card("datasources", title, reason="No bot has reported yet.")
    charts = look.beat(CHARTS)
    candle_ms = _last_candle(look)
    context, analysis = look.reports.market_context(look.scope), look.reports.chart_analysis(look.scope)
    account_s, context_s = look.machine_s(look.limits.account_s), look.machine_s(look.limits.context_s) + look.turn_s
    chart_s = look.machine_s(look.limits.chart_s, CHARTS) + 120.0
    finished = None if charts is None else charts["cycle_finished"]
    rows = [
        _source(look, "Mark prices", "exchange", look.wall_of(beat["last_market"]), look.turn_s),
        _source(look, "Closed candles", "exchange", candle_ms, look.turn_s + 60.0),
        _source(look, "Account", "exchange", look.wall_of(beat["last_private"]), account_s),
        _source(look, "Wider market", "bot", look.wall_of(context["timestamp"]) if context else None, context_s),
        _source(look, "Chart analysis", "charts",
                look.wall_of(finished or analysis["timestamp"], CHARTS) if analysis else None, chart_s),
    ]  # fmt: skip
    rows += [_called(row) for row in _services(look)]
    table = Table("Each by the age of its own data", ("Source", "State", "Last data", "Limit"), tuple(rows))
    sockets = look.details.get("sockets") or {}
    facts = tuple(
        Fact(f"{name.title()} stream", _socket(sockets[name])) for name in ("market", "user") if name in sockets
    )
    return Card("datasources", title, "data", look.turned_ms, look.turn_s, facts=facts, tables=(table,))


def _socket(state: Mapping[str, Any]) -> Cell:
    return word("CONNECTED", "good") if state.get("connected") else word("NOT CONNECTED", "bad")


def _source(look: BotView, name: str, source: str, as_of_ms: int | None, max_age_s: float) -> Row:
    limit = Cell(f"{max_age_s:.0f} s", raw=f"{max_age_s:.0f}")
    if as_of_ms is None:
        return Row((words(name), UNKNOWN, UNKNOWN, limit), key=f"source-{name}")
    cells = (words(name), Cell("OK", "life"), gone(as_of_ms), limit)
    return Row(cells, key=f"source-{name}", life=RowFreshness(source, as_of_ms, max_age_s))


def _last_candle(look: BotView) -> int | None:
    column = candles.c
    query = select(func.max(column.open_ms).label("open_ms")).where(*look.scope.account.conditions(candles))
    newest = look.reports.rows(query)[0]["open_ms"]
    return None if newest is None else look.wall_of(utc_text(int(newest) + 60_000))


def _services(look: BotView) -> list[dict[str, Any]]:
    column = api_usage.c
    query = (
        select(column.service, func.max(column.timestamp).label("last"), func.count().label("calls"))
        .where(column.bot_id == look.bot_id, column.timestamp >= utc_text(look.wall_ms - 7 * 86_400_000))
        .group_by(column.service)
        .order_by(column.service)
    )
    return look.reports.rows(query)


def _called(row: Mapping[str, Any]) -> Row:
    cells = (words(row["service"]), Cell(f"{row['calls']:,} calls in 7 days", raw=str(row["calls"])),
             gone(instant_of(row["last"])), words("on demand"))  # fmt: skip
    return Row(cells, key=f"service-{row['service']}")


def log_lines(look: BotView) -> Card:
    """Return the newest lines of the chosen log at or above the chosen level."""
    title, settings = "Log", look.settings
    name = look.query.log or LOG_NAMES[0]
    if settings is None or name not in LOG_NAMES:
        return Card("log", title, source="", reason=f"There is no log {name}: choose one of {', '.join(LOG_NAMES)}.")
    tail = read_log(settings.log_dir, name, look.query.level, look.query.text, LOG_LINES)
    if tail is None:
        return Card("log", title, source="", reason=f"{name} has written no log in this folder yet.")
    rows = tuple(
        Row((instant(line.time), word(line.level, _TONES.get(line.level, "")), words(line.logger), words(line.event)),
            key=f"line-{number}")
        for number, line in enumerate(tail.lines)
    )  # fmt: skip
    table = Table(f"{name}, newest first", ("When", "Level", "Part", "Event"), rows, look="log")
    base = "data" if rows else "empty"
    reason = f"No line of {name} fits this filter."
    # A quiet log is not old news: how old its last line is stands beside it, and nothing grows stale.
    return Card("log", title, base, tail.written_ms, 100 * 365 * 86_400.0, "", reason, tables=(table,) if rows else ())


def backup_folder(settings: Settings) -> Path:
    """Return where backups are kept."""
    return settings.project_root / "backups"


def backup_files(settings: Settings) -> list[Path]:
    """Return the archives there are, newest first, by the names that the backup gives."""
    folder = backup_folder(settings)
    if not folder.is_dir():
        return []
    named = [each for each in folder.iterdir() if BACKUP_NAME.fullmatch(each.name) and each.is_file()]
    return sorted(named, key=lambda each: each.name[-27:], reverse=True)


def backups(look: BotView) -> Card:
    """Return the backups that exist, newest first."""
    title, settings = "Backups", look.settings
    if settings is None:
        return Card("backups", title, source="", reason="The settings are not known.")
    files = backup_files(settings)[:BACKUPS_SHOWN]
    if not files:
        return Card("backups", title, "empty", look.wall_ms, _BACKUP_AGE_S, "", "No backup was made yet.")
    rows = tuple(
        Row((words(each.name), count(each.stat().st_size), gone(round(each.stat().st_mtime * 1000))),
            key=f"backup-{each.name}")
        for each in files
    )  # fmt: skip
    newest_ms = round(files[0].stat().st_mtime * 1000)
    table = Table("Archives of database and model", ("File", "Bytes", "Made"), rows, (1,))
    return Card("backups", title, "data", newest_ms, _BACKUP_AGE_S, "", tables=(table,))
