"""Which alerts are pushed to live tables: the Alerts list, the head of one alert, and the counts that every page shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qs

from flask import current_app
from markupsafe import Markup
from pydantic import Field, field_validator

from app.actors import Permission
from app.alerts import queries
from app.alerts.catalogue import metric_of
from app.alerts.figures import active_counts, tenant_names
from app.alerts.models import Alert, AlertStatus
from app.alerts.operations import CLOCK
from app.alerts.queries import AlertFilter, Scope
from app.alerts.words import REASONS, lasted, limit_words, subject_words
from app.clock import now
from app.errors import Invalid
from app.web import live
from app.web.listing import Column, ListQuery

COLUMNS = (
    Column("subject", "Computer or subject"),
    Column("state", "Status"),
    Column("threshold", "Rule"),
    Column("value", "Value", sortable=False),
    Column("fired", "Since"),
    Column("duration", "For", sortable=False),
    Column("who", "In hand", sortable=False),
    Column("tenant", "Tenant", sortable=False),
    Column("resolved", "Resolved", default=False),
    Column("metric", "Metric", default=False),
)
CHIPS = (
    ("", "Active", "a-active"), ("unacknowledged", "Unacknowledged", "a-unacknowledged"),
    ("acknowledged", "Acknowledged", "a-acknowledged"), ("muted", "Muted", "a-muted"), ("pending", "Pending", "a-pending"),
    ("resolved", "Resolved", "a-resolved"), ("all", "All", "a-total"),
)  # fmt: skip
SEVERITIES = (("critical", "Critical"), ("warning", "Warning"))
RANGES = (("1h", "Last hour"), ("24h", "Last 24 hours"), ("7d", "Last 7 days"), ("30d", "Last 30 days"))
_SPANS = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}


class AlertListQuery(ListQuery):
    """The Alerts page's URL. `active` is what it shows unless something else is said."""

    COLUMNS: ClassVar[tuple[Column, ...]] = COLUMNS
    DEFAULT_SORT: ClassVar[str] = "state"

    status: str = Field("", pattern="^(|unacknowledged|acknowledged|muted|pending|resolved|all)$")
    severity: str = Field("", pattern="^(|warning|critical)$")
    metric: str = Field("", max_length=32)
    tenant: str = Field("", max_length=36)
    computer: str = Field("", max_length=36)
    threshold: str = Field("", max_length=36)
    range: str = Field("", pattern="^(|1h|24h|7d|30d)$")

    @field_validator("status", mode="before")
    @classmethod
    def _active(cls, value: Any) -> Any:
        return "" if value == "active" else value

    def filter(self, scope: Scope) -> AlertFilter:
        """As the domain takes it."""
        start = now().replace(second=0, microsecond=0) - _SPANS[self.range] if self.range else None
        status = {"": "active", "muted": "active", "all": ""}.get(self.status, self.status)
        return AlertFilter(
            scope=scope, status=status, severity=self.severity, metric=self.metric, tenant=self.tenant, computer=self.computer,
            threshold=self.threshold, muted=True if self.status == "muted" else None, q=self.q, start=start,
        )  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What `alerts/_row.html` shows. `since` is when it fired, or when its limit was crossed while it is pending."""

    alert: Alert
    state: str
    tenant_name: str | None
    href: str
    what: str
    value: str
    limit: str
    since: datetime
    is_over: bool
    lasted: str


def subject_href(alert: Alert) -> str:
    """Where its subject is shown; "" when it is nowhere."""
    match alert.subject_kind:
        case "computer":
            return f"/fleet/{alert.subject_id}/" if alert.computer_id is not None else ""
        case "proxy":
            return f"/proxies/{alert.subject_id}/"
        case "container":
            return f"/containers/{alert.subject_id}/"
        case "run":
            return f"/runs/{alert.subject_id}/"
        case "sessions":
            return f"/sessions/?tenant={alert.subject_id}&status=failed&range=24h"
    return ""


def row_of(alert: Alert, tenants: Mapping[str | None, str]) -> Row:
    """An alert as a row."""
    metric, since = metric_of(alert.metric), alert.fired_at or alert.pending_since
    over = alert.resolved_at is not None
    seconds = (alert.resolved_at - since).total_seconds() if alert.resolved_at else None
    state = "muted" if alert.muted and alert.is_active else alert.status.value
    plain = metric is None or not metric.words
    return Row(
        alert, state, tenants.get(alert.tenant_id), subject_href(alert), subject_words(alert.metric, alert.argument),
        metric.shown(alert.value) if metric else f"{alert.value:g}" if alert.value is not None else "–",
        limit_words(alert.metric, alert.comparison, alert.limit) if plain else "", since, over, lasted(seconds) if over else "",
    )  # fmt: skip


def render_rows(numbers: Sequence[int]) -> Mapping[int, str]:
    """Rows by number as HTML; the same for every viewer."""
    template = current_app.jinja_env.get_template("alerts/_row.html")
    found = queries.by_numbers(numbers)
    tenants = tenant_names(alert.tenant_id for alert in found.values())
    return {
        number: Markup(template.render(row=row_of(alert, tenants)).strip())  # noqa: S704 (rendered with autoescape)
        for number, alert in found.items()
    }


parse = AlertListQuery.parse


def _canonical(query_string: str) -> str:
    return parse(query_string).view()


def _keys(query_string: str, scope: Scope) -> list[live.Key]:
    query = parse(query_string)
    return queries.versions(query.filter(scope), query.per_page, query.offset, query.sort_key)


def counts_of(wanted: AlertFilter, *, fresh: bool = False) -> dict[str, int]:
    """The counts of the list's header and chips, as pages name them: the front page has those of computers, too. What is muted is
    counted whether or not it alone is asked for."""
    counts = queries.status_counts(replace(wanted, muted=None), fresh=fresh)
    return {f"a-{key}": number for key, number in counts.items()}


def _counts(query_string: str, scope: Scope) -> dict[str, int]:
    return counts_of(parse(query_string).filter(scope), fresh=True)


ALERTS = live.LiveList("alerts", CLOCK, Permission.ALERTS_READ, _canonical, _keys, render_rows, _counts)
live.register(ALERTS)


def _one(query_string: str) -> str:
    alert_id = parse_qs(query_string).get("id", [""])[0]
    if len(alert_id) != 36:
        raise Invalid("alert?id=<uuid>")
    return f"id={alert_id}"


def _one_key(query_string: str, scope: Scope) -> list[live.Key]:
    return queries.version_of(query_string.removeprefix("id="), scope)


def _render_heads(numbers: Sequence[int]) -> Mapping[int, str]:
    template = current_app.jinja_env.get_template("alerts/_now.html")
    found = queries.by_numbers(numbers)
    tenants = tenant_names(alert.tenant_id for alert in found.values())
    return {
        number: Markup(template.render(  # noqa: S704 (rendered with autoescape)
            row=row_of(alert, tenants), reason=REASONS.get(alert.resolve_reason or "", alert.resolve_reason),
            is_sampled=alert.status is not AlertStatus.PENDING,
        ).strip())
        for number, alert in found.items()
    }  # fmt: skip


def _nothing(_query: str, _scope: Scope) -> dict[str, Any]:
    return {}


ALERT = live.LiveList("alert", CLOCK, Permission.ALERTS_READ, _one, _one_key, _render_heads, _nothing, switched=False)
live.register(ALERT)


def _no_query(query_string: str) -> str:
    if query_string:
        raise Invalid("alert-counts takes no query")
    return ""


def _no_keys(_query: str, _scope: Scope) -> list[live.Key]:
    return []


def _no_rows(_numbers: Sequence[int]) -> Mapping[int, str]:
    return {}


def _active_counts(_query: str, scope: Scope) -> dict[str, int]:
    return active_counts(scope)


COUNTS = live.LiveList("alert-counts", CLOCK, Permission.ALERTS_READ, _no_query, _no_keys, _no_rows, _active_counts)
live.register(COUNTS)
