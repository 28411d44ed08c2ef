"""``python3 -m src.paper_exchange move``: a person moves the price, a stop works; nonsense gets one sentence."""

import subprocess
import sys

import pytest

from tests.paper_exchange.running import CONTROL_TOKEN, ROOT, environment, running, wait_until
from tests.paper_exchange.wire import Wire

pytestmark = pytest.mark.long


def move(*words, port=1, token=CONTROL_TOKEN):
    return subprocess.run(
        [sys.executable, "-m", "src.paper_exchange", "move", *words],
        cwd=ROOT,
        env=environment(PAPER_PORT=str(port), PAPER_HOST="127.0.0.1", PAPER_CONTROL_TOKEN=token),
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    with running(tmp_path_factory.mktemp("move") / "state.json") as started:
        yield started


def test_a_moved_price_sets_off_a_stop(exchange):
    wire = Wire(exchange)
    wire.order()
    before = wire.last()
    stop = wire.stop(before * 0.98).body
    told = move("BTCUSDT", "-3%", port=exchange.port)
    assert (told.returncode, told.stderr) == (0, "")
    assert "BTCUSDT moves by -3%" in told.stdout
    wait_until(lambda: wire.last() < before * 0.98)
    ended = wait_until(
        lambda: (
            (row := wire.signed("GET", "/fapi/v1/algoOrder", algoId=stop["algoId"]).body)["algoStatus"] == "FINISHED"
            and row
        )
    )
    assert ended["actualQty"] == "0.010"
    assert wire.signed("GET", "/fapi/v3/positionRisk").body == []


@pytest.mark.parametrize("words", [("btcusdt", "+1.5"), ("ETHUSDT", "1%")])
def test_a_price_is_moved_up_and_in_small_letters(exchange, words):
    before = Wire(exchange).last(words[0].upper())
    assert move(*words, port=exchange.port).returncode == 0
    wait_until(lambda: Wire(exchange).last(words[0].upper()) > before * 1.005)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ((), 2, "usage"),
        (("BTCUSDT",), 2, "usage"),
        (("BTCUSDT", "much"), 2, "much is no percentage"),
        (("BTCUSDT", "-90%"), 2, "-90% is not between"),
        (("BTCUSDT", "0"), 2, "or is 0"),
        (("NOSUCHUSDT", "1%"), 78, "does not list NOSUCHUSDT"),
    ],
)
def test_nonsense_gets_one_sentence(exchange, words, code, sentence):
    told = move(*words, port=exchange.port)
    assert (told.returncode, told.stdout) == (code, "")
    assert sentence in told.stderr
    assert "Traceback" not in told.stderr


def test_without_token_or_exchange_the_error_says_what_to_do(exchange):
    assert "PAPER_CONTROL_TOKEN is empty" in move("BTCUSDT", "1%", port=exchange.port, token="").stderr
    assert "another PAPER_CONTROL_TOKEN" in move("BTCUSDT", "1%", port=exchange.port, token="x" * 16).stderr
    absent = move("BTCUSDT", "1%", port=1)
    assert (absent.returncode, "start_paper_exchange.sh" in absent.stderr) == (69, True)
