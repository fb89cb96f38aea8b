"""What is stored of a channel. Its Apprise URL holds secrets of a service and is sealed whole; `shown` is what may be shown."""

from datetime import datetime
from uuid import uuid4

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, String, Table, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.clock import now
from app.database import Base, JsonDoc, UtcDateTime
from app.tenants.models import Tenant

channel_tenants = Table(
    "channel_tenants",
    Base.metadata,
    Column("channel_id", String(36), ForeignKey("channels.id", ondelete="CASCADE"), primary_key=True),
    Column("tenant_id", String(36), ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True),
)


class Channel(Base):
    """A place where people read of alerts: those of `severities`, of the tenants, and with `tag` only of computers that carry it.

    It is told of entries after `since_seq`. `repeat_minutes`: how long an alert may stay active and unacknowledged before it is
    told again; 0 is never. `service` is what Apprise calls it ("Slack").
    """

    __tablename__ = "channels"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: str(uuid4()))
    name: Mapped[str] = mapped_column(String(200))
    url: Mapped[str] = mapped_column(Text)
    shown: Mapped[str] = mapped_column(String(300))
    service: Mapped[str] = mapped_column(String(100))
    severities: Mapped[list[str]] = mapped_column(JsonDoc)
    all_tenants: Mapped[bool] = mapped_column(Boolean, default=True)
    tenants: Mapped[list[Tenant]] = relationship(secondary=channel_tenants, lazy="selectin", order_by=Tenant.name_key)
    tag: Mapped[str | None] = mapped_column(String(50))
    repeat_minutes: Mapped[int] = mapped_column(Integer, default=0)
    tell_recovery: Mapped[bool] = mapped_column(Boolean, default=True)
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    since_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    created_by_name: Mapped[str] = mapped_column(String(200), default="")
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)

    @property
    def tenant_scope(self) -> frozenset[str] | None:
        """The tenants whose alerts it tells; None means all."""
        return None if self.all_tenants else frozenset(tenant.id for tenant in self.tenants)
