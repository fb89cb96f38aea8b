"""What can be done with samples: store them, many in one transaction, and answer only after its commit."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy import bindparam, select

from app.actors import SYSTEM
from app.bulk_sql import BulkInsert, BulkUpdate
from app.clock import from_ms, now, to_ms
from app.database import insert_ignore, session, upsert
from app.fleet.models import SPARK_NONE, SPARK_SLOTS, Computer, ComputerStatus
from app.fleet.operations import CLOCK, GRACE, status_hooks
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


# What rooms above do with samples as they are stored, in the same transaction: functions of the computers' rows as they were
# before (by internal id), their samples (oldest first, the old ones too) and the time now.
arrival_hooks: list[Callable[[Mapping[int, Any], Mapping[int, list[NewSample]], datetime], None]] = []

# Statements on tables, made once: building and compiling them costs more than running them.
_COMPUTERS: Any = Computer.__table__
_PRIOR = (
    select(*(_COMPUTERS.c[name] for name in (
        "id", "uuid", "name", "tenant_id", "status", "sampled_at", "interval_s", "recv_total", "sent_total", "spark",
        "spark_minute", "spark_count", "cpu", "memory", "disk", "recv_rate", "sent_rate", "acked_seq",
        "ephemeral", "alerts_open",
    )))
    .where(_COMPUTERS.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(_COMPUTERS.c.id)
)  # fmt: skip
_CHANGED = (
    "version", "status", "last_seen", "sampled_at", "due_at", "cpu", "memory", "disk", "recv_rate", "sent_rate",
    "recv_total", "sent_total", "spark", "spark_minute", "spark_count", "acked_seq", "id",
)  # fmt: skip
_change = BulkUpdate(_COMPUTERS, _CHANGED, also="problem = NULL")
_CURSORS: Any = RollupCursor.__table__
_THROUGH = select(_CURSORS.c.through).where(_CURSORS.c.resolution == "1m").with_for_update(read=True)
_COLUMNS = ("computer_id", "at", "cpu", "memory", "disk", "recv_rate", "sent_rate", "load", "detail")
_insert = BulkInsert(Sample.__table__, _COLUMNS)
_row_of = attrgetter(*_COLUMNS)
_moment_of = attrgetter("at")


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
    changes: list[tuple[Any, ...]] = []
    rows: list[tuple[Any, ...]] = []
    came_online: list[Any] = []
    for computer_id, row in prior.items():
        mine = by_computer[computer_id]
        mine.sort(key=_moment_of)
        changes.append(_state_after(row, mine, version, moment))
        rows.extend(map(_row_of, mine))
        if row.status is not ComputerStatus.ONLINE:
            came_online.append(row)
    if rows:
        connection = db.connection()
        _insert(connection, rows)
        _change(connection, changes)
        _mark_late(rows, connection.dialect.name)
        for hook in arrival_hooks:
            hook(prior, by_computer, moment)
    for row in came_online:
        subject = Subject("computer", row.uuid, row.name, row.tenant_id)
        record("computer.status_changed", SYSTEM, subject, before=row.status.value, after="online")
    if came_online:
        for told in status_hooks:
            told([row.id for row in came_online])
        forget_counts()
    return by_computer.keys() - prior.keys()


def _state_after(row: Any, samples: list[NewSample], version: int, moment: datetime) -> tuple[Any, ...]:
    """What the computer's row says after these samples (oldest first), in the order of _CHANGED; an old one changes only the
    contact."""
    at = to_ms(row.sampled_at) if row.sampled_at else -1
    cpu, memory, disk, recv_rate, sent_rate = row.cpu, row.memory, row.disk, row.recv_rate, row.sent_rate
    recv, sent, seq = row.recv_total, row.sent_total, row.acked_seq
    spark = _Spark(row.spark, row.spark_minute, row.spark_count)
    for sample in samples:
        spark.add(sample.at // MINUTE_MS, sample.cpu)
        if sample.seq is not None and sample.seq > seq:
            seq = sample.seq
        if sample.at <= at:
            continue
        _fill_rates(sample, recv, sent, at)
        cpu, memory, recv_rate, sent_rate = sample.cpu, sample.memory, sample.recv_rate, sample.sent_rate
        disk = sample.disk if sample.disk is not None else disk
        recv, sent, at = sample.recv, sample.sent, sample.at
    due = moment + timedelta(seconds=2 * row.interval_s) + GRACE
    return (version, ComputerStatus.ONLINE, moment, from_ms(at), due, cpu, memory, disk, recv_rate, sent_rate,
            recv, sent, bytes(spark.slots), spark.minute, spark.count, seq, row.id)  # fmt: skip


def _fill_rates(sample: NewSample, recv: int | None, sent: int | None, before: int) -> None:
    """Rates from the counters, for agents that send only counters; none after a gap of 10 min or a counter reset."""
    elapsed = (sample.at - before) / 1000
    if sample.recv_rate is not None or sample.recv is None or sample.sent is None or not 0 < elapsed <= 600:
        return
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


def _mark_late(rows: list[tuple[Any, ...]], dialect: str) -> None:
    """Remember the minutes that were rolled up before these samples came."""
    through = session().scalar(_THROUGH)
    if through is None:
        return
    late = {(row[0], row[1] // MINUTE_MS * MINUTE_MS) for row in rows if row[1] < through}
    if late:
        values = [{"resolution": "1m", "computer_id": c, "at": at} for c, at in sorted(late)]
        session().execute(insert_ignore(upsert(LateBucket.__table__, dialect)), values)
