"""`/api/v1/notification-channels…`"""

from collections.abc import Sequence
from typing import Any

from flask import current_app

from app.actors import Permission
from app.database import begin_write
from app.deliveries import queries as delivery_queries
from app.deliveries.operations import redeliver as send_again
from app.deliveries.queries import DeliveryFilter
from app.deliveries.schemas import DeliveryList, DeliveryOut, DeliveryQuery, PageQuery, delivery_out, health_out, listed, with_log
from app.factory import settings_of, vault_of
from app.notifications import bp, operations, queries
from app.notifications.models import Channel
from app.notifications.queries import CARRIER
from app.notifications.schemas import ChannelIn, ChannelList, ChannelOut, ChannelPatch
from app.web import access

MAY = Permission.CHANNELS_WRITE
ALL = "/api/v1/notification-channels"
ONE = f"{ALL}/<channel_id>"
ONE_DELIVERY = f"{ONE}/deliveries/<delivery_id>"


def _shown(channels: Sequence[Channel]) -> list[dict[str, Any]]:
    states, waiting = delivery_queries.states(CARRIER), delivery_queries.open_counts(CARRIER)
    return [ChannelOut.fields_of(c, health_out(states.get(c.id), waiting.get(c.id, 0))) for c in channels]


def _get(channel_id: str) -> Channel:
    return queries.get_channel(channel_id, access.actor())


@bp.api("GET", ALL, permission=MAY, query=PageQuery, returns=ChannelList)
def list_channels(query: PageQuery) -> dict[str, Any]:
    """List notification channels, by name."""
    rows, said = query.paged(queries.list_channels(access.actor()))
    return said | {"channels": _shown(rows)}


@bp.api("POST", ALL, permission=MAY, body=ChannelIn, returns=ChannelOut, status=201, begins_own_write=True)
def create_channel(body: ChannelIn) -> dict[str, Any]:
    """Create a notification channel."""
    address = operations.check_address(body.url, settings_of(current_app).outbound_allow)
    begin_write()
    channel = operations.create_channel(
        body.name, address, actor=access.actor(), vault=vault_of(current_app), severities=body.severities,
        tenant_ids=body.tenant_ids, tag=body.tag, repeat_minutes=body.repeat_minutes, tell_recovery=body.tell_recovery,
        enabled=body.enabled,
    )  # fmt: skip
    return _shown([channel])[0]


@bp.api("GET", ONE, permission=MAY, returns=ChannelOut)
def get_channel(channel_id: str) -> dict[str, Any]:
    """Get a notification channel."""
    return _shown([_get(channel_id)])[0]


@bp.api("PUT", ONE, permission=MAY, body=ChannelPatch, returns=ChannelOut, begins_own_write=True)
def update_channel(channel_id: str, body: ChannelPatch) -> dict[str, Any]:
    """Change a notification channel: what is given changes."""
    unchanged = body.url is None or body.url == _get(channel_id).shown
    address = None if unchanged else operations.check_address(body.url or "", settings_of(current_app).outbound_allow)
    begin_write()
    channel = _get(channel_id)
    operations.update_channel(channel, body.changes(), actor=access.actor(), vault=vault_of(current_app), address=address)
    return _shown([channel])[0]


@bp.api("DELETE", ONE, permission=MAY, status=204)
def delete_channel(channel_id: str) -> None:
    """Delete a notification channel with its deliveries."""
    operations.delete_channel(_get(channel_id), actor=access.actor())


@bp.api("POST", f"{ONE}/test", permission=MAY, returns=DeliveryOut, status=202)
def try_channel(channel_id: str) -> dict[str, Any]:
    """Send a test message: the worker does so at once and once; the delivery tells what came of it."""
    return delivery_out(operations.test_channel(_get(channel_id), actor=access.actor()), ())


@bp.api("GET", f"{ONE}/deliveries", permission=MAY, query=DeliveryQuery, returns=DeliveryList)
def list_channel_deliveries(channel_id: str, query: DeliveryQuery) -> dict[str, Any]:
    """List what the channel was told, newest first."""
    return listed(DeliveryFilter(CARRIER, _get(channel_id).id, query.status or ""), query)


@bp.api("GET", ONE_DELIVERY, permission=MAY, returns=DeliveryOut)
def get_channel_delivery(channel_id: str, delivery_id: str) -> dict[str, Any]:
    """Get a delivery with its attempts."""
    row = delivery_queries.get_delivery(CARRIER, _get(channel_id).id, delivery_id)
    return with_log(row)


@bp.api("POST", f"{ONE_DELIVERY}/redeliver", permission=MAY, returns=DeliveryOut, status=202)
def redeliver_channel(channel_id: str, delivery_id: str) -> dict[str, Any]:
    """Send a delivery again; 409 while it is under way."""
    row = delivery_queries.get_delivery(CARRIER, _get(channel_id).id, delivery_id)
    send_again(row, actor=access.actor())
    return with_log(row)
