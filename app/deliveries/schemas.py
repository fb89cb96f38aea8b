"""JSON shapes of deliveries, the same for webhooks and channels."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pydantic import Field

from app.clock import iso
from app.deliveries import queries
from app.deliveries.models import Delivery, DeliveryAttempt, DeliveryStatus, ReceiverState
from app.shapes import Answer, Query

T = TypeVar("T")


class PageQuery(Query):
    """Without `per_page` everything is listed, as contract 000 does."""

    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int | None = Field(None, ge=1, le=1000)

    def paged(self, rows: Sequence[T]) -> tuple[Sequence[T], dict[str, Any]]:
        """The rows of the page, and what the answer says beside them."""
        said: dict[str, Any] = {"total": len(rows)}
        if self.per_page is None:
            return rows, said
        start = (self.page - 1) * self.per_page
        return rows[start : start + self.per_page], said | {"page": self.page, "per_page": self.per_page}


class DeliveryQuery(PageQuery):
    """Filters of a receiver's deliveries, newest first. They are many, so they always come in pages."""

    per_page: int = Field(50, ge=1, le=1000)
    status: DeliveryStatus | None = None


class AttemptOut(Answer):
    """One attempt; latency in ms, `response` is the beginning of the answer."""

    number: int
    at: str
    success: bool
    status_code: int | None
    latency_ms: float | None
    error: str | None
    response: str | None


class DeliveryOut(Answer):
    """One delivery. `next_attempt_at` while it is to be tried (again)."""

    id: str
    event: str
    title: str
    status: DeliveryStatus
    attempts: int
    created_at: str
    next_attempt_at: str | None
    finished_at: str | None
    status_code: int | None
    latency_ms: float | None
    error: str | None
    log: list[AttemptOut]


class DeliveryList(Answer):
    """Lists on implied routes look like 000's, with the page that this is."""

    total: int
    page: int
    per_page: int
    deliveries: list[DeliveryOut]


class ReceiverHealth(Answer):
    """How a receiver does: its last attempt, and how many failed in a row."""

    last_attempt_at: datetime | None = None
    last_success: bool | None = None
    last_error: str | None = None
    failures_in_row: int = 0
    waiting: int = Field(0, description="deliveries still to be made")


def delivery_out(row: Delivery, attempts: Iterable[DeliveryAttempt]) -> dict[str, Any]:
    """A delivery with its log."""
    waits = row.due_at if row.status is DeliveryStatus.QUEUED else None
    log = [
        {"number": one.number, "at": iso(one.at), "success": one.ok, "status_code": one.http_status, "latency_ms": one.latency_ms,
         "error": one.error, "response": one.excerpt}
        for one in attempts
    ]  # fmt: skip
    return {
        "id": row.id, "event": row.event, "title": row.title, "status": row.status, "attempts": row.attempts,
        "created_at": iso(row.created_at), "next_attempt_at": iso(waits), "finished_at": iso(row.finished_at),
        "status_code": row.http_status, "latency_ms": row.latency_ms, "error": row.error, "log": log,
    }  # fmt: skip


def with_log(row: Delivery) -> dict[str, Any]:
    """The same, with its attempts looked up."""
    return delivery_out(row, queries.attempts_of([row.id]).get(row.id, ()))


def health_out(state: ReceiverState | None, waiting: int) -> ReceiverHealth:
    """A receiver's health; `state` None: it was never sent anything."""
    if state is None:
        return ReceiverHealth(waiting=waiting)
    return ReceiverHealth(last_attempt_at=state.last_at, last_success=state.last_ok, last_error=state.last_error,
                          failures_in_row=state.failures_in_row, waiting=waiting)  # fmt: skip


def listed(wanted: queries.DeliveryFilter, query: DeliveryQuery) -> dict[str, Any]:
    """A page of a receiver's deliveries as `DeliveryList`."""
    rows = queries.list_deliveries(wanted, query.per_page, (query.page - 1) * query.per_page)
    logs = queries.attempts_of(row.id for row in rows)
    shown = [delivery_out(row, logs.get(row.id, ())) for row in rows]
    return {"total": queries.count_deliveries(wanted), "page": query.page, "per_page": query.per_page, "deliveries": shown}
