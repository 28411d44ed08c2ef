"""Checks each parameter of the dashboard's addresses: known there, said once, and of the form that it has."""

import re
from typing import Final

from flask import abort
from werkzeug.datastructures import MultiDict

from src.dashboard import journal
from src.domain.clock import instant_of
from src.reporting.pages import cursor_place

_PAGED: Final = ("limit", "cursor")
KNOWN: Final[dict[str, tuple[str, ...]]] = {
    "/api/dashboard": ("bot", "journal"),
    "/api/bot-status": ("bot",),
    "/api/market-data": ("bot",),
    "/api/chart-analysis": ("bot",),
    "/api/trades": ("bot", "status", *_PAGED),
    "/api/performance": ("bot",),
    "/api/positions": ("bot",),
    "/api/signals": ("bot", "acted", *_PAGED),
    "/api/news": ("bot", *_PAGED),
    "/api/health": (),
    "/api/journal": ("bot", "filter", *_PAGED),
    "/api/chart": ("bot", "symbol"),
    "/api/events": ("bot",),
    "/api/session": (),
    "/api/report": ("bot", "from", "to", "format"),
    "/api/control/plan": ("bot", "action", "target"),
    "/api/control/rules": (),
}
"""The addresses whose parameters are checked, and which they have."""
_FORMS: Final = {
    "bot": (r"[a-z0-9_-]{0,32}", "the name of a bot: at most 32 of a-z, 0-9, - and _"),
    "symbol": (r"[A-Z0-9]{5,20}", "a contract such as BTCUSDT"),
    "status": (r"open|closed", "open or closed"),
    "acted": (r"(?i:true|false|0|1)", "true or false"),
    "limit": (r"[0-9]{1,3}", "a whole number from 1 to 200"),
    "format": (r"html|csv", "html or csv"),
    "action": (r".{0,80}", "the name of an action"),
    "target": (r".{0,80}", "a contract or the name of a rule set"),
}


def check_parameters(path: str, given: MultiDict[str, str]) -> None:
    """Refuse (400) what an address does not know, is told twice, or does not have the form that it must have."""
    known = KNOWN.get(path)
    if known is None:
        return
    for name, values in given.lists():
        if name not in known:
            said = f"knows {', '.join(sorted(known))}" if known else "knows no parameter"
            abort(400, f"{name[:40]} is no parameter here: {path} {said}.")
        if len(values) > 1:
            abort(400, f"{name} is given {len(values)} times: give it once.")
        problem = _problem(name, values[0])
        if problem:
            abort(400, f"{name} must be {problem}.")


def _problem(name: str, value: str) -> str:
    """Return what the value must be, "" where it is."""
    if name == "cursor":
        return "" if _is_cursor(value) else "the cursor of the page before: leave it out for the first page"
    if name in ("filter", "journal"):
        return "" if value in journal.FILTERS else f"one of {', '.join(journal.FILTERS)}"
    if name in ("from", "to"):
        return "" if _is_day(value) else "a day such as 2026-11-22"
    form, told = _FORMS[name]
    return "" if re.fullmatch(form, value) else told


def _is_cursor(value: str) -> bool:
    try:
        cursor_place(value)
    except (ValueError, OverflowError):
        return False
    return True


def _is_day(value: str) -> bool:
    try:
        instant_of(value[:10])
    except (ValueError, OverflowError):
        return False
    return True
