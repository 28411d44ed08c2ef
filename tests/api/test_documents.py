"""The contract is written down three times, by machine twice: the copy, the page and the book agree with the table."""

import json
import re

import pytest

from src.api import external_signals
from src.api.operation import ROOT
from src.api.operations import OPERATIONS
from src.apps.mcp_server import contract
from tests.api.made import Made
from tests.paper_exchange.running import ROOT as PROJECT


def test_the_committed_contract_is_what_the_server_says(api: Made) -> None:
    kept = (PROJECT / "docs" / "openapi.json").read_text()
    assert kept == contract(), (
        "type `python3 src/mcp_server.py --openapi > docs/openapi.json` and look at the difference"
    )
    assert api.get("/openapi.json").get_json() == json.loads(kept)


def test_the_contract_names_every_operation_once_and_every_refusal_as_a_problem() -> None:
    written = json.loads(contract())
    assert written["openapi"].startswith("3.1")
    by_key = f"{ROOT}{external_signals.PATH}/{{token}}"
    assert set(written["paths"]) == {by_key, *(ROOT + each.path for each in OPERATIONS)}
    for path in (by_key, ROOT + external_signals.PATH):
        assert {"200", "401", "409", "413", "422", "429"} <= set(written["paths"][path]["post"]["responses"])
    for operation in OPERATIONS:
        told = written["paths"][ROOT + operation.path][operation.method.lower()]
        assert told["operationId"] == operation.name
        for code, response in told["responses"].items():
            if code[0] in "45":
                assert "application/problem+json" in response["content"]
        named = {each["name"] for each in told["parameters"]}
        assert operation.method == "POST" or named == set(operation.parameters().fields)


def test_the_page_for_people_needs_nobody_else_and_runs_nothing(api: Made) -> None:
    answer = api.get("/docs")
    page = answer.get_data(as_text=True)
    assert answer.content_type == "text/html; charset=utf-8"
    assert not re.search(r"<script|<img|<link|@import|https?://|javascript:|\son\w+=", page)
    assert "'sha256-" in answer.headers["Content-Security-Policy"]
    for operation in OPERATIONS:
        assert f"{operation.method} {ROOT}{operation.path}" in page
        for name in operation.parameters().fields:
            assert f"<code>{name}</code>" in page


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_the_book_names_every_operation(operation: object) -> None:
    book = (PROJECT / "docs" / "api.md").read_text()
    assert f"`{operation.method} {operation.path}`" in book  # type: ignore[attr-defined]
    assert not operation.tool or f"`{operation.name}`" in book  # type: ignore[attr-defined]
