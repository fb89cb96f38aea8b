"""JSON shapes of contract 002's `/api/v1/api-keys`."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from app.actors import Role
from app.api_keys.models import ApiKey
from app.clock import now
from app.shapes import Answer, Body, Moment, Query


class KeyIn(Body):
    """With `server_id`: the host key of 002; without: an integration key of `role` (contracts/README.md)."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
    server_id: str | None = None
    description: Annotated[str | None, Field(max_length=1000)] = None
    role: Role = Role.READONLY
    tenant_ids: list[str] | None = None
    expires_at: Moment | None = None
    rate_limit: Annotated[int | None, Field(ge=1, le=1_000_000)] = None


class KeyUpdate(Body):
    """`PUT`: what is given changes."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)] | None = None
    description: Annotated[str | None, Field(max_length=1000)] = None
    rate_limit: Annotated[int | None, Field(ge=1, le=1_000_000)] = None


class KeyQuery(Query):
    """`GET /api/v1/api-keys`."""

    q: str = Field("", max_length=200)
    server_id: str = ""


class KeyOut(Answer):
    """A key without its secret."""

    id: str
    name: str
    description: str | None
    server_id: str | None
    prefix: str
    role: Role | None
    tenant_ids: list[str] | None
    rate_limit: int | None
    is_active: bool
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def fields_of(cls, key: ApiKey, server_id: str | None) -> dict[str, Any]:
        scope = key.tenant_scope
        return {
            "id": key.id, "name": key.name, "description": key.description, "server_id": server_id, "prefix": key.prefix,
            "role": key.role, "tenant_ids": None if scope is None else sorted(scope), "rate_limit": key.rate_limit,
            "is_active": key.is_active(now()), "created_at": key.created_at, "created_by": key.created_by_name,
            "expires_at": key.expires_at, "last_used_at": key.last_used_at, "revoked_at": key.revoked_at,
        }  # fmt: skip


class KeyCreated(KeyOut):
    """The only answer that holds the secret, in `key`."""

    key: str


class KeyList(Answer):
    """`GET /api/v1/api-keys`."""

    total: int
    api_keys: list[KeyOut]


class HostKeyMe(Answer):
    """What a host key learns about itself from `GET /api/v1/api-keys/me`."""

    server_id: str
    key_id: str
    name: str
    is_active: bool
