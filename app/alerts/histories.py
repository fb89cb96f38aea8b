"""What the states of other rooms were like in the last days, as far as these rooms keep it: the journal's changes of proxies and
of containers, sessions, runs. Rules are run over it as the evaluation would have done.

What has been deleted since is not looked at, but for containers, whose changes the journal keeps (50 of one report).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from app.alerts.matching import tags_of
from app.alerts.models import ScopeKind
from app.alerts.replay import Change, Past, evenly
from app.alerts.rules import Rule
from app.alerts.sources import FAILED, LEAST_SESSIONS, SICKNESS
from app.clock import from_ms, to_ms
from app.containers.models import STOPPED, UP, Container
from app.database import session
from app.fleet.models import Computer
from app.journal.models import JournalEntry
from app.journal.queries import first_since, newest_of
from app.proxies.models import Proxy, ProxyStatus
from app.runs.models import Run, RunStep
from app.runs.queries import visible_ids
from app.sessions.models import HOUR_MS, BotSession, SessionStatus
from app.tenants.models import Tenant

MINUTE_MS = 60_000
Scope = frozenset[str] | None


@dataclass
class History:
    """Of `total` subjects those that were looked at. `fired` are those of a metric that is an event: (ms, id, name). With a
    `reason` there is not enough of it."""

    total: int = 0
    checked: int = 0
    pasts: list[Past] = field(default_factory=list)
    fired: list[tuple[int, str, str]] = field(default_factory=list)
    reason: str | None = None


def _reaching(query: Any, rule: Rule, scope: Scope, tenant: Any) -> Any:
    """Only what the actor sees and the rule reaches."""
    if scope is not None:
        query = query.where(tenant.in_(scope))
    return query if rule.tenant_id is None else query.where(tenant == rule.tenant_id)


def _lost(type_: str, kept: str, since: int) -> str | None:
    """A sentence when a part of the time was removed because it was old."""
    entry = newest_of(type_)
    days = entry.data.get(kept) if entry is not None else None
    if entry is None or not isinstance(days, int) or to_ms(entry.at - timedelta(days=days)) <= since:
        return None
    return f"They are kept for {days} day{'s' if days != 1 else ''} only"


# -- proxies ---------------------------------------------------------------------------------------------------------

_SWITCHED = {"proxy.enabled": True, "proxy.disabled": False}


def _proxies(rule: Rule, scope: Scope, since: int, until: int, _computers: Sequence[Any]) -> History:
    if rule.scope in (ScopeKind.TAG, ScopeKind.COMPUTER):
        return History()
    query = select(Proxy.uuid, Proxy.address, Proxy.status, Proxy.created_at).order_by(Proxy.id)
    found = session().execute(_reaching(query, rule, scope, Proxy.tenant_id)).all()
    part = evenly(found)
    entries = _entries(
        "proxy", [row.uuid for row in part],
        JournalEntry.type.in_(_SWITCHED) | ((JournalEntry.type == "proxy.status_changed") & (JournalEntry.at >= from_ms(since))),
    )  # fmt: skip
    pasts = [Past(row.uuid, row.address, _sickness(row, entries.get(row.uuid, ()), since), until) for row in part]
    return History(len(found), len(part), pasts)


def _entries(kind: str, ids: Sequence[str], where: Any) -> dict[str, list[Any]]:
    """Entries (`at`, `type`, `data`) by subject, oldest first."""
    columns = JournalEntry.subject_id, JournalEntry.at, JournalEntry.type, JournalEntry.data
    query = select(*columns).where(JournalEntry.subject_kind == kind, JournalEntry.subject_id.in_(ids), where)
    found: dict[str, list[Any]] = {}
    for row in session().execute(query.order_by(JournalEntry.seq)) if ids else ():
        found.setdefault(row.subject_id, []).append(row)
    return found


def _sickness(proxy: Any, entries: Sequence[Any], since: int) -> list[Change]:
    """How sick it was; what a person has switched off is not sick."""
    first = next((entry for entry in entries if entry.type == "proxy.status_changed"), None)
    status, enabled = ProxyStatus(first.data["before"]) if first is not None else proxy.status, True
    changes: list[Change] = []
    start = max(since, to_ms(proxy.created_at))
    for entry in entries:
        at = to_ms(entry.at)
        if at > start and not changes:
            changes.append((start, SICKNESS[status] if enabled else 0.0))
        if entry.type in _SWITCHED:
            enabled = _SWITCHED[entry.type]
        else:
            status = ProxyStatus(entry.data["after"])
        if at > start:
            changes.append((at, SICKNESS[status] if enabled else 0.0))
    return changes or [(start, SICKNESS[status] if enabled else 0.0)]


# -- containers ------------------------------------------------------------------------------------------------------

_STATE_CHANGED = "container.state_changed"
_UPS, _STOPS = frozenset(state.value for state in UP), frozenset(state.value for state in STOPPED)


def _containers(rule: Rule, scope: Scope, since: int, until: int, computers: Sequence[Any]) -> History:
    part = evenly(computers)
    names = {row.uuid: row.name for row in part}
    columns = (
        Container.uuid,
        Container.name,
        Computer.uuid.label("on"),
        Container.stopped_at,
        Container.started_at,
        Container.first_seen,
    )
    query = select(*columns).join(Computer, Computer.id == Container.computer_id)
    rows = {row.uuid: row for row in session().execute(query.where(Container.computer_id.in_([one.id for one in part])))}
    entries = _changes_on(list(names), since)
    unclear = [uuid for uuid, found in entries.items() if found[0].data["before"] not in _UPS]
    before = _entries("container", unclear, (JournalEntry.type == _STATE_CHANGED) & (JournalEntry.at < from_ms(since)))
    pasts = []
    for uuid in {**rows, **entries}:
        pasts.append(_downs(uuid, rows.get(uuid), entries.get(uuid, ()), before.get(uuid, ()), names, since, until))
    total = len(pasts) + (_number_of_containers(computers) - len(rows) if len(part) < len(computers) else 0)
    return History(total, len(pasts), pasts)


def _number_of_containers(computers: Sequence[Any]) -> int:
    ids, number = [row.id for row in computers], 0
    for start in range(0, len(ids), 5000):
        query = select(func.count()).select_from(Container).where(Container.computer_id.in_(ids[start : start + 5000]))
        number += session().scalar(query) or 0
    return number


def _changes_on(computers: Sequence[str], since: int) -> dict[str, list[Any]]:
    columns = JournalEntry.subject_id, JournalEntry.subject_name, JournalEntry.at, JournalEntry.data
    query = select(*columns).where(
        JournalEntry.type == _STATE_CHANGED, JournalEntry.seq >= first_since(from_ms(since)),
        JournalEntry.data["computer"].as_string().in_(computers),
    )  # fmt: skip
    found: dict[str, list[Any]] = {}
    for row in session().execute(query.order_by(JournalEntry.seq)):
        found.setdefault(row.subject_id, []).append(row)
    return found


def _downs(uuid: str, row: Any, entries: Sequence[Any], earlier: Sequence[Any], names: Mapping[str, str], since: int,
           until: int) -> Past:  # fmt: skip
    """When it had stopped though it had run before; what is removed is over."""
    down, ran = False, row is not None and row.started_at is not None
    if not entries:
        down = row is not None and row.stopped_at is not None
    for entry in earlier:
        down, ran = _after(entry.data, down, ran)
    start = max(since, to_ms(row.first_seen)) if row is not None else since
    changes: list[Change] = [(start, float(down))]
    for entry in entries:
        at = max(start, to_ms(entry.at))
        down, ran = _after(entry.data, down, ran)
        if entry.data["after"] == "removed":
            until = at
            break
        changes.append((at, float(down)))
    name = row.name if row is not None else entries[0].subject_name
    on = names[row.on if row is not None else entries[0].data["computer"]]
    return Past(uuid if row is not None else None, f"{name} on {on}", changes, until)


def _after(data: Mapping[str, Any], down: bool, ran: bool) -> tuple[bool, bool]:
    """(whether it counts as stopped, whether it has ever run), after one change of state: as `containers.reports` has it."""
    before, after = data["before"], data["after"]
    ran = ran or before in _UPS or after in _UPS
    if after in _UPS:
        return False, ran
    return down or (after in _STOPS and (before in _UPS or (before == "unknown" and ran))), ran


# -- sessions --------------------------------------------------------------------------------------------------------


def _sessions(rule: Rule, scope: Scope, since: int, until: int, _computers: Sequence[Any]) -> History:
    """The rate as it was looked up each minute: of the sessions that began in that hour or the one before and had ended."""
    if rule.scope in (ScopeKind.TAG, ScopeKind.COMPUTER):
        return History()
    first_hour = since // HOUR_MS - 1
    if reason := _lost("sessions.purged", "sessions_days", first_hour * HOUR_MS):
        return History(reason=reason)
    tenants = session().execute(_reaching(select(Tenant.id, Tenant.name), rule, scope, Tenant.id).order_by(Tenant.id)).all()
    hour, minute, failed = (
        BotSession.started_at // HOUR_MS,
        BotSession.ended_at // MINUTE_MS,
        BotSession.status == SessionStatus.FAILED,
    )
    query = select(BotSession.tenant_id, hour, minute, failed, func.count()).where(
        BotSession.started_at >= first_hour * HOUR_MS, BotSession.ended_at.is_not(None),
        BotSession.tenant_id.in_([row.id for row in tenants]),
    )  # fmt: skip
    ended: dict[str, list[Any]] = {}
    for row in session().execute(query.group_by(BotSession.tenant_id, hour, minute, failed)):
        ended.setdefault(row[0], []).append(row[1:])
    pasts = [Past(t.id, t.name, _rates(ended.get(t.id, ()), since, until), until) for t in tenants]
    return History(len(tenants), len(tenants), pasts)


def _rates(ended: Iterable[Any], since: int, until: int) -> list[Change]:
    """Percent that failed, as of the end of each minute in which it changed."""
    by_minute: dict[int, list[Any]] = {}
    for hour, minute, failed, number in ended:
        by_minute.setdefault((minute + 1) * MINUTE_MS, []).append((hour, bool(failed), number))
    hours = {hour * HOUR_MS for hour in range(since // HOUR_MS + 1, until // HOUR_MS + 1)} if by_minute else set()
    sums: dict[int, list[int]] = {}
    changes: list[Change] = [(since, 0.0)]
    for at in sorted(by_minute.keys() | hours):
        for hour, is_failed, number in by_minute.get(at, ()):
            counted = sums.setdefault(hour, [0, 0])
            counted[0] += number
            counted[1] += number * is_failed
        sums = {hour: counted for hour, counted in sums.items() if hour >= at // HOUR_MS - 1}
        total, bad = sum(one[0] for one in sums.values()), sum(one[1] for one in sums.values())
        rate = round(100 * bad / total, 1) if total >= LEAST_SESSIONS else 0.0
        if at <= since:
            changes = [(since, rate)]
        elif rate != changes[-1][1] and at <= until:
            changes.append((at, rate))
    return changes


# -- runs ------------------------------------------------------------------------------------------------------------


def _runs(rule: Rule, scope: Scope, since: int, _until: int, _computers: Sequence[Any]) -> History:
    """Each run that failed fires once. Rules on a tag or a computer are about runs with one target."""
    if reason := _lost("runs.purged", "runs_days", since):
        return History(reason=reason)
    query = _reaching(select(Run.id, Run.title, Run.finished_at, Run.status), rule, scope, Run.tenant_id)
    rows = session().execute(query.where(Run.finished_at >= from_ms(since)).order_by(Run.finished_at)).all()
    for narrow in (_seen(scope), _on_one(rule)):
        rows = [row for start in range(0, len(rows), 1000) for row in narrow(rows[start : start + 1000])]
    fired = [(to_ms(row.finished_at), row.id, row.title) for row in rows if row.status in FAILED]
    return History(len(rows), len(rows), fired=fired)


Narrow = Callable[[Sequence[Any]], Sequence[Any]]


def _seen(scope: Scope) -> Narrow:
    def narrow(rows: Sequence[Any]) -> Sequence[Any]:
        ids = set(visible_ids([row.id for row in rows], scope))
        return [row for row in rows if row.id in ids]

    return narrow if scope is not None else lambda rows: rows


def _on_one(rule: Rule) -> Narrow:
    def narrow(rows: Sequence[Any]) -> Sequence[Any]:
        query = select(RunStep.run_id, Computer.id, Computer.uuid).join(Computer, Computer.id == RunStep.computer_id).distinct()
        targets: dict[str, list[Any]] = {}
        for row in session().execute(query.where(RunStep.run_id.in_([row.id for row in rows]))):
            targets.setdefault(row.run_id, []).append(row)
        single = {run_id: found[0] for run_id, found in targets.items() if len(found) == 1}
        tags = tags_of([one.id for one in single.values()]) if rule.scope is ScopeKind.TAG else {}
        meant = {run_id for run_id, one in single.items() if rule.scope_id in (one.uuid, *tags.get(one.id, ()))}
        return [row for row in rows if row.id in meant]

    return narrow if rule.scope in (ScopeKind.TAG, ScopeKind.COMPUTER) else lambda rows: rows


Reading = Callable[[Rule, Scope, int, int, Sequence[Any]], History]
HISTORIES: dict[str, Reading] = {
    "proxy_health": _proxies, "container_down": _containers, "session_failures": _sessions, "run_failed": _runs,
}  # fmt: skip
