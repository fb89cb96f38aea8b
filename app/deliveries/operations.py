"""What can be done with deliveries: follow the journal, claim what is due, note what came of it, ask again.

The guarantees (RELIABILITY 17): an entry and its rows are decided in one transaction with the cursor, so that no kill and no
second worker makes one too many or too few. A claim is one conditional update with a lease. What was acknowledged is never sent
again.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import and_, delete, func, or_, select, update

from app.actors import SYSTEM, Actor
from app.clock import iso, now
from app.database import insert_ignore, session, upsert
from app.deliveries import queries
from app.deliveries.models import OPEN, Delivery, DeliveryAttempt, DeliveryStatus, Instance, JournalCursor, ReceiverState
from app.errors import Conflict
from app.journal.models import JournalEntry
from app.journal.operations import Subject, record
from app.journal.queries import after, last_seq

LEASE = timedelta(seconds=60)  # longer than any attempt may last, resolving the name included
PATIENCE = timedelta(days=3)
FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_REST_S = 5.0, 4 * 3600.0, 300.0
KEPT, KEPT_FOR = 1000, timedelta(days=30)  # of each receiver
AT_A_TIME = 500
_DELIVERIES: Any = Delivery.__table__
_STATES: Any = ReceiverState.__table__


@dataclass(frozen=True)
class NewDelivery:
    """What a receiver is to be told. `occasion` is unique for it; `hold_s` seconds it waits for company first."""

    receiver_id: str
    occasion: str
    event: str
    title: str
    payload: str
    seq: int | None = None
    subject_id: str | None = None
    topic: str | None = None
    hold_s: float = 0.0
    patience: timedelta = PATIENCE


@dataclass(frozen=True)
class Claimed:
    """A delivery that this process may send until its lease ends. `tries` counts from 1 since it was last asked for."""

    id: str
    receiver_id: str
    event: str
    payload: str
    tries: int
    owner: str


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt. `retry_after_s`: what the receiver asked for. `final`: trying again is of no use. `gone`: the
    receiver wants nothing any more (410)."""

    ok: bool
    http_status: int | None = None
    latency_ms: float | None = None
    error: str | None = None
    excerpt: str | None = None
    retry_after_s: float | None = None
    final: bool = False
    gone: bool = False


@dataclass(frozen=True)
class Carrier:
    """A way to tell receivers. `types`: the journal's types that any of them wants now. `route`: what is to be told for entries.
    `send`: tell it (in a thread, outside any transaction), one outcome for each. `subject`: a receiver for the journal, None when
    it is gone. `retire`: a receiver answered 410. `at_once`: sends of this process; `each`: of them to one receiver. `pack`: what
    is due for one receiver, as the parcels in which it goes out; with `held_too` parcels take along what is still held back."""

    name: str
    types: Callable[[], Sequence[str]]
    route: Callable[[Sequence[JournalEntry]], list[NewDelivery]]
    send: Callable[[Any, list[Claimed]], list[Outcome]]
    subject: Callable[[str], Subject | None]
    at_once: int
    each: int
    batch: int
    retire: Callable[[str], None] = field(default=lambda _receiver_id: None)
    pack: Callable[[list[Delivery]], list[list[Delivery]]] = field(default=lambda rows: [[row] for row in rows])
    held_too: bool = False


carriers: dict[str, Carrier] = {}


# -- following the journal -----------------------------------------------------------------------------------------


def begin_following(name: str) -> None:
    """Called when a receiver is made: from now on the journal is followed for its carrier."""
    bind = session().get_bind()
    row = upsert(JournalCursor.__table__, bind.dialect.name).values(name=name, seq=last_seq())
    session().execute(insert_ignore(row))


def follow(carrier: Carrier) -> bool:
    """Make the rows for the next entries of the journal and move the cursor, in the caller's transaction. Whether there are more.

    The order of the reads matters on PostgreSQL: whatever is committed after `top` was read is left for the next time."""
    cursor = session().scalar(select(JournalCursor).where(JournalCursor.name == carrier.name).with_for_update())
    if cursor is None:
        return False
    top = last_seq()
    types = tuple(carrier.types())
    entries = [entry for entry in after(cursor.seq, types, AT_A_TIME) if entry.seq <= top] if types and top > cursor.seq else []
    add(carrier.name, carrier.route(entries) if entries else [])
    more = len(entries) == AT_A_TIME
    cursor.seq = max(cursor.seq, entries[-1].seq if more else top)
    return more


def add(carrier: str, wanted: Iterable[NewDelivery]) -> list[str]:
    """Make rows to be sent; an occasion that the receiver has already is left out. Returns the new ids."""
    moment = now()
    rows = [
        {"id": str(uuid4()), "carrier": carrier, "receiver_id": new.receiver_id, "occasion": new.occasion, "seq": new.seq,
         "event": new.event, "subject_id": new.subject_id, "topic": new.topic, "title": new.title[:300], "payload": new.payload,
         "status": DeliveryStatus.QUEUED, "attempts": 0, "tries": 0, "created_at": moment,
         "due_at": moment + timedelta(seconds=new.hold_s), "give_up_at": moment + new.patience}
        for new in wanted
    ]  # fmt: skip
    if rows:
        session().execute(insert_ignore(upsert(_DELIVERIES, session().get_bind().dialect.name)), rows)
    return [str(row["id"]) for row in rows]


def add_test(carrier: str, receiver_id: str, event: str, title: str, payload: str) -> Delivery:
    """Something to try a receiver with: sent at once, whatever its state, and only once."""
    new = NewDelivery(receiver_id, f"test:{uuid4()}", event, title, payload, patience=timedelta(0))
    (delivery_id,) = add(carrier, [new])
    _wake(carrier, receiver_id)
    found: Delivery = session().get(Delivery, delivery_id)
    return found


def redeliver(delivery: Delivery, *, actor: Actor) -> None:
    """Send it again, under the same id. Raises Conflict while it is under way."""
    moment = now()
    patience = timedelta(0) if delivery.occasion.startswith("test:") else PATIENCE
    again = update(_DELIVERIES).where(_DELIVERIES.c.id == delivery.id, _DELIVERIES.c.status.not_in(OPEN))
    values = {"status": DeliveryStatus.QUEUED, "tries": 0, "due_at": moment, "give_up_at": moment + patience, "owner": None,
              "finished_at": None, "error": None}  # fmt: skip
    if session().execute(again.values(values)).rowcount != 1:
        raise Conflict("The delivery is under way already")
    session().refresh(delivery)
    _wake(delivery.carrier, delivery.receiver_id)
    subject = carriers[delivery.carrier].subject(delivery.receiver_id)
    record(f"{delivery.carrier}.redelivery_requested", actor, subject, delivery=delivery.id, event=delivery.event)


def _wake(carrier: str, receiver_id: str) -> None:
    mine = _STATES.c.carrier == carrier, _STATES.c.receiver_id == receiver_id
    session().execute(update(_STATES).where(*mine).values(rest_until=None))


# -- sending -------------------------------------------------------------------------------------------------------


def claim(ids: Sequence[str]) -> list[Claimed]:
    """Take deliveries to send them: those of them that are queued, or whose sender's lease has ended."""
    moment, owner, c = now(), str(uuid4()), _DELIVERIES.c
    lapsed = and_(c.status == DeliveryStatus.SENDING, c.due_at <= moment)
    statement = update(_DELIVERIES).where(c.id.in_(ids), or_(c.status == DeliveryStatus.QUEUED, lapsed))
    statement = statement.values(status=DeliveryStatus.SENDING, due_at=moment + LEASE, owner=owner, attempts=c.attempts + 1,
                                 tries=c.tries + 1).returning(c.id, c.receiver_id, c.event, c.payload, c.tries)  # fmt: skip
    order = {delivery_id: place for place, delivery_id in enumerate(ids)}
    taken = [Claimed(row[0], row[1], row[2], row[3], row[4], owner) for row in session().execute(statement)]
    return sorted(taken, key=lambda one: order[one.id])


def settle(carrier: Carrier, claimed: Sequence[Claimed], outcomes: Sequence[Outcome]) -> None:
    """Note what came of attempts. Who lost the lease meanwhile changes nothing."""
    settled = False
    for one, outcome in zip(claimed, outcomes, strict=True):
        row = session().scalar(select(Delivery).where(Delivery.id == one.id, Delivery.owner == one.owner).with_for_update())
        if row is None:
            continue
        error = outcome.error[:500] if outcome.error else None
        row.owner, row.http_status, row.latency_ms, row.error = None, outcome.http_status, outcome.latency_ms, error
        session().add(
            DeliveryAttempt(delivery_id=row.id, number=row.attempts, at=now(), ok=outcome.ok, http_status=outcome.http_status,
                            latency_ms=outcome.latency_ms, error=error, excerpt=outcome.excerpt)
        )  # fmt: skip
        _decide(carrier, row, outcome)
        settled = True
    if settled:
        _note_state(carrier.name, claimed[0].receiver_id, outcomes[-1])
        if any(outcome.gone for outcome in outcomes):
            carrier.retire(claimed[0].receiver_id)


def _decide(carrier: Carrier, row: Delivery, outcome: Outcome) -> None:
    """Delivered, given up, or when it is tried again: doubling pauses with jitter, never before the receiver's Retry-After."""
    moment = now()
    row.due_at = row.finished_at = None
    if outcome.ok:
        row.status, row.finished_at = DeliveryStatus.DELIVERED, moment
    elif outcome.final or outcome.gone or moment >= row.give_up_at:
        row.status, row.finished_at = DeliveryStatus.FAILED, moment
        if not row.occasion.startswith("test:"):
            said = {"delivery": row.id, "event": row.event, "attempts": row.attempts, "error": row.error}
            record(f"{carrier.name}.delivery_failed", SYSTEM, carrier.subject(row.receiver_id), **said)
    else:
        wait = max(pause_s(row.tries), outcome.retry_after_s or 0.0)
        row.status, row.due_at = DeliveryStatus.QUEUED, min(moment + timedelta(seconds=wait), row.give_up_at)


def pause_s(tries: int) -> float:
    """Seconds until the next try after so many that failed: 5, 10, 20 … 14,400, of which a random half may be missing."""
    whole = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tries - 1, 20))
    return whole * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, hides nothing)


def _note_state(carrier: str, receiver_id: str, outcome: Outcome) -> None:
    """How the receiver does. It rests when it asks for it, and longer each time when it does not answer at all."""
    moment = now()
    new = upsert(_STATES, session().get_bind().dialect.name).values(carrier=carrier, receiver_id=receiver_id, failures_in_row=0)
    session().execute(insert_ignore(new))
    mine = ReceiverState.carrier == carrier, ReceiverState.receiver_id == receiver_id
    state = session().scalar(select(ReceiverState).where(*mine).with_for_update(), execution_options={"populate_existing": True})
    state.last_at, state.last_ok, state.last_error = moment, outcome.ok, outcome.error[:500] if outcome.error else None
    state.failures_in_row = 0 if outcome.ok else state.failures_in_row + 1
    rest = outcome.retry_after_s or 0.0
    if not outcome.ok and outcome.http_status is None and not outcome.final:
        rest = max(rest, min(LONGEST_REST_S, 2.0 ** min(state.failures_in_row, 10)) * random.uniform(0.5, 1.0))  # noqa: S311
    rest = min(rest, PATIENCE.total_seconds())
    state.rest_until = moment + timedelta(seconds=rest) if rest and not outcome.ok else None


# -- tidying -------------------------------------------------------------------------------------------------------


def cancel_open(carrier: str, receiver_id: str) -> int:
    """Nothing more is sent to a receiver (it was disabled), but for tests; returns how many deliveries that ends."""
    c = _DELIVERIES.c
    mine = update(_DELIVERIES).where(c.carrier == carrier, c.receiver_id == receiver_id, c.status == DeliveryStatus.QUEUED)
    ended = mine.where(c.occasion.not_like("test:%")).values(status=DeliveryStatus.CANCELLED, due_at=None, finished_at=now())
    return int(session().execute(ended, execution_options={"synchronize_session": "fetch"}).rowcount)


def give_up_oldest(carrier: Carrier, receiver_id: str, most: int) -> int:
    """When more than `most` deliveries wait for a receiver, the oldest are given up until nine tenths of that are left, so that
    the journal gets one entry for many; returns how many that ends. Tests by hand do not count."""
    c = _DELIVERIES.c
    waits = (
        c.carrier == carrier.name,
        c.receiver_id == receiver_id,
        c.status == DeliveryStatus.QUEUED,
        c.occasion.not_like("test:%"),
    )
    count = int(session().scalar(select(func.count()).where(*waits)) or 0)
    if count <= most:
        return 0
    oldest = select(c.id).where(*waits).order_by(c.created_at, c.seq, c.id).limit(count - most * 9 // 10)
    values = {"status": DeliveryStatus.FAILED, "due_at": None, "finished_at": now(),
              "error": f"Given up: more than {most:,} deliveries were waiting for this receiver"}  # fmt: skip
    ended = update(_DELIVERIES).where(c.id.in_(oldest), c.status == DeliveryStatus.QUEUED).values(values)
    made = list(session().scalars(ended.returning(c.created_at)))
    if made:
        record(f"{carrier.name}.backlog_cut", SYSTEM, carrier.subject(receiver_id), given_up=len(made), most=most,
               made_from=iso(min(made)), made_until=iso(max(made)))  # fmt: skip
    return len(made)


def supersede(rows: Iterable[Delivery]) -> None:
    """What waits is not sent (again), because something newer says more."""
    ids = [row.id for row in rows]
    if ids:
        c = _DELIVERIES.c
        ended = update(_DELIVERIES).where(c.id.in_(ids), c.status == DeliveryStatus.QUEUED)
        session().execute(ended.values(status=DeliveryStatus.CANCELLED, due_at=None, finished_at=now()))


def forget(carrier: str, receiver_id: str) -> None:
    """Remove everything about a receiver that is deleted."""
    for model in (Delivery, ReceiverState):
        session().execute(delete(model).where(model.carrier == carrier, model.receiver_id == receiver_id))


def retain() -> int:
    """Remove ended deliveries that are older than KEPT_FOR, or beyond the newest KEPT of their receiver; returns how many."""
    removed = 0
    for carrier, receiver_id in session().execute(select(Delivery.carrier, Delivery.receiver_id).distinct()).all():
        mine = Delivery.carrier == carrier, Delivery.receiver_id == receiver_id, Delivery.due_at.is_(None)
        past = select(Delivery.created_at).where(*mine).order_by(Delivery.created_at.desc()).offset(KEPT).limit(1)
        edge = session().scalar(past)
        old = or_(Delivery.created_at < now() - KEPT_FOR, *([Delivery.created_at <= edge] if edge else []))
        gone = delete(Delivery).where(*mine, old).execution_options(synchronize_session=False)
        removed += int(session().execute(gone).rowcount)
    return removed


def instance_id() -> str:
    """This installation's id, made at its first use and never changed."""
    known = queries.instance_id()
    if known is None:
        new = upsert(Instance.__table__, session().get_bind().dialect.name).values(id=1, uuid=str(uuid4()))
        session().execute(insert_ignore(new))
        known = queries.instance_id()
    assert known is not None
    return known
