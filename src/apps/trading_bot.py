"""The RL trading loop: builds the trader of each pair and runs a turn for each per interval."""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial

from src.apps.bot_builder import LAST_CALLS_S, build_planner, build_trader, end_calls_at, stream_callbacks
from src.apps.command_handler import CommandHandler
from src.apps.console_output import BotConsole
from src.apps.external_signals import context_reader
from src.apps.forecasts import build_forecasts
from src.apps.managed_pairs import ManagedPairs, managed_pairs
from src.apps.rule_switch import RuleSwitch
from src.context.analyzer import MarketContextAnalyzer, build_analyzer, world_of
from src.domain.clock import ExchangeClock, SystemClock, monotonic_s, utc_text
from src.domain.errors import ModelRefused, StoreUnavailable
from src.domain.market import INTERVAL_MS, MarketContext
from src.domain.risk import ActiveLimits
from src.domain.version import VERSION
from src.exchanges.binance.client import BinanceClient, key_cautions
from src.exchanges.binance.market_stream import Callbacks, MarketStream
from src.exchanges.binance.transfers import TransferTracker
from src.execution.forecast_recorder import ForecastRecorder
from src.execution.journal import Journal, Turn
from src.execution.order_updates import OrderUpdateBuffer
from src.execution.portfolio_planner import PortfolioPlanner
from src.execution.risk_manager import RiskManager
from src.execution.stop_monitor import StopMonitor
from src.execution.trader import Trader
from src.execution.turn_schedule import TurnSchedule
from src.runtime.console import Console
from src.runtime.process import notify_manager
from src.runtime.rule_loader import (
    load_rule_sets,
    names_targets,
    read_limits,
    read_rules,
    refuse_unnamed,
)
from src.runtime.settings import Settings
from src.storage.bot_snapshots import BotSnapshotWriter, first_beat
from src.storage.database import TradingDatabase
from src.storage.intent_log import IntentLog
from src.storage.journal_repository import JournalRepository
from src.storage.rows import Heartbeat, Owner
from src.strategy.timeframes import remembered_once
from src.training.agent_manager import AgentManager

log = logging.getLogger("trading_bot")

_INTERVAL = "1m"
_CANDLE_MS = INTERVAL_MS[_INTERVAL]
_CANDLE_WAIT_S = 3.0
_MARK_WAIT_S = 1.5  # it comes every second: the turn sees the one of its own instant, as a backtest does
_READY_WITHIN_S = 30.0
_BEAT_EVERY_S = 10.0
_LOOK_EVERY_S = 0.5


class TradingBot:
    """The loop around the traders: one turn for each pair at every full interval of the exchange's time."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: ExchangeClock,
        database: TradingDatabase,
        journal: Journal,
        stream: MarketStream,
        traders: list[Trader],
        watches: list[StopMonitor],
        context: MarketContextAnalyzer,
        agents: AgentManager,
        console: BotConsole,
        snapshot_writer: BotSnapshotWriter,
        control: CommandHandler,
        forecasts: ForecastRecorder,
        stop: threading.Event,
        pairs: ManagedPairs,
        beat: Heartbeat,
        planner: PortfolioPlanner | None = None,
    ) -> None:
        self._planner = planner
        self._settings = settings
        self._clock = clock
        self._database = database
        self._journal = journal
        self._stream = stream
        self._traders = traders
        self._watches = watches
        self._context = context
        self._agents = agents
        self._console = console
        self._snapshot_writer = snapshot_writer
        self._control = control
        self._forecasts = forecasts
        self._stop = stop
        self._pairs = pairs
        self._schedule = TurnSchedule(clock, settings.interval * 1_000)
        self._beat = beat
        self._told_sockets = (False, False)

    def run(self) -> int:
        """Trade until told to stop; return the exit code."""
        for watch in self._watches:
            watch.start()
        self._console.running(self._settings)
        notify_manager("READY=1")
        number = 0
        while not self._stop.is_set():
            number += 1
            self._cycle(number)
            if self._wait_for_turn():
                break
        return self._finish()

    def _cycle(self, number: int) -> None:
        """Take one turn for every pair and note it."""
        began = utc_text(self._clock.now_ms())
        self._sign_of_life("turn", cycle_no=number, cycle_started=began)
        self._control.process_pending()
        agent = self._agents.reload_if_replaced()
        if agent is not None:
            for trader in self._traders:
                trader.replace_agent(agent)
        turns = [trader.run_trading_cycle() for trader in self._turn_order() if not self._stop.is_set()]
        self._note(turns)
        self._forecasts.take(turns)
        self._console.cycle(number, turns)
        if number % self._settings.autosave_cycles == 0:
            self._agents.save(self._clock.now_ms())
        finished = utc_text(self._clock.now_ms())
        self._sign_of_life("waiting", cycle_finished=finished, details=self._details(turns))
        notify_manager("WATCHDOG=1")

    def _turn_order(self) -> list[Trader]:
        """Return the traders in the order of their turns: under a strategy of targets reductions come first."""
        if self._planner is None:
            return self._traders
        if self._planner.prepare():
            log.info("portfolio decided: next_decision=%s", utc_text(self._planner.next_decision_ms))
            if self._planner.failure:
                log.error("strategy failed, positions are held: reason=%s", self._planner.failure)
        by_symbol = {trader.symbol: trader for trader in self._traders}
        return [by_symbol[symbol] for symbol in self._planner.in_order([each.symbol for each in self._traders])]

    def _note(self, turns: list[Turn]) -> None:
        account = self._stream.account()
        try:
            self._snapshot_writer.note_candles()
            if account is not None:
                self._journal.record_account(self._snapshot_writer.valued(account))
            context = next((turn.observation.context for turn in turns if turn.observation.context), None)
            if context is not None and self._is_new(context):
                self._context.save_to_database(context)
        except StoreUnavailable as error:
            log.warning("not noted: reason=%s", error)

    def _is_new(self, context: MarketContext) -> bool:
        new = context.as_of_ms != getattr(self, "_context_ms", -1)
        self._context_ms = context.as_of_ms
        return new

    def _wait_for_turn(self) -> bool:
        """Wait for the next full interval and its candle, with a sign of life now and then; return whether to stop."""
        self._schedule.advance()
        self._console.sleeping(self._schedule.left_ms() / 1_000.0)
        beat_s = monotonic_s() + _BEAT_EVERY_S
        while not self._stop.is_set() and not self._is_due():
            if self._control.process_pending() or monotonic_s() >= beat_s or self._sockets() != self._told_sockets:
                self._sign_of_life("waiting")
                beat_s = monotonic_s() + _BEAT_EVERY_S
        due_ms = self._schedule.due_ms
        if due_ms % _CANDLE_MS == 0:
            for trader in self._traders:
                if self._stop.is_set():
                    break
                self._stream.wait_for_candle(trader.symbol, due_ms - _CANDLE_MS, _CANDLE_WAIT_S)
                self._stream.wait_for_mark(trader.symbol, due_ms, _MARK_WAIT_S)
        return self._stop.is_set()

    def _is_due(self) -> bool:
        """Wait, at most half a second, for the instant; the candle that closes at it may tell of it just before."""
        left_s = self._schedule.left_ms() / 1_000.0 / self._clock.speed
        if left_s <= 0:
            return True
        due_ms = self._schedule.due_ms
        if due_ms % _CANDLE_MS or left_s > _LOOK_EVERY_S:
            self._stop.wait(min(left_s, _LOOK_EVERY_S))
            return False
        return self._stream.wait_for_candle(self._traders[0].symbol, due_ms - _CANDLE_MS, left_s) is not None

    def _sign_of_life(self, phase: str, **changes: object) -> None:
        account, health = self._stream.account(), self._stream.health()
        self._told_sockets = self._sockets()
        marks = [mark.time_ms for pair in self._pairs.symbols if (mark := self._stream.mark_price(pair))]
        said = changes.pop("details", self._beat.details)
        if not isinstance(said, Mapping):
            raise TypeError("details are a mapping")
        self._beat = replace(
            self._beat,
            timestamp=utc_text(self._clock.now_ms()),
            beat_at=utc_text(SystemClock().now_ms()),
            phase=phase,
            last_market=utc_text(max(marks)) if marks else None,
            last_private=None if account is None else utc_text(account.as_of_ms),
            last_error="; ".join(health.rest_errors),
            details={
                **said,
                **self._snapshot_writer.details(),
                "sockets": {"market": asdict(health.market), "user": asdict(health.user)},
                "pause": self._control.pause,
                "paused_pairs": self._control.paused_pairs,
                "rules": self._control.rules,
                "rules_changed": self._control.rules_changed,
            },
            **changes,  # type: ignore[arg-type]
        )
        self._database.heartbeat(self._beat)

    def _sockets(self) -> tuple[bool, bool]:
        health = self._stream.health()
        return health.market.connected, health.user.connected

    def _details(self, turns: list[Turn]) -> dict[str, object]:
        """Return what the status row says beside its columns: last decisions, trouble of each pair."""
        return {
            "decisions": {turn.observation.symbol: turn.decision.reason for turn in turns},
            "halts": {
                seen.symbol: seen.halt_reason or seen.settings_reason for seen in (turn.observation for turn in turns)
            },
            "differences": {trader.symbol: trader.difference for trader in self._traders},
            "settings": {
                **{turn.observation.symbol: turn.observation.settings_reason for turn in turns},
                **self._pairs.unlisted,
            },
            "portfolio": {} if self._planner is None else self._planner.report(),
            "quote_asset": self._settings.quote_asset,
            "model": self._agents.refusal,
            "strategy": self._planner.failure if self._planner else "",
            "agent": self._agents.outlook(),
            "cycle_ms": {turn.observation.symbol: round(turn.cycle_ms, 3) for turn in turns},
        }

    def _finish(self) -> int:
        """S8: no new entry, orders in flight finished, stops verified, model saved, status written."""
        self._sign_of_life("stopping")
        ends_s = monotonic_s() + LAST_CALLS_S
        for watch in self._watches:
            watch.stop(max(ends_s - monotonic_s(), 0.0))
        said = [trader.verify_guards() or trader.standing() for trader in self._traders]
        self._agents.save(self._clock.now_ms())
        self._sign_of_life("stopped")
        self._stream.stop()
        self._database.flush()
        self._database.close()
        self._console.stopping([sentence for sentence in said if sentence])
        return 0


def main(stop: threading.Event) -> int:
    """Build the bot from the settings and trade until ``stop`` is set; return the exit code."""
    settings = Settings.load()
    refuse_unnamed(settings)
    rules = read_rules(settings)
    console = BotConsole(Console(log))
    clock = ExchangeClock(settings.paper_speed if settings.mode == "paper" else 1.0)
    world = world_of(settings)
    database = TradingDatabase(settings.database_url, Owner(settings.bot_id, settings.mode, world))
    database.migrate()
    database.heartbeat(beat := first_beat(settings, clock, VERSION))  # the page says "starting" from here on
    client = _connected(settings, clock, stop)
    console.start(settings, rules, clock.now_ms(), world)
    cautions = key_cautions(settings.mode, client)
    intents = IntentLog(settings.state_dir / f"intents-{settings.bot_id}-{settings.mode}-{world}.jsonl")
    journal = JournalRepository(database, clock, intents)
    pairs = managed_pairs(settings.pairs, journal.open_symbols, database, settings.quote_asset, client)
    watches: dict[str, StopMonitor] = {}
    news = OrderUpdateBuffer(lambda: stream.health().user.connected)
    stream = _stream(settings, pairs.symbols, client, stream_callbacks(watches, news), journal)
    agents = AgentManager(settings, client.cost_rates(pairs.symbols[0]), rules)
    history = remembered_once(client.candles)
    console.agent(agents.load_or_train(history, pairs.symbols, clock.now_ms()), agents.outlook(), settings)
    _refuse_model(settings, agents)
    context = build_analyzer(settings, clock, client.candles, database)
    observe = context_reader(settings, context.observe, database, pairs.symbols, clock)
    limits = ActiveLimits(read_limits(settings, rules))
    risk = RiskManager(journal, clock, limits, settings.breaker_limits, _CANDLE_MS)
    console.setting_up(client.wire.addresses.rest)
    planner = build_planner(settings, stream, clock, history, client, journal, context=observe, stop=stop)
    shared = (client, stream, journal, clock, agents, rules, risk, observe, stop, history, news)
    build = partial(build_trader, limits=limits, planner=planner)
    traders = [build(settings, pair, *shared, pairs.halted[pair]) for pair in pairs.symbols]
    console.set_up(_set_up(traders, client))
    watches.update((trader.symbol, StopMonitor(trader)) for trader in traders)
    _start(stream, stop)
    switch = RuleSwitch(
        traders=traders, agents=agents, history=client.candles, minutes=stream.candles, clock=clock, present=rules
    )
    control = CommandHandler(
        database=database, clock=clock, risk=risk, hands=traders, rules=load_rule_sets(settings), prepare=switch.prepare
    )
    control.restore()
    return TradingBot(
        settings=settings, clock=clock, database=database, journal=journal, stream=stream, traders=traders,
        watches=list(watches.values()), context=context, agents=agents, console=console, control=control,
        snapshot_writer=_snapshot_writer(database, stream, client, pairs, cautions),
        forecasts=build_forecasts(pairs.symbols[0], database, stream, client, rules),
        stop=stop, pairs=pairs, beat=beat, planner=planner,
    ).run()  # fmt: skip


def _refuse_model(settings: Settings, agents: AgentManager) -> None:
    """On paper the bot runs on and holds; money waits for a model it can trust, where the strategy asks one."""
    if settings.mode == "live" and agents.refusal and not names_targets(settings):
        raise ModelRefused(agents.refusal)


def _set_up(traders: Sequence[Trader], client: BinanceClient) -> dict[str, tuple[int, str]]:
    """Let each pair compare its settings at the exchange, and set them while flat; return which hold there then."""
    account = client.account()
    for trader in traders:
        trader.settings.refresh(flat=account.position(trader.symbol) is None)
    return {trader.symbol: client.terms(trader.symbol) for trader in traders}


def _connected(settings: Settings, clock: ExchangeClock, stop: threading.Event) -> BinanceClient:
    """Return the client with the exchange's time taken over; once ``stop`` is set no call of it lasts long."""
    client = BinanceClient.from_settings(settings, clock)
    end_calls_at(stop, client)
    client.sync_clock()
    return client


def _stream(
    settings: Settings, pairs: Sequence[str], client: BinanceClient, callbacks: Callbacks, journal: JournalRepository
) -> MarketStream:
    """Return the stream of all pairs, not yet started, with what the journal knows of money paid in or out."""
    transfers = TransferTracker(client.quote_asset, journal.transfers.known, journal.transfers.note)
    return MarketStream(
        exchange=client,
        symbols=pairs,
        interval=_INTERVAL,
        history=settings.history_candles,
        reconcile_s=settings.reconcile_s,
        callbacks=callbacks,
        transfers=transfers,
    )


def _start(stream: MarketStream, stop: threading.Event) -> None:
    """Start the stream and wait a while until history, mark prices and account are there."""
    stream.start()
    end_s = monotonic_s() + _READY_WITHIN_S
    while not stop.is_set() and monotonic_s() < end_s:
        if stream.wait_until_ready(_LOOK_EVERY_S):
            return
    log.warning("market stream not ready yet: errors=%s", "; ".join(stream.health().rest_errors) or "none")


def _snapshot_writer(
    database: TradingDatabase, stream: MarketStream, client: BinanceClient, pairs: ManagedPairs, cautions: Sequence[str]
) -> BotSnapshotWriter:
    return BotSnapshotWriter(
        database=database,
        feed=stream,
        instruments=[client.instrument(pair) for pair in pairs.symbols],
        interval=_INTERVAL,
        interval_ms=_CANDLE_MS,
        cautions=cautions,
    )
