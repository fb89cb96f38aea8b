"""What can be asked of samples: the latest, and a history of at most MAX_POINTS in the resolution that fits the range."""

from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil
from typing import Any

import orjson
from sqlalchemy import and_, func, select

from app.clock import now, to_ms
from app.config import Settings
from app.database import session
from app.metrics.models import STEPS_MS, VALUES, RollupCursor, Sample, Sample1m, Sample15m
from app.metrics.rollups import aggregates, bucket_of

MAX_POINTS = 1_500
FINER = {"15m": "1m", "1m": "raw"}
TABLES: dict[str, Any] = {"raw": Sample, "1m": Sample1m, "15m": Sample15m}


@dataclass
class Point:
    """One moment of a history. `spans`: (min, max) per value of rolled-up points; `count`: of how many samples it is made."""

    at: int
    values: dict[str, float | None]
    spans: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    count: int = 1
    detail: dict[str, Any] | None = None


@dataclass
class History:
    """Points, oldest first; `step_ms` is 0 for raw samples."""

    resolution: str
    step_ms: int
    points: list[Point]


@dataclass(frozen=True)
class Retention:
    """How long each resolution is kept."""

    raw: timedelta = timedelta(hours=48)
    minutes: timedelta = timedelta(days=30)
    quarters: timedelta = timedelta(days=365)

    @classmethod
    def of(cls, settings: Settings) -> "Retention":
        """What the settings keep."""
        return cls(timedelta(hours=settings.metrics_raw_hours), timedelta(days=settings.metrics_1m_days),
                   timedelta(days=settings.metrics_15m_days))  # fmt: skip


def latest(computer_id: int) -> Point | None:
    """The newest sample; for a computer silent longer than raw samples are kept, its newest rolled-up point."""
    for model in (Sample, Sample1m, Sample15m):
        row = session().scalar(select(model).where(model.computer_id == computer_id).order_by(model.at.desc()).limit(1))
        if row is not None:
            return _point(row, with_detail=True)
    return None


def _point(row: Any, *, with_detail: bool) -> Point:
    values = {name: getattr(row, name) for name in VALUES}
    point = Point(row.at, values, detail=orjson.loads(row.detail) if with_detail else None)
    if not isinstance(row, Sample):
        point.count = row.count
        point.spans = {name: (getattr(row, f"{name}_min"), getattr(row, f"{name}_max")) for name in VALUES}
    return point


def choose(start: int, end: int, retention: Retention, interval_s: int, most: int = MAX_POINTS) -> tuple[str, int]:
    """(base resolution, step in ms) for a range: the finest that is still kept for its start and fits in `most` points."""
    span, moment = max(end - start, 1), to_ms(now())
    kept = {"raw": retention.raw, "1m": retention.minutes, "15m": retention.quarters}
    spacing = {"raw": max(interval_s, 1) * 1000, "1m": STEPS_MS["1m"], "15m": STEPS_MS["15m"]}
    for name in ("raw", "1m"):
        if start >= moment - kept[name].total_seconds() * 1000 and span / spacing[name] <= most:
            return name, STEPS_MS[name]
    quarter = STEPS_MS["15m"]
    return "15m", max(1, ceil(span / most / quarter)) * quarter


def history(computer_id: int, start: int, end: int, retention: Retention, *, interval_s: int = 10,
            most: int = MAX_POINTS, with_detail: bool = False) -> History:  # fmt: skip
    """The points with start <= at < end (ms). Buckets that are not rolled up yet are folded while reading, so the
    newest minute is there at once."""
    base, step = choose(start, end, retention, interval_s, most)
    if base == "raw":
        query = select(Sample).where(Sample.computer_id == computer_id, Sample.at >= start, Sample.at < end)
        rows = session().scalars(query.order_by(Sample.at.desc()).limit(most))
        return History("raw", 0, [_point(r, with_detail=with_detail) for r in reversed(list(rows))])
    first = start // step * step
    points: dict[int, Point] = {}
    for part in _buckets(computer_id, base, step, first, end):
        known = points.get(part.at)
        points[part.at] = _joined(known, part) if known else part
    result = [points[at] for at in sorted(points)][-most:]
    if with_detail:
        _attach_details(computer_id, base, step, result)
    return History(_label(base, step), step, result)


def _label(base: str, step: int) -> str:
    return base if step == STEPS_MS[base] else f"{step // 60_000}m"


def _buckets(computer_id: int, base: str, step: int, start: int, end: int) -> list[Point]:
    """Buckets of `step` from the table of `base` as far as it is made, the rest from finer tables."""
    model = TABLES[base]
    made = end if base == "raw" else min(end, max(start, _done(base)))
    found = []
    if start < made:
        where = and_(model.computer_id == computer_id, model.at >= start, model.at < made)
        query = select(*aggregates(model, step)).where(where).group_by(bucket_of(model, step))
        found = [_from_aggregate(row._mapping) for row in session().execute(query)]
    if made < end:
        found += _buckets(computer_id, FINER[base], step, made, end)
    return found


def _done(resolution: str) -> int:
    return int(session().scalar(select(RollupCursor.done).where(RollupCursor.resolution == resolution)) or 0)


def _from_aggregate(row: Any) -> Point:
    return Point(
        int(row["at"]),
        {name: _float(row[name]) for name in VALUES},
        {name: (_float(row[f"{name}_min"]), _float(row[f"{name}_max"])) for name in VALUES},
        int(row["count"]),
    )


def _float(value: Any) -> float | None:
    return None if value is None else round(float(value), 2)


def _joined(a: Point, b: Point) -> Point:
    """Two parts of one bucket."""
    values: dict[str, float | None] = {}
    spans: dict[str, tuple[float | None, float | None]] = {}
    for name in VALUES:
        x, y = a.values[name], b.values[name]
        values[name] = (
            (x if y is None else y) if x is None or y is None else round((x * a.count + y * b.count) / (a.count + b.count), 2)
        )
        lows = [v for v in (a.spans[name][0], b.spans[name][0]) if v is not None]
        highs = [v for v in (a.spans[name][1], b.spans[name][1]) if v is not None]
        spans[name] = (min(lows, default=None), max(highs, default=None))
    return Point(a.at, values, spans, a.count + b.count)


def _attach_details(computer_id: int, base: str, step: int, points: list[Point]) -> None:
    """Disks and networks of each point: those of the last row in its bucket."""
    if not points:
        return
    span_start, span_end = points[0].at, points[-1].at + step
    by_bucket: dict[int, str] = {}
    for model in dict.fromkeys((TABLES[base], Sample1m, Sample)):
        inside = and_(model.computer_id == computer_id, model.at >= span_start, model.at < span_end)
        lasts = select(func.max(model.at)).where(inside).group_by(bucket_of(model, step))
        query = select(model.at, model.detail).where(model.computer_id == computer_id, model.at.in_(lasts))
        for at, detail in session().execute(query):
            by_bucket.setdefault(at // step * step, detail)
    for point in points:
        text = by_bucket.get(point.at)
        point.detail = orjson.loads(text) if text else None
