"""JSON shapes of `/api/v1/tenants`."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from app.shapes import Answer, Body, Query
from app.tenants.models import Tenant


class TenantIn(Body):
    """`{name}`."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class TenantOut(Answer):
    """A tenant."""

    id: str
    name: str
    created_at: datetime

    @classmethod
    def of(cls, tenant: Tenant) -> "TenantOut":
        return cls(id=tenant.id, name=tenant.name, created_at=tenant.created_at)


class TenantList(Answer):
    """Lists on implied routes look like 000's."""

    total: int
    tenants: list[TenantOut]


class TenantQuery(Query):
    """Filter."""

    q: str = Field("", max_length=200)
