"""Builds the language model for headlines from the settings, with usage ledger and budget."""

from src.llm.budgeted_model import paid_model
from src.llm.usage_ledger import UsageLedger
from src.news.llm_sentiment import Ask
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.rows import Owner


def headline_ask(settings: Settings, process: str = "news") -> Ask | None:
    """Return how the settings' model is asked about headlines; None where there is neither a key nor a server.

    Args:
        settings: key, server, model, budget and database.
        process: in whose name the calls are noted in ``api_usage``.
    """
    if not (settings.openai_api_key.get_secret_value() or settings.openai_base_url):
        return None
    database = TradingDatabase(settings.database_url, Owner(settings.bot_id, settings.mode, settings.world))
    database.migrate()
    ledger = UsageLedger(database, settings.openai_monthly_budget_usd, process)
    return paid_model(settings, ledger, settings.openai_news_model).ask_text
