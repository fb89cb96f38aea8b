"""What can be asked of deliveries."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, func, or_, select

from app.clock import now
from app.database import session
from app.deliveries.models import OPEN, Delivery, DeliveryAttempt, DeliveryStatus, Instance, JournalCursor, ReceiverState
from app.errors import NotFound
from app.journal.models import JournalEntry

SHORT_HOLD = timedelta(seconds=60)


@dataclass(frozen=True)
class DeliveryFilter:
    """Which deliveries of a receiver: `status` empty means all."""

    carrier: str
    receiver_id: str
    status: str = ""


def _matching(wanted: DeliveryFilter) -> Select[Any]:
    query = select(Delivery).where(Delivery.carrier == wanted.carrier, Delivery.receiver_id == wanted.receiver_id)
    return query.where(Delivery.status == DeliveryStatus(wanted.status)) if wanted.status else query


def list_deliveries(wanted: DeliveryFilter, limit: int, offset: int = 0) -> list[Delivery]:
    """Newest first."""
    order = Delivery.created_at.desc(), Delivery.seq.desc(), Delivery.id
    return list(session().scalars(_matching(wanted).order_by(*order).limit(limit).offset(offset)))


def count_deliveries(wanted: DeliveryFilter) -> int:
    """How many match."""
    return int(session().scalar(select(func.count()).select_from(_matching(wanted).subquery())) or 0)


def get_delivery(carrier: str, receiver_id: str, delivery_id: str) -> Delivery:
    """One delivery of the receiver. Raises NotFound."""
    found: Delivery | None = session().get(Delivery, delivery_id)
    if found is None or (found.carrier, found.receiver_id) != (carrier, receiver_id):
        raise NotFound("Delivery not found")
    return found


def attempts_of(delivery_ids: Iterable[str]) -> dict[str, list[DeliveryAttempt]]:
    """Delivery id → its attempts, the first one first."""
    wanted = list(delivery_ids)
    found: dict[str, list[DeliveryAttempt]] = {}
    for chunk in (wanted[i : i + 500] for i in range(0, len(wanted), 500)):
        query = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id.in_(chunk)).order_by(DeliveryAttempt.number)
        for row in session().scalars(query):
            found.setdefault(row.delivery_id, []).append(row)
    return found


def states(carrier: str) -> dict[str, ReceiverState]:
    """Receiver id → how it does, for those that were ever sent anything."""
    return {row.receiver_id: row for row in session().scalars(select(ReceiverState).where(ReceiverState.carrier == carrier))}


def open_counts(carrier: str) -> dict[str, int]:
    """Receiver id → how many deliveries are still to be sent."""
    query = select(Delivery.receiver_id, func.count()).where(Delivery.carrier == carrier, Delivery.due_at.is_not(None))
    return {receiver_id: int(count) for receiver_id, count in session().execute(query.group_by(Delivery.receiver_id))}


@dataclass(frozen=True)
class Glance:
    """How a carrier stands, in one question: how far it has followed the journal (None: it has never had a receiver), where the
    journal ends, and when something is next due."""

    cursor: int | None
    journal: int
    due_at: datetime | None


def glance(carrier: str) -> Glance:
    """What the courier asks several times a second."""
    cursor = select(JournalCursor.seq).where(JournalCursor.name == carrier).scalar_subquery()
    end = select(func.max(JournalEntry.seq)).scalar_subquery()
    next_due = select(Delivery.due_at).where(Delivery.carrier == carrier, Delivery.due_at.is_not(None))
    row = session().execute(select(cursor, end, next_due.order_by(Delivery.due_at).limit(1).scalar_subquery())).one()
    return Glance(row[0], row[1] or 0, row[2])


def receivers_due(carrier: str, moment: datetime) -> list[tuple[str, int]]:
    """(receiver id, its failures in a row) of those with something due that do not rest; who waits longest comes first."""
    state = and_(ReceiverState.carrier == Delivery.carrier, ReceiverState.receiver_id == Delivery.receiver_id)
    query = (
        select(Delivery.receiver_id, func.coalesce(func.max(ReceiverState.failures_in_row), 0))
        .outerjoin(ReceiverState, state)
        .where(Delivery.carrier == carrier, Delivery.due_at <= moment)
        .where(or_(ReceiverState.rest_until.is_(None), ReceiverState.rest_until <= moment))
        .group_by(Delivery.receiver_id)
        .order_by(func.min(Delivery.due_at))
    )
    return [(receiver_id, failures) for receiver_id, failures in session().execute(query)]


def due(carrier: str, receiver_id: str, moment: datetime, limit: int, *, held_too: bool = False) -> list[Delivery]:
    """What is due for a receiver, the oldest first; with `held_too` also what was never tried and is held back for a moment."""
    ready = Delivery.due_at <= moment
    if held_too:
        soon = Delivery.due_at <= moment + SHORT_HOLD
        ready = or_(ready, and_(Delivery.status == DeliveryStatus.QUEUED, Delivery.tries == 0, soon))
    query = select(Delivery).where(Delivery.carrier == carrier, Delivery.receiver_id == receiver_id, ready)
    return list(session().scalars(query.order_by(Delivery.created_at, Delivery.seq, Delivery.id).limit(limit)))


def about(carrier: str, receiver_id: str, subject_ids: Iterable[str]) -> dict[str, list[Delivery]]:
    """Subject id → what the receiver was, or is still to be, told of it, in order; without what was cancelled."""
    wanted = sorted(set(subject_ids))
    found: dict[str, list[Delivery]] = {}
    for chunk in (wanted[i : i + 500] for i in range(0, len(wanted), 500)):
        query = select(Delivery).where(Delivery.carrier == carrier, Delivery.receiver_id == receiver_id)
        query = query.where(Delivery.subject_id.in_(chunk), Delivery.status != DeliveryStatus.CANCELLED)
        for row in session().scalars(query.order_by(Delivery.created_at, Delivery.seq)):
            found.setdefault(str(row.subject_id), []).append(row)
    return found


def lately(carrier: str, receiver_id: str, topics: Iterable[str], since: datetime) -> dict[str, list[Delivery]]:
    """Topic → the deliveries made about it since a moment, in order; without what was cancelled."""
    wanted = sorted(set(topics))
    found: dict[str, list[Delivery]] = {}
    for chunk in (wanted[i : i + 500] for i in range(0, len(wanted), 500)):
        query = select(Delivery).where(Delivery.carrier == carrier, Delivery.receiver_id == receiver_id)
        query = query.where(Delivery.topic.in_(chunk), Delivery.created_at >= since, Delivery.status != DeliveryStatus.CANCELLED)
        for row in session().scalars(query.order_by(Delivery.created_at, Delivery.seq)):
            found.setdefault(str(row.topic), []).append(row)
    return found


def made_since(carrier: str, receiver_id: str, since: datetime) -> int:
    """How many deliveries were made for a receiver since a moment."""
    query = select(func.count()).select_from(Delivery).where(Delivery.carrier == carrier, Delivery.receiver_id == receiver_id)
    return int(session().scalar(query.where(Delivery.created_at >= since)) or 0)


def instance_id() -> str | None:
    """This installation's id, if it has one already."""
    found: str | None = session().scalar(select(Instance.uuid).where(Instance.id == 1))
    return found


def waiting_s(delivery: Delivery) -> float | None:
    """Seconds until the next try, None when there is none."""
    if delivery.due_at is None or delivery.status not in OPEN:
        return None
    return max(0.0, (delivery.due_at - now()).total_seconds())
