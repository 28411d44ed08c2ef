"""The worker process of the chart-analysis loop: runs the chart and news jobs and may use more memory.

``chart_analysis_bot.py`` starts it, sends it requests (``clock``, ``charts``, ``news``) one by one, and ends it when
it has been idle. It ends by itself when its parent is gone.
"""

import logging
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

from src.apps.panel import build_panel
from src.charts.analysis_job import ChartAnalysisJob
from src.charts.console_output import ChartConsole
from src.charts.generator import ChartGenerator
from src.charts.panel import AnalystPanel
from src.charts.vision_analyst import OpenAIAnalyzer, Resize, build_analyzer
from src.domain.clock import ExchangeClock
from src.domain.errors import SettingsError, StoreCorrupt, SuiteError
from src.exchanges.binance.client import BinanceClient
from src.llm.budgeted_model import paid_model
from src.llm.usage_ledger import UsageLedger
from src.reporting.service import ReportService
from src.runtime.console import Console
from src.runtime.logging_setup import configure_logs
from src.runtime.process import DATA_DAMAGED, WRONG_SETTINGS
from src.runtime.settings import Settings
from src.runtime.worker_process import requests
from src.storage.database import TradingDatabase
from src.storage.rows import Owner

log = logging.getLogger("chart_analysis_bot")

PROCESS: Final = "chart_analysis_bot"


class ChartWorker:
    """The requests; each part is built when it is first needed, and kept.

    Args:
        settings: checked ones.
        since_ms: since when (machine's time) the parent runs: failures of a model before that are forgiven.
    """

    def __init__(self, settings: Settings, since_ms: int = 0) -> None:
        self._settings = settings
        owner = Owner(settings.bot_id, settings.mode, settings.world)
        self._database = TradingDatabase(settings.database_url, owner)
        self._clock = ExchangeClock(settings.paper_speed if settings.mode == "paper" else 1.0)
        self._client = BinanceClient.from_settings(settings, self._clock)
        self._ledger = UsageLedger(self._database, settings.openai_monthly_budget_usd, PROCESS, since_ms)
        self._charts: ChartAnalysisJob | None = None
        self._news: Callable[[], dict[str, Any]] | None = None

    def do(self, request: str) -> dict[str, Any]:
        """Execute one request and return the answer; any ``SuiteError`` is the request's failure."""
        if request == "news":  # which need no exchange, and go on while it is away
            details = self._news_round()
        else:
            self._client.sync_clock()
            details = self._charts_of_all_pairs() if request == "charts" else {}
            details["now_ms"] = self._clock.now_ms()
        self._database.flush()
        return details

    def close(self) -> None:
        """Write what waits and let go of the database."""
        self._database.close()

    def _charts_of_all_pairs(self) -> dict[str, Any]:
        if self._charts is None:
            self._charts = self._chart_round()
        return self._charts.run_round().as_dict()

    def _chart_round(self) -> ChartAnalysisJob:
        from src.charts.renderer import resized  # a second and 90 MB that news do not need

        settings = self._settings
        return ChartAnalysisJob(
            owner=self._database.owner,
            pairs=settings.pairs,
            interval=settings.chart_candle_interval,
            clock=self._clock,
            candles=self._client.candles,
            pictures=ChartGenerator(settings.chart_dir, clock=self._clock),
            analyst=self._analyst(resized),
            store=self._database,
            reports=ReportService(self._database),
            console=ChartConsole(Console(log)),
            min_move_atr=settings.chart_min_move_atr,
        )

    def _analyst(self, resize: Resize) -> OpenAIAnalyzer | AnalystPanel:
        if self._settings.chart_analyst_name != "panel":
            return build_analyzer(self._settings, self._ledger, resize)
        return build_panel(self._settings, self._ledger, resize, self._client, self._database)

    def _news_round(self) -> dict[str, Any]:
        if self._news is None:
            self._news = self._news_job()
        return self._news()

    def _news_job(self) -> Callable[[], dict[str, Any]]:
        from src.news.fetcher import NewsFetcher
        from src.news.ingest_job import NewsIngestJob
        from src.news.sentiment import NewsSentimentAnalyzer

        settings = self._settings
        paid = not settings.use_local_sentiment and bool(
            settings.openai_api_key.get_secret_value() or settings.openai_base_url
        )
        ask = paid_model(settings, self._ledger, settings.openai_news_model).ask_text if paid else None
        handler = NewsIngestJob(NewsFetcher(settings), NewsSentimentAnalyzer(settings, ask), self._database)

        def round_of_news() -> dict[str, Any]:
            done = handler.run_round()
            return {"seen": done.seen, "new": done.new, "overall": dict(done.overall), "reasons": dict(done.reasons)}

        return round_of_news


def main(arguments: list[str]) -> int:
    """Serve the parent until it hangs up; return the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):  # they are for the parent, which then lets us finish
        signal.signal(number, signal.SIG_IGN)
    try:
        settings = Settings.load()
        configure_logs(settings)
        worker = ChartWorker(settings, int(arguments[0]) if arguments else 0)
    except SettingsError as error:
        for problem in error.problems:
            log.critical("%s", problem)
        return WRONG_SETTINGS
    with requests() as (asked, answer):
        for request in asked:
            try:
                said = worker.do(str(request.get("request")))
            except StoreCorrupt as error:
                log.critical("%s", error)
                return DATA_DAMAGED
            except SuiteError as error:
                answer({"ok": False, "error": str(error)})
            else:
                answer({"ok": True, **said})
    worker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
