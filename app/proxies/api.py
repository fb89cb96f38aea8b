"""Contract 003 `/api/ip/status`, and our own `/api/v1/proxies…`."""

from typing import Any

from flask import current_app

from app.actors import Permission
from app.clock import now
from app.factory import settings_of
from app.proxies import bp, operations, queries
from app.proxies.models import Proxy
from app.proxies.queries import ProxyFilter
from app.proxies.schemas import (
    CheckOut,
    IpStatus,
    ProxyList,
    ProxyListQuery,
    ProxyOut,
    ProxyPatch,
    check_out,
    health_counts,
    proxy_out,
    stats_of,
)  # fmt: skip
from app.web import access


@bp.api("GET", "/api/ip/status", permission=Permission.SESSIONS_READ, returns=IpStatus)
def ip_status() -> dict[str, Any]:
    """Get detailed proxy health."""
    moment = now()
    proxies = [stats_of(proxy, moment) for proxy in queries.all_proxies(access.actor().tenant_ids)]
    return {"proxies": proxies, "health": health_counts(proxies)}


@bp.api("GET", "/api/v1/proxies", permission=Permission.SESSIONS_READ, query=ProxyListQuery, returns=ProxyList)
def list_proxies(query: ProxyListQuery) -> dict[str, Any]:
    """List proxies, the most used first."""
    moment = now()
    wanted = ProxyFilter(scope=access.actor().tenant_ids, status=query.status, country=query.country, q=query.q)
    rows = queries.by_ids(row[0] for row in queries.versions(wanted, "-uses", 100_000, 0))
    return {"total": len(rows), "proxies": [stats_of(proxy, moment) for proxy in rows.values()]}


def _shown(proxy: Proxy) -> dict[str, Any]:
    return proxy_out(proxy, queries.targets_of(proxy), queries.checks_of(proxy, 10), now())


@bp.api("GET", "/api/v1/proxies/<uuid>", permission=Permission.SESSIONS_READ, returns=ProxyOut)
def get_proxy(uuid: str) -> dict[str, Any]:
    """Get a proxy with its targets and its last checks."""
    return _shown(queries.get_proxy(uuid, access.actor()))


@bp.api("PUT", "/api/v1/proxies/<uuid>", permission=Permission.PROXIES_WRITE, body=ProxyPatch, returns=ProxyOut)
def update_proxy(uuid: str, body: ProxyPatch) -> dict[str, Any]:
    """Enable a proxy, which also ends its rest, or disable it."""
    proxy = queries.get_proxy(uuid, access.actor())
    operations.set_enabled(proxy, body.enabled, actor=access.actor())
    return _shown(proxy)


@bp.api("POST", "/api/v1/proxies/<uuid>/check", permission=Permission.PROXIES_WRITE, returns=CheckOut, status=202)
def check_proxy(uuid: str) -> dict[str, Any]:
    """Check a proxy: a request through it to BINNACLE_PROXY_CHECK_URL, made by the worker; 409 while one is under way."""
    proxy = queries.get_proxy(uuid, access.actor())
    return check_out(operations.request_check(proxy, settings_of(current_app).proxy_check_url, actor=access.actor()))


@bp.api("GET", "/api/v1/proxies/<uuid>/checks/<check_id>", permission=Permission.SESSIONS_READ, returns=CheckOut)
def get_check(uuid: str, check_id: str) -> dict[str, Any]:
    """Get a check and its result."""
    return check_out(queries.get_check(queries.get_proxy(uuid, access.actor()), check_id))
