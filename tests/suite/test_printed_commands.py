"""Every command and snippet that the user's document prints, typed with the system's ``python3`` in a fresh copy.

Two things differ from the page: ports, which others may use on this machine, and the pattern of ``pkill``, which here
names this copy's bot alone.
"""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clone import Clone, cloned
from tests.paper_exchange.running import wait_until

pytestmark = pytest.mark.long
LEAST_SIGNALS = 55


def system_python() -> Path:
    """Return a Python that belongs to no virtual environment."""
    outside = [folder for folder in os.environ["PATH"].split(":") if ".venv" not in folder]
    for folder in ("/usr/bin", "/usr/local/bin", *outside):
        found = Path(folder) / "python3"
        words = [str(found), "-c", "import sys; sys.exit(sys.prefix != sys.base_prefix or sys.version_info < (3, 11))"]
        if found.exists() and subprocess.run(words, check=False).returncode == 0:
            return found
    pytest.skip("this machine has no Python 3.11 outside of virtual environments")


@dataclass
class Terminal:
    """A shell in the copy's folder, in which ``python3`` is the system's."""

    clone: Clone
    environment: dict[str, str]

    def type(self, line: str, within_s: float = 120.0) -> "subprocess.CompletedProcess[str]":
        """Type one line and return what it printed and how it ended."""
        return subprocess.run(
            ["bash", "-c", line],
            cwd=self.clone.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )

    def begin(self, line: str) -> "subprocess.Popen[str]":
        """Type a line that goes on until somebody ends it."""
        return subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            cwd=self.clone.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def signals(self) -> int:
        """How many signals the database holds."""
        with sqlite3.connect(self.clone.folder / "trading_bot.db") as connection:
            return int(connection.execute("SELECT COUNT(*) FROM signals").fetchone()[0])


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    python = system_python()
    with cloned(
        tmp_path_factory.mktemp("printed") / "ai-crypto-trader", PAPER_SPEED="60", RULES="safety_first"
    ) as clone:
        links = clone.folder / "bin-of-the-system"
        links.mkdir()
        (links / "python3").symlink_to(python)
        rest = [folder for folder in os.environ["PATH"].split(":") if ".venv" not in folder]
        path = ":".join([str(links), *rest])
        made = Terminal(clone, {"PATH": path, "HOME": str(clone.folder), **clone.settings})
        assert made.type("cp .env.example .env").returncode == 0
        done = made.type("./scripts/restart_all.sh", 240.0)
        assert done.returncode == 0, done.stdout + done.stderr
        yield made


def test_the_typed_python_is_not_the_project_s(terminal):
    told = terminal.type('python3 -c "import sys; print(sys.prefix)"').stdout.strip()
    assert Path(told).resolve() != (terminal.clone.folder / ".venv").resolve()


def test_the_requirements_can_be_installed(terminal):
    """``pip`` resolves the whole file; what it would install is not written into the system."""
    environment = "PIP_DRY_RUN=1 PIP_QUIET=1 PIP_BREAK_SYSTEM_PACKAGES=1 PIP_DISABLE_PIP_VERSION_CHECK=1"
    done = terminal.type(f"{environment} .venv/bin/pip install -r requirements.txt", 600.0)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", ["rl_bot", "chart_bot", "web_dashboard", "mcp_server"])
def test_each_service_tells_its_status(terminal, script):
    done = wait_until(
        lambda: (told := terminal.type(f"./scripts/start_{script}.sh status")).returncode == 0 and told, 30
    )
    assert re.search(r"PID: +\d+\n +Uptime: +\d+:\d\d:\d\d\n +CPU: +[\d.]+%\n +Memory: +[\d.]+%", done.stdout)


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/api/v1/health", ()),
        ("/api/v1/info", ()),
        ("/api/v1/signals?limit=10&signal_type=BUY", ("data",)),
        ("/api/v1/signals/stats", ()),
        ("/api/v1/trades/performance?hours=24", ()),
        ("/api/v1/trades", ("data",)),
        ("/api/v1/market-context", ()),
        ("/api/v1/market-context/history", ()),
        ("/api/v1/chart-analysis", ()),
        ("/api/v1/bot-status", ()),
        ("/api/v1/analytics/summary", ()),
    ],
)
def test_curl_gets_an_answer_of_the_api(terminal, path, keys):
    address = f"http://localhost:{terminal.clone.settings['MCP_PORT']}{path}"
    done = wait_until(lambda: (told := terminal.type(f'curl -sf "{address}"')).returncode == 0 and told, 30)
    answer = json.loads(done.stdout)
    assert set(keys) <= set(answer)


@pytest.mark.parametrize(
    "path",
    [
        "/", "/api/bot-status", "/api/market-data", "/api/chart-analysis", "/api/trades?limit=5", "/api/performance",
        "/api/positions", "/api/signals?limit=5", "/api/news", "/api/health",
    ],
)  # fmt: skip
def test_the_dashboard_answers(terminal, path):
    done = terminal.type(f'curl -sf "http://localhost:{terminal.clone.settings["DASHBOARD_PORT"]}{path}"')
    assert done.returncode == 0
    assert done.stdout


@pytest.mark.parametrize(
    "line",
    [
        "python3 configure_costs.py cost-saving",
        "python3 configure_costs.py premium",
        "python3 configure_costs.py status",
        "python3 configure_costs.py compare",
        "export USE_TESTNET=true; python3 src/binance_client.py",
        "python3 src/market_context.py",
        "python3 src/database.py",
        "./scripts/start_rl_bot.sh logs -n 5",
        'sqlite3 trading_bot.db "SELECT * FROM trades ORDER BY timestamp DESC LIMIT 10"',
        'sqlite3 trading_bot.db "SELECT side, entry_price, exit_price, pnl FROM trades '
        'ORDER BY timestamp DESC LIMIT 20"',
        'sqlite3 trading_bot.db "SELECT DATE(timestamp) as date, SUM(pnl) as daily_pnl FROM trades '
        'GROUP BY DATE(timestamp) ORDER BY date DESC"',
    ],
)
def test_a_command_ends_well(terminal, line):
    done = terminal.type(line)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


SNIPPETS = {
    "fetch news": """
from src.news_fetcher import NewsFetcher
fetcher = NewsFetcher()
news = fetcher.get_crypto_news(page=1, page_size=10, days_back=7)
assert set(news) >= {'articles', 'total_results', 'page'}
""",
    "sentiment of one article": """
from src.news_sentiment import NewsSentimentAnalyzer
analyzer = NewsSentimentAnalyzer()  # Reads USE_LOCAL_SENTIMENT from .env
title, description = "Bitcoin surges to a record high", "Funds buy."
sentiment = analyzer.analyze_article(title, description)
assert sentiment['sentiment'] == 'bullish' and 0 <= sentiment['confidence'] <= 100
assert set(sentiment) >= {'sentiment', 'confidence', 'reason', 'mode'}
""",
    "batch": """
from src.news_sentiment import NewsSentimentAnalyzer
analyzer = NewsSentimentAnalyzer()
news = {'articles': [{'title': 'Bitcoin surges', 'description': ''}, {'title': 'Exchange hacked', 'description': ''}]}
results = analyzer.batch_analyze(news['articles'])
overall = analyzer.get_overall_sentiment(results)
assert set(overall) >= {'overall_sentiment', 'confidence', 'bullish_count', 'bearish_count', 'neutral_count'}
""",
    "local sentiment": """
from src.sentiment_local import LocalSentimentAnalyzer
assert LocalSentimentAnalyzer().analyze("Bitcoin surges to a record high").label == "bullish"
""",
    "exchange": """
from src.binance_client import BinanceClient
client = BinanceClient()
assert client.get_account_balance() > 0 and client.get_current_price("BTCUSDT") > 0
assert len(client.get_klines("BTCUSDT", "1m", 5)) == 5 and client.get_open_positions("XRPUSDT") == []
""",
    "market context": """
from src.market_context import MarketContextAnalyzer
context = MarketContextAnalyzer().get_market_context()
assert context['btc_price'] > 0 and 0 < context['btc_dominance'] < 100 and 0 <= context['fear_greed_index'] <= 100
for name in ('market_trend', 'btc_trend', 'market_regime', 'volatility_level'):
    assert context[name] != 'unknown', name
""",
}


@pytest.mark.parametrize("how", ["python3 -c '{}'", "python3 - <<'EOF'\n{}\nEOF"], ids=["-c", "typed in"])
@pytest.mark.parametrize("name", list(SNIPPETS))
def test_a_snippet_runs(terminal, name, how):
    text = SNIPPETS[name].replace("'", '"') if how.startswith("python3 -c") else SNIPPETS[name]
    done = terminal.type(how.format(text))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_model_is_retrained_once_there_are_signals_enough(terminal):
    wait_until(lambda: terminal.signals() >= LEAST_SIGNALS, 150, 0.5)
    done = terminal.type("python3 retrain_rl_model.py", 300.0)
    assert done.returncode in (0, 10), done.stdout + done.stderr  # 10: learnt, and not better than the present one
    assert "RETRAINING ANALYTICS" in done.stdout + done.stderr


def test_restart_stop_and_start_of_one_service(terminal):
    for verb in ("restart", "stop", "start"):
        done = terminal.type(f"./scripts/start_rl_bot.sh {verb}")
        assert done.returncode == 0, done.stdout + done.stderr
    assert "✅ RL bot started successfully (PID: " in done.stdout
    assert re.fullmatch(r"\d+\n", (terminal.clone.folder / "logs" / "rl_bot.pid").read_text())


EXPECTED = (
    "🚀 AI-DRIVEN CRYPTOCURRENCY TRADING BOT", "⏰ Started at: ", "⚙️ Configuration:", "Trading Pair: BTCUSDT",
    "Leverage: 10x", "Position Size: ", "Check Interval: 60s", "Signal Threshold: 3", "Stop Loss: ", "Take Profit: ",
    "Mode: PAPER", "📊 Initializing components...", "🔧 Setting up Binance...", "⚡ Leverage set to 10x for BTCUSDT",
    "📊 Margin type set to CROSSED for BTCUSDT", "✅ Bot initialized successfully!", "🤖 BOT IS NOW RUNNING",
    "⏱️ Check interval: 60 seconds", "🛑 Press Ctrl+C to stop gracefully", "🔄 Cycle #1", "Trading Cycle - ",
    "😰 Fear & Greed Index: ", "₿ BTC: $", "Ξ ETH: $", "🔵 BTC Dominance: ", "📊 Market Context Summary:",
    "Trend: ", "Regime: ", "Fear & Greed: ", "Current Price: $", "Technical Signal: ", "RL Recommendation: ",
    "⏳ Sleeping for ",
)  # fmt: skip


def test_the_bot_started_by_hand_prints_what_the_document_shows_and_ctrl_c_ends_it(terminal):
    assert terminal.type("./scripts/start_rl_bot.sh stop").returncode == 0
    log = terminal.clone.folder / "typed.log"
    typed = "script -qfec 'python3 src/trading_bot.py' typed.log" if shutil.which("script") else ""
    bot = terminal.begin(typed or "python3 src/trading_bot.py > typed.log 2>&1")
    try:
        wait_until(lambda: log.exists() and "Sleeping for" in log.read_text(), 60, 0.2)
        wait_until(lambda: (found := bots_of(terminal)) and [os.kill(each, signal.SIGINT) for each in found], 5)
        assert bot.wait(20) == 0
    finally:
        bot.kill()
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text())
    shown = EXPECTED if typed else [re.sub(r"^[^A-Za-z&]+", "", words) for words in EXPECTED]
    places = [text.find(words) for words in shown]
    missing = [words for words, place in zip(EXPECTED, places, strict=True) if place < 0]
    assert missing == [], text
    assert places[:20] == sorted(places[:20]), "the lines of the start come in the document's order"


def bots_of(terminal: Terminal) -> list[int]:
    """The processes of this copy's bot."""
    done = terminal.type(f"pgrep -f '^{re.escape(str(terminal.clone.folder))}/.venv/bin/python.*trading_bot.py'")
    return [int(word) for word in done.stdout.split()]


def test_the_bot_in_the_background_is_stopped_by_pkill(terminal):
    terminal.type("nohup python3 src/trading_bot.py > logs/trading_bot.log 2>&1 &")
    wait_until(lambda: bots_of(terminal), 10)
    log = terminal.clone.folder / "logs" / "trading_bot.log"
    wait_until(lambda: "Cycle #1" in log.read_text(), 60, 0.2)
    assert "Cycle #1" in terminal.type("tail -n 200 logs/trading_bot.log").stdout
    assert terminal.type(f"pkill -f '^{re.escape(str(terminal.clone.folder))}/.*trading_bot.py'").returncode == 0
    wait_until(lambda: not bots_of(terminal), 15)
    assert "Bot stopped." in log.read_text()


@pytest.mark.parametrize(
    ("service", "program", "port", "path"),
    [
        ("web_dashboard", "src/web_dashboard.py", "DASHBOARD_PORT", "/"),
        ("mcp_server", "src/mcp_server.py", "MCP_PORT", "/api/v1/info"),
    ],
)
def test_a_server_started_by_hand_answers_and_ends_in_order(terminal, service, program, port, path):
    assert terminal.type(f"./scripts/start_{service}.sh stop").returncode == 0
    server = terminal.begin(f"python3 {program}")
    try:
        wait_until(lambda: answers(terminal.clone.address(port) + path), 40, 0.2)
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    finally:
        server.kill()


def answers(address: str) -> bool:
    """Whether a server answers there."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_the_chart_bot_started_by_hand_analyses_and_ends_in_order(terminal):
    assert terminal.type("./scripts/start_chart_bot.sh stop").returncode == 0
    log = terminal.clone.folder / "typed_chart.log"
    bot = terminal.begin("python3 src/chart_analysis_bot.py > typed_chart.log 2>&1")
    try:
        wait_until(lambda: log.exists() and log.stat().st_size, 60, 0.2)
        assert bot.poll() is None
        bot.send_signal(signal.SIGTERM)
        assert bot.wait(20) == 0
    finally:
        bot.kill()
