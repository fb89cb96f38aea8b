"""What is stored of a key."""

import secrets
import zlib
from datetime import datetime
from uuid import uuid4

from sqlalchemy import Boolean, Column, ForeignKey, Integer, String, Table
from sqlalchemy.orm import Mapped, foreign, mapped_column, relationship

from app.actors import Role
from app.auth.models import User
from app.clock import now
from app.database import Base, UtcDateTime, enum_column
from app.tenants.models import Tenant

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
INTEGRATION, HOST = "itk_", "chatops_"

key_tenants = Table(
    "api_key_tenants",
    Base.metadata,
    Column("key_id", String(36), ForeignKey("api_keys.id", ondelete="CASCADE"), primary_key=True),
    Column("tenant_id", String(36), ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True),
)


class ApiKey(Base):
    """A key. `computer_id` marks a host key; `rate_limit` is per minute and replaces its contract's limits."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: str(uuid4()))
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(String(1000))
    prefix: Mapped[str] = mapped_column(String(16))
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[Role | None] = mapped_column(enum_column(Role))
    all_tenants: Mapped[bool] = mapped_column(Boolean, default=True)
    tenants: Mapped[list[Tenant]] = relationship(secondary=key_tenants, lazy="selectin", order_by=Tenant.name_key)
    computer_id: Mapped[int | None] = mapped_column(ForeignKey("computers.id", ondelete="CASCADE"), index=True)
    rate_limit: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    created_by: Mapped[str | None] = mapped_column(String(36), index=True)
    created_by_name: Mapped[str] = mapped_column(String(200), default="")
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    maker: Mapped[User | None] = relationship(
        primaryjoin=lambda: foreign(ApiKey.created_by) == User.id, viewonly=True, uselist=False
    )

    @property
    def is_orphan(self) -> bool:
        """Whether it ended with its maker: a person's key works while that person may sign in. A computer's own key goes on, and
        so does one that was made on the command line."""
        return self.computer_id is None and self.created_by is not None and (self.maker is None or not self.maker.is_active)

    @property
    def tenant_scope(self) -> frozenset[str] | None:
        """The ids of the tenants the key may see; None means all."""
        return None if self.all_tenants else frozenset(tenant.id for tenant in self.tenants)

    def ended_at(self, moment: datetime) -> datetime | None:
        """When it was revoked or expired, if it was."""
        ends = [at for at in (self.revoked_at, self.expires_at) if at is not None and at <= moment]
        return min(ends, default=None)

    def is_active(self, moment: datetime) -> bool:
        """Whether it still opens anything."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > moment) and not self.is_orphan


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, rest = divmod(number, 62)
        digits.append(ALPHABET[rest])
    return "".join(reversed(digits))


def make_key(prefix: str) -> str:
    """A new secret: the prefix, 32 random base62 characters, and 6 of their CRC-32 (RELIABILITY 7)."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(32))
    return f"{prefix}{body}{_base62(zlib.crc32(body.encode()), 6)}"


def looks_right(key: str) -> bool:
    """Whether prefix, length and checksum fit; spares the database a look for typing errors."""
    for prefix in (INTEGRATION, HOST):
        if key.startswith(prefix) and len(key) == len(prefix) + 38:
            body = key[len(prefix) : -6]
            return key[-6:] == _base62(zlib.crc32(body.encode()), 6)
    return False
