"""What ``python3 -m src.backtest run`` can be told of evidence: which counts, and where that of the past is from."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from src.backtest.evidence_history import EvidenceHistory, PastCharts, past_contexts, read_news_events
from src.backtest.forecast_replay import CHART_INTERVAL, read_fear_greed
from src.backtest.options import BacktestSpan
from src.backtest.portfolio_files import stored_minutes
from src.domain.errors import DataRefused, SettingsError
from src.domain.market import INTERVAL_MS
from src.market_data.columns import Candles
from src.market_data.files import interval_name
from src.market_data.store import MarketStore
from src.news.fetcher import SOURCES_FILE
from src.news.sources import read_sources
from src.runtime.settings import PROJECT_ROOT
from src.strategy.evidence import OFF, EvidenceRules, load_evidence

_BTC, _ETH = "BTCUSDT", "ETHUSDT"
_NUMBERS: Final = {"news_hours": int, "size_share": float}


def add_evidence_options(parser: argparse.ArgumentParser) -> None:
    """Add which evidence counts, and the files that tell it."""
    add = parser.add_argument
    add("--evidence", nargs="+", default=[], metavar="NAME=VALUE", help="figures of [evidence], such as regime=veto")
    add("--fear-greed", type=Path, help="a file of the daily index: CSV (date,value) or parquet (day_time,value)")
    add("--news", type=Path, help="a CSV of headlines (date,headline)")


def evidence_rules(rules: EvidenceRules, changes: list[str]) -> EvidenceRules:
    """Return the rules with the figures that are written as ``NAME=VALUE``.

    Raises:
        SettingsError: a name or value cannot be.
    """
    table = asdict(rules)
    for change in changes:
        name, _, text = change.partition("=")
        try:
            table[name] = _NUMBERS.get(name, str)(text)
        except ValueError as error:
            raise SettingsError((f"--evidence: {change!r} is no value of {name}.",)) from error
    try:
        return load_evidence(table)
    except ValueError as error:
        raise SettingsError((f"--evidence: {error}.",)) from error


def refuse_evidence(rules: EvidenceRules, command: str) -> None:
    """Raise ``SettingsError`` where evidence counts that a command cannot replay."""
    if rules.active:
        raise SettingsError((f"{command} knows no evidence: set news, regime and chart off in [evidence].",))


def evidence_history(
    command: argparse.Namespace,
    rules: EvidenceRules,
    candles: Mapping[str, Candles],
    span: BacktestSpan,
    source_ms: int,
) -> EvidenceHistory:
    """Return what was known at each instant of the span, as far as candles and the files named tell it.

    Without an index file the context stays unknown unless the regime counts. ``source_ms`` is the length of the
    candles that the minutes were made of.

    Raises:
        DataRefused: a file cannot be used, or evidence counts that nothing here tells.
    """
    if rules.news != OFF and not command.news:
        raise DataRefused("The evidence of news counts and there are no headlines: give a CSV with --news.")
    if rules.chart != OFF and source_ms > INTERVAL_MS[CHART_INTERVAL]:
        raise DataRefused(
            f"The evidence of charts counts and there are candles of {interval_name(source_ms)} only, within which "
            f"prices are made up: give candles of {CHART_INTERVAL} or shorter."
        )
    contexts = []
    if rules.regime != OFF or command.fear_greed:
        index = read_fear_greed(command.fear_greed) if command.fear_greed else {}
        btc, eth = (candles.get(each) or _stored(command, each) for each in (_BTC, _ETH))
        contexts = past_contexts(btc, eth, index, span.from_ms, span.to_ms)
        if rules.regime != OFF and all(each.market_regime == "unknown" for each in contexts):
            raise DataRefused(
                "The evidence of the market regime counts and nothing tells it: it needs candles of BTCUSDT, and "
                "those of ETHUSDT or a file of the index (--fear-greed)."
            )
    coins = read_sources(PROJECT_ROOT / SOURCES_FILE).coins
    events = read_news_events(command.news, coins) if command.news else ()
    charts = [PastCharts(symbol, each) for symbol, each in candles.items()] if rules.chart != OFF else []
    return EvidenceHistory(contexts, events, charts)


def _stored(command: argparse.Namespace, symbol: str) -> Candles | None:
    try:
        return stored_minutes(MarketStore(command.data), symbol)
    except DataRefused:
        return None
