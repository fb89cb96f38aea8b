"""What the pages of webhooks and channels show of deliveries: a receiver's list, one delivery with its attempts, and
what is asked before one is deleted."""

from dataclasses import dataclass
from typing import Any

import orjson
from flask import Response, make_response, redirect, render_template, request

from app.actors import Actor
from app.deliveries import queries
from app.deliveries.models import Delivery, DeliveryStatus
from app.deliveries.operations import redeliver
from app.deliveries.queries import DeliveryFilter
from app.errors import DomainError
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


@dataclass(frozen=True)
class Receivers:
    """The settings pages of the receivers of one carrier: what those of webhooks and of channels have in common. `place` is their
    address, `section` their words in the settings, `noun` what one is called."""

    carrier: str
    place: str
    section: str
    noun: str

    def health(self) -> dict[str, Any]:
        """How each does, and how many deliveries wait for it."""
        return {"states": queries.states(self.carrier), "waiting": queries.open_counts(self.carrier)}

    def one(self, receiver_id: str) -> dict[str, Any]:
        """The same, and a page of one receiver's deliveries."""
        return self.health() | list_context(self.carrier, receiver_id, f"{self.place}/{receiver_id}")

    def delivery(self, receiver_id: str, name: str, delivery_id: str, *, with_payload: bool) -> Response:
        """One delivery: the page, or with htmx what changes while it is under way. Raises NotFound."""
        row = queries.get_delivery(self.carrier, receiver_id, delivery_id)
        wait = queries.waiting_s(row)
        under_way = row.status is DeliveryStatus.SENDING or (wait is not None and wait < WATCHED_S)
        context: dict[str, Any] = {
            "row": row, "attempts": list(reversed(queries.attempts_of([row.id]).get(row.id, []))), "under_way": under_way,
            "place": f"{self.place}/{receiver_id}", "receiver": name, "section": (self.section, self.place),
            "payload": pretty(row.payload) if with_payload else None, "page_title": f"Delivery to {name}",
        }  # fmt: skip
        template = "deliveries/_delivery.html" if pages.is_fragment() else "deliveries/delivery.html"
        response = make_response(render_template(template, **context))
        response.vary.add("HX-Request")
        return response

    def tried(self, row: Delivery) -> Response:
        """On to a delivery that was just asked for."""
        return make_response(redirect(f"{self.place}/{row.receiver_id}/deliveries/{row.id}", 303))

    def redeliver(self, receiver_id: str, delivery_id: str, *, actor: Actor) -> Response:
        """Send it again and show how that goes. Raises NotFound."""
        row = queries.get_delivery(self.carrier, receiver_id, delivery_id)
        try:
            redeliver(row, actor=actor)
        except DomainError as error:
            pages.toast(error.message, "error")
        return make_response(redirect(f"{self.place}/{receiver_id}/deliveries/{delivery_id}", 303))

    def confirm_delete(self, receiver_id: str, name: str, note: str, impact: str) -> str:
        """Ask before one is deleted; `note` tells it from others of its name, `impact` what that ends."""
        return self.confirm(
            receiver_id, f"Delete {self.noun} {name}?", {"label": name, "note": note}, "delete", f"Delete {self.noun}",
            f"{impact}, and the log of its deliveries goes too.",
        )  # fmt: skip

    def confirm(self, receiver_id: str, title: str, target: dict[str, str], action: str, verb: str, impact: str) -> str:
        """Ask before something is done to one."""
        here = f"{self.place}/{receiver_id}"
        return render_template(
            "confirm.html", title=title, page_title=title, targets=[target], total=1, impact=impact, fields={},
            action=f"{here}/{action}", verb=verb, cancel=here,
        )  # fmt: skip

    def deleted(self) -> Response:
        """Back to the list."""
        pages.toast(f"{self.noun.capitalize()} deleted")
        return make_response(redirect(self.place, 303))


def pretty(payload: str) -> str:
    """A stored body as people read it."""
    return orjson.dumps(orjson.loads(payload), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
