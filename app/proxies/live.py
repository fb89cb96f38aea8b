"""Which rows the proxies push to live tables: the filters of the Proxies list, how a row is rendered, one proxy's page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import parse_qs

from flask import current_app
from markupsafe import Markup
from pydantic import Field

from app.actors import Permission
from app.clock import now
from app.errors import Invalid
from app.proxies import health, queries
from app.proxies.models import Proxy
from app.proxies.operations import CLOCK
from app.proxies.queries import ProxyFilter, Scope
from app.proxies.schemas import check_out, latency_ms, target_out
from app.web import live
from app.web.listing import Column, ListQuery

COLUMNS = (
    Column("address", "Proxy"),
    Column("status", "Status"),
    Column("reason", "Why", sortable=False),
    Column("rate", "Success"),
    Column("uses", "Uses", align="end"),
    Column("latency", "Latency, 24 h"),
    Column("country", "Country"),
    Column("last_used", "Last used"),
    Column("dead", "Dead targets", sortable=False, default=False),
    Column("exit", "Exit address", sortable=False, default=False),
    Column("tenant", "Tenant", sortable=False, default=False),
)
STATUSES = (
    ("", "All", "total"), ("unhealthy", "Not healthy", "unhealthy"), ("blacklisted", "Blacklisted", "blacklisted"),
    ("flagged", "Flagged", "flagged"), ("healthy", "Healthy", "healthy"), ("resting", "Resting", "resting"),
    ("disabled", "Disabled", "disabled"),
)  # fmt: skip
DEAD_SHOWN = 3
TARGETS, CHECKS = 100, 20


class ProxyQuery(ListQuery):
    """The Proxies page's URL."""

    COLUMNS: ClassVar[tuple[Column, ...]] = COLUMNS
    DEFAULT_SORT: ClassVar[str] = "status"

    status: str = Field("", pattern="^(|healthy|flagged|blacklisted|unhealthy|resting|disabled)$")
    country: str = Field("", max_length=50)
    tenant: str = Field("", max_length=36)

    def filter(self, scope: Scope) -> ProxyFilter:
        """As the domain takes it."""
        return ProxyFilter(scope=scope, tenant=self.tenant, status=self.status, country=self.country, q=self.q)


@dataclass(frozen=True)
class Row:
    """What `proxies/_row.html` shows. `percent` and `hour` are None when no session has ended (in the last hour)."""

    proxy: Proxy
    status: str
    resting_until: datetime | None
    reason: str
    dead: list[str]
    percent: int | None
    hour: int | None
    hour_ended: int
    latency: str
    bars: str


def latency_text(ms: float) -> str:
    """A latency in ms for a person; a dash when none is known."""
    if ms <= 0:
        return "–"
    if ms < 999.5:
        return f"{max(1, round(ms))} ms"
    seconds = ms / 1000
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 119.5 else f"{seconds / 60:.0f} min"


def bars(hourly: Sequence[float | None]) -> str:
    """Latencies of hours as the strokes of an SVG path in a 96 × 24 box, one bar for each hour that has one, the highest full."""
    highest = max((value for value in hourly if value), default=0.0)
    if not highest:
        return ""
    step = 96 / len(hourly)
    heights = [(place, max(2.0, 23 * value / highest)) for place, value in enumerate(hourly) if value]
    return "".join(f"M{step * (place + 0.5):g} 24v-{height:.0f}" for place, height in heights)


def row_of(proxy: Proxy, dead: list[str], moment: datetime) -> Row:
    """A proxy as a row."""
    ended = proxy.successes + proxy.failures
    good, bad = health.window(proxy.recent, moment)
    verdict = queries.verdict_on(proxy, moment)
    return Row(
        proxy, verdict.status, verdict.resting_until, verdict.reason.replace(" %", "\N{NO-BREAK SPACE}%"), dead,
        health.percent(proxy.successes, ended) if ended else None, health.percent(good, good + bad) if good + bad else None,
        good + bad, latency_text(latency_ms(proxy)), bars(health.hourly_latency(proxy.latencies, moment)),
    )  # fmt: skip


def render_rows(ids: Sequence[int]) -> Mapping[int, str]:
    """Rows by internal id as HTML; the same for every viewer."""
    template = current_app.jinja_env.get_template("proxies/_row.html")
    found, dead, moment = queries.by_ids(ids), queries.dead_targets(ids), now()
    return {
        i: Markup(template.render(row=row_of(proxy, dead.get(i, []), moment), dead_shown=DEAD_SHOWN).strip())  # noqa: S704
        for i, proxy in found.items()
    }


parse = ProxyQuery.parse


def _canonical(query_string: str) -> str:
    return parse(query_string).view()


def _keys(query_string: str, scope: Scope) -> list[live.Key]:
    query = parse(query_string)
    return queries.versions(query.filter(scope), query.sort_key, query.per_page, query.offset)


def counts_of(wanted: ProxyFilter, *, fresh: bool = False) -> dict[str, int]:
    """The counts of the list's header and chips, and the navigation's: `burning`, whatever is filtered."""
    burning = queries.status_counts(ProxyFilter(scope=wanted.scope), fresh=fresh)["blacklisted"]
    return queries.status_counts(wanted, fresh=fresh) | {"burning": burning}


def _counts(query_string: str, scope: Scope) -> dict[str, int]:
    return counts_of(parse(query_string).filter(scope), fresh=True)


PROXIES = live.LiveList("proxies", CLOCK, Permission.SESSIONS_READ, _canonical, _keys, render_rows, _counts)
live.register(PROXIES)


def _one(query_string: str) -> str:
    uuid = parse_qs(query_string).get("id", [""])[0]
    if len(uuid) != 36:
        raise Invalid("proxy?id=<uuid>")
    return f"id={uuid}"


def _one_key(query_string: str, scope: Scope) -> list[live.Key]:
    return queries.version_of(query_string.removeprefix("id="), scope)


def _hours(hourly: Sequence[float | None]) -> list[tuple[str, int, str]]:
    """(hours ago in words, height in 0–60, latency in words) of each hour of the day, oldest first; no height without a value."""
    highest = max((value for value in hourly if value), default=0.0)
    ago = ["this hour", "an hour ago", *(f"{hours} hours ago" for hours in range(2, len(hourly)))]
    return [
        (words, max(2, round(60 * value / highest)) if value else 0, latency_text(value or 0))
        for words, value in zip(reversed(ago), hourly, strict=True)
    ]


def _head(proxy: Proxy, dead: list[str], moment: datetime) -> dict[str, Any]:
    hourly = health.hourly_latency(proxy.latencies, moment)
    known = [value for value in hourly if value]
    targets = queries.targets_of(proxy, TARGETS + 1)
    return {
        "row": row_of(proxy, dead, moment), "hours": _hours(hourly) if known else [],
        "latencies": (latency_text(min(known)), latency_text(max(known))) if known else None,
        "targets": [target_out(one, moment) | {"seen": one.last_at} for one in targets[:TARGETS]],
        "more_targets": len(targets) > TARGETS,
        "checks": [check_out(one) | {"asked": one.requested_at, "latency": latency_text(one.latency_ms or 0)}
                   for one in queries.checks_of(proxy, CHECKS)],
    }  # fmt: skip


def _render_heads(ids: Sequence[int]) -> Mapping[int, str]:
    template = current_app.jinja_env.get_template("proxies/_now.html")
    found, dead, moment = queries.by_ids(ids), queries.dead_targets(ids), now()
    return {
        i: Markup(template.render(**_head(proxy, dead.get(i, []), moment)).strip())  # noqa: S704 (rendered with autoescape)
        for i, proxy in found.items()
    }


def _nothing(_query: str, _scope: Scope) -> dict[str, Any]:
    return {}


PROXY = live.LiveList("proxy", CLOCK, Permission.SESSIONS_READ, _one, _one_key, _render_heads, _nothing, switched=False)
live.register(PROXY)
