"""What is stored: one row per domain event, each bound to the one before by a hash (RELIABILITY 21)."""

import hashlib
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import JSON, BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.clock import iso
from app.database import Base, UtcDateTime


class JournalEntry(Base):
    """One domain event. `seq` has no meaning but order; `hash` covers every other column and the previous hash."""

    __tablename__ = "journal"
    __table_args__ = (
        Index("ix_journal_type_seq", "type", "seq"),
        Index("ix_journal_subject", "subject_kind", "subject_id", "seq"),
        Index("ix_journal_tenant_seq", "tenant_id", "seq"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    type: Mapped[str] = mapped_column(String(64))
    actor_kind: Mapped[str] = mapped_column(String(16))
    actor_id: Mapped[str | None] = mapped_column(String(64))
    actor_name: Mapped[str] = mapped_column(String(200))
    address: Mapped[str | None] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(String(64))
    tenant_id: Mapped[str | None] = mapped_column(String(36))
    subject_kind: Mapped[str | None] = mapped_column(String(32))
    subject_id: Mapped[str | None] = mapped_column(String(64))
    subject_name: Mapped[str | None] = mapped_column(String(300))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    hash: Mapped[str] = mapped_column(String(64))


HASHED = ("type", "actor_kind", "actor_id", "actor_name", "address", "request_id", "tenant_id", "subject_kind",
          "subject_id", "subject_name", "data")  # fmt: skip


def chain_hash(previous: str, at: datetime, values: dict[str, Any]) -> str:
    """SHA-256 over the previous hash and the entry's columns as canonical JSON, in hex."""
    body = [previous, iso(at.replace(microsecond=at.microsecond // 1000 * 1000)), [values[name] for name in HASHED]]
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


class ChangeClock(Base):
    """A counter per live list. Every transaction that changes a row that the list shows takes the next number as the
    row's `version`, so "has anything changed?" is one look-up, from any process."""

    __tablename__ = "change_clocks"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger, default=0)
