"""JSON shapes of proxies: contract 003's, and our own `/api/v1/proxies`."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar

from pydantic import Field

from app.clock import iso
from app.proxies import health
from app.proxies.models import Proxy, ProxyCheck, ProxyStatus, ProxyTarget
from app.proxies.queries import dead_targets
from app.shapes import Answer, Body, Query

CSV_COLUMNS = (
    "id", "address", "tenant", "status", "reason", "enabled", "uses", "successes", "failures", "success_rate",
    "last_hour_successes", "last_hour_failures", "dead_targets", "latency_ms", "country", "exit_address", "last_used",
    "cooldown_until", "offences", "last_error",
)  # fmt: skip


class ProxyStats(Answer):
    """Contract 003, "IP Status"; the cooldown and the reason beside it."""

    url: str
    uses: int
    successes: int
    failures: int
    success_rate: float = Field(description="0 to 1")
    status: ProxyStatus
    enabled: bool
    last_used: str | None
    avg_latency_ms: float
    country: str | None
    is_in_cooldown: bool
    cooldown_until: str | None
    id: str
    reason: str


class IpHealth(Answer):
    """How many proxies have each status."""

    healthy: int
    flagged: int
    blacklisted: int


class IpStatus(Answer):
    """Contract 003, `GET /api/ip/status`."""

    proxies: list[ProxyStats]
    health: IpHealth


class CheckOut(Answer):
    """An active check: `queued`, `running`, then `done` with its result; latency in ms."""

    id: str
    status: str
    target: str
    requested_at: str
    requested_by: str
    finished_at: str | None
    ok: bool | None
    latency_ms: float | None
    http_status: int | None
    exit_address: str | None
    error: str | None


class TargetOut(Answer):
    """How a proxy does for one target host; `recent_*` are of the last hour."""

    host: str
    successes: int
    failures: int
    success_rate: float
    status: ProxyStatus
    recent_successes: int
    recent_failures: int
    failures_in_row: int
    last_error: str | None
    last_at: str | None


class ProxyOut(ProxyStats):
    """One proxy with everything about it."""

    tenant_id: str
    recent_successes: int
    recent_failures: int
    offences: int
    last_error: str | None
    exit_address: str | None
    targets: list[TargetOut]
    checks: list[CheckOut]


class ProxyList(Answer):
    """`GET /api/v1/proxies`."""

    total: int
    proxies: list[ProxyStats]


class ProxyPatch(Body):
    """What a person may change of a proxy."""

    enabled: bool


class ProxyListQuery(Query):
    """Filters of `GET /api/v1/proxies`."""

    STATUSES: ClassVar[str] = "^(|healthy|flagged|blacklisted|resting|disabled)$"

    status: str = Field("", pattern=STATUSES)
    country: str = Field("", max_length=50)
    q: str = Field("", max_length=200)


def latency_ms(proxy: Proxy) -> float:
    """What the last good check measured, else the mean duration of its successful sessions; 0 when neither is known."""
    if proxy.check_latency_ms is not None:
        return round(proxy.check_latency_ms, 1)
    return round(proxy.latency_us / proxy.latency_count / 1000, 1) if proxy.latency_count else 0.0


def stats_of(proxy: Proxy, moment: datetime) -> dict[str, Any]:
    """A proxy in contract 003's shape."""
    resting = proxy.in_cooldown(moment)
    return {
        "url": proxy.address, "uses": proxy.uses, "successes": proxy.successes, "failures": proxy.failures,
        "success_rate": round(health.rate(proxy.successes, proxy.failures), 4), "status": health.status_of(proxy, moment),
        "enabled": proxy.enabled and not resting, "last_used": stamp(proxy.last_used), "avg_latency_ms": latency_ms(proxy),
        "country": proxy.country, "is_in_cooldown": resting, "cooldown_until": stamp(proxy.cooldown_until) if resting else None,
        "id": proxy.uuid, "reason": health.reason(proxy, moment),
    }  # fmt: skip


def stamp(moment: datetime | None) -> str | None:
    """A time as contract 003 writes it, with +00:00."""
    return moment.isoformat() if moment else None


def health_counts(stats: list[dict[str, Any]]) -> dict[str, int]:
    """How many of them have each status."""
    return {status.value: sum(1 for row in stats if row["status"] is status) for status in ProxyStatus}


def check_out(check: ProxyCheck) -> dict[str, Any]:
    """A check as JSON."""
    names = ("id", "target", "requested_by", "ok", "latency_ms", "http_status", "exit_address", "error")
    return {name: getattr(check, name) for name in names} | {
        "status": check.status.value, "requested_at": iso(check.requested_at), "finished_at": iso(check.finished_at),
    }  # fmt: skip


def target_out(target: ProxyTarget, moment: datetime) -> dict[str, Any]:
    """A target as JSON."""
    good, bad = health.window(target.recent, moment)
    share = health.rate(target.successes, target.failures)
    return {
        "host": target.host, "successes": target.successes, "failures": target.failures, "success_rate": round(share, 4),
        "status": target_status(target), "recent_successes": good, "recent_failures": bad,
        "failures_in_row": target.failures_in_row, "last_error": target.last_error, "last_at": iso(target.last_at),
    }  # fmt: skip


def target_status(target: ProxyTarget) -> ProxyStatus:
    """The same limits as for a whole proxy; three failures in a row count as dead."""
    share = health.rate(target.successes, target.failures)
    if share < health.BLACKLIST_BELOW or target.failures_in_row >= health.STREAK:
        return ProxyStatus.BLACKLISTED
    return ProxyStatus.FLAGGED if share < health.FLAG_BELOW else ProxyStatus.HEALTHY


def proxy_out(proxy: Proxy, targets: list[ProxyTarget], checks: list[ProxyCheck], moment: datetime) -> dict[str, Any]:
    """Everything about one proxy."""
    good, bad = health.window(proxy.recent, moment)
    return stats_of(proxy, moment) | {
        "tenant_id": proxy.tenant_id, "recent_successes": good, "recent_failures": bad, "offences": proxy.offences,
        "last_error": proxy.last_error, "exit_address": proxy.exit_address,
        "targets": [target_out(target, moment) for target in targets], "checks": [check_out(check) for check in checks],
    }  # fmt: skip


def csv_rows(proxies: Iterable[Proxy], moment: datetime) -> Iterator[tuple[Any, ...]]:
    """Proxies as rows of CSV_COLUMNS; the rate is 0 to 1, the latency in ms, both empty while unknown."""
    left = iter(proxies)
    while part := list(islice(left, 500)):
        dead = dead_targets([proxy.id for proxy in part])
        for proxy in part:
            good, bad = health.window(proxy.recent, moment)
            ended = proxy.successes + proxy.failures
            yield (
                proxy.uuid, proxy.address, proxy.tenant.name, health.status_of(proxy, moment).value, health.reason(proxy, moment),
                proxy.enabled, proxy.uses, proxy.successes, proxy.failures,
                round(health.rate(proxy.successes, proxy.failures), 4) if ended else None, good, bad, dead.get(proxy.id, []),
                latency_ms(proxy) or None, proxy.country, proxy.exit_address, proxy.last_used,
                proxy.cooldown_until if proxy.in_cooldown(moment) else None, proxy.offences, proxy.last_error,
            )  # fmt: skip
