"""What is stored of a webhook. Its address and its secrets are sealed; `shown_url` is the address as it may be shown."""

from datetime import datetime
from uuid import uuid4

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, String, Table, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.clock import now
from app.database import Base, JsonDoc, UtcDateTime
from app.tenants.models import Tenant

EVERYTHING = "*"

webhook_tenants = Table(
    "webhook_tenants",
    Base.metadata,
    Column("webhook_id", String(36), ForeignKey("webhooks.id", ondelete="CASCADE"), primary_key=True),
    Column("tenant_id", String(36), ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True),
)


class Webhook(Base):
    """A program that wants to know. It is told of entries after `since_seq`; `previous_secret` signs as well until
    `previous_until`, while a secret rotates."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: str(uuid4()))
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(String(1000))
    url: Mapped[str] = mapped_column(Text)
    shown_url: Mapped[str] = mapped_column(String(2100))
    events: Mapped[list[str]] = mapped_column(JsonDoc)
    all_tenants: Mapped[bool] = mapped_column(Boolean, default=True)
    tenants: Mapped[list[Tenant]] = relationship(secondary=webhook_tenants, lazy="selectin", order_by=Tenant.name_key)
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    disabled_reason: Mapped[str | None] = mapped_column(String(300))
    since_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    secret: Mapped[str] = mapped_column(Text)
    previous_secret: Mapped[str | None] = mapped_column(Text)
    previous_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    created_by_name: Mapped[str] = mapped_column(String(200), default="")
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)

    @property
    def tenant_scope(self) -> frozenset[str] | None:
        """The tenants it is told about; None means all, and then also what belongs to no tenant."""
        return None if self.all_tenants else frozenset(tenant.id for tenant in self.tenants)

    def wants(self, event: str) -> bool:
        """Whether it has subscribed to a public event."""
        return EVERYTHING in self.events or event in self.events
