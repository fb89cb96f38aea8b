"""JSON shapes of `/api/v1/webhooks`."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from app.clock import now
from app.deliveries.schemas import ReceiverHealth
from app.shapes import Answer, Body
from app.webhooks.models import Webhook

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Description = Annotated[str, StringConstraints(max_length=1000)]
Address = Annotated[str, StringConstraints(min_length=1, max_length=2100)]
EventName = Annotated[str, StringConstraints(max_length=64)]
Events = Annotated[list[EventName], Field(max_length=100, description='names of events, or "*" for all')]
TenantIds = Annotated[list[Annotated[str, StringConstraints(max_length=64)]], Field(max_length=1000)]


class WebhookIn(Body):
    """`{name, description?, url, events}`; `tenant_ids` limits it to some tenants."""

    name: Name
    description: Description | None = None
    url: Address
    events: Events
    tenant_ids: TenantIds | None = None
    enabled: bool = True


class WebhookPatch(Body):
    """`PUT`: what is given changes. `url` as it is shown means: leave it."""

    name: Name | None = None
    description: Description | None = None
    url: Address | None = None
    events: Events | None = None
    tenant_ids: TenantIds | None = None
    enabled: bool | None = None

    def changes(self) -> dict[str, Any]:
        """What was given. `null` counts as not given, but for the description and the tenants, where it means none and all."""
        given = self.model_dump(include=self.model_fields_set)
        return {name: value for name, value in given.items() if value is not None or name in ("description", "tenant_ids")}


class WebhookOut(Answer):
    """A webhook. `url` is shown without user, password, path and the values of its query."""

    id: str
    name: str
    description: str | None
    url: str
    events: list[str]
    tenant_ids: list[str] | None
    enabled: bool
    disabled_reason: str | None
    secret_rotates_until: datetime | None
    created_at: datetime
    created_by: str
    updated_at: datetime
    health: ReceiverHealth

    @classmethod
    def fields_of(cls, webhook: Webhook, health: ReceiverHealth) -> dict[str, Any]:
        scope, until = webhook.tenant_scope, webhook.previous_until
        return {
            "id": webhook.id, "name": webhook.name, "description": webhook.description, "url": webhook.shown_url,
            "events": webhook.events, "tenant_ids": None if scope is None else sorted(scope), "enabled": webhook.enabled,
            "disabled_reason": webhook.disabled_reason, "secret_rotates_until": until if until and until > now() else None,
            "created_at": webhook.created_at, "created_by": webhook.created_by_name, "updated_at": webhook.updated_at,
            "health": health,
        }  # fmt: skip


class WebhookCreated(WebhookOut):
    """The only answer that holds the secret."""

    secret: str


class WebhookSecret(Answer):
    """A new secret, once; the old one signs as well until `previous_valid_until`."""

    id: str
    secret: str
    previous_valid_until: datetime | None


class WebhookList(Answer):
    """Lists on implied routes look like 000's."""

    total: int
    page: int | None = None
    per_page: int | None = None
    webhooks: list[WebhookOut]
