"""What the pages of webhooks and channels show of deliveries: a receiver's list, and one delivery with its attempts."""

from typing import Any

import orjson
from flask import Response, make_response, render_template, request

from app.deliveries import queries
from app.deliveries.models import Delivery, DeliveryStatus
from app.deliveries.queries import DeliveryFilter
from app.web import pages

PAGE = 25
WATCHED_S = 90.0  # a page asks again while the next try is no further away than this


def list_context(carrier: str, receiver_id: str, place: str) -> dict[str, Any]:
    """A page of a receiver's deliveries, filtered by `?status=`; `place` is the receiver's page."""
    asked = request.args.get("status", "")
    status = asked if asked in set(DeliveryStatus) else ""
    page = max(1, min(request.args.get("page", 1, int), 1_000_000))
    wanted = DeliveryFilter(carrier, receiver_id, status)
    total = queries.count_deliveries(wanted)
    rows = queries.list_deliveries(wanted, PAGE, (page - 1) * PAGE)
    return {
        "deliveries": rows, "total": total, "page": page, "per_page": PAGE, "pages": max(1, -(-total // PAGE)), "status": status,
        "statuses": list(DeliveryStatus), "place": place,
    }  # fmt: skip


def delivery_page(row: Delivery, place: str, receiver: str, section: tuple[str, str], payload: str | None) -> Response:
    """One delivery: the page, or with htmx what changes while it is under way. `section` is (label, address) of the settings
    page, `payload` what was sent, None when that is not shown."""
    wait = queries.waiting_s(row)
    under_way = row.status is DeliveryStatus.SENDING or (wait is not None and wait < WATCHED_S)
    context: dict[str, Any] = {
        "row": row, "attempts": list(reversed(queries.attempts_of([row.id]).get(row.id, []))), "under_way": under_way,
        "place": place, "receiver": receiver, "section": section, "payload": payload, "page_title": f"Delivery to {receiver}",
    }  # fmt: skip
    template = "deliveries/_delivery.html" if pages.is_fragment() else "deliveries/delivery.html"
    response = make_response(render_template(template, **context))
    response.vary.add("HX-Request")
    return response


def pretty(payload: str) -> str:
    """A stored body as people read it."""
    return orjson.dumps(orjson.loads(payload), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
