"""Which rows the fleet pushes to live tables: the filters of the Computers list, how a row is rendered, the views to watch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import parse_qs

from flask import current_app
from markupsafe import Markup
from pydantic import Field

from app.actors import Permission
from app.errors import Invalid
from app.fleet import queries
from app.fleet.models import SPARK_NONE, Computer
from app.fleet.operations import CLOCK
from app.fleet.queries import ComputerFilter, Scope
from app.web import live
from app.web.listing import Column, ListQuery

COLUMNS = (
    Column("name", "Name"),
    Column("status", "Status"),
    Column("tenant", "Tenant"),
    Column("os", "OS"),
    Column("cpu", "CPU, last hour"),
    Column("memory", "Memory"),
    Column("disk", "Disk", align="end"),
    Column("alerts", "Alerts", sortable=False, align="end"),
    Column("last_seen", "Last seen"),
    Column("address", "Address", default=False),
)
STATUSES = (("online", "Online"), ("offline", "Offline"), ("unknown", "Never seen"), ("attention", "Needs attention"))


class FleetQuery(ListQuery):
    """The Computers page's URL."""

    COLUMNS: ClassVar[tuple[Column, ...]] = COLUMNS
    DEFAULT_SORT: ClassVar[str] = "name"

    status: str = Field("", pattern="^(|online|offline|unknown|attention)$")
    os: str = Field("", max_length=200)
    tenant: str = Field("", max_length=36)
    tag: str = Field("", max_length=50)

    def filter(self, scope: Scope) -> ComputerFilter:
        """As the domain takes it."""
        return ComputerFilter(scope=scope, q=self.q, status=self.status, os=self.os, tenant=self.tenant, tag=self.tag)


@dataclass(frozen=True)
class Row:
    """What `fleet/_row.html` shows."""

    uuid: str
    name: str
    address: str | None
    tags: list[str]
    status: str
    tenant_name: str
    os_name: str | None
    cpu: float | None
    memory: float | None
    disk: float | None
    spark_points: str
    alerts: int
    last_seen: datetime | None
    health: str = "healthy"


def spark_points(slots: bytes | None) -> str:
    """The last hour's CPU as at most 30 points of a polyline in a 96 × 24 box, two minutes a point; a gap is bridged."""
    points = []
    for start in range(0, len(slots or b""), 2):
        pair = [value for value in (slots or b"")[start : start + 2] if value != SPARK_NONE]
        if pair:
            points.append(f"{start * 96 / 58:.0f},{23 - sum(pair) / len(pair) * 0.22:.0f}")
    return " ".join(points) if len(points) > 1 else ""


def row_of(c: Computer) -> Row:
    """A computer as a row."""
    return Row(c.uuid, c.name, c.address or c.host, c.tags, c.status.value, c.tenant.name, c.os_name, c.cpu, c.memory, c.disk,
               spark_points(c.spark), c.alerts_warning + c.alerts_critical, c.last_seen, c.health)  # fmt: skip


def render_rows(ids: Sequence[int]) -> Mapping[int, str]:
    """Rows by internal id as HTML; the same for every viewer."""
    template = current_app.jinja_env.get_template("fleet/_row.html")
    found = queries.by_ids(ids).items()
    return {i: Markup(template.render(row=row_of(c)).strip()) for i, c in found}  # noqa: S704 (rendered with autoescape)


parse = FleetQuery.parse


def _canonical(query_string: str) -> str:
    return parse(query_string).view()


def _keys(query_string: str, scope: Scope) -> list[live.Key]:
    query = parse(query_string)
    return queries.versions(query.filter(scope), query.sort_key, query.per_page, query.offset)


def _counts(query_string: str, scope: Scope) -> dict[str, int]:
    return queries.status_counts(parse(query_string).filter(scope), fresh=True)


FLEET = live.LiveList("fleet", CLOCK, Permission.FLEET_READ, _canonical, _keys, render_rows, _counts)
live.register(FLEET)


def _one(query_string: str) -> str:
    uuid = parse_qs(query_string).get("id", [""])[0]
    if len(uuid) != 36:
        raise Invalid("computer?id=<uuid>")
    return f"id={uuid}"


def _one_key(query_string: str, scope: Scope) -> list[live.Key]:
    return queries.version_of(query_string.removeprefix("id="), scope)


def _render_heads(ids: Sequence[int]) -> Mapping[int, str]:
    template = current_app.jinja_env.get_template("fleet/_now.html")
    found = queries.by_ids(ids).items()
    return {i: Markup(template.render(computer=c).strip()) for i, c in found}  # noqa: S704 (rendered with autoescape)


def _nothing(_query: str, _scope: Scope) -> dict[str, Any]:
    return {}


COMPUTER = live.LiveList("computer", CLOCK, Permission.FLEET_READ, _one, _one_key, _render_heads, _nothing, switched=False)
live.register(COMPUTER)
