"""The Telegram bot: answers questions, sends alerts, and writes confirmed commands into the command queue."""

import os
import sys
import threading
from contextlib import closing
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from src.chat.alert_feed import AlertFeed
from src.chat.bot_api import TelegramApi
from src.chat.commands import ChatCommands
from src.chat.pin_entry import PinPad
from src.chat.reports import ChatReports
from src.chat.service import ChatService
from src.domain.clock import Clock, SystemClock, monotonic_s, utc_text
from src.domain.errors import SettingsError, StoreCorrupt, StoreUnavailable
from src.domain.version import VERSION
from src.monitoring.alert_inputs import gather
from src.monitoring.alert_manager import AlertPolicy, LocalTime
from src.monitoring.alert_rules import Alert, AlertLimits, alerts_of
from src.monitoring.service_control import ServiceController
from src.runtime.lab_jobs import LabJobs
from src.runtime.process import notify_manager, run_process
from src.runtime.process_ends import unexpected_exits
from src.runtime.settings import Settings
from src.storage.command_queue import DONE, REFUSED, CommandResult
from src.storage.database import TradingDatabase
from src.storage.rows import Heartbeat, Owner

PROCESS: Final = "telegram_bot"
_BEAT_EVERY_S: Final = 10.0
_LAB: Final = "lab:backtest"


class LocalActions:
    """Carries out what no trading bot does: stopping its process, and a backtest in the lab's queue."""

    def __init__(self, services: ServiceController, lab: LabJobs) -> None:
        self._services = services
        self._lab = lab

    def run(self, action: str, target: str) -> CommandResult:
        """Carry out ``stop:rl_bot`` or ``lab:backtest``; anything else is refused."""
        if action == "stop:rl_bot":
            return self._services.run("stop", "rl_bot")
        if action == _LAB and len(parts := target.split()) == 4:
            given = dict(zip(("pair", "rules", "from", "to"), parts, strict=True))
            try:
                job = self._lab.start("backtest", given)
            except ValueError as error:
                return CommandResult(REFUSED, str(error))
            return CommandResult(DONE, f"Run {job.id} was started; the page's lab shows it.")
        return CommandResult(REFUSED, f"This is not done here: {action}.")


class HeartbeatWriter:
    """Notes that the process lives, every ten seconds at most."""

    def __init__(self, settings: Settings, database: TradingDatabase) -> None:
        self._settings = settings
        self._database = database
        self._clock = SystemClock()
        self._started = utc_text(self._clock.now_ms())
        self._due_s = 0.0
        self._count = 0

    def beat(self, trouble: str = "", phase: str = "waiting") -> None:
        """Note a sign of life where one is due; one that ends the process always is."""
        if monotonic_s() < self._due_s and phase == "waiting":
            return
        self._due_s = monotonic_s() + _BEAT_EVERY_S
        self._count += 1
        now = utc_text(self._clock.now_ms())
        notify_manager("WATCHDOG=1")
        self._database.heartbeat(
            Heartbeat(
                timestamp=now,
                beat_at=now,
                process=PROCESS,
                pid=os.getpid(),
                started_at=self._started,
                phase=phase,
                version=VERSION,
                config_hash=self._settings.config_hash(),
                interval_s=3 * _BEAT_EVERY_S,
                cycle_no=self._count,
                cycle_started=now,
                cycle_finished=now,
                last_error=trouble,
            )
        )


def users_of(settings: Settings) -> frozenset[int]:
    """Return the allowed users; raises ``SettingsError`` where the bot cannot be used."""
    if not settings.telegram_bot_token.get_secret_value():
        raise SettingsError(("TELEGRAM_BOT_TOKEN is empty: write the token of @BotFather, or do not start this.",))
    if not settings.telegram_users:
        raise SettingsError(("TELEGRAM_USERS is empty: write your numeric Telegram id, else nobody may use the bot.",))
    return frozenset(map(int, settings.telegram_users.split(",")))


def build(settings: Settings, database: TradingDatabase, api: TelegramApi, clock: Clock) -> ChatService:
    """Put the chat together; ``clock`` is the machine's."""
    users, folder = users_of(settings), settings.state_dir
    reports = ChatReports(
        database,
        clock,
        rules=settings.project_root / "config" / "rules",
        logs=settings.log_dir,
        charts=settings.chart_dir,
    )
    limits = AlertLimits(settings.alert_liquidation_distance, float(settings.alert_disk_free))

    def alerts() -> list[Alert]:
        facts = gather(database, clock.now_ms(), settings.project_root, (), unexpected_exits(folder))
        return alerts_of(facts, limits)

    def local_time(now_ms: int) -> LocalTime:
        moment = datetime.fromtimestamp(now_ms / 1000, ZoneInfo(settings.time_zone))
        return LocalTime(now_ms, f"{moment:%Y-%m-%d}", moment.hour * 60 + moment.minute)

    feed = AlertFeed(alerts, _policy(settings), folder / f"telegram-alerts-{settings.bot_id}.json")
    actions = LocalActions(ServiceController(settings.project_root), LabJobs(settings, clock))
    return ChatService(
        transport=api,
        commands=ChatCommands(reports, PinPad(database, clock, settings.bot_control_pin), clock),
        database=database,
        clock=clock,
        users=users,
        state=folder / f"telegram-{settings.bot_id}.json",
        alerts=feed,
        local_time=local_time,
        run_here=actions.run,
    )


def _policy(settings: Settings) -> AlertPolicy:
    hours = settings.alert_quiet_hours
    quiet = tuple(int(each[:2]) * 60 + int(each[3:]) for each in hours.split("-")) if hours else None
    return AlertPolicy((quiet[0], quiet[1]) if quiet else None, None)


def main(stop: threading.Event) -> None:
    """Serve until ``stop`` is set."""
    settings = Settings.load()
    users_of(settings)
    owner = Owner(settings.bot_id, settings.mode, settings.world)
    api = TelegramApi(settings.telegram_bot_token.get_secret_value(), settings.telegram_api_url)
    with closing(api), closing(TradingDatabase(settings.database_url, owner)) as database:
        database.migrate()
        writer = HeartbeatWriter(settings, database)
        service = build(settings, database, api, SystemClock())
        notify_manager("READY=1")

        def beat() -> None:
            try:
                writer.beat(service.trouble)
            except (StoreUnavailable, StoreCorrupt):
                return  # a database that is away is told as an alert

        service.run(stop, beat)
        writer.beat(phase="stopped")
        database.flush()


if __name__ == "__main__":
    sys.exit(run_process(PROCESS, main))
