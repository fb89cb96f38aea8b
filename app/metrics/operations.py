"""What can be done with samples: store them, many in one transaction, and answer only after its commit."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import bindparam, select, update

from app.actors import SYSTEM
from app.clock import from_ms, now, to_ms
from app.database import insert_ignore, session, upsert
from app.fleet.models import SPARK_NONE, SPARK_SLOTS, Computer, ComputerStatus
from app.fleet.operations import CLOCK, GRACE
from app.fleet.queries import forget_counts
from app.journal.operations import Subject, record, tick
from app.metrics.models import MINUTE_MS, LateBucket, RollupCursor, Sample

OLDEST = timedelta(days=7)
NEWEST = timedelta(minutes=5)


@dataclass
class NewSample:
    """A checked sample on its way in. `seq` is the connector's number, if it has one; `recv`, `sent` are counters in bytes."""

    computer_id: int
    at: int
    cpu: float
    memory: float
    disk: float | None = None
    recv_rate: float | None = None
    sent_rate: float | None = None
    recv: int | None = None
    sent: int | None = None
    load: float | None = None
    disks: list[list[Any]] = field(default_factory=list)
    networks: list[list[Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    seq: int | None = None

    @property
    def detail(self) -> str:
        """What is not a column, as compact JSON."""
        return orjson.dumps({"d": self.disks, "n": self.networks, "x": self.extra}).decode()


def clock_fault(at: int) -> str | None:
    """Why a sample of this time (ms) is refused, or None (contracts/README.md: up to 7 days old, 5 min ahead)."""
    moment = to_ms(now())
    if at > moment + NEWEST.total_seconds() * 1000:
        return "the timestamp is more than 5 minutes ahead of the server"
    if at < moment - OLDEST.total_seconds() * 1000:
        return "the timestamp is more than 7 days old"
    return None


# Statements on tables, made once: building and compiling them costs more than running them.
_COMPUTERS: Any = Computer.__table__
_PRIOR = (
    select(*(_COMPUTERS.c[name] for name in (
        "id", "uuid", "name", "tenant_id", "status", "sampled_at", "interval_s", "recv_total", "sent_total", "spark",
        "spark_minute", "spark_count", "cpu", "memory", "disk", "recv_rate", "sent_rate", "acked_seq",
    )))
    .where(_COMPUTERS.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(_COMPUTERS.c.id)
)  # fmt: skip
_CHANGE = (
    update(_COMPUTERS)
    .where(_COMPUTERS.c.id == bindparam("key"))
    .values({name: bindparam(name) for name in (
        "version", "status", "last_seen", "sampled_at", "due_at", "cpu", "memory", "disk", "recv_rate", "sent_rate",
        "recv_total", "sent_total", "spark", "spark_minute", "spark_count", "acked_seq",
    )} | {"problem": None})
)  # fmt: skip
_CURSORS: Any = RollupCursor.__table__
_THROUGH = select(_CURSORS.c.through).where(_CURSORS.c.resolution == "1m").with_for_update(read=True)
_SAMPLES: Any = Sample.__table__
_INSERT = {name: insert_ignore(upsert(_SAMPLES, name)) for name in ("sqlite", "postgresql")}
_COLUMNS = ("computer_id", "at", "cpu", "memory", "disk", "recv_rate", "sent_rate", "load", "detail")


def store(samples: Iterable[NewSample]) -> set[int]:
    """Store samples of any computers inside the caller's unit of work; returns the computer ids that do not exist.

    A sample that is there already (same computer and moment) is stored once. Each is also a contact: its computer is
    online, and due again in two intervals.
    """
    by_computer: dict[int, list[NewSample]] = {}
    for sample in samples:
        by_computer.setdefault(sample.computer_id, []).append(sample)
    db, moment = session(), now()
    version = tick(CLOCK)
    prior = {row.id: row for row in db.execute(_PRIOR, {"ids": list(by_computer)})}
    changes: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    came_online: list[Any] = []
    for computer_id, row in prior.items():
        mine = sorted(by_computer[computer_id], key=lambda s: s.at)
        changes.append(_state_after(row, mine, version, moment))
        rows.extend({name: getattr(s, name) for name in _COLUMNS} for s in mine)
        if row.status is not ComputerStatus.ONLINE:
            came_online.append(row)
    if rows:
        dialect = db.get_bind().dialect.name
        db.execute(_INSERT[dialect], rows)
        db.execute(_CHANGE, changes)
        _mark_late(rows, dialect)
    for row in came_online:
        subject = Subject("computer", row.uuid, row.name, row.tenant_id)
        record("computer.status_changed", SYSTEM, subject, before=row.status.value, after="online")
    if came_online:
        forget_counts()
    return by_computer.keys() - prior.keys()


def _state_after(row: Any, samples: list[NewSample], version: int, moment: Any) -> dict[str, Any]:
    """What the computer's row says after these samples (oldest first); an old one changes only the contact."""
    sampled_at = to_ms(row.sampled_at) if row.sampled_at else -1
    spark = _Spark(row.spark, row.spark_minute, row.spark_count)
    state = {name: getattr(row, name) for name in ("cpu", "memory", "disk", "recv_rate", "sent_rate", "recv_total", "sent_total")}
    for sample in samples:
        spark.add(sample.at // MINUTE_MS, sample.cpu)
        if sample.at <= sampled_at:
            continue
        _fill_rates(sample, state, sampled_at)
        state |= {name: getattr(sample, name) for name in ("cpu", "memory", "recv_rate", "sent_rate")}
        state["disk"] = sample.disk if sample.disk is not None else state["disk"]
        state["recv_total"], state["sent_total"] = sample.recv, sample.sent
        sampled_at = sample.at
    return state | {
        "key": row.id,
        "version": version,
        "status": ComputerStatus.ONLINE,
        "last_seen": moment,
        "due_at": moment + timedelta(seconds=2 * row.interval_s) + GRACE,
        "sampled_at": from_ms(sampled_at),
        "spark": bytes(spark.slots),
        "spark_minute": spark.minute,
        "spark_count": spark.count,
        "acked_seq": max([row.acked_seq, *(s.seq for s in samples if s.seq is not None)]),
    }


def _fill_rates(sample: NewSample, state: dict[str, Any], before: int) -> None:
    """Rates from the counters, for agents that send only counters; none after a gap of 10 min or a counter reset."""
    elapsed = (sample.at - before) / 1000
    if sample.recv_rate is not None or sample.recv is None or sample.sent is None or not 0 < elapsed <= 600:
        return
    recv, sent = state["recv_total"], state["sent_total"]
    if recv is None or sent is None or sample.recv < recv or sample.sent < sent:
        return
    sample.recv_rate = round((sample.recv - recv) / elapsed, 1)
    sample.sent_rate = round((sample.sent - sent) / elapsed, 1)


class _Spark:
    """The last hour's mean CPU by minute, kept on the computer's row so that lists never touch the history."""

    def __init__(self, slots: bytes | None, minute: int | None, count: int) -> None:
        self.slots = bytearray(slots) if slots else bytearray([SPARK_NONE]) * SPARK_SLOTS
        self.minute, self.count = minute, count

    def add(self, minute: int, cpu: float) -> None:
        if self.minute is None:
            self.minute = minute
        ahead = minute - self.minute
        if ahead > 0:
            gap = min(ahead, SPARK_SLOTS)
            self.slots = self.slots[gap:] + bytearray([SPARK_NONE]) * gap
            self.minute, self.count = minute, 0
        if ahead >= 0:
            self.count += 1
            mean = self.slots[-1] if self.count > 1 else 0
            self.slots[-1] = min(100, round(mean + (cpu - mean) / self.count))
        elif -ahead < SPARK_SLOTS and self.slots[ahead - 1] == SPARK_NONE:
            self.slots[ahead - 1] = min(100, round(cpu))


def _mark_late(rows: list[dict[str, Any]], dialect: str) -> None:
    """Remember the minutes that were rolled up before these samples came."""
    through = session().scalar(_THROUGH)
    if through is None:
        return
    late = {(row["computer_id"], row["at"] // MINUTE_MS * MINUTE_MS) for row in rows if row["at"] < through}
    if late:
        values = [{"resolution": "1m", "computer_id": c, "at": at} for c, at in sorted(late)]
        session().execute(insert_ignore(upsert(LateBucket.__table__, dialect)), values)
