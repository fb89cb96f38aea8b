"""`/api/v1/webhooks…`"""

from collections.abc import Sequence
from typing import Any

from flask import current_app

from app.actors import Permission
from app.deliveries import queries as delivery_queries
from app.deliveries.operations import redeliver as send_again
from app.deliveries.queries import DeliveryFilter
from app.deliveries.schemas import DeliveryList, DeliveryOut, DeliveryQuery, PageQuery, delivery_out, health_out, listed, with_log
from app.factory import settings_of, vault_of
from app.web import access
from app.webhooks import bp, operations, queries
from app.webhooks.models import Webhook
from app.webhooks.queries import CARRIER
from app.webhooks.schemas import WebhookCreated, WebhookIn, WebhookList, WebhookOut, WebhookPatch, WebhookSecret

MAY = Permission.WEBHOOKS_WRITE
ONE_DELIVERY = "/api/v1/webhooks/<webhook_id>/deliveries/<delivery_id>"


def _shown(webhooks: Sequence[Webhook]) -> list[dict[str, Any]]:
    states, waiting = delivery_queries.states(CARRIER), delivery_queries.open_counts(CARRIER)
    return [WebhookOut.fields_of(w, health_out(states.get(w.id), waiting.get(w.id, 0))) for w in webhooks]


def _get(webhook_id: str) -> Webhook:
    return queries.get_webhook(webhook_id, access.actor())


@bp.api("GET", "/api/v1/webhooks", permission=MAY, query=PageQuery, returns=WebhookList)
def list_webhooks(query: PageQuery) -> dict[str, Any]:
    """List webhooks, by name."""
    rows, said = query.paged(queries.list_webhooks(access.actor()))
    return said | {"webhooks": _shown(rows)}


@bp.api("POST", "/api/v1/webhooks", permission=MAY, body=WebhookIn, returns=WebhookCreated, status=201)
def create_webhook(body: WebhookIn) -> dict[str, Any]:
    """Create a webhook; the answer holds its secret, once."""
    webhook, secret = operations.create_webhook(
        body.name, body.url, body.events, actor=access.actor(), vault=vault_of(current_app),
        allow=settings_of(current_app).outbound_allow, description=body.description, tenant_ids=body.tenant_ids,
        enabled=body.enabled,
    )  # fmt: skip
    return _shown([webhook])[0] | {"secret": secret}


@bp.api("GET", "/api/v1/webhooks/<webhook_id>", permission=MAY, returns=WebhookOut)
def get_webhook(webhook_id: str) -> dict[str, Any]:
    """Get a webhook."""
    return _shown([_get(webhook_id)])[0]


@bp.api("PUT", "/api/v1/webhooks/<webhook_id>", permission=MAY, body=WebhookPatch, returns=WebhookOut)
def update_webhook(webhook_id: str, body: WebhookPatch) -> dict[str, Any]:
    """Change a webhook: what is given changes."""
    webhook = _get(webhook_id)
    operations.update_webhook(webhook, body.changes(), actor=access.actor(), vault=vault_of(current_app),
                              allow=settings_of(current_app).outbound_allow)  # fmt: skip
    return _shown([webhook])[0]


@bp.api("DELETE", "/api/v1/webhooks/<webhook_id>", permission=MAY, status=204)
def delete_webhook(webhook_id: str) -> None:
    """Delete a webhook with its deliveries."""
    operations.delete_webhook(_get(webhook_id), actor=access.actor())


@bp.api("POST", "/api/v1/webhooks/<webhook_id>/rotate", permission=MAY, returns=WebhookSecret)
def rotate_webhook(webhook_id: str) -> dict[str, Any]:
    """Give a webhook a new secret; for 24 hours the old one signs as well."""
    webhook = _get(webhook_id)
    secret = operations.rotate_secret(webhook, actor=access.actor(), vault=vault_of(current_app))
    return {"id": webhook.id, "secret": secret, "previous_valid_until": webhook.previous_until}


@bp.api("POST", "/api/v1/webhooks/<webhook_id>/test", permission=MAY, returns=DeliveryOut, status=202)
def try_webhook(webhook_id: str) -> dict[str, Any]:
    """Send `webhook.test`: the worker does so at once and once; the delivery tells what came of it."""
    return delivery_out(operations.test_webhook(_get(webhook_id), actor=access.actor()), ())


@bp.api("GET", "/api/v1/webhooks/<webhook_id>/deliveries", permission=MAY, query=DeliveryQuery, returns=DeliveryList)
def list_webhook_deliveries(webhook_id: str, query: DeliveryQuery) -> dict[str, Any]:
    """List what the webhook was told, newest first."""
    return listed(DeliveryFilter(CARRIER, _get(webhook_id).id, query.status or ""), query)


@bp.api("GET", ONE_DELIVERY, permission=MAY, returns=DeliveryOut)
def get_webhook_delivery(webhook_id: str, delivery_id: str) -> dict[str, Any]:
    """Get a delivery with its attempts."""
    row = delivery_queries.get_delivery(CARRIER, _get(webhook_id).id, delivery_id)
    return with_log(row)


@bp.api("POST", f"{ONE_DELIVERY}/redeliver", permission=MAY, returns=DeliveryOut, status=202)
def redeliver_webhook(webhook_id: str, delivery_id: str) -> dict[str, Any]:
    """Send a delivery again under the same `webhook-id`; 409 while it is under way."""
    row = delivery_queries.get_delivery(CARRIER, _get(webhook_id).id, delivery_id)
    send_again(row, actor=access.actor())
    return with_log(row)
