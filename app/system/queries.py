"""What can be asked about the system."""

import re
import time
from ast import literal_eval
from functools import lru_cache
from pathlib import Path

from sqlalchemy import inspect, text

from app.database import session

STARTED = time.time()
_REVISION = re.compile(r"^(revision|down_revision)\b[^=\n]*=\s*(.+)$", re.MULTILINE)


def uptime_s() -> float:
    """Seconds since this process began."""
    return round(time.time() - STARTED, 1)


def database_answers() -> bool:
    """Whether a query goes through. Raises what the database raises."""
    return bool(session().scalar(text("SELECT 1")) == 1)


MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def known_revisions(directory: Path = MIGRATIONS) -> frozenset[str]:
    """Every state of the schema that this version knows."""
    found = (dict(_REVISION.findall(path.read_text(encoding="utf-8"))) for path in (directory / "versions").glob("*.py"))
    return frozenset(str(literal_eval(values["revision"])) for values in found)


@lru_cache
def newest_revision(directory: Path) -> str:
    """The migration that no other one follows, read from the files: alembic itself would cost every process 12 MB.

    Raises RuntimeError when there is not exactly one."""
    made: set[str] = set()
    followed: set[str] = set()
    for path in (directory / "versions").glob("*.py"):
        for name, value in _REVISION.findall(path.read_text(encoding="utf-8")):
            named = literal_eval(value)
            (made if name == "revision" else followed).update([named] if isinstance(named, str) else named or ())
    heads = made - followed
    if len(heads) != 1:
        raise RuntimeError(f"{directory} has {len(heads)} newest migrations, not one")
    return heads.pop()


def schema_heads(directory: Path) -> tuple[str | None, str]:
    """(the revision the database is at, the newest there is)."""
    newest = newest_revision(directory)
    if not inspect(session().connection()).has_table("alembic_version"):
        return None, newest
    return session().scalar(text("SELECT version_num FROM alembic_version")), newest
