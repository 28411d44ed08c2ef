"""Any contract of the public list can be traded in tests and on paper: its rules come from the stored list."""

import json
from decimal import Decimal
from itertools import pairwise

import pytest

from src.domain.errors import DataRefused
from src.market_data.__main__ import main
from src.paper_exchange.contract_list import SHIPPED, known_contracts, read_list, shipped_document
from src.paper_exchange.contracts import CONTRACTS
from tests.market_data.archive_stand_in import archive_stand_in
from tests.market_data.contract_lists import INVENTED, answers, symbol_row


@pytest.fixture
def exchange():
    with archive_stand_in() as stand_in:
        stand_in.files |= answers(
            symbol_row("BTCUSDT_270326", contractType="CURRENT_QUARTER"), symbol_row("OLDUSDT", status="SETTLING")
        )
        yield stand_in


def update(exchange, folder, *more):
    return main(["--data", str(folder), "contracts", "--update", "--base-url", exchange.url, *more])


def test_the_shipped_list_says_its_date_and_what_the_program_itself_lists():
    document = json.loads(SHIPPED.read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(shipped_document(document["taken"])))
    shipped = read_list(SHIPPED)
    assert dict(shipped.contracts) == CONTRACTS and not shipped.assumed
    assert shipped.taken[:10] == "2026-09-15"


def test_an_update_adds_what_is_traded_and_keeps_the_brackets_that_are_known(exchange, tmp_path, capsys):
    assert update(exchange, tmp_path) == 0
    assert "6 contracts as of" in capsys.readouterr().out
    known = known_contracts(tmp_path)
    assert set(known.contracts) == {*CONTRACTS, *INVENTED}
    assert known.assumed == set(INVENTED)
    assert known.contracts["BTCUSDT"].brackets == CONTRACTS["BTCUSDT"].brackets
    assert known.contracts["BTCUSDT"].rules.tick_size == Decimal("0.01"), "the newer list says so"
    for symbol, (tick, step, hours) in INVENTED.items():
        contract = known.contract(symbol)
        assert (contract.rules.tick_size, contract.rules.step_size) == (Decimal(tick), Decimal(step))
        assert (contract.funding_hours, contract.funding_cap_share) == (hours, Decimal("0.03"))


def test_the_assumed_brackets_are_a_table_without_jumps(exchange, tmp_path):
    assert update(exchange, tmp_path) == 0
    brackets = known_contracts(tmp_path).contract("ADAUSDT").brackets
    for lower, upper in pairwise(brackets):
        assert upper.floor == lower.cap and upper.max_leverage < lower.max_leverage
        assert upper.cum == lower.cum + upper.floor * (upper.maint_share - lower.maint_share)


def test_brackets_of_a_saved_answer_take_the_place_of_assumed_ones_and_outlast_an_update(exchange, tmp_path):
    saved = tmp_path / "brackets.json"
    row = {
        "bracket": 1,
        "initialLeverage": 75,
        "notionalCap": 10000,
        "notionalFloor": 0,
        "maintMarginRatio": 0.01,
        "cum": 0,
    }
    saved.write_text(json.dumps([{"symbol": "ADAUSDT", "brackets": [row]}]))
    assert update(exchange, tmp_path, "--brackets", str(saved)) == 0
    for _ in range(2):
        known = known_contracts(tmp_path)
        assert known.contract("ADAUSDT").max_leverage == 75 and "ADAUSDT" not in known.assumed
        assert update(exchange, tmp_path) == 0


def test_what_is_not_listed_says_what_to_do(tmp_path):
    with pytest.raises(DataRefused, match=r"python3 -m src\.market_data contracts --update"):
        known_contracts(tmp_path).contract("ADAUSDT")


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("exchangeInfo", b"<html>", 65),
        ("exchangeInfo", b"{}", 65),
        ("fundingInfo", b"{}", 65),
        ("fundingInfo", None, 69),
    ],
)
def test_an_answer_that_is_no_list_changes_nothing(exchange, tmp_path, capsys, path, body, code):
    assert update(exchange, tmp_path) == 0
    before = (tmp_path / "contracts.json").read_bytes()
    exchange.files.pop(f"fapi/v1/{path}")
    if body is not None:
        exchange.files[f"fapi/v1/{path}"] = body
    assert update(exchange, tmp_path) == code
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "contracts.json").read_bytes() == before


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"taken": "x", "exchangeInfo": {"symbols": [{"contractType": "PERPETUAL"}]}}']
)
def test_a_damaged_list_is_one_sentence(tmp_path, text):
    (tmp_path / "contracts.json").write_text(text)
    with pytest.raises(DataRefused, match="is no list of contracts") as refusal:
        known_contracts(tmp_path)
    assert "\n" not in str(refusal.value)
