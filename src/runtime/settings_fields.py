"""Every setting by name, with its default, bounds and explanation."""

import ipaddress
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from src.domain.market import INTERVAL_MS
from src.runtime.public_hosts import public_paths
from src.strategy.votes import MOST_VOTES

PROJECT_ROOT = Path(__file__).resolve().parents[2]
PANEL_ROLES = ("trend", "mean_reversion", "sceptic", "moderator")
_PAIR = re.compile(r"[A-Z0-9]{5,20}")


def _secret(description: str) -> Any:
    return Field(SecretStr(""), repr=False, description=description)


def _share(default: str, description: str) -> Any:
    return Field(Decimal(default), gt=0, lt=1, description=f"a share between 0 and 1 (0.02 is 2 %): {description}")


def _port(default: int) -> Any:
    return Field(default, ge=0, le=65_535, description="a port number, 1 to 65535 (0: any free one)")


def _seconds(default: float) -> Any:
    return Field(default, gt=0, le=86_400, description="seconds above 0, at most 86400")


_BY_RULES = "empty: as the set of rules says"


def _seconds_of_rules() -> Any:
    return Field(None, gt=0, le=86_400, description=f"seconds above 0, at most 86400; {_BY_RULES}")


class SettingFields(BaseSettings):
    """All settings. Names in ``.env`` and the environment are the field names in upper case; the environment wins.

    Shares are shares (0.02 is 2 %) although the names say percentage; the stop and the target are shares of price
    move from entry. Relative paths count from the project's folder. An empty value is the default.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        env_file_encoding="utf-8-sig",
        validate_default=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
    )

    # Where and what to trade
    trading_mode: Literal["paper", "testnet", "live", ""] = Field("", description="paper, testnet, live or empty")
    binance_api_key: SecretStr = _secret("the key of your Binance futures account")
    binance_secret_key: SecretStr = _secret("the secret that belongs to BINANCE_API_KEY")
    use_testnet: bool = Field(True, description="true or false")
    trading_pair: str = Field("BTCUSDT", description="a contract such as BTCUSDT")
    trading_pairs: str = Field("", description="contracts with commas between, such as BTCUSDT,ETHUSDT")
    bot_id: str = Field("main", pattern=r"^[a-z0-9_-]{1,32}$", description="1 to 32 of a-z, 0-9, - and _")
    database_url: str = Field(
        "sqlite:///trading_bot.db", repr=False, description="sqlite:///FILE or postgresql+psycopg://..."
    )

    # The rules of trading
    leverage: int = Field(10, ge=1, le=125, description="a whole number from 1 to 125")
    margin_type: Literal["CROSSED", "ISOLATED"] = Field("CROSSED", description="CROSSED or ISOLATED")
    position_percentage: Decimal = _share("0.05", "margin of one position in equity")
    max_total_position_percentage: Decimal = _share("0.20", "margin of all positions in equity")
    interval: int = Field(60, ge=1, le=86_400, description="whole seconds between two turns, 1 to 86400")
    min_signal_threshold: int | None = Field(
        None, ge=1, le=MOST_VOTES, description=f"agreeing votes, 1 to {MOST_VOTES}; {_BY_RULES}"
    )
    min_confidence: float | None = Field(None, ge=0, le=1, description=f"0 to 1; {_BY_RULES}")
    exit_confidence: float | None = Field(None, ge=0, le=1, description=f"0 to 1; {_BY_RULES}")
    stop_loss_percentage: Decimal = _share("0.02", "price move from entry")
    take_profit_percentage: Decimal = _share("0.05", "price move from entry")
    early_stop_percentage: Decimal = Field(
        Decimal("0.8"), gt=0, le=1, description="the part of the stop's distance, above 0 and at most 1"
    )
    max_daily_loss_percentage: Decimal = _share("0.05", "loss of the UTC day's starting equity")
    allow_short: bool | None = Field(None, description=f"true or false; {_BY_RULES}")
    rules: str = Field("trend_portfolio", pattern=r"^[a-z0-9_]+$", description="a file's name in config/rules")

    # The agent
    model_path: Path = Field(Path("models/rl_trading_model.pkl"), description="a file")
    exploration_rate: float = Field(
        0.0, ge=0, le=1, description="0 to 1; above 0 the paper account makes random trades that a live one would not"
    )
    random_seed: int = Field(7, ge=0, description="a whole number, 0 or more")
    autosave_cycles: int = Field(10, ge=1, description="a whole number, 1 or more")
    training_candles: int = Field(10_080, ge=1_000, le=1_000_000, description="1000 to 1000000")
    history_candles: int = Field(1_000, ge=1_000, le=10_000, description="1000 to 10000")

    # Old data, reconciliation, circuit breaker
    max_candle_age_s: float | None = _seconds_of_rules()
    max_mark_age_s: float | None = _seconds_of_rules()
    max_account_age_s: float | None = _seconds_of_rules()
    reconcile_s: float = _seconds(600)
    breaker_max_consecutive_losses: int = Field(8, ge=1, description="a whole number, 1 or more")
    breaker_max_drawdown_percentage: Decimal = _share("0.15", "fall of equity from its peak")
    breaker_max_loss_rate: float = Field(0.85, gt=0, le=1, description="a share of trades, above 0, at most 1")
    breaker_loss_rate_trades: int = Field(30, ge=1, description="a whole number, 1 or more")
    breaker_max_exchange_errors: int = Field(10, ge=1, description="a whole number, 1 or more")
    breaker_error_window_s: float = _seconds(600)
    breaker_max_stale_s: float = _seconds(600)
    breaker_volatility_jump: float = Field(15.0, gt=1, description="a multiple of usual volatility, above 1")

    # The paper exchange
    paper_market: str = Field(
        "synthetic",
        pattern=r"^(synthetic(:\d+)?|mirror|replay:.+)$",
        description="synthetic, synthetic:SEED, mirror, or replay:FILE[,FILE]",
    )
    paper_speed: float = Field(1.0, gt=0, le=10_000, description="market seconds in a second, above 0, at most 10000")
    paper_host: str = Field("127.0.0.1", description="an address of this machine's loopback")
    paper_port: int = _port(3100)
    paper_balance: Decimal = Field(Decimal(10_000), gt=0, description="USDT above 0")
    paper_start: str = Field("", description="a UTC instant such as 2023-07-09T00:00:00, or empty")
    paper_symbols: str = Field("", description="contracts to list, as BTCUSDT,ADAUSDT; empty: all that the market has")
    paper_state: Path = Field(Path("state/paper_exchange.json"), description="a file")
    paper_api_key: SecretStr = _secret("generated at first start")
    paper_api_secret: SecretStr = _secret("generated at first start")
    paper_control_token: SecretStr = _secret("generated at first start")

    # Other addresses, keys and models
    binance_base_url: str = Field("", description="an http(s) address, or empty")
    openai_api_key: SecretStr = _secret("the key of the vision and text model")
    openai_base_url: str = Field("", description="an http(s) address, or empty")
    openai_model: str = Field("gpt-6-luna", min_length=1, description="a model's name")
    openai_news_model: str = Field("gpt-6-luna", min_length=1, description="a model's name")
    openai_timeout_s: float = Field(
        30.0, ge=5, le=600, description="seconds, 5 to 600: how long a model may say nothing"
    )
    openai_monthly_budget_usd: Decimal = Field(Decimal("3.00"), ge=0, description="US dollars, 0 or more")
    newsapi_key: SecretStr = _secret("the key of newsapi.org")
    newsapi_base_url: str = Field("", description="an http(s) address, or empty")
    coingecko_api_key: SecretStr = _secret("the demo key of coingecko.com")
    coingecko_base_url: str = Field("", description="an http(s) address, or empty")
    cmc_base_url: str = Field("", description="an http(s) address, or empty")
    fng_base_url: str = Field("", description="an http(s) address, or empty")

    # Charts, news, cache
    use_local_sentiment: bool = Field(True, description="true or false")
    chart_analyst: Literal["local", "openai", "panel", ""] = Field("", description="local, openai, panel or empty")
    panel_models: str = Field(
        "", description="models of the panel's roles, such as sceptic=gpt-6.1-terra,moderator=gpt-6-luna, or empty"
    )
    chart_interval_minutes: int = Field(15, ge=1, le=1_440, description="whole minutes, 1 to 1440")
    chart_candle_interval: str = Field("15m", description="one of " + " ".join(INTERVAL_MS))
    chart_min_move_atr: float = Field(0.25, ge=0, le=100, description="a multiple of ATR, 0 to 100")
    chart_dir: Path = Field(Path("charts"), description="a folder")
    cache_dir: Path = Field(Path("cache"), description="a folder")
    cache_max_mb: int = Field(64, ge=1, description="whole megabytes, 1 or more")
    context_cache_s: float = _seconds(300)
    news_interval_minutes: int = Field(15, ge=1, le=1_440, description="whole minutes, 1 to 1440")

    # Dashboard and API
    dashboard_host: str = Field("127.0.0.1", min_length=1, description="an address of this machine")
    dashboard_port: int = _port(5000)
    flask_secret_key: SecretStr = _secret("at least 32 random characters; generated at first start")
    flask_debug: bool = Field(False, description="true or false")
    bot_control_pin: SecretStr = _secret("at least 6 characters; generated at first start")
    mcp_host: str = Field("127.0.0.1", min_length=1, description="an address of this machine")
    mcp_port: int = _port(3000)
    public_hosts: str = Field(
        "", description="names under which a proxy offers page and API, such as bot.example.org or example.org/bot"
    )
    api_cors_origins: str = Field("", description="origins such as https://example.org with commas between")

    # Logs
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="DEBUG INFO WARNING ERROR")
    log_format: Literal["text", "json"] = Field("text", description="text or json")
    log_dir: Path = Field(Path("logs"), description="a folder")
    log_max_mb: float = Field(10, gt=0, description="megabytes above 0")
    log_backups: int = Field(5, ge=1, le=100, description="1 to 100 files")
    state_dir: Path = Field(Path("state"), description="a folder")
    time_zone: str = Field("UTC", description="a zone such as Europe/Berlin, for screens only")

    # Alerts and retention
    alert_urls: SecretStr = _secret("addresses of Apprise's services with commas between, or empty")
    alert_push_url: SecretStr = _secret("an http(s) address that is called while all is well, or empty")
    alert_quiet_hours: str = Field(
        "", pattern=r"^$|^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$", description="such as 22:00-07:00, or empty"
    )
    alert_digest_time: str = Field(
        "08:00", pattern=r"^off$|^([01]\d|2[0-3]):[0-5]\d$", description="such as 08:00, or off"
    )
    telegram_bot_token: SecretStr = _secret("the token that @BotFather gives, or empty for no Telegram bot")
    telegram_users: str = Field(
        "",
        pattern=r"^(\d{1,15}(,\d{1,15})*)?$",
        description="ids of Telegram users, with commas between",
    )
    telegram_api_url: str = Field("", pattern=r"^$|^https?://\S+$", description="a Bot API server, or empty")
    alert_disk_free: Decimal = _share("0.10", "free part of the disk below which is warned")
    alert_liquidation_distance: Decimal = _share("0.05", "distance of the mark price from liquidation")
    keep_days: int = Field(90, ge=2, le=3_650, description="whole days, 2 to 3650")

    @field_validator("trading_mode", "chart_analyst", "log_format", "rules", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("panel_models")
    @classmethod
    def _roles_exist(cls, value: str) -> str:
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        roles = [role.strip() for role, _, _ in pairs]
        if any(role not in PANEL_ROLES or not model.strip() for (_, _, model), role in zip(pairs, roles, strict=True)):
            raise ValueError(f"write role=model with commas between; roles are {', '.join(PANEL_ROLES)}")
        if len(set(roles)) != len(roles):
            raise ValueError("a role is named twice")
        return ",".join(f"{role}={model.strip()}" for (_, _, model), role in zip(pairs, roles, strict=True))

    @field_validator("margin_type", "log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.strip().upper() if isinstance(value, str) else value

    @field_validator("trading_pair", "trading_pairs")
    @classmethod
    def _pairs_exist(cls, value: str) -> str:
        names = [name.strip().upper() for name in value.split(",") if name.strip()]
        for name in names:
            if not _PAIR.fullmatch(name):
                raise ValueError(f"{name} is no contract")
        if len(set(names)) != len(names):
            raise ValueError("a contract is named twice")
        return ",".join(names)

    @field_validator("database_url")
    @classmethod
    def _absolute_database(cls, value: str) -> str:
        if value.startswith("postgresql+psycopg://") or value == "sqlite:///:memory:":
            return value
        file = value.removeprefix("sqlite:///")
        if file in (value, ""):
            raise ValueError("unknown kind of database")
        return f"sqlite:///{PROJECT_ROOT / file}"

    @field_validator("model_path", "paper_state", "chart_dir", "cache_dir", "log_dir", "state_dir")
    @classmethod
    def _absolute_path(cls, value: Path) -> Path:
        return PROJECT_ROOT / value.expanduser()

    @field_validator(
        "binance_base_url",
        "openai_base_url",
        "newsapi_base_url",
        "coingecko_base_url",
        "cmc_base_url",
        "fng_base_url",
    )
    @classmethod
    def _web_address(cls, value: str) -> str:
        if value and not (urlsplit(value).scheme in ("http", "https") and urlsplit(value).hostname):
            raise ValueError("no http(s) address")
        return value.rstrip("/")

    @field_validator("chart_candle_interval")
    @classmethod
    def _candle_interval(cls, value: str) -> str:
        if value not in INTERVAL_MS:
            raise ValueError("no candle interval of the exchange")
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("no time zone of that name")
        return value

    @field_validator("paper_host")
    @classmethod
    def _only_here(cls, value: str) -> str:
        if not is_loopback(value):
            raise ValueError("the paper exchange listens on this machine alone")
        return value

    @field_validator("public_hosts")
    @classmethod
    def _host_names(cls, value: str) -> str:
        return ",".join(name + path for name, path in public_paths(value).items())

    @field_validator("api_cors_origins")
    @classmethod
    def _named_origins(cls, value: str) -> str:
        origins = [origin.strip().rstrip("/") for origin in value.split(",") if origin.strip()]
        if not all(re.fullmatch(r"https?://[^/*\s]+", origin) for origin in origins):
            raise ValueError("each origin is named in full; * is refused")
        return ",".join(origins)


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is reachable only from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def first_of(listed: SecretStr) -> SecretStr:
    """Return the first of several comma-separated texts."""
    return SecretStr(listed.get_secret_value().partition(",")[0].strip())
