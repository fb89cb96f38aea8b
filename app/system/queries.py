"""What can be asked about the system."""

import time
from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from app.database import session

STARTED = time.time()


def uptime_s() -> float:
    """Seconds since this process began."""
    return round(time.time() - STARTED, 1)


def database_answers() -> bool:
    """Whether a query goes through. Raises what the database raises."""
    return bool(session().scalar(text("SELECT 1")) == 1)


def schema_heads(directory: Path) -> tuple[str | None, str | None]:
    """(the revision the database is at, the newest there is)."""
    config = Config()
    config.set_main_option("script_location", str(directory))
    newest = ScriptDirectory.from_config(config).get_current_head()
    return MigrationContext.configure(session().connection()).get_current_revision(), newest
