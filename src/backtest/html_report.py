"""A backtest report as one self-contained HTML page without scripts."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from src.backtest.config import Setup
from src.backtest.performance import buy_and_hold
from src.backtest.result import BacktestResult
from src.backtest.svg import SvgLine, SvgMark, chart
from src.domain.clock import utc_text
from src.market_data.columns import Candles

_MOST_MARKS = 1_500
STYLE = """
:root { color-scheme: light dark; --ink: #1a1d21; --paper: #fff; --soft: #5b6470; --rule: #d9dde2;
 --one: #0b62c4; --two: #9a5b00; --good: #0a7a3d; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --paper: #15181c; --soft: #a3abb5; --rule: #333a42;
 --one: #6db3ff; --two: #f0b35c; --good: #5fd394; --bad: #ff8a80; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
 max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; } p.note { color: var(--soft); }
svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--soft); }
.grid { stroke: var(--rule); } polyline { fill: none; stroke-width: 1.3; }
polyline.one { stroke: var(--one); } polyline.two { stroke: var(--two); }
circle.good { fill: var(--good); } circle.bad { fill: var(--bad); } circle.one { fill: var(--one); }
.legend { list-style: none; padding: 0; margin: 0; display: flex; gap: 1.5rem; }
.legend li::before { content: ""; display: inline-block; width: 1.2em; height: 3px; margin-right: .5em;
 vertical-align: middle; background: currentColor; } li.one { color: var(--one); } li.two { color: var(--two); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .9rem .25rem 0; text-align: right; border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child { text-align: left; }
"""


def page(outcome: BacktestResult, setup: Setup, candles: Candles, facts: Mapping[str, Any]) -> str:
    """Return the report of one run; ``facts`` as ``figures.summary`` gives them."""
    title = f"{facts['symbol']} under {setup.rules.name}, {facts['from'][:10]} to {facts['to'][:10]}"
    held = buy_and_hold(outcome, candles, float(setup.taker_share))
    equity = SvgLine(setup.rules.name, "one", outcome.instants, outcome.equity)
    hold = SvgLine("buy and hold", "two", held.instants, held.values)
    sections = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="note">{escape(setup.rules.description)}</p>',
        table(("", setup.rules.name, "buy and hold", "always flat"), comparison_rows(facts)),
        "<h2>Equity</h2>" + chart("Equity over time, USDT", (equity, hold), "USDT"),
        "<h2>Drawdown</h2>" + chart("Share below the highest equity", (_fallen(equity), _fallen(hold)), "%"),
        "<h2>Trades on the price</h2>" + _trades_chart(outcome, candles),
        "<h2>Months</h2>" + _rows(facts["months"], ("month", "return_share", "trades", "win_rate", "fees", "funding")),
        "<h2>How trades ended</h2>" + _reasons(facts["exit_reasons"]),
        "<h2>Where the money went, USDT</h2>" + table(("", "USDT"), _cost_rows(facts["costs"])),
        "<h2>By the week before</h2>"
        + _rows(facts["regimes"], ("regime", "days", "return_share", "trades", "win_rate", "pnl")),
        "<h2>What this rests on</h2><ul>"
        + "".join(f"<li>{escape(each)}</li>" for each in facts["assumptions"])
        + "</ul>",
    ]
    return document(title, sections)


def document(title: str, sections: Iterable[str]) -> str:
    """Return a whole HTML page of ready sections."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{''.join(sections)}</main></body></html>\n"
    )


def comparison_rows(facts: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the figures of a run beside buy-and-hold and doing nothing, as texts."""
    trades, hold = facts["trades"], facts["buy_and_hold"]
    return [
        ("return", share(facts["return_share"]), share(hold["return_share"]), share(0.0)),
        ("Sharpe, daily equity", ratio(facts["sharpe"]), ratio(hold["sharpe"]), "-"),
        ("Sortino, daily equity", ratio(facts["sortino"]), "-", "-"),
        ("deepest drawdown", part(facts["max_drawdown_share"]), part(hold["max_drawdown_share"]), "0 %"),
        ("trades", f"{trades['trades']:,}", "1", "0"),
        ("won", part(trades["win_rate"]), "-", "-"),
        ("profit factor", number(trades["profit_factor"]), "-", "-"),
        ("average win, USDT", number(trades["average_win"]), "-", "-"),
        ("average loss, USDT", number(trades["average_loss"]), "-", "-"),
        ("fees, USDT", number(trades["fees"]), "-", "0"),
        ("funding, USDT", number(trades["funding"]), "-", "0"),
    ]


def compare_page(reports: Sequence[Mapping[str, Any]]) -> str:
    """Return a page with several runs side by side."""
    names = [str(each["name"]) for each in reports]
    columns = [comparison_rows(each) for each in reports]
    rows = [("pair", *(each["symbol"] for each in reports)), ("rules", *(each["rules"]["name"] for each in reports))]
    rows += [("from", *(each["from"][:10] for each in reports)), ("to", *(each["to"][:10] for each in reports))]
    rows += [(row[0], *(column[place][1] for column in columns)) for place, row in enumerate(columns[0])]
    rows += [("buy and hold", *(share(each["buy_and_hold"]["return_share"]) for each in reports))]
    return document("Backtests compared", ["<h1>Backtests compared</h1>", table(("", *names), rows)])


def share(value: float | None) -> str:
    """Return a gain or loss as percent with its sign, ``-`` where it is unknown."""
    return "-" if value is None else f"{value:+.2%}" if value else "0 %"


def part(value: float | None) -> str:
    """Return a part of a whole as percent, ``-`` where it is unknown."""
    return "-" if value is None else f"{value:.2%}"


def number(value: float | None) -> str:
    """Return a number with two places, ``-`` where it is unknown."""
    return "-" if value is None else f"{value:,.2f}"


def ratio(value: Mapping[str, Any]) -> str:
    """Return a ratio with its interval, or why it is unknown."""
    if value["value"] is None:
        return f"unknown: {value['reason']}"
    low, high = value["ci95"]
    return f"{value['value']:.2f} ({low:.2f} to {high:.2f})"


def _fallen(line: SvgLine) -> SvgLine:
    below = line.values / np.maximum.accumulate(line.values) - 1.0
    return SvgLine(line.name, line.css, line.instants, below)


def _trades_chart(outcome: BacktestResult, candles: Candles) -> str:
    span = candles.between(int(outcome.instants[0]) - 60_000, int(outcome.instants[-1]))
    marks = []
    for trade in outcome.trades[-_MOST_MARKS:]:
        won = "good" if trade.pnl > 0 else "bad"
        exit_ms, exit_price = trade.exit_ms or trade.entry_ms, float(trade.exit_price or trade.entry_price)
        begun = f"{trade.direction} {trade.quantity} at {trade.entry_price:.8g}, {utc_text(trade.entry_ms)[:16]}"
        ended = f"{trade.exit_reason} at {exit_price:.8g}, {trade.pnl:+.2f} USDT, {utc_text(exit_ms)[:16]}"
        marks.append(SvgMark(trade.entry_ms, float(trade.entry_price), "one", escape(begun)))
        marks.append(SvgMark(exit_ms, exit_price, won, escape(ended)))
    note = ""
    if len(outcome.trades) > _MOST_MARKS:
        note = f'<p class="note">The last {_MOST_MARKS:,} of {len(outcome.trades):,} trades are shown.</p>'
    return (
        chart("Price with entries and exits", (SvgLine("price", "two", span.open_ms, span.close),), "USDT", marks)
        + note
    )


def _list(sentences: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in sentences) + "</ul>"


def _cost_rows(costs: Mapping[str, float]) -> list[tuple[str, ...]]:
    return [(key.replace("_", " "), number(value)) for key, value in costs.items()]


def _reasons(reasons: Mapping[str, Mapping[str, float]]) -> str:
    rows = [
        (reason.replace("_", " "), f"{each['trades']:,}", part(each["win_rate"]), number(each["pnl"]))
        for reason, each in reasons.items()
    ]
    return table(("reason", "trades", "won", "USDT"), rows)


def _rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    return table(
        [column.replace("_share", "").replace("_", " ") for column in columns],
        [tuple(_cell(column, row[column]) for column in columns) for row in rows],
    )


def _cell(column: str, value: Any) -> str:
    if column == "return_share":
        return share(value)
    if column == "win_rate":
        return part(value)
    return number(value) if isinstance(value, float) else str(value)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows of texts as an HTML table."""
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table></div>'
