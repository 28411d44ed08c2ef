"""Finds lines of a strategy file that use later candles for earlier ones, or read the clock."""

import ast
from collections.abc import Iterator

_SHIFTS = {"shift", "diff", "pct_change", "roll"}
_CLOCKS = {
    *("time.time", "time.time_ns", "time.monotonic", "datetime.now", "datetime.utcnow", "datetime.today"),
    *("datetime.datetime.now", "datetime.datetime.utcnow", "date.today", "datetime.date.today"),
    *("pd.Timestamp.now", "pandas.Timestamp.now"),
}


def findings(source: str) -> list[str]:
    """Return what is wrong, a sentence for each line, in the order of the file; ``SyntaxError`` where it is no Python.

    Shifts whose length is a variable are not seen; no later candle is handed to a strategy in any case.
    """
    calls = sorted(
        (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)), key=lambda node: node.lineno
    )
    return [f"line {call.lineno}: {what}" for call in calls for what in _faults_of(call)]


def _faults_of(call: ast.Call) -> Iterator[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    whole = ast.unparse(call.func)
    keywords = {each.arg: each.value for each in call.keywords if each.arg}
    if name in _SHIFTS and any(_is_negative(each) for each in (*call.args, *keywords.values())):
        yield f"{ast.unparse(call)} looks ahead: it takes the value of a candle from one that closes later"
    centred = keywords.get("center")
    if isinstance(centred, ast.Constant) and centred.value is True:
        yield f"{ast.unparse(call)} looks ahead: a centred window holds candles that close later"
    filled = keywords.get("method")
    if name in ("bfill", "backfill") or (isinstance(filled, ast.Constant) and filled.value in ("bfill", "backfill")):
        yield f"{ast.unparse(call)} looks ahead: it fills a gap from candles that close later"
    if whole in _CLOCKS:
        yield f"{ast.unparse(call)} reads the clock: the time of a decision is observation.now_ms"


def _is_negative(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
