"""Operations about the server itself: alive, ready, healthy."""

from src.api.bot_operations import processes, trading_trouble
from src.api.context import ApiContext, Caller, Params
from src.api.serializers import FLAG, TEXT, Json, closed, listed, plain

DOWN = 503
_CHECK = closed({"name": TEXT, "ok": FLAG, "detail": TEXT})
STATUS = {"type": "string", "enum": ["up", "degraded", "down"]}
HEALTH_SCHEMA = closed({"checks": plain(listed(_CHECK), "Empty for a caller without a key where keys are asked for.")})
PROBE_SCHEMA = closed({"detail": TEXT})


def health(source: ApiContext, _: Params, caller: Caller) -> Json:
    """Return whether trading goes on: ``down`` after two missed cycles or without the exchange, else ``degraded``."""
    trouble = source.reports.trouble()
    checks = [_check("database", trouble, "answers")]
    late = ""
    if not trouble:
        found = processes(source)
        trouble = trading_trouble(found)
        late = "; ".join(f"{row['process']}: {row['condition']}" for row in found if not row["well"])
        away = "; ".join(f"{row['bot_id']}: {row['unheard']}" for row in found if row["unheard"])
        checks += [
            _check("trading", trouble, "its cycles are on time"),
            _check("exchange", away, "sockets and prices are there"),
            _check("processes", late, "all on time"),
        ]
        trouble = trouble or away
    status = "down" if trouble else "degraded" if late else "up"
    return {"status": status, "data": {"checks": checks if "read" in caller.scopes else []}}


def alive(_: ApiContext, __: Params, ___: Caller) -> Json:
    """Return that this process answers; touches nothing else."""
    return {"status": "up", "data": {"detail": "this process answers"}}


def ready(source: ApiContext, _: Params, caller: Caller) -> Json:
    """Return whether questions can be answered: the database can be read."""
    trouble = source.reports.trouble()
    detail = (trouble if "read" in caller.scopes else "the database cannot be read") if trouble else "database answers"
    return {"status": "down" if trouble else "up", "data": {"detail": detail}}


def _check(name: str, trouble: str, well: str) -> Json:
    return {"name": name, "ok": not trouble, "detail": trouble or well}
