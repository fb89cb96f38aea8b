"""JSON shapes of `/api/v1/notification-channels`."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from app.alerts.models import Severity
from app.deliveries.schemas import ReceiverHealth
from app.notifications.models import Channel
from app.shapes import Answer, Body

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Address = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
TenantIds = Annotated[list[Annotated[str, StringConstraints(max_length=64)]], Field(max_length=1000)]
Severities = Annotated[list[Severity], Field(min_length=1, max_length=10)]
Tag = Annotated[str, StringConstraints(max_length=50)]
Minutes = Annotated[int, Field(ge=0, le=10080)]


class ChannelIn(Body):
    """A channel. `url` is an Apprise URL; `tenant_ids` and `tag` limit it; `repeat_minutes` 0: an alert is told once."""

    name: Name
    url: Address
    severities: Severities = Field(default_factory=lambda: list(Severity))
    tenant_ids: TenantIds | None = None
    tag: Tag | None = None
    repeat_minutes: Minutes = 0
    tell_recovery: bool = True
    enabled: bool = True


class ChannelPatch(Body):
    """`PUT`: what is given changes. `url` as it is shown means: leave it."""

    name: Name | None = None
    url: Address | None = None
    severities: Severities | None = None
    tenant_ids: TenantIds | None = None
    tag: Tag | None = None
    repeat_minutes: Minutes | None = None
    tell_recovery: bool | None = None
    enabled: bool | None = None

    def changes(self) -> dict[str, Any]:
        """What was given but the address. `null` counts as not given, but for the tenants and the tag (all, none)."""
        given = self.model_dump(include=self.model_fields_set - {"url"})
        return {name: value for name, value in given.items() if value is not None or name in ("tenant_ids", "tag")}


class ChannelOut(Answer):
    """A channel. `url` is never more than the scheme, and the host where that is no secret."""

    id: str
    name: str
    url: str
    service: str
    severities: list[str]
    tenant_ids: list[str] | None
    tag: str | None
    repeat_minutes: int
    tell_recovery: bool
    enabled: bool
    created_at: datetime
    created_by: str
    updated_at: datetime
    health: ReceiverHealth

    @classmethod
    def fields_of(cls, channel: Channel, health: ReceiverHealth) -> dict[str, Any]:
        scope = channel.tenant_scope
        return {
            "id": channel.id, "name": channel.name, "url": channel.shown, "service": channel.service,
            "severities": channel.severities, "tenant_ids": None if scope is None else sorted(scope), "tag": channel.tag,
            "repeat_minutes": channel.repeat_minutes, "tell_recovery": channel.tell_recovery, "enabled": channel.enabled,
            "created_at": channel.created_at, "created_by": channel.created_by_name, "updated_at": channel.updated_at,
            "health": health,
        }  # fmt: skip


class ChannelList(Answer):
    """Lists on implied routes look like 000's."""

    total: int
    page: int | None = None
    per_page: int | None = None
    channels: list[ChannelOut]
