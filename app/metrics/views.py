"""The metrics tab of a computer: four charts over a range that the URL holds, their JSON, and the same as CSV."""

from typing import Any

from flask import Response, current_app, render_template, request

from app.actors import Permission
from app.clock import from_ms, now, to_ms
from app.factory import settings_of
from app.fleet.queries import get_computer
from app.metrics import bp, queries
from app.metrics.queries import History
from app.metrics.schemas import NAMES, HistoryQuery
from app.web import access, csv, pages
from app.web.body import validate_query
from app.web.routing import json_response

RANGES = (("1h", "1 hour", 3600), ("6h", "6 hours", 21600), ("24h", "24 hours", 86400), ("7d", "7 days", 604800),
          ("30d", "30 days", 2592000), ("1y", "1 year", 31536000))  # fmt: skip
DEFAULT_RANGE = "1h"
pages.add_tabs("/fleet/", pages.Tab("metrics", "Metrics", 10))


class RangeQuery(HistoryQuery):
    """`range` names a preset that ends now; `start` and `end` (seconds since 1970 or RFC 3339) name a fixed one."""

    range: str = ""

    def chosen(self) -> str:
        """The preset in force, or "" for a fixed range."""
        if self.start or self.start_time:
            return ""
        return self.range if self.range in {key for key, _, _ in RANGES} else DEFAULT_RANGE

    def window(self) -> tuple[int, int]:
        """(start, end) in ms."""
        if not self.chosen():
            return self.span_ms()
        end = to_ms(now()) + 1
        return end - {key: seconds for key, _, seconds in RANGES}[self.chosen()] * 1000, end


def _history(uuid: str, query: RangeQuery) -> tuple[History, int, int]:
    computer = get_computer(uuid, access.actor())
    start, end = query.window()
    kept = queries.Retention.of(settings_of(current_app))
    return queries.history(computer.id, start, end, kept, interval_s=computer.interval_s), start, end


@bp.page("/fleet/<uuid>/metrics", permission=Permission.FLEET_READ)
def metrics(uuid: str) -> str:
    """The charts."""
    computer = get_computer(uuid, access.actor())
    chosen = validate_query(RangeQuery, request).chosen()
    base = f"/fleet/{computer.uuid}/"
    ranges = [{"label": label, "href": f"{base}metrics?range={key}", "active": key == chosen} for key, label, _ in RANGES]
    return render_template(
        "metrics/computer.html", ranges=ranges, src=f"{base}metrics.json",
        csv_href=f"{base}metrics.csv", **pages.object_frame(
            computer, ("computer", f"id={computer.uuid}"), base, "metrics", f"{computer.name} metrics"),
    )  # fmt: skip


@bp.page("/fleet/<uuid>/metrics.json", permission=Permission.FLEET_READ)
def chart_data(uuid: str) -> Response:
    """What the charts draw: columns of numbers, times in seconds since 1970."""
    found, start, end = _history(uuid, validate_query(RangeQuery, request))
    out: dict[str, Any] = {"resolution": found.resolution, "step": found.step_ms / 1000, "from": start / 1000, "to": end / 1000,
                           "t": [p.at / 1000 for p in found.points]}  # fmt: skip
    for name, key in (
        ("cpu", "cpu"),
        ("memory", "memory"),
        ("disk", "disk"),
        ("recv_rate", "recv"),
        ("sent_rate", "sent"),
        ("load", "load"),
    ):
        out[key] = [p.values[name] for p in found.points]
        if found.step_ms:
            out[f"{key}_min"] = [p.spans[name][0] for p in found.points]
            out[f"{key}_max"] = [p.spans[name][1] for p in found.points]
    return json_response(out)


@bp.page("/fleet/<uuid>/metrics.csv", permission=Permission.FLEET_READ)
def chart_csv(uuid: str) -> Response:
    """The same figures as a table."""
    found, _, _ = _history(uuid, validate_query(RangeQuery, request))
    header = ["timestamp", *NAMES.values(), "cpu_percent_min", "cpu_percent_max", "memory_percent_min", "memory_percent_max"]
    rows = ([from_ms(p.at), *(p.values[name] for name in NAMES), *p.spans.get("cpu", ("", "")), *p.spans.get("memory", ("", ""))]
            for p in found.points)  # fmt: skip
    return csv.stream(header, rows, "metrics")
