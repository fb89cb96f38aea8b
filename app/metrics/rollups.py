"""Rollups and retention, run by the worker: raw → 1 min → 15 min, in small transactions, right also for late samples."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import and_, case, delete, func, literal_column, select, true
from sqlalchemy.sql.selectable import Subquery

from app.clock import from_ms, now, to_ms
from app.database import insert_ignore, session, unit_of_work, upsert
from app.fleet.models import Computer
from app.metrics.models import (
    MINUTE_MS,
    STEPS_MS,
    VALUES,
    LateBucket,
    Purge,
    RollupCursor,
    Sample,
    Sample1m,
    Sample15m,
)  # fmt: skip

SOURCES: dict[str, Any] = {"1m": Sample, "15m": Sample1m}
TARGETS: dict[str, Any] = {"1m": Sample1m, "15m": Sample15m}
CHUNK_MS = {"1m": 5 * MINUTE_MS, "15m": 60 * MINUTE_MS}
LONGEST_MS = 24 * 60 * MINUTE_MS
SETTLE_MS = 5_000
BATCH = 200


def bucket_of(source: Any, step_ms: int) -> Any:
    """The beginning (ms) of the bucket that a row falls into. The step is part of the SQL, so that PostgreSQL sees that what
    is selected is what is grouped by."""
    return source.at - source.at % literal_column(str(int(step_ms)))


def aggregates(source: Any, step_ms: int) -> list[Any]:
    """Columns that fold rows of `source` into buckets of `step_ms`: bucket, last, count, then mean, min, max of each value."""
    bucket = bucket_of(source, step_ms)
    raw = source is Sample
    count = func.count() if raw else func.sum(source.count)
    columns: list[Any] = [bucket.label("at"), func.max(source.at).label("last"), count.label("count")]
    for name in VALUES:
        value = getattr(source, name)
        low, high = (value, value) if raw else (getattr(source, f"{name}_min"), getattr(source, f"{name}_max"))
        if raw:
            mean: Any = func.avg(value)
        else:
            weight = func.sum(case((value.is_(None), 0), else_=source.count))
            mean = func.sum(value * source.count) / func.nullif(weight, 0)
        columns += [mean.label(name), func.min(low).label(f"{name}_min"), func.max(high).label(f"{name}_max")]
    return columns


def _folded(source: Any, step_ms: int, where: Any) -> Subquery:
    query = select(source.computer_id.label("computer_id"), *aggregates(source, step_ms)).where(where)
    return query.group_by(source.computer_id, literal_column("2")).subquery("folded")


def _fold(resolution: str, where: Any, *, merge: bool = False) -> int:
    """Make (or make again) the buckets of the source rows that `where` selects; with `merge`, add them to what is there. Returns
    how many buckets that are."""
    source, target = SOURCES[resolution], TARGETS[resolution]
    folded = _folded(source, STEPS_MS[resolution], where)
    last = and_(source.computer_id == folded.c.computer_id, source.at == folded.c.last)
    names = ["computer_id", "at", "count", *(f"{v}{s}" for v in VALUES for s in ("", "_min", "_max"))]
    query = select(*(folded.c[name] for name in names), source.detail).join_from(folded, source, last)
    insert = upsert(target.__table__, session().get_bind().dialect.name).from_select([*names, "detail"], query.where(true()))
    new = insert.excluded
    changed = _merged(target, new) if merge else {name: new[name] for name in [*names[2:], "detail"]}
    statement = insert.on_conflict_do_update(index_elements=["computer_id", "at"], set_=changed)
    return int(session().execute(statement, execution_options={"preserve_rowcount": True}).rowcount)


def _merged(old: Any, new: Any) -> dict[str, Any]:
    changed: dict[str, Any] = {"count": old.count + new.count}
    for name in VALUES:
        for suffix, better in (("_min", "__lt__"), ("_max", "__gt__")):
            mine, theirs = getattr(old, name + suffix), new[name + suffix]
            changed[name + suffix] = case((mine.is_(None), theirs), (getattr(theirs, better)(mine), theirs), else_=mine)
        mine, theirs = getattr(old, name), new[name]
        mean = (mine * old.count + theirs * new.count) / (old.count + new.count)
        changed[name] = case((mine.is_(None), theirs), (theirs.is_(None), mine), else_=mean)
    return changed


@contextmanager
def _step() -> Iterator[None]:
    """One transaction of many; then a pause as long as it took, so that samples that arrive get the write lock too."""
    started = time.monotonic()
    with unit_of_work(power_safe=False):
        yield
    time.sleep(min(1.0, time.monotonic() - started))


def roll_up(resolution: str) -> int:
    """Make every bucket that has ended since the last call, and the late ones again. Returns the chunks made."""
    step, chunks, source, span = STEPS_MS[resolution], 0, SOURCES[resolution], CHUNK_MS[resolution]
    _promise(resolution, (to_ms(now()) - SETTLE_MS) // step * step)
    while True:
        with _step():
            cursor = session().get(RollupCursor, resolution)
            limit = cursor.through if resolution == "1m" else min(cursor.through, _done("1m") // step * step)
            end = min(cursor.done + span, limit)
            if cursor.done >= end:
                break
            heard = source.computer_id.in_(_heard_since(cursor.done))
            if span > CHUNK_MS[resolution] and _any(source, and_(source.at >= cursor.done, source.at < end, heard)):
                span = CHUNK_MS[resolution]
                continue
            found = _fold(resolution, and_(source.at >= cursor.done, source.at < end, heard))
            span = CHUNK_MS[resolution] if found else min(4 * span, LONGEST_MS)  # hours in which nothing came are soon passed
            cursor.done, chunks = end, chunks + 1
    return chunks + _again(resolution)


def _any(source: Any, where: Any) -> bool:
    return session().scalar(select(source.at).where(where).limit(1)) is not None


def _heard_since(ms: int) -> Any:
    """The computers to look at: the samples' key begins with the computer, so this turns a scan into short ranges."""
    return select(Computer.id).where(Computer.last_seen >= from_ms(ms))


def _done(resolution: str) -> int:
    return int(session().scalar(select(RollupCursor.done).where(RollupCursor.resolution == resolution)) or 0)


def _promise(resolution: str, through: int) -> None:
    with unit_of_work():
        cursor = session().get(RollupCursor, resolution, with_for_update=True)
        if cursor is None:
            oldest = session().scalar(select(func.min(SOURCES[resolution].at)))
            step = STEPS_MS[resolution]
            begin = through if oldest is None else min(through, oldest // step * step)
            session().add(RollupCursor(resolution=resolution, through=through, done=begin))
        elif cursor.through < through:
            cursor.through = through


def _again(resolution: str) -> int:
    """Make late buckets again from all their rows; a 1-minute bucket then makes its quarter of an hour late.

    Where the raw samples of a bucket are purged, only late ones are left: those are added to what was made, and go too.
    """
    made = 0
    while True:
        with _step():
            purged = _done("raw") if resolution == "1m" else 0
            mine = and_(LateBucket.resolution == resolution, LateBucket.at < _done(resolution))
            order = (LateBucket.computer_id, LateBucket.at)
            late = list(session().scalars(select(LateBucket).where(mine).order_by(*order).limit(BATCH)))
            if not late:
                return made
            for merge in (True, False):
                _make_again(resolution, [row for row in late if (row.at < purged) == merge], merge=merge)
            if resolution == "1m":
                _pass_on(late)
            for row in late:
                session().delete(row)
            made += 1


def _make_again(resolution: str, late: list[LateBucket], *, merge: bool) -> None:
    """One statement per computer for all its late buckets (they are neighbours when a spool was replayed)."""
    source, step = SOURCES[resolution], STEPS_MS[resolution]
    for computer_id, rows in groupby(late, key=lambda row: row.computer_id):
        buckets = [row.at for row in rows]
        inside = and_(source.at >= buckets[0], source.at < buckets[-1] + step, bucket_of(source, step).in_(buckets))
        where = and_(source.computer_id == computer_id, inside)
        _fold(resolution, where, merge=merge)
        if merge:
            session().execute(delete(source).where(where))


def _pass_on(late: list[LateBucket]) -> None:
    quarter = STEPS_MS["15m"]
    rows = {(row.computer_id, row.at // quarter * quarter) for row in late}
    values = [{"resolution": "15m", "computer_id": c, "at": at} for c, at in sorted(rows)]
    session().execute(insert_ignore(upsert(LateBucket.__table__, session().get_bind().dialect.name)), values)


def retain(raw: timedelta, minutes: timedelta, quarters: timedelta) -> int:
    """Delete what is older, some computers a transaction, so that nobody waits. Returns the rows deleted.

    Raw samples of buckets that are still to be made (again) stay.
    """
    removed, moment = 0, to_ms(now())
    for model, age in ((Sample, raw), (Sample1m, minutes), (Sample15m, quarters)):
        before = moment - int(age.total_seconds() * 1000)
        if model is Sample:
            before = _promise_purge(before // STEPS_MS["15m"] * STEPS_MS["15m"])
        ids = _all_computers()
        for start in range(0, len(ids), BATCH):
            with _step():
                removed += _delete_before(model, ids[start : start + BATCH], before)
    return removed + _purge_deleted()


def _promise_purge(wanted: int) -> int:
    """How far (ms) raw samples may be deleted: whole buckets that are made, and none that waits to be made again. From then on
    late samples before it are merged, so the promise is stored before anything is deleted; it never goes back."""
    with unit_of_work():
        cursor = session().get(RollupCursor, "raw", with_for_update=True)
        promised = cursor.done if cursor else 0
        waiting = and_(LateBucket.resolution == "1m", LateBucket.at >= promised)
        oldest = session().scalar(select(func.min(LateBucket.at)).where(waiting))
        through = max(promised, min(wanted, _done("1m"), wanted if oldest is None else oldest))
        if cursor is None:
            session().add(RollupCursor(resolution="raw", through=through, done=through))
        else:
            cursor.through = cursor.done = through
        return through


def _all_computers() -> list[int]:
    ids = list(session().scalars(select(Computer.id)))
    session().rollback()
    return ids


def _delete_before(model: Any, ids: list[int], before: int) -> int:
    condition = and_(model.computer_id.in_(ids), model.at < before)
    if model is Sample:
        late = and_(LateBucket.resolution == "1m", LateBucket.computer_id == Sample.computer_id)
        waiting = select(LateBucket.at).where(late, LateBucket.at == bucket_of(Sample, STEPS_MS["1m"])).exists()
        condition = and_(condition, ~waiting)
    return int(session().execute(delete(model).where(condition)).rowcount)


def mark_for_purge(computer_ids: list[int]) -> None:
    """Computers are being deleted: their samples go later, in batches."""
    session().add_all(Purge(computer_id=i) for i in computer_ids)


def _purge_deleted(rows: int = 20_000) -> int:
    removed = 0
    while True:
        with _step():
            purge = session().scalar(select(Purge).limit(1))
            if purge is None:
                return removed
            for model in (Sample, Sample1m, Sample15m, LateBucket):
                part = select(model.at).where(model.computer_id == purge.computer_id).order_by(model.at).limit(rows).subquery()
                last = session().scalar(select(func.max(part.c.at)))
                if last is not None:
                    gone = delete(model).where(model.computer_id == purge.computer_id, model.at <= last)
                    removed += session().execute(gone).rowcount
                    break
            else:
                session().delete(purge)
