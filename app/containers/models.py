"""What is stored of containers: the latest state of each, the engine on its computer, and logs while somebody reads them."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.clock import now
from app.database import Base, JsonDoc, UtcDateTime, enum_column
from app.fleet.models import Computer


class ContainerState(StrEnum):
    """Docker's words; UNKNOWN for any other."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"
    UNKNOWN = "unknown"


STOPPED = (ContainerState.EXITED, ContainerState.DEAD, ContainerState.CREATED)
UP = (ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING)


class EngineState(StrEnum):
    """How the container engine of a computer is (docs/connector-protocol.md, "Containers"); AGENT: an original agent reports."""

    OK = "ok"
    NONE = "none"
    SILENT = "silent"
    DENIED = "denied"
    OFF = "off"
    UNSUPPORTED = "unsupported"
    AGENT = "agent"


class Container(Base):
    """A container that is on a computer now; the row goes with it. `engine_id` is the engine's id of it, `id` internal and `uuid`
    its page's.

    `status` is the engine's own words. `cpu` is in percent of one core, memory in bytes; they are NULL while it does not run.
    `stopped_at` is when we saw that something which ran did not run any more; NULL while it runs, and for what never did.
    """

    __tablename__ = "containers"
    __table_args__ = (
        UniqueConstraint("computer_id", "engine_id"),
        Index("ix_containers_name", "name_key", "id"),
        Index("ix_containers_state", "state", "stopped_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(36), unique=True, default=lambda: str(uuid4()))
    computer_id: Mapped[int] = mapped_column(ForeignKey("computers.id", ondelete="CASCADE"))
    computer: Mapped[Computer] = relationship(lazy="joined", innerjoin=True)
    engine_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255))
    name_key: Mapped[str] = mapped_column(String(255))
    image: Mapped[str] = mapped_column(String(300), default="")
    state: Mapped[ContainerState] = mapped_column(enum_column(ContainerState))
    status: Mapped[str] = mapped_column(String(200), default="")
    health: Mapped[str | None] = mapped_column(String(16))
    created_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    exit_code: Mapped[int | None] = mapped_column(Integer)
    oom_killed: Mapped[bool] = mapped_column(Boolean, default=False)
    project: Mapped[str | None] = mapped_column(String(200))
    command: Mapped[str] = mapped_column(String(300), default="")
    ports: Mapped[list[dict[str, Any]]] = mapped_column(JsonDoc, default=list)
    labels: Mapped[dict[str, str]] = mapped_column(JsonDoc, default=dict)
    cpu: Mapped[float | None] = mapped_column(Float)
    memory: Mapped[int | None] = mapped_column(BigInteger)
    memory_limit: Mapped[int | None] = mapped_column(BigInteger)
    first_seen: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    version: Mapped[int] = mapped_column(BigInteger, default=0)

    @property
    def short_id(self) -> str:
        """As engines show it."""
        return self.engine_id[:12]

    @property
    def is_up(self) -> bool:
        """Whether its main process is there, running or paused."""
        return self.state in UP


class ContainerEngine(Base):
    """The engine on a computer as it was last told. `total` counts its containers, also those beyond what a report holds."""

    __tablename__ = "container_engines"

    computer_id: Mapped[int] = mapped_column(ForeignKey("computers.id", ondelete="CASCADE"), primary_key=True)
    state: Mapped[EngineState] = mapped_column(enum_column(EngineState))
    name: Mapped[str | None] = mapped_column(String(40))
    engine_version: Mapped[str | None] = mapped_column(String(40))
    message: Mapped[str | None] = mapped_column(String(500))
    total: Mapped[int] = mapped_column(Integer, default=0)
    reported_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    version: Mapped[int] = mapped_column(BigInteger, default=0)


class ReadingState(StrEnum):
    """`waiting` for the computer's connection, `sent` to it, `ended`."""

    WAITING = "waiting"
    SENT = "sent"
    ENDED = "ended"


class LogReading(Base):
    """Somebody reads a container's log: `id` is the connector's request_id. It lasts until nobody has asked since `wanted_until`.

    `tail` is the number of last lines, NULL is all. The connector sends pieces numbered from 1; up to `stored_seq` they are here,
    up to `taken_seq` the reader has them (and they are deleted). `outcome` is the connector's word for how it ended.
    """

    __tablename__ = "container_log_readings"
    __table_args__ = (Index("ix_container_log_readings_state", "state", "computer_id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: str(uuid4()))
    computer_id: Mapped[int] = mapped_column(ForeignKey("computers.id", ondelete="CASCADE"))
    engine_id: Mapped[str] = mapped_column(String(64))
    tail: Mapped[int | None] = mapped_column(Integer)
    follow: Mapped[bool] = mapped_column(Boolean, default=False)
    state: Mapped[ReadingState] = mapped_column(enum_column(ReadingState), default=ReadingState.WAITING)
    outcome: Mapped[str | None] = mapped_column(String(16))
    message: Mapped[str | None] = mapped_column(String(500))
    stored_seq: Mapped[int] = mapped_column(Integer, default=0)
    taken_seq: Mapped[int] = mapped_column(Integer, default=0)
    wanted_until: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class LogPiece(Base):
    """Some lines of a log that its reader has not taken: `lines` is JSON, [[stream, time or null, text], …]."""

    __tablename__ = "container_log_pieces"
    __table_args__ = (UniqueConstraint("reading_id", "seq"),)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    reading_id: Mapped[str] = mapped_column(ForeignKey("container_log_readings.id", ondelete="CASCADE"))
    seq: Mapped[int] = mapped_column(Integer)
    lines: Mapped[str] = mapped_column(Text)
