"""What can be asked about alerts, rules and silences."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cachetools import TTLCache
from sqlalchemy import Select, case, func, or_, select

from app.actors import Actor
from app.alerts.catalogue import metric_of, metrics
from app.alerts.models import ACTIVE, Alert, AlertStatus, ScopeKind, Severity, Silence, Threshold
from app.clock import now
from app.database import contains, session
from app.errors import NotFound
from app.fleet.models import Computer

Scope = frozenset[str] | None
__all__ = ["metric_of", "metrics"]


@dataclass(frozen=True)
class AlertFilter:
    """Which alerts. `status`: "" all that have fired, "active" those not resolved (acknowledged ones too), or one of AlertStatus
    ("unacknowledged" for active ones that nobody has in hand). `computer` is a public id; `subject` is `kind:id`; `q` is text in
    message, subject or rule; `start`, `end` bound when it fired."""

    scope: Scope = None
    status: str = ""
    severity: str = ""
    metric: str = ""
    computer: str = ""
    tenant: str = ""
    threshold: str = ""
    subject: str = ""
    muted: bool | None = None
    q: str = ""
    start: datetime | None = None
    end: datetime | None = None


def _where(base: Select[Any], wanted: AlertFilter) -> Select[Any]:
    query = base if wanted.scope is None else base.where(Alert.tenant_id.in_(wanted.scope))
    match wanted.status:
        case "":
            query = query.where(Alert.status != AlertStatus.PENDING)
        case "active":
            query = query.where(Alert.status.in_(ACTIVE))
        case "unacknowledged":
            query = query.where(Alert.status == AlertStatus.ACTIVE)
        case _:
            query = query.where(Alert.status == wanted.status)
    columns = ((Alert.severity, wanted.severity), (Alert.metric, wanted.metric), (Alert.computer_uuid, wanted.computer.lower()),
               (Alert.tenant_id, wanted.tenant), (Alert.threshold_id, wanted.threshold.lower()))  # fmt: skip
    for column, value in columns:
        if value:
            query = query.where(column == value)
    if wanted.subject:
        kind, _, id_ = wanted.subject.partition(":")
        query = query.where(Alert.subject_kind == kind, Alert.subject_id == id_)
    if wanted.muted is not None:
        query = query.where(Alert.muted.is_(wanted.muted))
    if wanted.start is not None:
        query = query.where(Alert.fired_at >= wanted.start)
    if wanted.end is not None:
        query = query.where(Alert.fired_at < wanted.end)
    for word in wanted.q.split():
        query = query.where(or_(*(contains(c, word) for c in (Alert.message, Alert.subject_name, Alert.threshold_name))))
    return query


# Active first, the critical ones on top, the newest of each first.
_STATE: Any = case(
    (Alert.status == AlertStatus.ACTIVE, 0),
    (Alert.status == AlertStatus.ACKNOWLEDGED, 1),
    (Alert.status == AlertStatus.PENDING, 2),
    else_=3,
)
_SEVERITY: Any = case((Alert.severity == Severity.CRITICAL, 0), else_=1)
_SORTS: dict[str, tuple[Any, ...]] = {
    "state": (_STATE, _SEVERITY),
    "severity": (_SEVERITY,),
    "fired": (Alert.fired_at,),
    "subject": (Alert.subject_name,),
    "metric": (Alert.metric,),
    "resolved": (Alert.resolved_at,),
    "threshold": (Alert.threshold_name,),
}
SORT_KEYS = tuple(_SORTS)


def _ordered(query: Select[Any], sort: str) -> Select[Any]:
    columns = _SORTS[sort.removeprefix("-")]
    ordered = [c.desc().nulls_last() if sort.startswith("-") else c.asc().nulls_last() for c in columns]
    return query.order_by(*ordered, Alert.fired_at.desc().nulls_last(), Alert.number)


def versions(wanted: AlertFilter, limit: int, offset: int, sort: str = "state") -> list[tuple[int, str, int]]:
    """(number, public id, version) of one page, in order: what live lists need."""
    columns: Any = select(Alert.number, Alert.id, Alert.version)
    rows = session().execute(_ordered(_where(columns, wanted), sort).limit(limit).offset(offset))
    return [(row[0], row[1], row[2]) for row in rows]


def version_of(alert_id: str, scope: Scope) -> list[tuple[int, str, int]]:
    """The same for one alert; empty when it is gone or out of scope."""
    query: Any = select(Alert.number, Alert.id, Alert.version).where(Alert.id == alert_id)
    rows = session().execute(query if scope is None else query.where(Alert.tenant_id.in_(scope)))
    return [(row[0], row[1], row[2]) for row in rows]


def page(wanted: AlertFilter, limit: int, offset: int, sort: str = "state") -> list[Alert]:
    """One page of alerts."""
    return list(session().scalars(_ordered(_where(select(Alert), wanted), sort).limit(limit).offset(offset)))


def by_numbers(numbers: Iterable[int]) -> dict[int, Alert]:
    """Alerts by number."""
    wanted = list(numbers)
    return {row.number: row for row in session().scalars(select(Alert).where(Alert.number.in_(wanted)))} if wanted else {}


def ids_of(wanted: AlertFilter) -> list[str]:
    """The ids of all that match."""
    return list(session().scalars(_ordered(_where(select(Alert.id), wanted), "state")))


def visible_ids(ids: Iterable[str], scope: Scope) -> list[str]:
    """Those of the ids that exist within the scope."""
    query = select(Alert.id).where(Alert.id.in_([i.lower() for i in ids]))
    return list(session().scalars(query if scope is None else query.where(Alert.tenant_id.in_(scope))))


def each(wanted: AlertFilter, sort: str = "state", chunk: int = 500) -> Iterator[Alert]:
    """All that match, in order, fetched in chunks."""
    ids = list(session().scalars(_ordered(_where(select(Alert.id), wanted), sort)))
    for start in range(0, len(ids), chunk):
        part = ids[start : start + chunk]
        found = {row.id: row for row in session().scalars(select(Alert).where(Alert.id.in_(part)))}
        yield from (found[i] for i in part if i in found)
        session().expunge_all()


def count(wanted: AlertFilter) -> int:
    """How many match."""
    return int(session().scalar(_where(select(func.count(Alert.id)), wanted)) or 0)


_counts: TTLCache[AlertFilter, dict[str, int]] = TTLCache(maxsize=512, ttl=1)


def status_counts(wanted: AlertFilter, *, fresh: bool = False) -> dict[str, int]:
    """Of all that match apart from the status: `total` that have fired, `active` (with the acknowledged ones), `unacknowledged`,
    `acknowledged`, `resolved`, `critical` and `warning` (of the active ones), `muted` (likewise), `pending`; at most 1 s old."""
    wanted = replace(wanted, status="")
    known = None if fresh else _counts.get(wanted)
    if known is None:
        known = _counts[wanted] = _count_states(wanted)
    return known


def _count_states(wanted: AlertFilter) -> dict[str, int]:
    groups: Any = select(Alert.status, Alert.severity, Alert.muted, func.count(Alert.id))
    known = dict.fromkeys(("total", "active", "unacknowledged", "acknowledged", "resolved", "critical", "warning", "muted"), 0)
    grouped = _where(groups, wanted).group_by(Alert.status, Alert.severity, Alert.muted)
    for status, severity, muted, number in session().execute(grouped):
        known["total"] += number
        known["unacknowledged" if status is AlertStatus.ACTIVE else status.value] += number
        if status in ACTIVE:
            known["active"] += number
            known[severity.value] += number
            known["muted"] += number if muted else 0
    return known | {"pending": count(replace(wanted, status="pending"))}


def forget_counts() -> None:
    """Make this process count anew."""
    _counts.clear()


def get_alert(alert_id: str, actor: Actor) -> Alert:
    """One alert. Raises NotFound when there is none, or none that the actor may see."""
    row: Alert | None = session().get(Alert, alert_id.lower())
    if row is None or not actor.sees(row.tenant_id):
        raise NotFound("Alert not found")
    return row


def concurrent(alert: Alert, scope: Scope, limit: int = 50) -> list[Alert]:
    """What else was wrong with its computer while it lasted, oldest first."""
    if alert.computer_uuid is None or alert.fired_at is None:
        return []
    query = _where(select(Alert), AlertFilter(scope=scope, computer=alert.computer_uuid)).where(
        Alert.id != alert.id, Alert.fired_at <= (alert.resolved_at or now()),
        or_(Alert.resolved_at.is_(None), Alert.resolved_at >= alert.fired_at),
    )  # fmt: skip
    return list(session().scalars(query.order_by(Alert.fired_at).limit(limit)))


# -- thresholds and silences -------------------------------------------------------------------------------------------


def _seen(query: Select[Any], model: Any, scope: Scope) -> Select[Any]:
    """What is for all tenants is seen by everybody whom it concerns; only who sees them all changes it."""
    return query if scope is None else query.where(or_(model.tenant_id.is_(None), model.tenant_id.in_(scope)))


def thresholds(scope: Scope, computer: Computer | None = None, metric: str = "", limit: int = 100_000,
               offset: int = 0) -> list[Threshold]:  # fmt: skip
    """Rules by name; with `computer` only those that apply to it."""
    query = _seen(select(Threshold), Threshold, scope)
    if metric:
        query = query.where(Threshold.metric == metric)
    if computer is not None:
        own = (Threshold.scope == ScopeKind.COMPUTER) & (Threshold.scope_id == computer.uuid)
        tagged = (Threshold.scope == ScopeKind.TAG) & Threshold.scope_id.in_(computer.tags)
        wide = (Threshold.scope == ScopeKind.ALL) | (
            (Threshold.scope == ScopeKind.TENANT) & (Threshold.scope_id == computer.tenant_id)
        )
        subjects = [one.key for one in metrics() if one.subject == "computer"]
        query = query.where(
            or_(Threshold.tenant_id.is_(None), Threshold.tenant_id == computer.tenant_id), Threshold.metric.in_(subjects),
            or_(own, tagged, wide),
        )  # fmt: skip
    return list(session().scalars(query.order_by(func.lower(Threshold.name), Threshold.id).limit(limit).offset(offset)))


def get_threshold(threshold_id: str, actor: Actor) -> Threshold:
    """One rule. Raises NotFound."""
    row: Threshold | None = session().get(Threshold, threshold_id.lower())
    if row is None or not (row.tenant_id is None or actor.sees(row.tenant_id)):
        raise NotFound("Threshold not found")
    return row


def silences(scope: Scope, *, over: bool = False, limit: int = 100_000, offset: int = 0) -> list[Silence]:
    """Silences by when they begin, newest first; those that are over only with `over`."""
    query = _seen(select(Silence), Silence, scope)
    if not over:
        query = query.where(Silence.due_at.is_not(None))
    return list(session().scalars(query.order_by(Silence.starts_at.desc(), Silence.id).limit(limit).offset(offset)))


def get_silence(silence_id: str, actor: Actor) -> Silence:
    """One silence. Raises NotFound."""
    row: Silence | None = session().get(Silence, silence_id.lower())
    if row is None or not (row.tenant_id is None or actor.sees(row.tenant_id)):
        raise NotFound("Silence not found")
    return row


def worst(scope: Scope) -> str:
    """The worst severity of active alerts, or "" (for titles and icons)."""
    counts = status_counts(AlertFilter(scope=scope))
    return "critical" if counts["critical"] else "warning" if counts["warning"] else ""
