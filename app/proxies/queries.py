"""What can be asked about proxies."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from cachetools import TTLCache
from sqlalchemy import Select, case, func, or_, select, update

from app.actors import Actor
from app.clock import now
from app.database import contains, session
from app.errors import NotFound
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
    """Which proxies. `q` is text in address or country; `status` is contract 003's, or `resting` or `disabled`."""

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
        query = query.where(Proxy.cooldown_until > now())
    elif wanted.status == "disabled":
        query = query.where(Proxy.enabled.is_(False))
    elif wanted.status:
        query = query.where(Proxy.status == wanted.status)
    for word in wanted.q.split():
        query = query.where(or_(contains(Proxy.address, word), contains(Proxy.country, word), contains(Proxy.exit_address, word)))
    return query


def versions(wanted: ProxyFilter, sort: str, limit: int, offset: int) -> list[tuple[int, str, int]]:
    """(id, public id, version) of one page of rows, in order: what a live list needs."""
    column = _SORTS[sort.removeprefix("-")]
    order = column.desc().nulls_last() if sort.startswith("-") else column.asc().nulls_last()
    columns: Any = select(Proxy.id, Proxy.uuid, Proxy.version)
    rows = session().execute(_where(columns, wanted).order_by(order, Proxy.id).limit(limit).offset(offset))
    return [(row[0], row[1], row[2]) for row in rows]


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
    """`total, healthy, flagged, blacklisted, resting, disabled` of all that match but for the status filter; ≤ 1 s old."""
    wanted = replace(wanted, status="")
    known = None if fresh else _counts.get(wanted)
    if known is None:
        columns: Any = select(Proxy.status, func.count(Proxy.id))
        found = {status.value: n for status, n in session().execute(_where(columns, wanted).group_by(Proxy.status))}
        known = {status.value: found.get(status.value, 0) for status in ProxyStatus}
        known["total"] = sum(known.values())
        for name in ("resting", "disabled"):
            count: Any = select(func.count(Proxy.id))
            known[name] = int(session().scalar(_where(count, replace(wanted, status=name))) or 0)
        _counts[wanted] = known
    return known


def forget_counts() -> None:
    """Make this process count anew."""
    _counts.clear()


def countries(scope: Scope) -> list[str]:
    """The countries that occur."""
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


def stale_checks(before: timedelta, limit: int) -> list[Proxy]:
    """Enabled proxies without a check since `before` ago, and none under way: those that a clock-driven check is due for."""
    waiting = select(ProxyCheck.proxy_id).where(ProxyCheck.finished_at.is_(None))
    query = select(Proxy).where(Proxy.enabled, or_(Proxy.checked_at.is_(None), Proxy.checked_at < now() - before))
    return list(session().scalars(query.where(Proxy.id.not_in(waiting)).order_by(Proxy.checked_at).limit(limit)))
