"""The only module that reads the environment; settings are validated together, then frozen."""

import json
import os
import re
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import ClassVar, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import SecretStr, ValidationError, model_validator

from src.domain.circuit_breaker import BreakerLimits
from src.domain.errors import SettingsError
from src.domain.market import QUOTE_ASSETS, quote_asset_of
from src.domain.risk import RiskLimits
from src.runtime.settings_fields import PROJECT_ROOT, SettingFields, first_of, is_loopback
from src.runtime.strategy_loader import noted_pairs, strategy_names
from src.runtime.target_files import pairs_of

__all__ = [
    "ENV_FILE",
    "EXAMPLE_VALUES",
    "PROJECT_ROOT",
    "Mode",
    "Settings",
    "export",
    "inherited_environment",
    "is_example",
    "is_loopback",
    "origin_of",
    "service_manager_socket",
]
EXAMPLE_VALUES = frozenset(
    (
        "your_testnet_api_key",
        "your_testnet_secret_key",
        "your_live_api_key",
        "your_live_secret_key",
        "your_api_key",
        "your_secret_key",
        "change-this-in-production",
        "changeme",
        "change-me",
        "123456",
        "000000",
        "secret",
        "password",
    )
)
_MIN_SECRET_LENGTH = 32
ENV_FILE = PROJECT_ROOT / ".env"
Mode = Literal["paper", "testnet", "live"]


class Settings(SettingFields):
    """All settings, validated together; see ``SettingFields`` for the single ones."""

    UNHASHED: ClassVar[frozenset[str]] = frozenset({"database_url"})  # may hold a password

    @classmethod
    def load(cls, env_file: Path | None = None) -> Self:
        """Return the settings of ``env_file`` (the project's ``.env`` by default) under the environment's.

        A missing file counts as empty.

        Raises:
            SettingsError: lists every problem, one sentence each.
        """
        path = ENV_FILE if env_file is None else env_file
        problems = _file_problems(path)
        if problems:
            raise SettingsError(tuple(problems))
        try:
            settings = cls(_env_file=path)
        except ValidationError as error:
            raise SettingsError(tuple(_all_problems(cls, path, error))) from None
        if settings.mode == "live" and path.is_file() and path.stat().st_mode & 0o077:
            raise SettingsError((f"{path.name} can be read by other users: type `chmod 600 {path}`.",))
        return settings

    @property
    def project_root(self) -> Path:
        """The folder from which relative paths count."""
        return PROJECT_ROOT

    @property
    def mode(self) -> Mode:
        """TRADING_MODE; where unset: no keys is paper, keys are testnet or live by USE_TESTNET."""
        if self.trading_mode:
            return self.trading_mode
        if not self.binance_api_key.get_secret_value() and not self.binance_secret_key.get_secret_value():
            return "paper"
        return "testnet" if self.use_testnet else "live"

    @property
    def pairs(self) -> tuple[str, ...]:
        """The contracts to trade, in the order written; else those of the strategy of targets, else TRADING_PAIR."""
        if self.trading_pairs:
            return tuple(self.trading_pairs.split(","))
        return pairs_of(self.rules) or noted_pairs(self.state_dir, self.rules) or (self.trading_pair,)

    @property
    def quote_asset(self) -> str:
        """The asset of equity and all limits: the quote asset of every pair."""
        return quote_asset_of(self.pairs[0])

    @property
    def interval_s(self) -> float:
        """Seconds of market time between two turns."""
        return float(self.interval)

    @property
    def exchange_key(self) -> SecretStr:
        """The account's key in the present mode; the first of several on the paper exchange."""
        return first_of(self.paper_api_key) if self.mode == "paper" else self.binance_api_key

    @property
    def exchange_secret(self) -> SecretStr:
        """The account's secret in the present mode; it belongs to ``exchange_key``."""
        return first_of(self.paper_api_secret) if self.mode == "paper" else self.binance_secret_key

    @property
    def paper_url(self) -> str:
        """The address of the paper exchange."""
        return f"http://{self.paper_host}:{self.paper_port}"

    @property
    def world(self) -> Literal["live", "synthetic", "replay"]:
        """The market: ``live`` (also for the mirror), ``synthetic`` or ``replay``."""
        kind = self.paper_market.partition(":")[0]
        if self.mode == "paper" and kind in {"synthetic", "replay"}:
            return "synthetic" if kind == "synthetic" else "replay"
        return "live"

    @property
    def exploration_share(self) -> float:
        """EXPLORATION_RATE in paper mode, else 0: no random actions with real money."""
        return self.exploration_rate if self.mode == "paper" else 0.0

    @property
    def chart_analyst_name(self) -> Literal["local", "openai", "panel"]:
        """CHART_ANALYST; where unset: openai with a key, else local."""
        return self.chart_analyst or ("openai" if self.openai_api_key.get_secret_value() else "local")

    @property
    def rules_path(self) -> Path:
        """The file of the decision rules."""
        return PROJECT_ROOT / "config" / "rules" / f"{self.rules}.toml"

    @property
    def cors_origins(self) -> tuple[str, ...]:
        """The origins whose pages may read the API."""
        return tuple(filter(None, self.api_cors_origins.split(",")))

    @property
    def risk_limits(self) -> RiskLimits:
        """What one position and one day may cost."""
        return RiskLimits(
            leverage=self.leverage,
            position_share=self.position_percentage,
            max_total_share=self.max_total_position_percentage,
            stop_loss_share=self.stop_loss_percentage,
            take_profit_share=self.take_profit_percentage,
            early_stop_share=self.early_stop_percentage,
            max_daily_loss_share=self.max_daily_loss_percentage,
        )

    @property
    def breaker_limits(self) -> BreakerLimits:
        """What trips the circuit breaker."""
        return BreakerLimits(
            max_consecutive_losses=self.breaker_max_consecutive_losses,
            max_drawdown_share=float(self.breaker_max_drawdown_percentage),
            max_loss_rate=self.breaker_max_loss_rate,
            loss_rate_trades=self.breaker_loss_rate_trades,
            max_exchange_errors=self.breaker_max_exchange_errors,
            error_window_s=int(self.breaker_error_window_s),
            max_stale_s=self.breaker_max_stale_s,
            max_volatility_ratio=self.breaker_volatility_jump,
        )

    def secrets(self) -> tuple[str, ...]:
        """Return all secret values that are set, for redaction in logs."""
        values = (value.get_secret_value() for _, value in self if isinstance(value, SecretStr))
        password = urlsplit(self.database_url).password
        return tuple(filter(None, [*values, password]))

    def config_hash(self) -> str:
        """Return 12 hexadecimal digits that change with any setting except secrets."""
        open_values = {
            name: _place(value) if isinstance(value, Path) else str(value)
            for name, value in self
            if not isinstance(value, SecretStr) and name not in self.UNHASHED
        }
        return sha256(json.dumps(open_values, sort_keys=True).encode()).hexdigest()[:12]

    @model_validator(mode="after")
    def _together(self) -> Self:
        if "trading_pair" in self.model_fields_set and not {"rules", "trading_pairs"} & self.model_fields_set:
            self.__dict__["rules"] = "safety_first"  # one named pair is traded by the specification's rule
        problems = [*_mode_problems(self), *_asset_problems(self), *_model_address_problems(self)]
        problems += [*_risk_problems(self), *_access_problems(self)]
        if problems:
            raise ValueError("\n".join(problems))
        return self


def origin_of(name: str, file_names: frozenset[str]) -> Literal["environment", "file", "default"]:
    """Return where a setting's value comes from; ``file_names`` are those with a value in ``.env``, upper case."""
    if os.environ.get(name.upper(), os.environ.get(name.lower(), "")):
        return "environment"
    return "file" if name.upper() in file_names else "default"


def state_folder() -> tuple[Path, str]:
    """Return STATE_DIR and BOT_ID as far as possible, even if the settings as a whole are wrong."""
    try:
        written = dotenv_values(ENV_FILE, encoding="utf-8-sig") if ENV_FILE.is_file() else {}
    except (OSError, UnicodeDecodeError):
        written = {}
    folder = os.environ.get("STATE_DIR") or written.get("STATE_DIR") or "state"
    bot_id = os.environ.get("BOT_ID") or written.get("BOT_ID") or "main"
    return PROJECT_ROOT / Path(folder).expanduser(), re.sub(r"[^a-z0-9_-]", "_", bot_id)[:32]


def service_manager_socket() -> str:
    """Return the address of systemd's notify socket; empty without one."""
    return os.environ.get("NOTIFY_SOCKET", "")


def inherited_environment() -> dict[str, str]:
    """Return a copy of this process's environment, for a child of it."""
    return dict(os.environ)


def export(values: Mapping[str, str]) -> None:
    """Set environment variables for libraries that have no other configuration; call before they are imported."""
    os.environ.update(values)


def is_example(secret: SecretStr) -> bool:
    """Return whether a secret is an example value from the documentation."""
    return secret.get_secret_value().strip().lower() in EXAMPLE_VALUES


def _mode_problems(settings: Settings) -> list[str]:
    """Return contradictions between the settings of the account to trade."""
    problems = []
    if "use_testnet" in settings.model_fields_set and settings.trading_mode:
        if settings.trading_mode == "live" and settings.use_testnet:
            problems.append("TRADING_MODE=live contradicts USE_TESTNET=true: change one of them.")
        if settings.trading_mode == "testnet" and not settings.use_testnet:
            problems.append("TRADING_MODE=testnet contradicts USE_TESTNET=false: change one of them.")
    if settings.mode == "paper" and settings.paper_market == "mirror" and settings.paper_speed != 1:
        problems.append("PAPER_MARKET=mirror runs at the speed of the real market: write PAPER_SPEED=1.")
    if settings.mode != "paper":
        problems += _account_problems(settings)
    host = urlsplit(settings.binance_base_url).hostname or ""
    if settings.mode != "live" and re.fullmatch(r"d?f?api\d*\.binance\.com", host):
        problems.append(f"BINANCE_BASE_URL is the real exchange but the mode is {settings.mode}: leave it empty.")
    if settings.mode == "live" and host and not host.endswith(".binance.com"):
        problems.append("BINANCE_BASE_URL would send live keys to another party: leave it empty.")
    return problems


def _model_address_problems(settings: Settings) -> list[str]:
    """Return problems where the address of a single call is given instead of the base address."""
    base, call, _ = re.split(r"(/(?:chat/completions|completions|models|api/chat)/?$)|$", settings.openai_base_url)[:3]
    return [f"OPENAI_BASE_URL ends with {call}, the address of one call: write {base}."] if call else []


def _asset_problems(settings: Settings) -> list[str]:
    """Return problems of the pairs' quote assets: one bot keeps equity and limits in one known asset."""
    name = "TRADING_PAIRS" if settings.trading_pairs else "TRADING_PAIR"
    foreign = [pair for pair in settings.pairs if not quote_asset_of(pair)]
    if foreign:
        known = " or ".join(QUOTE_ASSETS)
        return [f"{name} is wrong: {', '.join(foreign)} is not quoted in {known}; write contracts that are."]
    assets = list(dict.fromkeys(map(quote_asset_of, settings.pairs)))
    if len(assets) > 1:
        kinds = " and ".join(assets)
        return [
            f"{name} is wrong: its contracts are quoted in {kinds}, equity and loss limits of one bot in one asset; "
            "write those of one asset, and run a second bot (its own BOT_ID) for the others."
        ]
    if settings.mode == "paper" and assets != ["USDT"]:
        return [f"{name} is wrong: the paper exchange lists contracts in USDT alone, not in {assets[0]}."]
    return []


def _account_problems(settings: Settings) -> list[str]:
    problems = []
    for name in ("binance_api_key", "binance_secret_key"):
        value = getattr(settings, name)
        if not value.get_secret_value():
            problems.append(f"{name.upper()} is empty: write yours, or TRADING_MODE=paper to need none.")
        elif is_example(value):
            problems.append(f"{name.upper()} is the example value: write yours, or leave both keys empty for paper.")
    if settings.mode == "live":
        for name in ("flask_secret_key", "bot_control_pin"):
            problems += _weak(name, getattr(settings, name), "before live trading")
    return problems


def _risk_problems(settings: Settings) -> list[str]:
    """Return contradictions between the risk settings."""
    problems = []
    share, total = settings.position_percentage, settings.max_total_position_percentage
    if share > total:
        problems.append(f"POSITION_PERCENTAGE={share} exceeds MAX_TOTAL_POSITION_PERCENTAGE={total}: lower the first.")
    at_stake = Decimal(1) if settings.margin_type == "ISOLATED" else max(share, total)
    if (pairs_of(settings.rules) or settings.rules in strategy_names()) and "leverage" not in settings.model_fields_set:
        return problems  # a strategy of targets has a leverage of its own, and its rule set refuses such a stop
    if settings.stop_loss_percentage * settings.leverage * at_stake >= Decimal("0.9"):
        problems.append(
            f"STOP_LOSS_PERCENTAGE={settings.stop_loss_percentage} with LEVERAGE={settings.leverage} lies beyond "
            "the price of liquidation: lower either."
        )
    return problems


def _access_problems(settings: Settings) -> list[str]:
    """Return problems of servers: weak secrets for remote access, and equal ports."""
    problems = []
    doors = {"DASHBOARD_PORT": settings.dashboard_port, "MCP_PORT": settings.mcp_port}
    if settings.mode == "paper":
        doors["PAPER_PORT"] = settings.paper_port
    used = [port for port in doors.values() if port]
    if len(set(used)) < len(used):
        problems.append(f"Ports must differ: {', '.join(f'{name}={port}' for name, port in doors.items())}.")
    for name, host in (("DASHBOARD_HOST", settings.dashboard_host), ("MCP_HOST", settings.mcp_host)):
        if not is_loopback(host):
            for secret in ("flask_secret_key", "bot_control_pin"):
                problems += _weak(secret, getattr(settings, secret), f"while {name}={host} accepts remote connections")
            if settings.flask_debug:
                problems.append(f"FLASK_DEBUG=true exposes internals to others while {name}={host}: write false.")
    if settings.mode == "live" and settings.flask_debug:
        problems.append("FLASK_DEBUG=true is refused in live trading: write false.")
    return list(dict.fromkeys(problems))


def _weak(name: str, secret: SecretStr, when: str) -> list[str]:
    """Return why a secret is too weak, if it is."""
    least = 6 if name == "bot_control_pin" else _MIN_SECRET_LENGTH
    if is_example(secret):
        return [f"{name.upper()} is the example value: replace it {when}."]
    if len(secret.get_secret_value()) < least:
        return [f"{name.upper()} needs at least {least} random characters {when}."]
    return []


def _file_problems(path: Path) -> list[str]:
    """Return which lines of the file cannot be read, and which names look mistyped."""
    try:
        text = path.read_text(encoding="utf-8-sig") if path.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        return [f"{path} cannot be read: {error}."]
    known = {name.upper() for name in Settings.model_fields}
    problems = []
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            problems.append(f"{path.name} line {binding.original.line} is not NAME=value.")
        elif binding.key and binding.key.upper() not in known:
            near = get_close_matches(binding.key.upper(), known, n=1, cutoff=0.85)
            problems += [f"{binding.key} in {path.name} is not a setting: did you mean {near[0]}?"] if near else []
    return problems


def _all_problems(kind: type[Settings], path: Path, error: ValidationError) -> list[str]:
    """Return a sentence for each problem, including those visible only once single values are corrected."""
    wrong = {str(each["loc"][0]): each["msg"] for each in error.errors() if each["loc"]}
    problems = [_sentence(kind, name, reason) for name, reason in wrong.items()]
    if not wrong:
        return _joint(error)
    try:
        kind(_env_file=path, **{name: kind.model_fields[name].get_default() for name in wrong})
    except ValidationError as second:
        names = tuple(name.upper() for name in wrong)
        problems += [problem for problem in _joint(second) if not any(name in problem for name in names)]
    return problems


def _joint(error: ValidationError) -> list[str]:
    return [line for each in error.errors() for line in each["msg"].removeprefix("Value error, ").split("\n")]


def _sentence(kind: type[Settings], name: str, reason: str) -> str:
    reason = reason.removeprefix("Value error, ")
    return f"{name.upper()} is wrong: {reason[0].lower()}{reason[1:]}; write {kind.model_fields[name].description}."


def _place(path: Path) -> str:
    return str(path.relative_to(PROJECT_ROOT)) if path.is_relative_to(PROJECT_ROOT) else str(path)
