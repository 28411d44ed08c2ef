"""How the tables came to their present shape, one file a step, run by Alembic at start."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from src.domain.errors import StoreUnavailable

FOLDER = Path(__file__).resolve().parent


def configuration(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration, made here and not read from a file; it works on ``connection``."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


def upgrade(connection: Connection) -> None:
    """Run every missing step within the transaction of ``connection``.

    Raises:
        StoreUnavailable: the database is of a version that this one does not know.
    """
    try:
        command.upgrade(configuration(connection), "head")
    except CommandError as error:
        reason = f"The database was written by another version ({error}): use that version or another file."
        raise StoreUnavailable(reason) from error
