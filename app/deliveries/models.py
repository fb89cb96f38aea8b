"""What is stored: what each receiver is to be told, every attempt to tell it, and how far the journal has been followed."""

from datetime import datetime
from enum import StrEnum
from uuid import uuid4

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.clock import now
from app.database import Base, UtcDateTime, enum_column


class DeliveryStatus(StrEnum):
    """The life of a delivery. `failed`: given up, until somebody asks for it again."""

    QUEUED = "queued"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (DeliveryStatus.QUEUED, DeliveryStatus.SENDING)


class Delivery(Base):
    """One thing to tell one receiver, once. `occasion` says why (`journal:<seq>`, `test:…`), and is unique for a receiver.
    `topic` is what comes again and again under new `subject_id`s, such as a rule and its computer.

    `due_at` is when it is next to be tried, or, while it is being sent, when the lease of its `owner` ends: a row whose process
    died becomes due by itself. It is NULL once nothing is to be done. `tries` counts since it was last asked for, `attempts`
    altogether; `give_up_at` is when the last try may be made.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("carrier", "receiver_id", "occasion"),
        Index("ix_deliveries_due", "carrier", "due_at"),
        Index("ix_deliveries_receiver", "carrier", "receiver_id", "created_at"),
        Index("ix_deliveries_topic", "carrier", "receiver_id", "topic", "created_at"),
        Index("ix_deliveries_subject", "carrier", "receiver_id", "subject_id"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: str(uuid4()))
    carrier: Mapped[str] = mapped_column(String(16))
    receiver_id: Mapped[str] = mapped_column(String(36))
    occasion: Mapped[str] = mapped_column(String(120))
    seq: Mapped[int | None] = mapped_column(BigInteger)
    event: Mapped[str] = mapped_column(String(64))
    subject_id: Mapped[str | None] = mapped_column(String(64))
    topic: Mapped[str | None] = mapped_column(String(160))
    title: Mapped[str] = mapped_column(String(300))
    payload: Mapped[str] = mapped_column(Text)
    status: Mapped[DeliveryStatus] = mapped_column(enum_column(DeliveryStatus), default=DeliveryStatus.QUEUED)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    tries: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    give_up_at: Mapped[datetime] = mapped_column(UtcDateTime)
    owner: Mapped[str | None] = mapped_column(String(36))
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    http_status: Mapped[int | None] = mapped_column(Integer)
    latency_ms: Mapped[float | None] = mapped_column(Float)
    error: Mapped[str | None] = mapped_column(String(500))

    @property
    def is_open(self) -> bool:
        """Whether it is still to be sent."""
        return self.status in OPEN


class DeliveryAttempt(Base):
    """One attempt and what came back: latency in ms, the beginning of the answer with every secret of the receiver masked."""

    __tablename__ = "delivery_attempts"
    __table_args__ = (UniqueConstraint("delivery_id", "number"),)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    delivery_id: Mapped[str] = mapped_column(ForeignKey("deliveries.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(Integer)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    ok: Mapped[bool] = mapped_column(Boolean)
    http_status: Mapped[int | None] = mapped_column(Integer)
    latency_ms: Mapped[float | None] = mapped_column(Float)
    error: Mapped[str | None] = mapped_column(String(500))
    excerpt: Mapped[str | None] = mapped_column(String(1000))


class ReceiverState(Base):
    """How a receiver does: while it rests (`rest_until`) nothing is sent to it, and while its last attempt has failed only one
    thing at a time."""

    __tablename__ = "receiver_states"

    carrier: Mapped[str] = mapped_column(String(16), primary_key=True)
    receiver_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    failures_in_row: Mapped[int] = mapped_column(Integer, default=0)
    rest_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_ok: Mapped[bool | None] = mapped_column(Boolean)
    last_error: Mapped[str | None] = mapped_column(String(500))


class JournalCursor(Base):
    """How far a carrier has followed the journal."""

    __tablename__ = "journal_cursors"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)


class Instance(Base):
    """The one row that names this installation to programs outside."""

    __tablename__ = "instance"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    uuid: Mapped[str] = mapped_column(String(36))
