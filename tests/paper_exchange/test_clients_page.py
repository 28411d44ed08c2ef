"""The page for other clients: the block for ccxt runs as it is printed, but for the port."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paper_exchange.running import API_KEY, API_SECRET, running
from tests.paper_exchange.wire import Wire

pytestmark = pytest.mark.long
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")


def test_the_block_for_ccxt_trades_and_sees_its_fill(tmp_path):
    block = next(text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "import os, re, ccxt" in text)
    with running(tmp_path / "state.json") as exchange:
        done = subprocess.run(
            [sys.executable, "-c", block.replace("3100", str(exchange.port))],
            env={**os.environ, "KEY": API_KEY, "SECRET": API_SECRET},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        number, price = done.stdout.split()
        [trade] = Wire(exchange).signed("GET", "/fapi/v1/userTrades", symbol="BTCUSDT").body
        assert (str(trade["orderId"]), float(trade["price"])) == (number, float(price))
