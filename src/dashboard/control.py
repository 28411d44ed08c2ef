"""Operator commands offered on the page: their consequences in words before, their audit entry after."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from src.dashboard.bot_view import BotView
from src.dashboard.widgets import Card, Fact, Row, Table, instant, plain, word, words
from src.domain.errors import SettingsError
from src.monitoring.service_control import SERVICE_VERBS, SERVICES
from src.storage.command_queue import ACTIONS, VALID_FOR_S
from src.storage.tables import control_requests, login_attempts
from src.strategy.rules import load_rules

CLOSE_ALL: Final = "close_all"
_SHOWN: Final = 10
_NAME: Final = re.compile(r"[a-z0-9_]{1,40}")
_TONES: Final = {"done": "good", "failed": "bad", "refused": "warn", "expired": "warn", "waiting": "", "taken": ""}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a command will do, in words; ``type_to_confirm`` must be typed in live trading, else it is empty."""

    action: str
    target: str
    says: str
    type_to_confirm: str = ""


def rule_sets(folder: Path, like: str = "") -> dict[str, str]:
    """Return the names of the rule sets that can be chosen, each with its description.

    ``like`` names a set that the others must resemble in candles and short positions: without a model of theirs a bot
    with money cannot follow others; on paper it trains one.
    """
    found: dict[str, str] = {}
    looks: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            rules = load_rules(path.read_text(encoding="utf-8"))
            looks[path.stem] = rules.candle_interval, rules.trend_intervals, rules.allow_short
            found[path.stem] = rules.description
        except (OSError, ValueError):
            continue  # a set that cannot be read cannot be chosen; the bot says so itself where it is asked for
    return {name: told for name, told in found.items() if not like or looks[name] == looks.get(like)}


def plan(look: BotView, action: str, target: str, rules: Mapping[str, str]) -> Plan:
    """Return what will happen; ``SettingsError`` if there is no such command."""
    symbols = sorted(look.details.get("cycle_ms") or {})
    typed = "" if look.scope.mode != "live" else target if action == "close" else (symbols or [look.bot_id])[0]
    verb, _, service = action.partition(":")
    if verb in SERVICE_VERBS and service in SERVICES:
        return Plan(action, "", _service_words(verb, service), typed)
    if action not in (*ACTIONS, CLOSE_ALL):
        raise SettingsError((f"There is no action {action!r}.",))
    if look.beat() is None:
        raise SettingsError((f"No bot {look.bot_id} has reported yet: there is nobody to ask.",))
    return _asked_of_the_bot(look, Plan(action, target, _bot_words(look, action, target, rules), typed))


def _asked_of_the_bot(look: BotView, wanted: Plan) -> Plan:
    """Say first when the bot does not respond, because then the command is not executed."""
    if not look.sources["bot"].is_down(look.wall_ms):
        return wanted
    silent = f"The bot is not responding. This command expires in {VALID_FOR_S:.0f} s unless it recovers. If it does: "
    return replace(wanted, says=silent + wanted.says)


def _bot_words(look: BotView, action: str, target: str, rules: Mapping[str, str]) -> str:
    if action == "close":
        return _closing_words(look, target)
    if action == CLOSE_ALL:
        return _closing_all_words(look)
    if action == "rules":
        if not _NAME.fullmatch(target) or target not in rules:
            raise SettingsError((f"There is no rule set {target!r}.",))
        return f"From the next turn on entries and exits follow {target}: {rules[target]} Open positions included."
    if target:
        return _one_pair_words(look, action, target)
    return _WORDS[action]


def _one_pair_words(look: BotView, action: str, symbol: str) -> str:
    """Return what a pause or its end means for one pair."""
    if action not in _OF_A_PAIR or symbol not in (look.details.get("cycle_ms") or {}):
        raise SettingsError((f"{action} cannot be done for {symbol!r}: pairs of this bot can be paused and resumed.",))
    return _OF_A_PAIR[action].format(symbol)


_OF_A_PAIR: Final = {
    "pause": "The bot opens no new position in {} until its entries are resumed, also after a restart. Other pairs go "
    "on; an open position keeps its stop, target and rules.",
    "resume": "The bot may open positions in {} again from its next turn on.",
}
_WORDS: Final = {
    "pause": "The bot opens no new position until entries are resumed, also after a restart. Open positions keep "
    "their stop, target and rules.",
    "resume": "The bot may open positions again from its next turn on.",
    "trip": "The circuit breaker blocks every new entry until a person resets it. Exits always pass.",
    "reset": "The circuit breaker lets entries pass again; losses made so far are accepted and counted anew. It is "
    "refused while market or exchange still are in the condition that trips it.",
}


def _service_words(verb: str, service: str) -> str:
    name = SERVICES[service]
    if verb == "start":
        return f"Starts {name} as scripts/start_{service}.sh does, and waits until it is well."
    if verb == "restart":
        return f"Stops {name} in order and starts it again; open positions keep their stop and target at the exchange."
    more = {
        "rl_bot": " Orders in flight are finished; open positions stay open, with stop and target at the exchange, "
        "but nobody watches them.",
        "paper_exchange": " The bot cannot trade and will say so; the market goes on from where it was.",
    }.get(service, "")
    return f"Stops {name} in order.{more}"


def _closing_words(look: BotView, symbol: str) -> str:
    row = next((each for each in look.reports.open_positions(look.scope) if each["symbol"] == symbol), None)
    if row is None:
        raise SettingsError((f"No open position in {symbol} is known.",))
    side = "SELL" if row["side"] == "LONG" else "BUY"
    worth = plain(row["quantity"] * row["mark_price"], 2)
    result = plain(row["unrealized_pnl"], 2)
    return (
        f"Sends a market {side} of {row['quantity']:f} {symbol} (about {worth} USDT at the last mark price; unrealised "
        f"PnL {result} USDT before fees) and cancels its stop and target. The bot may enter again at a later turn: "
        "pause entries first to prevent re-entry."
    )


def own_symbols(look: BotView) -> list[str]:
    """Return the symbols of the open positions that this bot opened."""
    return sorted({str(row["symbol"]) for row in look.reports.open_positions(look.scope) if row["own"]})


def _closing_all_words(look: BotView) -> str:
    symbols = own_symbols(look)
    if not symbols:
        return "Pauses entries. No open position of this bot is known, so nothing is closed."
    many = "1 position" if len(symbols) == 1 else f"{len(symbols)} positions"
    return (
        f"Pauses entries, then closes {many} at the market and cancels stops and targets: {', '.join(symbols)}. "
        "Entries stay paused until they are resumed."
    )


def control_card(look: BotView) -> Card:
    """Return recent commands and log-ins: by whom, from where, and the outcome."""
    column = control_requests.c
    query = select(control_requests).where(column.bot_id == look.bot_id).order_by(column.id.desc()).limit(_SHOWN)
    tries = select(login_attempts).order_by(login_attempts.c.id.desc()).limit(_SHOWN)
    requested, attempts = look.reports.rows(query), look.reports.rows(tries)
    pause, rules = look.details.get("pause") or "", look.details.get("rules")
    paused: Mapping[str, str] = look.details.get("paused_pairs") or {}
    facts = (
        Fact("Entries", word("PAUSED", "warn", pause) if pause else word("allowed", "good")),
        *[Fact(symbol, word("PAUSED", "warn", reason)) for symbol, reason in sorted(paused.items()) if reason],
        Fact("Rules in force", words(rules)),
    )
    tables = []
    if requested:
        columns = ("When", "Action", "Result", "Answer", "Who", "From", "Before", "After")
        tables.append(Table("Audit of control", columns, tuple(_command_row(row) for row in requested)))
    if attempts:
        logins = tuple(
            Row((instant(row["timestamp"]), _outcome(row["outcome"]), words(row["origin"])), key=f"login-{row['id']}")
            for row in attempts
        )
        tables.append(Table("PIN entries", ("When", "PIN", "From"), logins))
    if look.turned_ms is None:
        return Card("control", "Control and audit", reason="No bot has reported yet.", tables=tuple(tables))
    return Card("control", "Control and audit", "data", look.turned_ms, look.turn_s, facts=facts, tables=tuple(tables))


def _outcome(outcome: str) -> Any:
    return word(outcome, "good" if outcome == "right" else "bad")


def _command_row(row: Mapping[str, Any]) -> Row:
    what = " ".join(filter(None, (row["action"], row["target"])))
    cells = (
        instant(row["timestamp"]),
        words(what),
        word(row["status"].upper(), _TONES.get(row["status"], "")),
        words(row["answer"]),
        words(row["actor"]),
        words(row["origin"]),
        words(row["state_before"]),
        words(row["state_after"]),
    )
    return Row(cells, key=f"command-{row['id']}")
