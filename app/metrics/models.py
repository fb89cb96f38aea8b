"""What is stored of samples. One row per computer and moment: columns for charts, a compact `detail` for the rest.

`at` is in milliseconds since 1970; percentages 0–100; rates are bytes a second. `detail` is JSON text:
`{"d": [[path, total, used, free, percent], …], "n": [[interface, sent, received], …], "x": {…}}`.
"""

from sqlalchemy import BigInteger, Float, Integer, String, Text
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from app.database import Base

VALUES = ("cpu", "memory", "disk", "recv_rate", "sent_rate", "load")
MINUTE_MS = 60_000
STEPS_MS = {"raw": 0, "1m": MINUTE_MS, "15m": 15 * MINUTE_MS}


class Sample(Base):
    """A sample as it came. On PostgreSQL the table is partitioned by day."""

    __tablename__ = "samples"
    __table_args__ = {"sqlite_with_rowid": False, "postgresql_partition_by": "RANGE (at)"}  # noqa: RUF012 (declarative)

    computer_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    cpu: Mapped[float] = mapped_column(Float)
    memory: Mapped[float] = mapped_column(Float)
    disk: Mapped[float | None] = mapped_column(Float)
    recv_rate: Mapped[float | None] = mapped_column(Float)
    sent_rate: Mapped[float | None] = mapped_column(Float)
    load: Mapped[float | None] = mapped_column(Float)
    detail: Mapped[str] = mapped_column(Text)


class _Rollup:
    """Minimum, mean and maximum of each value over the samples of a bucket that begins at `at`, and their count."""

    @declared_attr.directive
    def __table_args__(cls) -> dict[str, bool]:
        return {"sqlite_with_rowid": False}

    computer_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    count: Mapped[int] = mapped_column(Integer)
    cpu: Mapped[float] = mapped_column(Float)
    cpu_min: Mapped[float] = mapped_column(Float)
    cpu_max: Mapped[float] = mapped_column(Float)
    memory: Mapped[float] = mapped_column(Float)
    memory_min: Mapped[float] = mapped_column(Float)
    memory_max: Mapped[float] = mapped_column(Float)
    disk: Mapped[float | None] = mapped_column(Float)
    disk_min: Mapped[float | None] = mapped_column(Float)
    disk_max: Mapped[float | None] = mapped_column(Float)
    recv_rate: Mapped[float | None] = mapped_column(Float)
    recv_rate_min: Mapped[float | None] = mapped_column(Float)
    recv_rate_max: Mapped[float | None] = mapped_column(Float)
    sent_rate: Mapped[float | None] = mapped_column(Float)
    sent_rate_min: Mapped[float | None] = mapped_column(Float)
    sent_rate_max: Mapped[float | None] = mapped_column(Float)
    load: Mapped[float | None] = mapped_column(Float)
    load_min: Mapped[float | None] = mapped_column(Float)
    load_max: Mapped[float | None] = mapped_column(Float)
    detail: Mapped[str] = mapped_column(Text)


class Sample1m(_Rollup, Base):
    """One minute."""

    __tablename__ = "samples_1m"


class Sample15m(_Rollup, Base):
    """A quarter of an hour."""

    __tablename__ = "samples_15m"


class RollupCursor(Base):
    """How far a rollup has come (ms): buckets before `done` are made; samples older than `through` count as late.

    `through` is moved first, in a transaction of its own that waits for every sample under way; so each sample is either
    there when the buckets up to `through` are made, or sees the new `through` and marks its bucket as late. The row "raw"
    says before which time raw samples are purged.
    """

    __tablename__ = "rollup_cursors"

    resolution: Mapped[str] = mapped_column(String(8), primary_key=True)
    through: Mapped[int] = mapped_column(BigInteger)
    done: Mapped[int] = mapped_column(BigInteger)


class LateBucket(Base):
    """A bucket that a sample reached after it was rolled up (a replayed spool): to be made again."""

    __tablename__ = "late_buckets"

    resolution: Mapped[str] = mapped_column(String(8), primary_key=True)
    computer_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger, primary_key=True)


class Purge(Base):
    """A deleted computer whose samples the worker still has to remove."""

    __tablename__ = "sample_purges"

    computer_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
