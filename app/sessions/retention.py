"""Retention of sessions, events and the proxies that nobody uses any more, run by the worker: small batches, counters kept in
step, what was removed in the journal."""

from collections import Counter
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, exists, select

from app.actors import SYSTEM
from app.bulk_sql import BulkAdd
from app.clock import from_ms, now, to_ms
from app.database import session, unit_of_work
from app.journal.operations import record, tick
from app.proxies.models import Proxy
from app.proxies.retention import remove_unused
from app.sessions.models import BLOCK, BotSession, Event, EventCount, EventKey, SessionStatus
from app.sessions.operations import CLOCK, count_changes

BATCH = 500
MAX_BATCHES = 400  # a run; the next one goes on
_count_events = BulkAdd(EventCount.__table__, ("tenant_id", "event_type", "block", "n"), ("n",))


def retain(sessions: timedelta, events: timedelta) -> None:
    """Remove what is older: events by their time, sessions by their end (an active one by its last sign of life) with their
    events, proxies by the last session that went through them."""
    moment = to_ms(now())
    gone = {"events": _all_batches(lambda: _remove_events(moment - int(events.total_seconds() * 1000))), "sessions": 0}
    gone["sessions"] = _all_batches(lambda: _remove_sessions(moment - int(sessions.total_seconds() * 1000)))
    named = exists().where(BotSession.proxy_id == Proxy.id)
    gone["proxies"] = _all_batches(lambda: remove_unused(from_ms(moment) - sessions, named, BATCH))
    if any(gone.values()):
        with unit_of_work():
            record("sessions.purged", SYSTEM, None, **gone, sessions_days=sessions.days, events_days=events.days)


def _all_batches(remove: Any) -> int:
    total = 0
    for _ in range(MAX_BATCHES):
        with unit_of_work(power_safe=False):
            removed = remove()
        total += removed
        if removed < BATCH:
            break
    return total


def _remove_events(before: int) -> int:
    tick(CLOCK)  # first: its lock orders those who count
    oldest = select(Event.id).where(Event.at < before).order_by(Event.at).limit(BATCH)
    return _delete_events(list(session().scalars(oldest)))


def _delete_events(ids: list[int]) -> int:
    if not ids:
        return 0
    statement = delete(Event).where(Event.id.in_(ids)).returning(Event.tenant_id, Event.event_type, Event.id, Event.session_row)
    rows = session().execute(statement, execution_options={"synchronize_session": False}).all()
    session().execute(delete(EventKey).where(EventKey.event_id.in_(ids)), execution_options={"synchronize_session": False})
    counted = Counter((row[0], row[1], row[2] // BLOCK) for row in rows)
    _count_events(session().connection(), [(*key, -n) for key, n in sorted(counted.items())])
    _uncount_in_sessions(rows)
    return len(rows)


def _uncount_in_sessions(rows: Any) -> None:
    events, errors = Counter(row[3] for row in rows), Counter(row[3] for row in rows if row[1] == "error")
    for found in session().scalars(select(BotSession).where(BotSession.id.in_(list(events)))):
        found.events -= events[found.id]
        found.errors -= errors[found.id]
    session().flush()


def _remove_sessions(before: int) -> int:
    """Sessions that ended before, or are still active but have shown no sign of life since."""
    tick(CLOCK)
    columns = [getattr(BotSession, name) for name in ("id", "tenant_id", "status", "started_at", "country", "target_host",
                                                        "duration_us", "error_key", "error")]  # fmt: skip
    query = select(*columns, BotSession.ended_at, BotSession.last_event_at).where(BotSession.started_at < before)
    rows = session().execute(query.order_by(BotSession.started_at).limit(BATCH * 4)).mappings()
    old = [dict(row) for row in rows if _last_sign(row) < before][:BATCH]
    if not old:
        return 0
    ids = [row["id"] for row in old]
    while _delete_events(list(session().scalars(select(Event.id).where(Event.session_row.in_(ids)).limit(BATCH)))):
        continue
    session().execute(delete(BotSession).where(BotSession.id.in_(ids)), execution_options={"synchronize_session": False})
    count_changes([(row, None) for row in old], to_ms(now()))
    return len(old)


def _last_sign(row: Any) -> int:
    if row["status"] is not SessionStatus.ACTIVE:
        return int(row["ended_at"])
    return int(max(row["started_at"], row["last_event_at"] or 0))
