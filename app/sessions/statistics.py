"""Statistics of sessions, from the counters alone: what they cost does not grow with the rows."""

from dataclasses import dataclass
from typing import Any

from cachetools import TTLCache
from sqlalchemy import func, select

from app.clock import now, to_ms
from app.database import session
from app.sessions.models import HOUR_MS, ErrorGroup, SessionCount, SessionHour, SessionStatus
from app.sessions.queries import Scope, within


@dataclass(frozen=True)
class Totals:
    """Counts of sessions by status; `timed` have a duration, which sum up to `duration_us`."""

    active: int = 0
    completed: int = 0
    failed: int = 0
    timed: int = 0
    duration_us: int = 0

    @property
    def total(self) -> int:
        """All sessions."""
        return self.active + self.completed + self.failed

    @property
    def success_rate(self) -> float:
        """Successes ÷ ended in percent, two decimals; 0 when none has ended."""
        ended = self.completed + self.failed
        return round(100 * self.completed / ended, 2) if ended else 0.0

    @property
    def average_s(self) -> float:
        """The mean duration in seconds of those that have one, two decimals."""
        return round(self.duration_us / self.timed / 1e6, 2) if self.timed else 0.0


def totals(scope: Scope, tenant: str = "") -> Totals:
    """Everything that is counted about sessions."""
    query = select(
        SessionCount.status, func.sum(SessionCount.n), func.sum(SessionCount.timed), func.sum(SessionCount.duration_us)
    )
    rows = session().execute(query.where(*within(SessionCount.tenant_id, scope, tenant)).group_by(SessionCount.status)).all()
    counts = {status.value: int(n) for status, n, _, _ in rows}
    return Totals(**counts, timed=sum(int(row[2]) for row in rows), duration_us=sum(int(row[3]) for row in rows))


_choices: TTLCache[Scope, dict[str, tuple[str, ...]]] = TTLCache(maxsize=256, ttl=15)


def filter_choices(scope: Scope) -> dict[str, tuple[str, ...]]:
    """Countries and target hosts of the last 24 hours for the filter menus, the commonest first; at most 15 s old."""
    known = _choices.get(scope)
    if known is None:
        since = to_ms(now()) // HOUR_MS - 24
        query = select(SessionHour.kind, SessionHour.value, func.sum(SessionHour.n)).where(SessionHour.hour >= since)
        query = query.where(SessionHour.kind != "", *within(SessionHour.tenant_id, scope, ""))
        rows = (
            session().execute(query.group_by(SessionHour.kind, SessionHour.value).order_by(func.sum(SessionHour.n).desc())).all()
        )
        known = {kind: tuple(row[1] for row in rows if row[0] == kind)[:100] for kind in ("country", "target")}
        _choices[scope] = known
    return known


def forget_choices() -> None:
    """Make this process read the menus anew."""
    _choices.clear()


def hourly(scope: Scope, hours: int, tenant: str = "") -> list[dict[str, int]]:
    """For each of the last `hours` hours, oldest first: `{hour, active, completed, failed}` of the sessions that began in it;
    `hour` is in ms since 1970."""
    newest = to_ms(now()) // HOUR_MS
    query = select(SessionHour.hour, SessionHour.status, func.sum(SessionHour.n)).where(
        SessionHour.kind == "", SessionHour.hour > newest - hours, *within(SessionHour.tenant_id, scope, tenant)
    )
    found = {
        (hour, status.value): int(n)
        for hour, status, n in session().execute(query.group_by(SessionHour.hour, SessionHour.status))
    }
    return [
        {"hour": hour * HOUR_MS} | {status.value: found.get((hour, status.value), 0) for status in SessionStatus}
        for hour in range(newest - hours + 1, newest + 1)
    ]


def shares(scope: Scope, kind: str, hours: int, limit: int = 12, tenant: str = "") -> list[tuple[str, int, int]]:
    """(value, completed, failed) of the sessions of the last `hours` hours by `country` or `target`, the commonest first."""
    newest = to_ms(now()) // HOUR_MS
    query = select(SessionHour.value, SessionHour.status, func.sum(SessionHour.n)).where(
        SessionHour.kind == kind, SessionHour.hour > newest - hours, SessionHour.status != SessionStatus.ACTIVE,
        *within(SessionHour.tenant_id, scope, tenant),
    )  # fmt: skip
    found: dict[str, dict[Any, int]] = {}
    for value, status, n in session().execute(query.group_by(SessionHour.value, SessionHour.status)):
        found.setdefault(value, {})[status] = int(n)
    rows = [(v, c.get(SessionStatus.COMPLETED, 0), c.get(SessionStatus.FAILED, 0)) for v, c in found.items()]
    return sorted((row for row in rows if row[1] + row[2]), key=lambda row: (-(row[1] + row[2]), row[0]))[:limit]


def error_groups(scope: Scope, limit: int, offset: int = 0, tenant: str = "") -> list[ErrorGroup]:
    """Groups of session errors, the most recent first."""
    query = select(ErrorGroup).where(ErrorGroup.n > 0, *within(ErrorGroup.tenant_id, scope, tenant))
    return list(session().scalars(query.order_by(ErrorGroup.last_at.desc(), ErrorGroup.key).limit(limit).offset(offset)))


def count_error_groups(scope: Scope, tenant: str = "") -> int:
    """How many groups there are."""
    query = select(func.count()).select_from(ErrorGroup).where(ErrorGroup.n > 0)
    return int(session().scalar(query.where(*within(ErrorGroup.tenant_id, scope, tenant))) or 0)


def error_message(scope: Scope, key: str) -> str | None:
    """The message of a group of errors by its key; None when no group has it."""
    query = select(ErrorGroup.message).where(ErrorGroup.key == key, *within(ErrorGroup.tenant_id, scope))
    message: str | None = session().scalar(query.limit(1))
    return message
