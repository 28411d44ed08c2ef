"""Fetches the public list of contracts and keeps it beside the stored candles, with the date it was taken."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import requests

from src.domain.clock import SystemClock, utc_text
from src.domain.errors import DataRefused, SourceUnavailable

BASE_URL: Final = "https://fapi.binance.com"
FILE_NAME: Final = "contracts.json"
_TIMEOUT_S: Final = (5.0, 60.0)
_MOST_BYTES: Final = 64 << 20


def fetch_contracts(base_url: str) -> dict[str, Any]:
    """Return the present list: ``exchangeInfo`` and ``fundingInfo`` with the instant they were taken.

    Raises:
        SourceUnavailable: the exchange cannot be reached.
        DataRefused: its response is not such a list.
    """
    info, funding = _get(base_url, "exchangeInfo"), _get(base_url, "fundingInfo")
    symbols = info.get("symbols") if isinstance(info, dict) else None
    if not isinstance(symbols, list) or not symbols or not isinstance(funding, list):
        raise DataRefused(f"{base_url} answered with no list of contracts; nothing was changed.")
    return {"taken": utc_text(SystemClock().now_ms()), "exchangeInfo": {"symbols": symbols}, "fundingInfo": funding}


def brackets_in(path: Path) -> list[dict[str, Any]]:
    """Return the leverage brackets of a saved answer of GET /fapi/v1/leverageBracket, which needs a key.

    Raises:
        DataRefused: the file is no such answer.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [{"symbol": str(row["symbol"]), "brackets": list(row["brackets"])} for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataRefused(f"{path.name} is no answer of /fapi/v1/leverageBracket ({type(error).__name__}).") from error


def store_contracts(folder: Path, document: dict[str, Any]) -> Path:
    """Replace the stored list atomically; its leverage brackets are kept."""
    path = folder / FILE_NAME
    if "leverageBracket" not in document and path.is_file():
        before = read_contracts(path)
        document = {**document, **{key: before[key] for key in ("leverageBracket",) if key in before}}
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{FILE_NAME}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    return path


def read_contracts(path: Path) -> dict[str, Any]:
    """Return a stored list; ``DataRefused`` where it is damaged."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataRefused(f"{path} is damaged; delete it and run again.") from error


def _get(base_url: str, name: str) -> Any:
    url = f"{base_url.rstrip('/')}/fapi/v1/{name}"
    try:
        answer = requests.get(url, timeout=_TIMEOUT_S)
    except requests.RequestException as error:
        reason = type(error).__name__
        raise SourceUnavailable(f"{base_url} cannot be reached ({reason}); nothing was changed.") from error
    if answer.status_code != requests.codes.ok or len(answer.content) > _MOST_BYTES:
        raise SourceUnavailable(f"{base_url} answered {answer.status_code} to {name}; nothing was changed.")
    try:
        return answer.json()
    except ValueError as error:
        raise DataRefused(f"{base_url} answered to {name} with no JSON; nothing was changed.") from error
