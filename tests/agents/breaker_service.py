"""A breaker's office on a database of its own, for the tests of tools and crew, with and without CrewAI."""

from pathlib import Path

from src.agents.circuit_breaker_service import CircuitBreakerService
from src.domain.clock import ManualClock
from src.runtime.settings import Settings
from src.storage.database import TradingDatabase
from src.storage.rows import Owner

NOW = 1_790_000_000_000


def new_breaker_service(folder: Path) -> tuple[CircuitBreakerService, TradingDatabase, Settings]:
    """Return an office, its database and settings, in paper mode."""
    env = folder / ".env"
    env.write_text(f"DATABASE_URL=sqlite:///{folder}/t.db\nTRADING_MODE=paper\n")
    settings = Settings.load(env)
    database = TradingDatabase(settings.database_url, Owner("main", "paper", "synthetic"))
    database.migrate()
    return CircuitBreakerService(database, settings, ManualClock(NOW)), database, settings
