"""The cards about what learning brought and what everything costs."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from src.dashboard.bot_view import CHARTS, BotView
from src.dashboard.widgets import (
    UNKNOWN,
    Card,
    Cell,
    Fact,
    Row,
    Table,
    amount,
    count,
    instant,
    number,
    share,
    word,
    words,
)
from src.domain.clock import instant_of, utc_text

_TRAINING_AGE_S: Final = 30 * 86_400.0  # a model trained longer ago has not seen the market of today
_CURVE_POINTS: Final = 60
_MONTH_MS: Final = 30 * 86_400_000


def training(look: BotView) -> Card:
    """Return the last training run: its learning curve, and whether its model won on data neither had seen."""
    title = "Training"
    runs = [row for row in look.reports.training_runs(20) if row["bot_id"] in (look.bot_id, "*")]
    if not runs:
        return Card("training", title, source="", reason="No training run is recorded yet.")
    run = runs[0]
    facts = (
        Fact("Last run", _status(run)),
        Fact("Started", instant(run["timestamp"])),
        Fact("Learned from", words(run["source"])),
        Fact("Data", _span(run)),
        Fact("Episodes", count(run["episodes"])),
        Fact("Samples", count(run["samples"])),
        Fact("New model", _accepted(run)),
        Fact("Model file", words(run["model_sha256"][:12] if run["model_sha256"] else "")),
    )
    verdict = (run["verdict"],) if run["verdict"] else ()
    episodes = _thinned(look.reports.training_episodes(run["id"]))
    curve = tuple(float(row["reward_mean"]) for row in episodes)
    tables = tuple(table for table in (_unseen(run), _curve(episodes)) if table is not None)
    seen = instant_of(run["finished_at"] or run["timestamp"])
    if run["status"] == "failed":
        why = run["verdict"] or "The last run failed."
        return Card("training", title, "error", seen, _TRAINING_AGE_S, "", why, facts, tables, (), curve)
    return Card("training", title, "data", seen, _TRAINING_AGE_S, "", "", facts, tables, verdict, curve)


def _status(run: Mapping[str, Any]) -> Cell:
    tone = {"done": "good", "failed": "bad", "stopped": "warn"}.get(run["status"], "")
    return word(run["status"].upper(), tone)


def _accepted(run: Mapping[str, Any]) -> Cell:
    if run["accepted"] is None:
        return UNKNOWN
    return word("TOOK OVER", "good") if run["accepted"] else word("REFUSED: the old one was better", "warn")


def _span(run: Mapping[str, Any]) -> Cell:
    if not run["data_start"] or not run["data_end"]:
        return UNKNOWN
    return Cell(f"{run['data_start'][:10]} to {run['data_end'][:10]}", raw=run["data_start"])


def _unseen(run: Mapping[str, Any]) -> Table | None:
    """What the run measured on data that no model had seen, figure by figure, as it was written down."""
    flat = list(_figures(run["metrics"] or {}))[:24]
    rows = tuple(Row((words(name), shown), key=f"metric-{name}") for name, shown in flat)
    return Table("Out of sample", ("Figure", "Value"), rows, (1,), look="small") if rows else None


def _figures(metrics: Mapping[str, Any], before: str = "") -> Any:
    for name, value in metrics.items():
        label = f"{before}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _figures(value, f"{label}, ")
        elif isinstance(value, bool) or value is None:
            yield label, UNKNOWN if value is None else words("yes" if value else "no")
        elif isinstance(value, int | float):
            shown = share(value, 2, True) if name.endswith(("_share", "_return", "_rate")) else number(value)
            yield label, shown
        elif isinstance(value, str):
            yield label, words(value)


def _thinned(episodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return about as many episodes as a screen can show, the last among them."""
    step = max(1, len(episodes) // _CURVE_POINTS)
    return episodes[:-1:step] + episodes[-1:]


def _curve(episodes: list[dict[str, Any]]) -> Table | None:
    """Return the learning curve in figures."""
    if not episodes:
        return None
    rows = tuple(
        Row(
            (
                count(row["episode"]),
                number(row["reward_mean"], 4, signed=True),
                share(row["win_rate"], 1),
                count(row["trades"]),
                share(row["net_return"], 2, True, True),
            ),
            key=f"episode-{row['episode']}",
        )
        for row in episodes
    )
    columns = ("Episode", "Mean reward", "Win rate", "Trades", "Net return")
    return Table("Learning curve in figures", columns, rows, (0, 1, 2, 3, 4), folded=True, look="small")


def costs(look: BotView) -> Card:
    """Return what paid and limited calls cost in the last thirty days, by service and model."""
    title, since_ms = "Costs", look.wall_ms - _MONTH_MS
    rows = look.reports.api_costs(since_ms)
    charts = look.beat(CHARTS) or look.beat()
    if charts is None:
        return Card("costs", title, source="bot", reason="No bot has reported yet.")
    as_of = instant_of(charts["beat_at"])
    fees = look.reports.performance(look.scope, look.since(30)).figures
    facts = (
        Fact("Paid to models, 30 days", amount(sum((row["cost_usd"] for row in rows), Decimal(0)), "USD", 4)),
        Fact("Calls", count(sum(row["calls"] for row in rows))),
        Fact("From the cache", count(sum(row["cached"] for row in rows))),
        Fact("Failed", count(sum(row["failed"] for row in rows))),
        Fact("Trading fees, 30 days", amount(fees.fees)),
        Fact("Funding, 30 days", amount(fees.funding, signed=True)),
    )
    table = Table(
        "By service and model",
        ("Service", "Model", "Calls", "Cached", "Failed", "Tokens in", "Tokens out", "Cost"),
        tuple(_cost(row) for row in rows),
        (2, 3, 4, 5, 6, 7),
    )
    source = "charts" if look.beat(CHARTS) else "bot"
    base = "data" if rows or fees.trades else "empty"
    nothing = f"Nothing was paid since {utc_text(since_ms)[:10]}."
    return Card("costs", title, base, as_of, look.turn_s, source, nothing, facts, (table,) if rows else ())


def _cost(row: Mapping[str, Any]) -> Row:
    cells = (
        words(row["service"]),
        words(row["model"]),
        *(count(int(row[name] or 0)) for name in ("calls", "cached", "failed", "input_tokens", "output_tokens")),
        amount(row["cost_usd"], "USD", 4),
    )
    return Row(cells, key=f"cost-{row['service']}-{row['model']}")
