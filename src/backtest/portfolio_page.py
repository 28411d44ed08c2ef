"""The report of a portfolio backtest as one HTML page without scripts, and its files."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from src.backtest.html_report import document, number, part, ratio, share, table
from src.backtest.performance import TRADE_COLUMNS, trade_row
from src.backtest.portfolio_figures import goals
from src.backtest.portfolio_outcome import Floats, PortfolioOutcome
from src.backtest.reports import write_whole
from src.backtest.svg import SvgLine, chart
from src.domain.clock import utc_text


def write_portfolio_report(folder: Path, outcome: PortfolioOutcome, facts: Mapping[str, Any], hold: Floats) -> None:
    """Write ``index.html``, ``summary.json``, ``trades.csv``, ``curves.csv`` and ``decisions.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "summary.json", json.dumps(facts, indent=1) + "\n")
    write_whole(folder / "trades.csv", _trades_csv(outcome))
    write_whole(folder / "curves.csv", curves_csv(outcome))
    write_whole(folder / "decisions.csv", decisions_csv(outcome))
    write_whole(folder / "index.html", portfolio_page(outcome, facts, hold))


def _trades_csv(outcome: PortfolioOutcome) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, TRADE_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(trade_row(trade) for trade in (*outcome.trades, *outcome.open_trades))
    return text.getvalue()


def curves_csv(outcome: PortfolioOutcome) -> str:
    """Return each pair's result so far and the exposure, a row for each decision's end."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("time", "exposure_share", *(f"{symbol}_pnl" for symbol in outcome.symbols)))
    for row, at in enumerate(outcome.marks.tolist()):
        results = (f"{outcome.pair_results[symbol][row]:.8f}" for symbol in outcome.symbols)
        writer.writerow((utc_text(at), f"{outcome.exposure[row]:.6f}", *results))
    return text.getvalue()


def decisions_csv(outcome: PortfolioOutcome) -> str:
    """Return what was decided for each pair, and why, a row for each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("time", "pair", "signal", "volatility", "target", "held", "band", "orders", "reason"))
    for taken in outcome.decisions:
        for pair in taken.pairs:
            target = pair.target
            weight = "" if target.weight is None else f"{target.weight:.6f}"
            orders = " ".join(f"{order.side} {order.quantity:f}" for order in pair.orders)
            writer.writerow(
                (
                    utc_text(taken.now_ms), target.symbol, f"{target.signal:.6f}", f"{target.volatility:.6f}", weight,
                    f"{pair.held_share:.6f}", f"{target.band:.6f}", orders, pair.reason,
                )
            )  # fmt: skip
    return text.getvalue()


def portfolio_rows(facts: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the total's figures beside constant volatility, buy-and-hold and doing nothing, as texts."""
    trades, hold, peer = facts["trades"], facts["buy_and_hold"], facts["constant_volatility"]
    return [
        ("return", share(facts["return_share"]), _of(peer, "return_share", share), share(hold["return_share"]), "0 %"),
        ("Sharpe, daily equity", ratio(facts["sharpe"]), _of(peer, "sharpe", ratio), ratio(hold["sharpe"]), "-"),
        ("Sortino, daily equity", ratio(facts["sortino"]), _of(peer, "sortino", ratio), "-", "-"),
        ("volatility a year", part(facts["volatility_share"]), _of(peer, "volatility_share", part), "-", "0 %"),
        (
            "deepest drawdown", part(facts["max_drawdown_share"]), _of(peer, "max_drawdown_share", part),
            part(hold["max_drawdown_share"]), "0 %",
        ),
        ("round trips", f"{trades['trades']:,}", "-", "-", "0"),
        ("won", part(trades["win_rate"]), "-", "-", "-"),
        ("average win, USDT", number(trades["average_win"]), "-", "-", "-"),
        ("average loss, USDT", number(trades["average_loss"]), "-", "-", "-"),
        ("mean exposure", part(facts["exposure"]["mean_share"]), "-", "100.00%", "0 %"),
        ("fees, USDT", number(-facts["costs"]["fees"]), "-", "-", "0"),
        ("funding, USDT", number(facts["costs"]["funding"]), "-", "-", "0"),
    ]  # fmt: skip


HEAD = ("", "strategy", "constant volatility", "buy and hold", "always flat")


def _of(facts: Mapping[str, Any] | None, name: str, said: Any) -> str:
    return "-" if facts is None else str(said(facts[name]))


def deflated_sentence(facts: Mapping[str, Any]) -> str:
    """Return what the deflated Sharpe ratio says, in one sentence."""
    judged = facts["deflated_sharpe"]
    if judged["probability"] is None:
        return f"{judged['tried']:,} variants tried; too few days to judge by."
    return (
        f"{judged['tried']:,} variants were tried before these figures were chosen: luck alone would show a daily "
        f"Sharpe ratio of {judged['luck']:.3f}, this one shows {judged['best']:.3f}; deflated Sharpe ratio "
        f"{judged['probability']:.2f}."
    )


def starts_rows(facts: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the band over monthly starts as texts; empty where it was not worked out."""
    said = {"yearly_share": ("return a year", share), "max_drawdown_share": ("deepest drawdown", part)}
    rows = []
    for name, band in facts.get("starts_band", {}).items():
        words, how = said.get(name, ("Sharpe ratio", number))
        rows.append((words, *(how(band[each]) for each in ("lowest", "middle", "highest"))))
    return rows


def portfolio_page(outcome: PortfolioOutcome, facts: Mapping[str, Any], hold: Floats) -> str:
    """Return the report; ``facts`` as ``portfolio_figures.portfolio_summary`` gives them."""
    title = f"{outcome.strategy} on {len(outcome.symbols)} pairs, {facts['from'][:10]} to {facts['to'][:10]}"
    equity = SvgLine(outcome.strategy, "one", outcome.instants, outcome.equity)
    exposure = SvgLine("gross exposure", "one", outcome.marks, outcome.exposure)
    starts = starts_rows(facts)
    sections = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="note">{escape(facts["rules"]["description"])}</p>',
        table(HEAD, portfolio_rows(facts)),
        "<h2>Goals</h2>" + table(("goal", "found", ""), goals(facts)),
        f"<p>{escape(deflated_sentence(facts))}</p>",
        "<h2>Equity</h2>"
        + chart("Equity, USDT", (equity, SvgLine("buy and hold", "two", outcome.instants, hold)), "USDT"),
        "<h2>Exposure</h2>" + chart("Gross exposure as a share of equity", (exposure,), "%"),
        "<h2>Begun in each month</h2>"
        + (table(("", "lowest", "middle", "highest"), starts) if starts else "<p>Not worked out for this span.</p>"),
        "<h2>Pairs</h2>" + _pairs(outcome, facts["pairs"]),
        "<h2>Years</h2>" + _rows(facts["years"]),
        "<h2>Months</h2>" + _rows(facts["months"]),
        "<h2>Deepest drawdowns</h2>" + _rows(facts["drawdowns"]),
        "<h2>Where the money went</h2>"
        + table(("", ""), [(key.replace("_", " "), _cost(key, each)) for key, each in facts["costs"].items()]),
        "<h2>What this rests on</h2><ul>"
        + "".join(f"<li>{escape(each)}</li>" for each in facts["assumptions"])
        + "</ul>",
    ]
    return document(title, sections)


def _pairs(outcome: PortfolioOutcome, rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [SvgLine(symbol, "one", outcome.marks, outcome.pair_results[symbol]) for symbol in outcome.symbols]
    charts = [f"<h3>{escape(each.name)}</h3>" + chart(f"Result of {each.name}", (each,), "USDT") for each in lines]
    return _rows(rows) + "".join(charts)


def _rows(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "<p>None.</p>"
    head = [name.replace("_share", "").replace("_", " ") for name in rows[0]]
    return table(head, [[_cell(name, value) for name, value in row.items()] for row in rows])


def _cell(name: str, value: Any) -> str:
    if name == "return_share":
        return share(value)
    if name in ("win_rate", "depth_share"):
        return part(value)
    return number(value) if isinstance(value, float) else str(value)


def _cost(name: str, value: float) -> str:
    return part(value) if name.endswith("_share") else number(value)
