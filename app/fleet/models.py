"""What is stored of a computer. The row is narrow, because lists scan it; the inventory has a table of its own."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Index, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.clock import now
from app.database import Base, JsonDoc, UtcDateTime, enum_column
from app.tenants.models import Tenant

DEFAULT_INTERVAL_S = 10
SPARK_SLOTS = 60
SPARK_NONE = 255


class ComputerStatus(StrEnum):
    """From real contact: UNKNOWN has never been in contact."""

    ONLINE = "online"
    OFFLINE = "offline"
    UNKNOWN = "unknown"


class ComputerKind(StrEnum):
    """What the machine is for."""

    SERVER = "server"
    WORKSTATION = "workstation"


class Computer(Base):
    """A machine. `id` is internal (samples refer to it); `uuid` is its public id and is never used again.

    `problem` says in words why its samples are not taken, while that is so.
    `alerts_warning` and `alerts_critical` count its active alerts; `alerts_open` whatever the evaluation has to look at
    (`set_alert_counts`).
    `due_at` is when it counts as offline unless it is heard again. `cpu`, `memory`, `disk` are percentages of the newest
    sample (`disk`: the fullest one); `recv_rate`, `sent_rate` are bytes a second; they are NULL while it is offline, but
    for `disk`. `spark` holds the last SPARK_SLOTS minutes' mean CPU, a byte each, the newest last (minute `spark_minute`).
    """

    __tablename__ = "computers"
    __table_args__ = (
        Index("ix_computers_name", "name_key", "id"),
        Index("ix_computers_cpu", "cpu", "id"),
        Index("ix_computers_scope", "tenant_id", "status"),
        Index("ix_computers_due", "status", "due_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(36), unique=True, default=lambda: str(uuid4()))
    name: Mapped[str] = mapped_column(String(200))
    name_key: Mapped[str] = mapped_column(String(200))
    kind: Mapped[ComputerKind] = mapped_column(enum_column(ComputerKind), default=ComputerKind.SERVER)
    host: Mapped[str | None] = mapped_column(String(255))
    port: Mapped[int | None] = mapped_column(Integer)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    tenant: Mapped[Tenant] = relationship(lazy="joined", innerjoin=True)
    status: Mapped[ComputerStatus] = mapped_column(enum_column(ComputerStatus), default=ComputerStatus.UNKNOWN)
    ephemeral: Mapped[bool] = mapped_column(Boolean, default=False)
    version: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    last_seen: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sampled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    interval_s: Mapped[int] = mapped_column(Integer, default=DEFAULT_INTERVAL_S)
    cpu: Mapped[float | None] = mapped_column(Float)
    memory: Mapped[float | None] = mapped_column(Float)
    disk: Mapped[float | None] = mapped_column(Float)
    recv_rate: Mapped[float | None] = mapped_column(Float)
    sent_rate: Mapped[float | None] = mapped_column(Float)
    recv_total: Mapped[int | None] = mapped_column(BigInteger)
    sent_total: Mapped[int | None] = mapped_column(BigInteger)
    spark: Mapped[bytes | None] = mapped_column(LargeBinary)
    spark_minute: Mapped[int | None] = mapped_column(Integer)
    spark_count: Mapped[int] = mapped_column(Integer, default=0)
    hostname: Mapped[str | None] = mapped_column(String(255))
    address: Mapped[str | None] = mapped_column(String(64))
    os_family: Mapped[str | None] = mapped_column(String(16))
    os_name: Mapped[str | None] = mapped_column(String(200))
    serial_number: Mapped[str | None] = mapped_column(String(200))
    primary_user: Mapped[str | None] = mapped_column(String(200))
    primary_user_fixed: Mapped[bool] = mapped_column(Boolean, default=False)
    connector_id: Mapped[str | None] = mapped_column(String(36))
    connector_version: Mapped[str | None] = mapped_column(String(64))
    acked_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    spool_pending: Mapped[int] = mapped_column(Integer, default=0)
    spool_dropped: Mapped[int] = mapped_column(Integer, default=0)
    problem: Mapped[str | None] = mapped_column(String(300))
    alerts_open: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    alerts_warning: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    alerts_critical: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    tag_links: Mapped[list["ComputerTag"]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, lazy="selectin", order_by="ComputerTag.tag"
    )
    inventory: Mapped["Inventory | None"] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, uselist=False, back_populates="computer"
    )

    @property
    def health(self) -> str:
        """The worst active alert's severity, else healthy (contracts/README.md, "Settled")."""
        return "critical" if self.alerts_critical else "warning" if self.alerts_warning else "healthy"

    @property
    def tags(self) -> list[str]:
        """Its tags in alphabetical order."""
        return [link.tag for link in self.tag_links]

    @property
    def primary_user_id(self) -> str | None:
        """A stable opaque id for the primary user, the same for the same name in one tenant."""
        return str(uuid5(NAMESPACE_URL, f"binnacle:{self.tenant_id}:{self.primary_user}")) if self.primary_user else None


class ComputerTag(Base):
    """One tag of one computer, in lower case."""

    __tablename__ = "computer_tags"
    __table_args__ = (Index("ix_computer_tags_tag", "tag", "computer_id"),)

    computer_id: Mapped[int] = mapped_column(ForeignKey("computers.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(50), primary_key=True)


@dataclass(frozen=True)
class Certificate:
    """A TLS certificate in a file of a computer. `error` says why it cannot be read now; the rest is then as it was read last."""

    path: str
    subject: str | None
    issuer: str | None
    not_after: datetime | None
    error: str | None

    @classmethod
    def of(cls, found: dict[str, Any]) -> "Certificate":
        """From one entry of the inventory's document."""
        ends = found.get("not_after")
        return cls(found["path"], found.get("subject"), found.get("issuer"), datetime.fromisoformat(ends) if ends else None,
                   found.get("error"))  # fmt: skip

    def days_left(self, moment: datetime) -> float | None:
        """Days until it ends, negative when it has; None when that is not known."""
        return None if self.not_after is None else round((self.not_after - moment).total_seconds() / 86_400, 2)


class Inventory(Base):
    """What the connector found out about the machine (docs/connector-protocol.md, "Inventory"), and a person's metadata."""

    __tablename__ = "inventories"

    computer_id: Mapped[int] = mapped_column(ForeignKey("computers.id", ondelete="CASCADE"), primary_key=True)
    computer: Mapped[Computer] = relationship(back_populates="inventory")
    found: Mapped[dict[str, Any]] = mapped_column(JsonDoc, default=dict)
    found_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    custom: Mapped[dict[str, Any]] = mapped_column(JsonDoc, default=dict)

    @property
    def certificates(self) -> list[Certificate] | None:
        """The certificates that it has, the first to end first; None when its connector told nothing of any."""
        found = self.found.get("certificates")
        if found is None:
            return None
        every = [Certificate.of(one) for one in found]
        return sorted(every, key=lambda one: (one.not_after is None, one.not_after, one.path))


class InstalledSoftware(Base):
    """One installed package of one computer."""

    __tablename__ = "installed_software"
    __table_args__ = (Index("ix_installed_software_computer", "computer_id", "name"),)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    computer_id: Mapped[int] = mapped_column(ForeignKey("computers.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(300))
    version: Mapped[str | None] = mapped_column(String(200))
    publisher: Mapped[str | None] = mapped_column(String(300))


class SavedView(Base):
    """A named URL of a list, private or shared."""

    __tablename__ = "saved_views"
    __table_args__ = (Index("ix_saved_views_owner", "list_name", "owner_id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: str(uuid4()))
    list_name: Mapped[str] = mapped_column(String(32))
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(60))
    query: Mapped[str] = mapped_column(String(1000))
    shared: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
