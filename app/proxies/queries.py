"""What can be asked about proxies."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from cachetools import TTLCache, cached
from sqlalchemy import Select, and_, case, func, or_, select, update

from app.actors import Actor
from app.clock import now
from app.database import contains, session
from app.errors import NotFound
from app.proxies import health
from app.proxies.models import CheckStatus, Proxy, ProxyCheck, ProxyStatus, ProxyTarget

Scope = frozenset[str] | None
_ENDED: Any = Proxy.successes + Proxy.failures
_RATE: Any = case((_ENDED == 0, 1.0), else_=Proxy.successes * 1.0 / func.nullif(_ENDED, 0))
_SORTS: dict[str, Any] = {
    "address": Proxy.address, "status": Proxy.status, "rate": _RATE, "uses": Proxy.uses, "country": Proxy.country,
    "latency": case((Proxy.check_latency_ms.is_not(None), Proxy.check_latency_ms),
                    else_=Proxy.latency_us / 1000.0 / func.nullif(Proxy.latency_count, 0)),
    "last_used": Proxy.last_used,
}  # fmt: skip


@dataclass(frozen=True)
class ProxyFilter:
    """Which proxies. `q` is text in address or country; `status` is contract 003's, or `unhealthy`, `resting`,
    `disabled`."""

    scope: Scope = None
    tenant: str = ""
    status: str = ""
    country: str = ""
    q: str = ""


def _where(query: Select[Any], wanted: ProxyFilter) -> Select[Any]:
    if wanted.scope is not None:
        query = query.where(Proxy.tenant_id.in_(wanted.scope))
    if wanted.tenant:
        query = query.where(Proxy.tenant_id == wanted.tenant)
    if wanted.country:
        query = query.where(Proxy.country == wanted.country)
    if wanted.status == "resting":
        query = query.where(Proxy.enabled, Proxy.cooldown_until > now())
    elif wanted.status == "disabled":
        query = query.where(Proxy.enabled.is_(False))
    elif wanted.status == "unhealthy":
        query = query.where(Proxy.status != ProxyStatus.HEALTHY)
    elif wanted.status:
        query = query.where(Proxy.status == wanted.status)
    for word in wanted.q.split():
        query = query.where(or_(contains(Proxy.address, word), contains(Proxy.country, word), contains(Proxy.exit_address, word)))
    return query


def versions(wanted: ProxyFilter, sort: str, limit: int, offset: int) -> list[tuple[int, str, int]]:
    """(id, public id, version) of one page of rows, in order: what a live list needs."""
    columns: Any = select(Proxy.id, Proxy.uuid, Proxy.version)
    rows = session().execute(_where(columns, wanted).order_by(*_order(sort)).limit(limit).offset(offset))
    return [(row[0], row[1], row[2]) for row in rows]


def _order(sort: str) -> list[Any]:
    """A column, and among equals the worst first; what somebody has disabled comes after what disabled itself."""
    column = _SORTS[sort.removeprefix("-")]
    first = column.desc().nulls_last() if sort.startswith("-") else column.asc().nulls_last()
    return [first, Proxy.enabled.desc(), _RATE.asc(), Proxy.id] if sort.removeprefix("-") == "status" else [first, Proxy.id]


def each(wanted: ProxyFilter, sort: str, chunk: int = 500) -> Iterator[Proxy]:
    """All that match, in order, fetched in chunks."""
    ids = list(session().scalars(_where(select(Proxy.id), wanted).order_by(*_order(sort))))
    for start in range(0, len(ids), chunk):
        part = ids[start : start + chunk]
        found = by_ids(part)
        yield from (found[i] for i in part if i in found)
        session().expunge_all()


def ids_of(wanted: ProxyFilter) -> list[int]:
    """The internal ids of all that match."""
    return list(session().scalars(_where(select(Proxy.id), wanted).order_by(Proxy.id)))


def internal_ids(uuids: Iterable[str], scope: Scope) -> list[int]:
    """The internal ids of public ones, as far as they exist within the scope."""
    query = _where(select(Proxy.id), ProxyFilter(scope=scope)).where(Proxy.uuid.in_([uuid.lower() for uuid in uuids]))
    return list(session().scalars(query.order_by(Proxy.id)))


@dataclass(frozen=True)
class Verdict:
    """What is said of a proxy now: contract 003's status and why; until when it rests, unless somebody has disabled it."""

    proxy: Proxy
    status: str
    reason: str
    resting_until: datetime | None


def verdict_on(proxy: Proxy, moment: datetime) -> Verdict:
    """What is said of it at a moment."""
    rests = proxy.enabled and proxy.in_cooldown(moment)
    status, reason = health.status_of(proxy, moment).value, health.reason(proxy, moment)
    return Verdict(proxy, status, reason, proxy.cooldown_until if rests else None)


def unhealthy(scope: Scope, limit: int) -> list[Verdict]:
    """Proxies that are not healthy, the worst first, those that somebody has disabled last."""
    query = _where(select(Proxy), ProxyFilter(scope=scope, status="unhealthy"))
    rows = session().scalars(query.order_by(Proxy.enabled.desc(), *_order("status")).limit(limit))
    moment = now()
    return [verdict_on(proxy, moment) for proxy in rows]


def first(wanted: ProxyFilter, sort: str, limit: int) -> list[Proxy]:
    """The first ones that match."""
    return list(session().scalars(_where(select(Proxy), wanted).order_by(*_order(sort)).limit(limit)))


def version_of(uuid: str, scope: Scope) -> list[tuple[int, str, int]]:
    """The same for one proxy; empty when it is gone or out of scope."""
    columns: Any = select(Proxy.id, Proxy.uuid, Proxy.version)
    rows = session().execute(_where(columns, ProxyFilter(scope=scope)).where(Proxy.uuid == uuid))
    return [(row[0], row[1], row[2]) for row in rows]


def by_ids(ids: Iterable[int]) -> dict[int, Proxy]:
    """Proxies by internal id."""
    wanted = list(ids)
    return {row.id: row for row in session().scalars(select(Proxy).where(Proxy.id.in_(wanted)))} if wanted else {}


def all_proxies(scope: Scope) -> list[Proxy]:
    """Every proxy of the scope, the most used first."""
    return list(session().scalars(_where(select(Proxy), ProxyFilter(scope=scope)).order_by(Proxy.uses.desc(), Proxy.id)))


def get_proxy(uuid: str, actor: Actor) -> Proxy:
    """One proxy by public id. Raises NotFound when there is none, or none that the actor may see."""
    row: Proxy | None = session().scalar(select(Proxy).where(Proxy.uuid == uuid.lower()))
    if row is None or not actor.sees(row.tenant_id):
        raise NotFound("Proxy not found")
    return row


_counts: TTLCache[ProxyFilter, dict[str, int]] = TTLCache(maxsize=512, ttl=1)


def status_counts(wanted: ProxyFilter, *, fresh: bool = False) -> dict[str, int]:
    """`total, healthy, flagged, blacklisted, unhealthy, resting, disabled` of all that match apart from the status filter; at
    most 1 s old."""
    wanted = replace(wanted, status="")
    known = None if fresh else _counts.get(wanted)
    if known is None:
        rules: Any = (and_(Proxy.enabled, Proxy.cooldown_until > now()), Proxy.enabled.is_(False))
        columns: Any = select(Proxy.status, func.count(Proxy.id), *(func.sum(case((rule, 1), else_=0)) for rule in rules))
        rows = session().execute(_where(columns, wanted).group_by(Proxy.status)).all()
        known = {status.value: 0 for status in ProxyStatus} | {row[0].value: row[1] for row in rows}
        known |= {"total": sum(known.values()), "unhealthy": known["flagged"] + known["blacklisted"]}
        known |= {"resting": sum(int(row[2]) for row in rows), "disabled": sum(int(row[3]) for row in rows)}
        _counts[wanted] = known
    return known


def forget_counts() -> None:
    """Make this process count and read the menus anew."""
    _counts.clear()
    _countries.clear()


_countries: TTLCache[Scope, list[str]] = TTLCache(maxsize=256, ttl=15)


@cached(_countries)
def countries(scope: Scope) -> list[str]:
    """The countries that occur, for the filter menu; at most 15 s old."""
    query = select(Proxy.country).where(Proxy.country.is_not(None)).distinct().order_by(Proxy.country).limit(300)
    return list(session().scalars(_where(query, ProxyFilter(scope=scope))))


def targets_of(proxy: Proxy, limit: int = 100) -> list[ProxyTarget]:
    """Its targets, the most used first."""
    ended = ProxyTarget.successes + ProxyTarget.failures
    query = select(ProxyTarget).where(ProxyTarget.proxy_id == proxy.id).order_by(ended.desc(), ProxyTarget.host)
    return list(session().scalars(query.limit(limit)))


def dead_targets(ids: Iterable[int]) -> dict[int, list[str]]:
    """Proxy → target hosts that have failed three times or more in a row through it."""
    found: dict[int, list[str]] = {}
    query = select(ProxyTarget.proxy_id, ProxyTarget.host).where(
        ProxyTarget.proxy_id.in_(list(ids)), ProxyTarget.failures_in_row >= 3
    )
    for proxy_id, host in session().execute(query.order_by(ProxyTarget.host)):
        found.setdefault(proxy_id, []).append(host)
    return found


def checks_of(proxy: Proxy, limit: int = 50) -> list[ProxyCheck]:
    """Its active checks, newest first."""
    query = select(ProxyCheck).where(ProxyCheck.proxy_id == proxy.id).order_by(ProxyCheck.requested_at.desc()).limit(limit)
    return list(session().scalars(query))


def get_check(proxy: Proxy, check_id: str) -> ProxyCheck:
    """One check of a proxy. Raises NotFound."""
    row: ProxyCheck | None = session().get(ProxyCheck, check_id)
    if row is None or row.proxy_id != proxy.id:
        raise NotFound("Check not found")
    return row


def claim_checks(limit: int, lease: timedelta) -> list[str]:
    """Take checks that wait, or whose worker died, for `lease`; returns their ids. Inside a unit of work."""
    moment = now()
    due = select(ProxyCheck.id).where(
        ProxyCheck.status != CheckStatus.DONE, or_(ProxyCheck.lease_until.is_(None), ProxyCheck.lease_until < moment)
    )
    due = due.order_by(ProxyCheck.requested_at).limit(limit).with_for_update(skip_locked=True)
    ids = list(session().scalars(due))
    if ids:
        claim = update(ProxyCheck).where(ProxyCheck.id.in_(ids))
        session().execute(claim.values(status=CheckStatus.RUNNING, lease_until=moment + lease))
    return ids


def next_check() -> datetime | None:
    """When the next check is to be made: now, when one waits or is under way (its worker may die)."""
    found: datetime | None = session().scalar(
        select(ProxyCheck.requested_at).where(ProxyCheck.status != CheckStatus.DONE).limit(1)
    )
    return found


def next_rested() -> datetime | None:
    """When the next rest of a proxy ends."""
    found: datetime | None = session().scalar(select(func.min(Proxy.cooldown_until)))
    return found


def under_check(ids: Sequence[int]) -> set[int]:
    """Those of the proxies that have a check waiting or running."""
    query = select(ProxyCheck.proxy_id).where(ProxyCheck.finished_at.is_(None), ProxyCheck.proxy_id.in_(ids))
    return set(session().scalars(query))


def older_checks(proxy_id: int, kept: int) -> Select[Any]:
    """The ids of a proxy's finished checks but for the newest `kept`."""
    query = select(ProxyCheck.id).where(ProxyCheck.proxy_id == proxy_id, ProxyCheck.finished_at.is_not(None))
    return query.order_by(ProxyCheck.requested_at.desc()).offset(kept)


def measured() -> list[tuple[int, str, str]]:
    """(id, recent, latencies) of the proxies whose windows hold anything."""
    query = select(Proxy.id, Proxy.recent, Proxy.latencies).where(or_(Proxy.recent != "[]", Proxy.latencies != "[]"))
    return [(row[0], row[1], row[2]) for row in session().execute(query)]


def stale_checks(before: timedelta, limit: int) -> list[Proxy]:
    """Enabled proxies without a check since `before` ago, and none under way: those that a clock-driven check is due for."""
    waiting = select(ProxyCheck.proxy_id).where(ProxyCheck.finished_at.is_(None))
    query = select(Proxy).where(Proxy.enabled, or_(Proxy.checked_at.is_(None), Proxy.checked_at < now() - before))
    return list(session().scalars(query.where(Proxy.id.not_in(waiting)).order_by(Proxy.checked_at).limit(limit)))
