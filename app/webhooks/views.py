"""`/settings/webhooks`: the list, one webhook with its deliveries, the forms; a secret is shown once."""

from typing import Any

from flask import Response, current_app, make_response, redirect, render_template

from app.actors import Permission
from app.deliveries import shown
from app.errors import DomainError
from app.factory import settings_of, vault_of
from app.tenants.queries import tenant_choices
from app.web import access, pages
from app.web.forms import named, refused, show_error
from app.webhooks import bp, operations, queries
from app.webhooks.events import EVENTS, TOLD
from app.webhooks.forms import WebhookForm
from app.webhooks.models import EVERYTHING, Webhook
from app.webhooks.queries import CARRIER

MAY = Permission.WEBHOOKS_WRITE
PLACE = "/settings/webhooks"
RECEIVERS = shown.Receivers(CARRIER, PLACE, "Webhooks", "webhook")
FORM = "webhooks/form.html"
pages.add_settings(pages.SettingsTab("webhooks", "Webhooks", PLACE, MAY, place=50))


def _get(webhook_id: str) -> Webhook:
    return queries.get_webhook(webhook_id, access.actor())


def _form(webhook: Webhook | None = None) -> WebhookForm:
    values: dict[str, Any] = {}
    if webhook is not None:
        everything = EVERYTHING in webhook.events
        values = {"name": webhook.name, "description": webhook.description, "url": webhook.shown_url, "everything": everything,
                  "events": [] if everything else webhook.events, "all_tenants": webhook.all_tenants,
                  "tenants": [tenant.id for tenant in webhook.tenants], "enabled": webhook.enabled}  # fmt: skip
    form = WebhookForm(data=values)
    form.tenants.choices = named(tenant_choices(access.actor().tenant_ids))
    return form


def _given(form: WebhookForm) -> dict[str, Any]:
    return {
        "name": form.name.data.strip(), "url": form.url.data.strip(),
        "description": (form.description.data or "").strip() or None,
        "events": [EVERYTHING] if form.everything.data else form.events.data,
        "tenant_ids": None if form.all_tenants.data else form.tenants.data, "enabled": form.enabled.data,
    }  # fmt: skip


@bp.page(PLACE, permission=MAY)
def index() -> str:
    """All webhooks with how they do."""
    found = queries.list_webhooks(access.actor())
    return render_template("webhooks/index.html", webhooks=found, page_title="Webhooks", **RECEIVERS.health())


@bp.page(f"{PLACE}/new", permission=MAY)
def new() -> str:
    """The form for a new one."""
    return render_template(FORM, form=_form(), told=TOLD, webhook=None, page_title="New webhook")


@bp.page(f"{PLACE}/new", permission=MAY, methods=("POST",))
def create() -> Response:
    """Create one and show its secret, once."""
    form = _form()
    if form.validate():
        try:
            webhook, secret = operations.create_webhook(
                actor=access.actor(), vault=vault_of(current_app), allow=settings_of(current_app).outbound_allow, **_given(form)
            )
        except DomainError as error:
            show_error(form, error)
        else:
            return _secret(webhook, secret, "Webhook created")
    return refused(FORM, form, told=TOLD, webhook=None, page_title="New webhook")


def _secret(webhook: Webhook, secret: str, title: str) -> Response:
    return make_response(render_template("webhooks/secret.html", webhook=webhook, secret=secret, page_title=title))


@bp.page(f"{PLACE}/<webhook_id>", permission=MAY)
def show(webhook_id: str) -> str:
    """One webhook, what it was told, and how its receiver checks a signature."""
    webhook = _get(webhook_id)
    return render_template(
        "webhooks/webhook.html", webhook=webhook, known=EVENTS, page_title=webhook.name, **RECEIVERS.one(webhook.id)
    )


@bp.page(f"{PLACE}/<webhook_id>/edit", permission=MAY)
def edit(webhook_id: str) -> str:
    """The form to change one."""
    webhook = _get(webhook_id)
    return render_template(FORM, form=_form(webhook), told=TOLD, webhook=webhook, page_title=f"Edit {webhook.name}")


@bp.page(f"{PLACE}/<webhook_id>/edit", permission=MAY, methods=("POST",))
def update(webhook_id: str) -> Response:
    """Change one."""
    webhook, form = _get(webhook_id), _form()
    if form.validate():
        try:
            operations.update_webhook(webhook, _given(form), actor=access.actor(), vault=vault_of(current_app),
                                      allow=settings_of(current_app).outbound_allow)  # fmt: skip
        except DomainError as error:
            show_error(form, error)
        else:
            pages.toast("Webhook saved")
            return make_response(redirect(f"{PLACE}/{webhook.id}", 303))
    return refused(FORM, form, told=TOLD, webhook=_get(webhook_id), page_title="Edit webhook")


@bp.page(f"{PLACE}/<webhook_id>/test", permission=MAY, methods=("POST",))
def test(webhook_id: str) -> Response:
    """Send `webhook.test` and show what comes back."""
    return RECEIVERS.tried(operations.test_webhook(_get(webhook_id), actor=access.actor()))


@bp.page(f"{PLACE}/<webhook_id>/deliveries/<delivery_id>", permission=MAY)
def delivery(webhook_id: str, delivery_id: str) -> Response:
    """One delivery with its attempts."""
    webhook = _get(webhook_id)
    return RECEIVERS.delivery(webhook.id, webhook.name, delivery_id, with_payload=True)


@bp.page(f"{PLACE}/<webhook_id>/deliveries/<delivery_id>/redeliver", permission=MAY, methods=("POST",))
def redeliver(webhook_id: str, delivery_id: str) -> Response:
    """Send it again."""
    return RECEIVERS.redeliver(_get(webhook_id).id, delivery_id, actor=access.actor())


@bp.page(f"{PLACE}/<webhook_id>/rotate", permission=MAY)
def confirm_rotate(webhook_id: str) -> str:
    """Ask before the secret changes."""
    webhook = _get(webhook_id)
    target = {"label": webhook.name, "note": webhook.shown_url}
    impact = "For 24 hours both secrets sign in the webhook-signature header; the body is signed with the new one at once."
    return RECEIVERS.confirm(webhook.id, f"Give {webhook.name} a new secret?", target, "rotate", "Rotate secret", impact)


@bp.page(f"{PLACE}/<webhook_id>/rotate", permission=MAY, methods=("POST",))
def rotate(webhook_id: str) -> Response:
    """Give it a new secret and show that, once."""
    webhook = _get(webhook_id)
    return _secret(webhook, operations.rotate_secret(webhook, actor=access.actor(), vault=vault_of(current_app)), "New secret")


@bp.page(f"{PLACE}/<webhook_id>/delete", permission=MAY)
def confirm_delete(webhook_id: str) -> str:
    """Ask before deleting."""
    webhook = _get(webhook_id)
    return RECEIVERS.confirm_delete(webhook.id, webhook.name, webhook.shown_url, "Its receiver is told nothing more")


@bp.page(f"{PLACE}/<webhook_id>/delete", permission=MAY, methods=("POST",))
def delete(webhook_id: str) -> Response:
    """Delete one."""
    operations.delete_webhook(_get(webhook_id), actor=access.actor())
    return RECEIVERS.deleted()
