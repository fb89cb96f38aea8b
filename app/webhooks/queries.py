"""What can be asked of webhooks."""

from collections.abc import Sequence

from sqlalchemy import select

from app.actors import Actor
from app.database import session
from app.errors import NotFound
from app.journal.operations import Subject
from app.webhooks.events import types_for
from app.webhooks.models import Webhook

CARRIER = "webhook"


def _visible(webhook: Webhook, actor: Actor) -> bool:
    """Somebody of some tenants sees the webhooks that are told of nothing but those."""
    scope = webhook.tenant_scope
    return actor.tenant_ids is None or (bool(scope) and scope is not None and scope <= actor.tenant_ids)


def limited_to(tenant_id: str) -> str | None:
    """Why a tenant cannot be deleted: they would be left with a narrower scope, and a log of what is not theirs any more."""
    found = [one for one in session().scalars(select(Webhook)) if tenant_id in (one.tenant_scope or ())]
    return f"{len(found)} webhooks are limited to it" if found else None


def list_webhooks(actor: Actor) -> list[Webhook]:
    """Those that the actor may see, by name."""
    found = session().scalars(select(Webhook).order_by(Webhook.name, Webhook.created_at))
    return [webhook for webhook in found if _visible(webhook, actor)]


def get_webhook(webhook_id: str, actor: Actor) -> Webhook:
    """One webhook. Raises NotFound when there is none, or none that the actor may see."""
    webhook: Webhook | None = session().get(Webhook, webhook_id)
    if webhook is None or not _visible(webhook, actor):
        raise NotFound("Webhook not found")
    return webhook


def enabled_webhooks() -> Sequence[Webhook]:
    """All that are to be told anything."""
    found = session().scalars(select(Webhook).where(Webhook.enabled), execution_options={"populate_existing": True})
    return list(found)


def wanted_types() -> tuple[str, ...]:
    """The journal's types that somebody has subscribed to."""
    wanted = {event for webhook in enabled_webhooks() for event in webhook.events}
    return types_for(wanted) if wanted else ()


def subject_of(webhook: Webhook) -> Subject:
    """A webhook as the subject of a journal entry; without its address."""
    scope = webhook.tenant_scope
    return Subject("webhook", webhook.id, webhook.name, next(iter(scope)) if scope and len(scope) == 1 else None)


def subject(webhook_id: str) -> Subject | None:
    """The same by id, None when it is deleted."""
    webhook: Webhook | None = session().get(Webhook, webhook_id)
    return subject_of(webhook) if webhook else None
