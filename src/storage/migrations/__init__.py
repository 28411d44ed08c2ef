"""Database migrations, one file per step, run by Alembic at start-up."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from src.domain.errors import StoreUnavailable

FOLDER = Path(__file__).resolve().parent


def configuration(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration, built in code; it works on ``connection``."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


def upgrade(connection: Connection) -> None:
    """Run every missing step within the transaction of ``connection``.

    Raises:
        StoreUnavailable: the database has an unknown version.
    """
    try:
        command.upgrade(configuration(connection), "head")
    except CommandError as error:
        reason = f"The database was written by another version ({error}): use that version or another file."
        raise StoreUnavailable(reason) from error
