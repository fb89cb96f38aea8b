"""Day partitions of `samples` on PostgreSQL: made ahead, dropped whole when old. On SQLite there is nothing to do."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from app.clock import now, to_ms
from app.database import session, unit_of_work

AHEAD_DAYS = 7
BEHIND_DAYS = 8


def day_start(moment: datetime) -> datetime:
    """Midnight UTC of that day."""
    return datetime(moment.year, moment.month, moment.day, tzinfo=UTC)


def maintain() -> int:
    """Make the partitions of the days around now and drop empty old ones; returns how many were made."""
    if session().get_bind().dialect.name != "postgresql":
        return 0
    made, today = 0, day_start(now())
    with unit_of_work():
        known = set(session().scalars(text("SELECT relid::regclass::text FROM pg_partition_tree('samples') WHERE isleaf")))
        for offset in range(-BEHIND_DAYS, AHEAD_DAYS + 1):
            day = today + timedelta(days=offset)
            name = f"samples_{day:%Y%m%d}"
            if name not in known:
                low, high = to_ms(day), to_ms(day + timedelta(days=1))
                session().execute(text(f"CREATE TABLE {name} PARTITION OF samples FOR VALUES FROM ({low}) TO ({high})"))
                made += 1
        oldest = f"samples_{today - timedelta(days=BEHIND_DAYS + 1):%Y%m%d}"
        for name in sorted(known):
            if (
                name.startswith("samples_2")
                and name <= oldest
                and not session().scalar(text(f"SELECT EXISTS (SELECT 1 FROM {name})"))  # noqa: S608 (a name from pg_partition_tree)
            ):
                session().execute(text(f"DROP TABLE {name}"))
    return made
