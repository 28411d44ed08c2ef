"""Log-in, log-out and operator commands, each recorded with actor and time."""

import re
from typing import Any, Final

from flask import Blueprint, Response, abort, jsonify, request
from werkzeug.exceptions import TooManyRequests

from src.dashboard import close_all
from src.dashboard.auth import LASTS_S, Session
from src.dashboard.context import DashboardContext, cookie_name, dashboard_context, session_words
from src.dashboard.control import CLOSE_ALL, Plan, own_symbols, plan, rule_sets
from src.storage import command_queue
from src.storage.command_queue import ACTIONS, OperatorCommand
from src.storage.rows import Owner

blueprint = Blueprint("control", __name__)

_KEY: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
_LONGEST_PIN: Final = 128


@blueprint.post("/api/login")
def log_in() -> Response:
    """Open a session for who sends the PIN; after five wrong ones each further try has to wait."""
    here, given = dashboard_context(), body().get("pin")
    if here.authenticator.closed_because:
        abort(503, here.authenticator.closed_because)
    if not isinstance(given, str) or not 0 < len(given) <= _LONGEST_PIN:
        abort(400, "Send the PIN as text.")
    entry = here.authenticator.try_pin(request.remote_addr or "unknown", given)
    if entry.wait_s > 0:
        raise TooManyRequests("Too many wrong PINs: wait and try again.", retry_after=int(entry.wait_s) + 1)
    if not entry.token:
        abort(401, f"The PIN is wrong. {entry.tries_left} tries are left before a wait.")
    former = request.cookies.get(cookie_name(), "")
    if former:
        here.authenticator.end(former)
    opened = here.authenticator.session(entry.token)
    answer = jsonify(logged_in=True, csrf="" if opened is None else opened.csrf)
    answer.set_cookie(
        cookie_name(), entry.token, max_age=int(LASTS_S), path="/", secure=request.is_secure, httponly=True,
        samesite="Strict",
    )  # fmt: skip
    return answer


@blueprint.post("/api/logout")
def log_out() -> Response:
    """End the session on the server; the cookie is worthless from then on."""
    allowed()
    dashboard_context().authenticator.end(request.cookies.get(cookie_name(), ""))
    answer = jsonify(logged_in=False)
    answer.delete_cookie(cookie_name(), path="/", samesite="Strict", httponly=True, secure=request.is_secure)
    return answer


@blueprint.get("/api/session")
def session() -> Response:
    """Return whether this browser showed the PIN, and its token against forged requests."""
    return jsonify(session_words(dashboard_context()))


@blueprint.get("/api/control/plan")
def control_plan() -> Response:
    """Return in words what a command would do, before it is given: ``action``, ``target``, ``bot``."""
    here = dashboard_context()
    here.require_session()
    found = _plan(here, request.args.get("bot"), request.args.get("action", ""), request.args.get("target", ""))
    return jsonify(action=found.action, target=found.target, says=found.says, type_to_confirm=found.type_to_confirm)


@blueprint.get("/api/control/rules")
def control_rules() -> Response:
    """Return the rule sets to which the running bot can switch."""
    here = dashboard_context()
    here.require_session()
    like = "" if here.settings.mode == "paper" else here.settings.rules
    return jsonify(rules=rule_sets(here.settings.project_root / "config" / "rules", like))


@blueprint.get("/api/control/<key>")
def control_answer(key: str) -> Response:
    """Return the outcome of a command."""
    here = dashboard_context()
    here.require_session()
    row = command_queue.find(here.database, key) if _KEY.fullmatch(key) else None
    if row is None:
        abort(404, "There is no such command.")
    return jsonify(_told(close_all.settled(here.database, row, here.clock.now_ms())))


@blueprint.post("/api/control")
def control() -> Response:
    """Queue a command for the bot, or start or stop a service; the same ``key`` twice is one command."""
    who = allowed()
    here, given = dashboard_context(), body()
    texts = {name: given.get(name, "") for name in ("action", "target", "key", "bot", "confirm")}
    if not all(isinstance(text, str) for text in texts.values()):
        abort(400, "action, target, key, bot and confirm are texts.")
    if not _KEY.fullmatch(texts["key"]):
        abort(400, "key must be 16 to 64 letters, digits, - or _.")
    known = command_queue.find(here.database, texts["key"])
    if known is not None:
        return jsonify(_told(close_all.settled(here.database, known, here.clock.now_ms())))
    found = _plan(here, texts["bot"], texts["action"], texts["target"])
    if found.type_to_confirm and texts["confirm"].strip().upper() != found.type_to_confirm.upper():
        abort(409, f"Live trading: type {found.type_to_confirm} to confirm.")
    command = OperatorCommand(texts["key"], found.action, found.target, who.actor, request.remote_addr or "unknown")
    answer = jsonify(_told(_carry(here, texts["bot"], command)))
    answer.status_code = 202
    return answer


def _carry(here: DashboardContext, bot: str, command: OperatorCommand) -> dict[str, Any]:
    """Queue a command for the bot, or execute it here if it concerns a service."""
    owner, now_ms = _owner(here, bot), here.clock.now_ms()
    if command.action in ACTIONS:
        return command_queue.submit(here.database, owner, command, now_ms)
    if command.action == CLOSE_ALL:
        with here.reports.at_one_instant() as reports:
            symbols = own_symbols(here.snapshots.look(reports, bot or None))
        return close_all.submit_all(here.database, owner, command, symbols, now_ms)
    verb, _, service = command.action.partition(":")
    started = command_queue.submit(here.database, owner, command, now_ms)
    if started["request_key"] != command.key:
        return started
    answer = here.services.run(verb, service)
    command_queue.answer(here.database, started["id"], answer, here.clock.now_ms())
    here.database.flush()
    return command_queue.find(here.database, command.key) or started


def _owner(here: DashboardContext, bot: str) -> Owner:
    with here.reports.at_one_instant() as reports:
        scope = here.snapshots.look(reports, bot or None).scope
    return Owner(scope.bot_id or "", scope.mode or "", scope.world or "")


def _plan(here: DashboardContext, bot: str | None, action: str, target: str) -> Plan:
    with here.reports.at_one_instant() as reports:
        look = here.snapshots.look(reports, bot or None)
        return plan(look, action, target, rule_sets(here.settings.project_root / "config" / "rules"))


def allowed() -> Session:
    """Return the session of who may press buttons: the cookie and the token against forged requests fit."""
    here = dashboard_context()
    found = here.require_session()
    if not here.authenticator.fits(found, request.headers.get("X-CSRF-Token", "")):
        abort(403, "The token against forged requests is missing or wrong.")
    return found


def body() -> dict[str, Any]:
    """Return the request's JSON object; 400 for anything else, however deep."""
    try:
        given = request.get_json()
    except RecursionError:
        abort(400, "This JSON is nested too deeply.")
    if not isinstance(given, dict):
        abort(400, "Send a JSON object.")
    return given


def _told(row: dict[str, Any]) -> dict[str, Any]:
    names = ("action", "target", "status", "answer", "timestamp", "finished_at", "state_before", "state_after")
    return {"key": row["request_key"], **{name: row[name] for name in names}}
