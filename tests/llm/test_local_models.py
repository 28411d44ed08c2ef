"""Models on a server of one's own are heard, whatever they write around the answer and whatever they refuse."""

import json
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from src.charts.vision_analyst import AdviceFormat, ChartFormat
from src.llm.answer_parsing import fitting_in
from src.llm.budgeted_model import BudgetedModel, CallCost
from src.llm.client import ModelFailed, OpenAIClient
from src.llm.usage_ledger import UsageLedger
from src.storage.database import TradingDatabase

PLAIN = '{"recommendation": "HOLD", "confidence": "low", "reason": "No clear direction."}'
LOUD = '{"Recommendation": "hold", "CONFIDENCE": "Low", "reason": "No clear direction."}'
WRITINGS = {
    "bare": {"content": PLAIN},
    "fenced": {"content": f"```json\n{PLAIN}\n```"},
    "fenced with prose": {"content": f"Here is my analysis:\n\n```\n{PLAIN}\n```\nLet me know if you need {{more}}."},
    "thoughts before it": {"content": f'<think>Perhaps {{"recommendation": "BUY"}}? No.</think>\n\n{PLAIN}'},
    "thoughts that begin unsaid": {"content": f"so it falls, hm {{\n</think>\n{PLAIN}"},
    "prose around it": {"content": f"Sure! {PLAIN} I hope this helps."},
    "in the field of reasoning": {"content": "", "reasoning": f"The trend is flat. {PLAIN}"},
    "in reasoning_content": {"content": None, "reasoning_content": PLAIN},
    "in other capitals": {"content": LOUD},
    "corrected further on": {"content": f"{PLAIN.replace('HOLD', 'SELL')} Wait, no: {PLAIN}"},
}


class LocalServer:
    """Speaks OpenAI's protocol as servers of one's own do; ``takes_format`` False: 400 to response_format."""

    def __init__(self, message, takes_format=True, refusal="response_format is not supported"):
        self.message, self.takes_format, self.refusal = message, takes_format, refusal
        self.requests = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append(asked)
                refused = "response_format" in asked and not server.takes_format
                body = json.dumps(server.refused() if refused else server.completion()).encode()
                self.send_response(400 if refused else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def refused(self):
        return {"error": {"message": self.refusal, "type": "invalid_request_error", "param": None, "code": None}}

    def completion(self):
        choice = {"index": 0, "message": {"role": "assistant", **self.message}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}

    def close(self):
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def local(tmp_path):
    database = TradingDatabase(f"sqlite:///{tmp_path}/t.db")
    database.migrate()
    servers = []

    def start(message, **how):
        server = LocalServer(message, **how)
        servers.append(server)
        client = OpenAIClient("", server.url, timeout_s=5.0, deadline_s=10.0)
        return server, BudgetedModel(client, UsageLedger(database, Decimal(3), "chart_analysis_bot"), "qwen3:8b", True)

    yield start
    for server in servers:
        server.close()
    database.close()


def advice(model):
    return model.ask(model.question("Advise.", "A chart.", AdviceFormat), "chart", "BTCUSDT", CallCost()).content


@pytest.mark.parametrize("writing", WRITINGS)
def test_the_answer_is_found_whatever_stands_around_it(local, writing):
    server, model = local(WRITINGS[writing])
    found = advice(model)
    assert (found.recommendation, found.confidence, found.reason) == ("HOLD", "low", "No clear direction.")
    assert len(server.requests) == 1, "one call is enough"


@pytest.mark.parametrize("refusal", ["response_format is not supported", "Failed to parse grammar", "Bad Request"])
def test_a_server_that_takes_no_schema_is_asked_in_words_and_remembered(local, refusal):
    server, model = local(WRITINGS["fenced"], takes_format=False, refusal=refusal)
    assert advice(model).recommendation == "HOLD"
    assert ["response_format" in each for each in server.requests] == [True, False]
    assert '"recommendation"' in server.requests[1]["messages"][0]["content"]
    assert advice(model).recommendation == "HOLD"
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "text", ["", "Sure! bullish.", "{", PLAIN[:-5], '{"direction": "up"}', PLAIN.replace("HOLD", "MAYBE"), "{" * 5_000]
)
def test_what_fits_no_schema_is_no_answer(local, text):
    server, model = local({"content": text})
    with pytest.raises(ModelFailed) as failure:
        advice(model)
    assert failure.value.code == "bad_answer"
    assert len(server.requests) == 2, "asked once more, in plain words"


def test_capitals_are_put_right_at_every_depth_and_nothing_else():
    answer = {
        "trend": "Bullish", "recommendation": "buy", "confidence": "HIGH", "support_levels": [1.0],
        "resistance_levels": [], "overall_score": 7, "reason": "Up",
        "technical_signals": {"ema_alignment": "BULLISH", "rsi_condition": " neutral ", "macd_signal": "Bearish"},
    }  # fmt: skip
    found = fitting_in(json.dumps(answer), ChartFormat)
    assert (found.trend, found.recommendation, found.confidence, found.reason) == ("bullish", "BUY", "high", "Up")
    assert found.technical_signals.model_dump() == {
        "ema_alignment": "bullish", "rsi_condition": "neutral", "macd_signal": "bearish",
    }  # fmt: skip
