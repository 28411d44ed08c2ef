"""What a person changes from the pages beside the bot: notes, settings, backups, runs of the lab."""

from collections.abc import Callable
from typing import Any, Final

from flask import Blueprint, Response, abort, jsonify, request

from src.dashboard.auth import Session
from src.dashboard.cards_system import backup_files, backup_folder
from src.dashboard.context import DashboardContext, dashboard_context
from src.dashboard.endpoints_control import allowed, body
from src.domain.errors import DataRefused, SettingsError, SuiteError
from src.runtime.lab_jobs import LabBusy
from src.runtime.settings_editor import Draft, apply, draft
from src.storage import command_queue
from src.storage.backup import make_backup, verify_backup
from src.storage.command_queue import DONE, FAILED, CommandResult, OperatorCommand
from src.storage.rows import Owner
from src.storage.trade_notes import checked_note, save_note

blueprint = Blueprint("operations", __name__)

_KEEP: Final = 14


@blueprint.post("/api/trades/<int:trade_id>/note")
def trade_note(trade_id: int) -> Response:
    """Replace the note and the tags of a trade."""
    who, here, given = allowed(), dashboard_context(), body()
    note, tags = _or_400(lambda: checked_note(given.get("note", ""), given.get("tags", [])))
    if not save_note(here.database, trade_id, note, tags, who.actor, here.clock.now_ms()):
        abort(404, "There is no trade of this number.")
    return jsonify(note=note, tags=tags)


@blueprint.post("/api/settings/check")
def settings_check() -> Response:
    """Return what a change of settings would do and what forbids it; nothing is written."""
    allowed()
    return _drafted(_draft(dashboard_context(), _wanted()))


@blueprint.post("/api/settings/apply")
def settings_apply() -> Response:
    """Check a change once more and write it; the former file stays beside the new one."""
    who, here, wanted = allowed(), dashboard_context(), _wanted()
    checked = _draft(here, wanted)
    if checked.content is None:
        return _drafted(checked)
    try:
        backup = apply(here.env_file, checked)
    except SuiteError as error:
        abort(409, str(error).replace(str(here.env_file), here.env_file.name))
    names = ", ".join(each.name for each in checked.differences)
    _note(here, who, ("settings", names[:64]), CommandResult(DONE, f"Written; the former file is {backup.name}."))
    changes = [_difference(each) for each in checked.differences]
    return jsonify(
        written=True, backup=backup.name, restart="Restart the services for it to take effect.", changes=changes
    )


@blueprint.post("/api/backups")
def backup_make() -> Response:
    """Make a backup of database and model while everything runs."""
    who, here = allowed(), dashboard_context()
    body()
    with here.turn:
        try:
            made = make_backup(here.settings, backup_folder(here.settings), _KEEP)
        except (SuiteError, OSError) as error:
            _note(here, who, ("backup", ""), CommandResult(FAILED, "The backup was not made."))
            abort(503, f"The backup was not made: {type(error).__name__}.")
    _note(here, who, ("backup", made.name[:64]), CommandResult(DONE, f"{made.name} was made."))
    return jsonify(made=made.name)


@blueprint.post("/api/backups/verify")
def backup_verify() -> Response:
    """Check that a backup is whole: every file has its checksum, the database in it is sound."""
    allowed()
    here, name = dashboard_context(), body().get("name")
    found = next((each for each in backup_files(here.settings) if each.name == name), None)
    if found is None:
        abort(404, "There is no backup of this name.")
    with here.turn:
        try:
            return jsonify(whole=True, says=verify_backup(found))
        except (DataRefused, SuiteError, OSError):
            return jsonify(whole=False, says=f"{found.name} is damaged: make another one.")


@blueprint.post("/api/lab")
def lab_start() -> Response:
    """Begin a run: ``kind`` and its arguments; 409 while another one is under way."""
    who, here, given = allowed(), dashboard_context(), body()
    kind = given.get("kind")
    if not isinstance(kind, str):
        abort(400, "kind is text.")
    try:
        job = here.lab.start(kind, given)
    except LabBusy as error:
        abort(409, str(error))
    except ValueError as error:
        abort(400, str(error))
    _note(here, who, ("lab", kind), CommandResult(DONE, f"Run {job.id} was started."))
    answer = jsonify(id=job.id, status=job.status)
    answer.status_code = 202
    return answer


@blueprint.post("/api/lab/stop")
def lab_stop() -> Response:
    """Stop the run that is under way."""
    who, here, job_id = allowed(), dashboard_context(), body().get("id")
    if not isinstance(job_id, str) or not here.lab.stop(job_id):
        abort(404, "No run of this number is under way.")
    _note(here, who, ("lab", "stop"), CommandResult(DONE, f"Run {job_id} was stopped."))
    return jsonify(id=job_id, status="stopped")


def _wanted() -> dict[str, str]:
    changes = body().get("changes")
    if not isinstance(changes, dict) or not all(isinstance(value, str) for value in changes.values()):
        abort(400, "changes is an object of texts.")
    return changes


def _draft(here: DashboardContext, wanted: dict[str, str]) -> Draft:
    try:
        return draft(here.settings, here.env_file, wanted)
    except SettingsError as error:
        abort(400, error.problems[0])
    except SuiteError as error:
        abort(409, str(error).replace(str(here.env_file), here.env_file.name))


def _drafted(checked: Draft) -> Response:
    told = [_difference(each) for each in checked.differences]
    answer = jsonify(written=False, problems=checked.problems, changes=told)
    answer.status_code = 200 if checked.content is not None else 422
    return answer


def _difference(each: Any) -> dict[str, str]:
    return {"name": each.name, "old": each.old, "new": each.new}


def _note(here: DashboardContext, who: Session, what: tuple[str, str], answer: CommandResult) -> None:
    """Write into the audit who did what; values are never in it."""
    own, now_ms = here.settings, here.clock.now_ms()
    command = OperatorCommand(
        f"{what[0]}-{now_ms}-{who.actor[-8:]}", what[0], what[1], who.actor, request.remote_addr or "unknown"
    )
    row = command_queue.submit(here.database, Owner(own.bot_id, own.mode, own.world), command, now_ms)
    command_queue.answer(here.database, row["id"], answer, here.clock.now_ms())
    here.database.flush()


def _or_400(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except ValueError as error:
        abort(400, str(error))
