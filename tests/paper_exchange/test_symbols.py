"""The paper exchange lists what PAPER_SYMBOLS names, with rules from the stored list of contracts."""

import pytest

from src.domain.errors import DataRefused
from src.market_data.__main__ import main
from src.paper_exchange.__main__ import read_config
from src.paper_exchange.contract_list import known_contracts
from src.paper_exchange.contracts import CONTRACTS
from src.paper_exchange.markets import open_market
from tests.candles import random_candles
from tests.market_data.archive_stand_in import archive_stand_in
from tests.market_data.contract_lists import answers
from tests.paper_exchange.test_server_store import config, opened


@pytest.fixture
def contracts(tmp_path):
    with archive_stand_in() as exchange:
        exchange.files |= answers()
        assert main(["--data", str(tmp_path), "contracts", "--update", "--base-url", exchange.url]) == 0
    return known_contracts(tmp_path).contracts


def replayed(folder, symbol):
    path = folder / f"{symbol}-1m-2023-11.csv"
    path.write_text(
        "".join(",".join(map(str, each[:6])) + "\n" for each in random_candles(2_000, price=100.0, tick=0.01))
    )
    return f"replay:{path}"


def test_only_what_is_named_is_listed(tmp_path):
    exchange, _ = opened(config(tmp_path / "state.json", symbols=("ETHUSDT", "BTCUSDT")))
    assert list(exchange.contracts) == ["BTCUSDT", "ETHUSDT"]


def test_a_contract_of_the_stored_list_is_traded_by_its_own_rules(tmp_path, contracts):
    market = replayed(tmp_path, "LPTUSDT")
    exchange, _ = opened(config(tmp_path / "s.json", market=market, start="", contracts=contracts))
    assert exchange.instruments["LPTUSDT"] == contracts["LPTUSDT"].rules
    settle_ms = exchange.quotes.next_funding_ms("LPTUSDT", exchange.venue.now_ms)
    assert settle_ms % (4 * 3_600_000) == 0 and settle_ms - exchange.venue.now_ms <= 4 * 3_600_000


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"symbols": ("ADAUSDT",)}, "has no ADAUSDT, only BTCUSDT"),
        ({"market": "LPT", "start": ""}, "rules of LPTUSDT are not known"),
    ],
)
def test_what_cannot_be_listed_is_one_sentence(tmp_path, changed, words):
    if "market" in changed:
        changed = {**changed, "market": replayed(tmp_path, "LPTUSDT")}
    with pytest.raises(DataRefused, match=words):
        opened(config(tmp_path / "state.json", **changed))


def test_the_setting_is_read_whatever_its_capitals_and_blanks():
    assert read_config([], {"PAPER_SYMBOLS": " btcusdt, ETHUSDT ,"}).symbols == ("BTCUSDT", "ETHUSDT")
    assert read_config([], {}).symbols == () and set(CONTRACTS) <= set(read_config([], {}).contracts)


def test_a_replay_takes_a_file_with_a_comma_in_its_name(tmp_path):
    path = tmp_path / "BINANCE_BTCUSDT.P, 1.csv"
    rows = "".join(f"{each.open_ms // 1_000},{','.join(map(str, each[1:6]))}\n" for each in random_candles(50))
    path.write_text("time,open,high,low,close,Volume\n" + rows)
    other = replayed(tmp_path, "ETHUSDT").removeprefix("replay:")
    assert set(open_market(f"replay:{path},{other}").symbols) == {"BTCUSDT", "ETHUSDT"}
