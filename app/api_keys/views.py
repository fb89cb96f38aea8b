"""`/settings/api-keys`: keys of both kinds; a secret is shown once."""

from datetime import datetime, timedelta
from typing import Any

from flask import Response, make_response, redirect, render_template, request

from app.actors import Permission, Role
from app.api_keys import bp, operations, queries
from app.api_keys.forms import KeyForm
from app.api_keys.models import ApiKey
from app.clock import now
from app.errors import DomainError
from app.fleet.queries import by_ids
from app.tenants.queries import tenant_choices
from app.web import access, pages
from app.web.forms import named, refused, show_error

TEMPLATE = "api_keys/index.html"
PAGE = 50
SHOWN_AFTER_ITS_END = timedelta(days=7)
pages.add_settings(pages.SettingsTab("api-keys", "API keys", "/settings/api-keys", Permission.KEYS_READ, place=30))


def _context() -> dict[str, Any]:
    who, moment = access.actor(), now()
    q, of, page = request.args.get("q", "").strip()[:200], request.args.get("of", ""), pages.page_number()
    found = queries.list_keys(who, own=not who.is_admin, q=q)
    past = request.args.get("past") == "1"
    of_kind = [k for k in found if (k.computer_id is not None) == (of == "computers")]
    wanted = [k for k in of_kind if past or (k.ended_at(moment) or moment) > moment - SHOWN_AFTER_ITS_END]
    keys = wanted[(page - 1) * PAGE : page * PAGE]
    computers = by_ids({k.computer_id for k in keys if k.computer_id is not None})
    rows = [{"key": k, "computer": computers.get(k.computer_id or 0), "active": k.is_active(moment),
             "state": _state(k, moment)} for k in keys]  # fmt: skip
    return {"rows": rows, "q": q, "of": of, "past": past, "hidden": len(of_kind) - len(wanted), "page": page,
            "pages": max(1, -(-len(wanted) // PAGE)), "per_page": PAGE, "total": len(wanted), "others": len(found) - len(of_kind),
            "page_title": "API keys", "is_admin": who.is_admin}  # fmt: skip


def _state(key: ApiKey, moment: datetime) -> str:
    if key.is_active(moment):
        return "enabled"
    if key.revoked_at:
        return "revoked"
    return "expired" if key.ended_at(moment) else "disabled"


def _form() -> KeyForm:
    form = KeyForm()
    form.tenants.choices = named(tenant_choices(access.actor().tenant_ids))
    return form


@bp.page("/settings/api-keys", permission=Permission.KEYS_READ)
def index() -> str:
    """The keys: an admin sees all, others their own."""
    return render_template(TEMPLATE, form=_form(), **_context())


@bp.page("/settings/api-keys", permission=Permission.KEYS_READ, methods=("POST",))
def create() -> Response:
    """Create a key and show its secret, once."""
    form, who = _form(), access.actor()
    if form.validate():
        try:
            key, secret = operations.create_integration_key(
                form.name.data.strip(), Role(form.role.data), actor=who,
                tenant_ids=None if form.all_tenants.data else form.tenants.data,
                expires_at=now() + timedelta(days=int(form.expires.data)) if form.expires.data else None,
                rate_limit=form.rate_limit.data if who.is_admin else None,
            )  # fmt: skip
        except DomainError as error:
            show_error(form, error)
        else:
            return make_response(render_template("api_keys/created.html", key=key, secret=secret, page_title="API key created"))
    return refused(TEMPLATE, form, **_context())


@bp.page("/settings/api-keys/<key_id>/revoke", permission=Permission.KEYS_READ)
def confirm_revoke(key_id: str) -> str:
    """Ask before revoking."""
    key = queries.get_key(key_id, access.actor())
    title = f"Revoke {key.name}?"
    what = "its computer goes offline" if key.computer_id is not None else "whatever uses it stops working"
    return render_template(
        "confirm.html", title=title, page_title=title, targets=[{"label": key.name, "note": f"{key.prefix}…"}], total=1,
        impact=f"Within 5 seconds {what}.", action=f"/settings/api-keys/{key.id}/revoke", verb="Revoke key",
        cancel="/settings/api-keys", fields={},
    )  # fmt: skip


@bp.page("/settings/api-keys/<key_id>/revoke", permission=Permission.KEYS_READ, methods=("POST",))
def revoke(key_id: str) -> Response:
    """Revoke."""
    operations.revoke_key(queries.get_key(key_id, access.actor()), actor=access.actor())
    pages.toast("Key revoked")
    return make_response(redirect("/settings/api-keys", 303))
