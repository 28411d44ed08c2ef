"""Writes the results of soaks into docs/reliability.md: ``python -m tests.suite.soak_page soak.json [...]``.

Everything between the two markers of the page is generated and replaced as a whole.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"
Row = tuple[str, str]


def table(told: dict[str, Any]) -> str:
    """Return the counts as a table of Markdown, with the use of each process and the kinds of faults below."""
    parts = [_head(told), _rows(("what", "count"), _counts(told)), _use(told), _kinds(told)]
    return "\n\n".join(parts)


def written(page: str, *told: dict[str, Any]) -> str:
    """Return the page with the counts of all runs between its marks; raises ``ValueError`` where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN} and {END}")
    tables = "\n\n".join(table(each) for each in told)
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def _head(told: dict[str, Any]) -> str:
    return (
        f"{told['market_days']:g} market days at `PAPER_SPEED={told['speed']:g}`, {told['wall_s']:,} s of wall time "
        f"(commit {told['commit']}; load of the two cores at the end {told['load'][0]:g}, "
        f"within 15 minutes {told['load'][2]:g}):"
    )


def _counts(told: dict[str, Any]) -> Iterator[Row]:
    seen, checks = told["invariants"], told["checks"]
    naked = sorted(seen["longest_obstructed_s"].items(), key=lambda each: -each[1])[:4]
    agree, judged = checks.get("S3: wallet equals journal", 0), checks.get("S2: no order twice", 0)
    yield "turns recorded, share of the market's minutes", f"{told['turns']:,}, {told['turns_of_minutes']:.0%}"
    yield "orders, trades closed", f"{told['orders']:,}, {told['trades']:,}"
    yield "exits by reason", _listed(told["exits"])
    yield "faults, kinds", f"{told['faults']:,}, {len(told['kinds'])}"
    yield "invariant checks, positions seen", f"{seen['looks']:,}, {seen['positions']:,}"
    yield "S1 longest time without a stop, no fault active (limit 1 s)", f"{seen['longest_fair_s']:.2f} s"
    yield "S1 the same during a fault", _listed({name: f"{value:.1f} s" for name, value in naked})
    yield f"S2 orders sent twice, or unknown to the journal, in {judged} checks of all ids", _bad(told, "S2")
    yield (
        "S3 wallet and journal compared to the last digit: equal; unexplained difference",
        (f"{agree}; {_bad(told, 'S3')}"),
    )
    yield (
        "S5 days, days over the loss limit, entries after it",
        (f"{seen['days']}, {seen['days_over_limit']}, {seen['entries_over_limit']}"),
    )
    tripped = told["breaker"]["tripped"]
    yield (
        "S6 breaker tripped by; entries while tripped",
        (f"{_listed(tripped)}; {told['breaker']['entries_while_tripped']}"),
    )
    yield "S8 SIGTERM, slowest shutdown (limit 10 s)", f"{told['stops']['count']}, {told['stops']['slowest_s']:.1f} s"
    yield (
        "S9 wrong settings refused, damaged models that led to HOLD",
        (f"{checks.get('S9: wrong setting refused', 0)}, {checks.get('S9: damaged model holds', 0)}"),
    )
    yield (
        "S10 highest request weight in a minute (limit 2,400), orders in 10 s (300), in a minute (1,200)",
        (f"{seen['most_weight_1m']:,}, {seen['most_orders_10s']}, {seen['most_orders_1m']}"),
    )
    yield "S10 limits exceeded; requests during a ban", f"{seen['limits_exceeded']}; {seen['asked_while_banned']}"
    hours = told["requests_per_market_hour"]
    yield "S10 requests in a market hour, all services, median", f"{hours['median']}"
    yield "S11 secrets in any log", _bad(told, "S11")
    yield (
        "S13 external positions shown, without an entry",
        str(checks.get("S13: external position shown, no entry", 0)),
    )
    yield "S14 locked databases without a lost turn", str(checks.get("S14: no turn lost by a locked database", 0))
    yield (
        "S15 frozen bots reported as unresponsive by scripts and API",
        str(checks.get("S15: a frozen bot seen as such", 0)),
    )
    recovered = told["recovered_s"]
    slowest = _listed({name: f"{value:g} s" for name, value in list(recovered["slowest"].items())[:3]})
    yield "time until two further turns after a fault, median; slowest", f"{recovered['median']:g} s; {slowest}"
    yield "violations", str(len(told["violations"])) + "".join(f"; {each}" for each in told["violations"])


def _use(told: dict[str, Any]) -> str:
    head = ("process", "longest run", "RSS early, late, peak", "PSS", "RSS per hour", "handles early, late, peak")
    rows = [
        (
            name,
            f"{each['life_min']:g} min",
            f"{each['rss_mb_early']:g}, {each['rss_mb_late']:g}, {each['rss_mb_most']:g} MB",
            f"{each['pss_mb_late']:g} MB",
            f"{each['rss_mb_per_hour']:+g} MB",
            f"{each['handles_early']:g}, {each['handles_late']:g}, {each['handles_most']:g}",
        )
        for name, each in sorted(told["use"].items())
    ]
    return _rows(head, rows)


def _kinds(told: dict[str, Any]) -> str:
    return "Faults by kind: " + ", ".join(f"{name} ({count})" for name, count in told["kinds"].items()) + "."


def _bad(told: dict[str, Any], promise: str) -> str:
    return str(sum(1 for each in told["violations"] if each.startswith(f"{promise}:")))


def _listed(named: dict[str, Any]) -> str:
    return ", ".join(f"{name or 'still open'} {value}" for name, value in named.items()) or "none"


def _rows(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    runs = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), *runs), encoding="utf-8")
