"""What is stored of runs: the run, its steps (each perhaps on a computer), output in the pieces in which it came, artefacts."""

from datetime import datetime
from enum import StrEnum
from uuid import uuid4

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.clock import now
from app.database import Base, UtcDateTime, enum_column


class RunStatus(StrEnum):
    """DESIGN.md, "Words"."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    LOST = "lost"


OPEN = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PAUSING, RunStatus.PAUSED)


class StepStatus(StrEnum):
    """DESIGN.md, "Words"."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


class Dispatch(StrEnum):
    """Where a step for a computer is on its way: `waiting` for the computer, `sent` to it, `done`."""

    WAITING = "waiting"
    SENT = "sent"
    DONE = "done"


class Run(Base):
    """One piece of work. `number` is what live lists key its row by.

    `kind` names its driver (`runs/drivers.py`) and `spec` is JSON that the driver understands; `secrets` are sealed and in no
    journal. Of runs with the same kind and `run_key` only so many run at once. `request` is what somebody asked of it ("cancel",
    "pause"), `skip` that its next step be passed over; both are obeyed between steps.

    While it runs, the process that `lease_owner` names keeps `lease_until` ahead. When the lease has ended, a run that a worker
    executes is lost; one whose steps are on their computers is adopted by another worker.
    """

    __tablename__ = "runs"
    __table_args__ = (
        Index("ix_runs_status", "status", "created_at"),
        Index("ix_runs_created", "created_at"),
        Index("ix_runs_tenant", "tenant_id", "created_at"),
        Index("ix_runs_key", "run_key", "status"),
        Index("ix_runs_finished", "finished_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: str(uuid4()))
    number: Mapped[int] = mapped_column(BigInteger, unique=True)
    kind: Mapped[str] = mapped_column(String(32))
    title: Mapped[str] = mapped_column(String(500))
    tenant_id: Mapped[str | None] = mapped_column(String(36))
    actor_id: Mapped[str | None] = mapped_column(String(64))
    actor_name: Mapped[str] = mapped_column(String(200))
    status: Mapped[RunStatus] = mapped_column(enum_column(RunStatus), default=RunStatus.QUEUED)
    reason: Mapped[str | None] = mapped_column(String(500))
    request: Mapped[str | None] = mapped_column(String(16))
    skip: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    spec: Mapped[str] = mapped_column(Text)
    secrets: Mapped[str | None] = mapped_column(Text)
    run_key: Mapped[str | None] = mapped_column(String(200))
    timeout_s: Mapped[int] = mapped_column(Integer)
    retry_of: Mapped[str | None] = mapped_column(String(36))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    total: Mapped[int] = mapped_column(Integer, default=0)
    succeeded: Mapped[int] = mapped_column(Integer, default=0)
    failed: Mapped[int] = mapped_column(Integer, default=0)
    version: Mapped[int] = mapped_column(BigInteger, default=0)
    steps: Mapped[list["RunStep"]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, order_by="RunStep.position", lazy="raise"
    )

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.status in OPEN


class RunStep(Base):
    """A part of a run. For work on a computer it is delivered under its own `uuid`, which the connector runs at most once; a step
    without `dispatch` is executed by a worker. `spec` and `result` are JSON of its driver's; `held` is the end of its output,
    sealed, while that may be the beginning of a secret. `log_lines` counts the lines begun, `log_open` names the streams that are
    in the middle of one."""

    __tablename__ = "run_steps"
    __table_args__ = (
        UniqueConstraint("run_id", "position"),
        Index("ix_run_steps_dispatch", "dispatch", "computer_id"),
        Index("ix_run_steps_computer", "computer_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer)
    uuid: Mapped[str] = mapped_column(String(36), unique=True, default=lambda: str(uuid4()))
    name: Mapped[str] = mapped_column(String(300))
    computer_id: Mapped[int | None] = mapped_column(ForeignKey("computers.id", ondelete="SET NULL"))
    computer_uuid: Mapped[str | None] = mapped_column(String(36))
    tenant_id: Mapped[str | None] = mapped_column(String(36))
    status: Mapped[StepStatus] = mapped_column(enum_column(StepStatus), default=StepStatus.PENDING)
    reason: Mapped[str | None] = mapped_column(String(500))
    outcome: Mapped[str | None] = mapped_column(String(16))
    dispatch: Mapped[Dispatch | None] = mapped_column(enum_column(Dispatch))
    deliver_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    memory: Mapped[str | None] = mapped_column(String(36))
    cancel: Mapped[bool] = mapped_column(Boolean, default=False)
    exit_code: Mapped[int | None] = mapped_column(Integer)
    duration_ms: Mapped[int | None] = mapped_column(BigInteger)
    spec: Mapped[str | None] = mapped_column(Text)
    result: Mapped[str | None] = mapped_column(Text)
    held: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    log_seq: Mapped[int] = mapped_column(Integer, default=0)
    log_lines: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    log_open: Mapped[str] = mapped_column(String(32), default="", server_default="")
    log_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    dropped_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    version: Mapped[int] = mapped_column(BigInteger, default=0)


class RunLog(Base):
    """A piece of output: `stream` is stdout, stderr or system; `seq` counts per step, without holes. `line` lines were begun
    before it, and with `joined` it goes on in one of them."""

    __tablename__ = "run_logs"
    __table_args__ = (UniqueConstraint("step_id", "seq"), Index("ix_run_logs_run", "run_id", "id"))

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    step_id: Mapped[int] = mapped_column(ForeignKey("run_steps.id", ondelete="CASCADE"))
    seq: Mapped[int] = mapped_column(Integer)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    stream: Mapped[str] = mapped_column(String(8))
    text: Mapped[str] = mapped_column(Text)
    line: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    joined: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())


class RunArtefact(Base):
    """A file that a run has made. Its bytes lie below the data directory, in `artefacts/<run>/<id>`; `size` is in bytes."""

    __tablename__ = "run_artefacts"
    __table_args__ = (Index("ix_run_artefacts_run", "run_id", "created_at"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: str(uuid4()))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    step_id: Mapped[int | None] = mapped_column(ForeignKey("run_steps.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(255))
    media_type: Mapped[str] = mapped_column(String(100))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
