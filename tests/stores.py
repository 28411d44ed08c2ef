"""The databases that tests run on: an SQLite file, and PostgreSQL where ``TEST_POSTGRES_URL`` names an empty one."""

import os
from pathlib import Path

from sqlalchemy import text

from src.storage.database import TradingDatabase
from src.storage.rows import Owner
from src.storage.tables import metadata

POSTGRES_URL = os.environ.get("TEST_POSTGRES_URL", "")
STORES = ("sqlite", "postgresql") if POSTGRES_URL else ("sqlite",)


def new_store(kind: str, folder: Path) -> TradingDatabase:
    """Return a new database of that kind with its tables made."""
    database = TradingDatabase(POSTGRES_URL if kind == "postgresql" else f"sqlite:///{folder}/t.db")
    if kind == "postgresql":
        database.write(metadata.drop_all)
        database.write(lambda connection: connection.execute(text("DROP TABLE IF EXISTS alembic_version")))
    database.migrate()
    return database


def same_store(database: TradingDatabase, owner: Owner) -> TradingDatabase:
    """Return another way into the same database, in another owner's name."""
    return TradingDatabase(POSTGRES_URL if not database.is_sqlite else f"sqlite:///{database.name}", owner)
