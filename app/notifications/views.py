"""`/settings/channels`: the list, one channel with its deliveries, the forms."""

from typing import Any

from flask import Response, current_app, make_response, redirect, render_template

from app.actors import Permission
from app.database import begin_write
from app.deliveries import shown
from app.errors import DomainError
from app.factory import settings_of, vault_of
from app.notifications import bp, operations, queries
from app.notifications.forms import ChannelForm
from app.notifications.models import Channel
from app.notifications.queries import CARRIER
from app.tenants.queries import tenant_choices
from app.web import access, pages
from app.web.forms import named, refused, show_error

MAY = Permission.CHANNELS_WRITE
PLACE = "/settings/channels"
RECEIVERS = shown.Receivers(CARRIER, PLACE, "Notifications", "channel")
FORM = "notifications/form.html"
pages.add_settings(pages.SettingsTab("channels", "Notifications", PLACE, MAY, place=45))


def _get(channel_id: str) -> Channel:
    return queries.get_channel(channel_id, access.actor())


def _form(channel: Channel | None = None) -> ChannelForm:
    values: dict[str, Any] = {}
    if channel is not None:
        values = {"name": channel.name, "url": channel.shown, "warning": "warning" in channel.severities,
                  "critical": "critical" in channel.severities, "tell_recovery": channel.tell_recovery,
                  "repeat_minutes": channel.repeat_minutes, "tag": channel.tag, "all_tenants": channel.all_tenants,
                  "tenants": [tenant.id for tenant in channel.tenants], "enabled": channel.enabled}  # fmt: skip
    form = ChannelForm(data=values)
    form.tenants.choices = named(tenant_choices(access.actor().tenant_ids))
    return form


def _given(form: ChannelForm) -> dict[str, Any]:
    return {
        "name": form.name.data.strip(), "severities": [name for name in ("warning", "critical") if form[name].data],
        "tenant_ids": None if form.all_tenants.data else form.tenants.data, "tag": form.tag.data,
        "repeat_minutes": form.repeat_minutes.data, "tell_recovery": form.tell_recovery.data, "enabled": form.enabled.data,
    }  # fmt: skip


@bp.page(PLACE, permission=MAY)
def index() -> str:
    """All channels with how they do."""
    found = queries.list_channels(access.actor())
    return render_template("notifications/index.html", channels=found, page_title="Notifications", **RECEIVERS.health())


@bp.page(f"{PLACE}/new", permission=MAY)
def new() -> str:
    """The form for a new one."""
    return render_template(FORM, form=_form(), channel=None, page_title="New channel")


@bp.page(f"{PLACE}/new", permission=MAY, methods=("POST",), begins_own_write=True)
def create() -> Response:
    """Create one."""
    form = _form()
    if form.validate():
        try:
            address = operations.check_address(form.url.data, settings_of(current_app).outbound_allow)
            begin_write()
            channel = operations.create_channel(
                address=address, actor=access.actor(), vault=vault_of(current_app), **_given(form)
            )  # fmt: skip
        except DomainError as error:
            show_error(form, error)
        else:
            pages.toast("Channel created. Send a test to see that it works.")
            return make_response(redirect(f"{PLACE}/{channel.id}", 303))
    return refused(FORM, form, channel=None, page_title="New channel")


@bp.page(f"{PLACE}/<channel_id>", permission=MAY)
def show(channel_id: str) -> str:
    """One channel and what it was told."""
    channel = _get(channel_id)
    return render_template("notifications/channel.html", channel=channel, page_title=channel.name, **RECEIVERS.one(channel.id))


@bp.page(f"{PLACE}/<channel_id>/edit", permission=MAY)
def edit(channel_id: str) -> str:
    """The form to change one."""
    channel = _get(channel_id)
    return render_template(FORM, form=_form(channel), channel=channel, page_title=f"Edit {channel.name}")


@bp.page(f"{PLACE}/<channel_id>/edit", permission=MAY, methods=("POST",), begins_own_write=True)
def update(channel_id: str) -> Response:
    """Change one; the address as it is shown stays as it is stored."""
    channel, form, address = _get(channel_id), _form(), None
    if form.validate():
        try:
            if form.url.data.strip() != channel.shown:
                address = operations.check_address(form.url.data, settings_of(current_app).outbound_allow)
            begin_write()
            operations.update_channel(_get(channel_id), _given(form), actor=access.actor(), vault=vault_of(current_app),
                                      address=address)  # fmt: skip
        except DomainError as error:
            show_error(form, error)
        else:
            pages.toast("Channel saved")
            return make_response(redirect(f"{PLACE}/{channel_id}", 303))
    return refused(FORM, form, channel=_get(channel_id), page_title="Edit channel")


@bp.page(f"{PLACE}/<channel_id>/test", permission=MAY, methods=("POST",))
def test(channel_id: str) -> Response:
    """Send a test message and show what comes back."""
    return RECEIVERS.tried(operations.test_channel(_get(channel_id), actor=access.actor()))


@bp.page(f"{PLACE}/<channel_id>/deliveries/<delivery_id>", permission=MAY)
def delivery(channel_id: str, delivery_id: str) -> Response:
    """One delivery with its attempts."""
    channel = _get(channel_id)
    return RECEIVERS.delivery(channel.id, channel.name, delivery_id, with_payload=False)


@bp.page(f"{PLACE}/<channel_id>/deliveries/<delivery_id>/redeliver", permission=MAY, methods=("POST",))
def redeliver(channel_id: str, delivery_id: str) -> Response:
    """Send it again."""
    return RECEIVERS.redeliver(_get(channel_id).id, delivery_id, actor=access.actor())


@bp.page(f"{PLACE}/<channel_id>/delete", permission=MAY)
def confirm_delete(channel_id: str) -> str:
    """Ask before deleting."""
    channel = _get(channel_id)
    return RECEIVERS.confirm_delete(channel.id, channel.name, channel.service, "Nobody is told of alerts through it any more")


@bp.page(f"{PLACE}/<channel_id>/delete", permission=MAY, methods=("POST",))
def delete(channel_id: str) -> Response:
    """Delete one."""
    operations.delete_channel(_get(channel_id), actor=access.actor())
    return RECEIVERS.deleted()
