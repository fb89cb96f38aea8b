"""The tenant switch and `/settings/tenants`."""

from flask import Response, make_response, redirect, render_template, request, session

from app.actors import Permission
from app.errors import DomainError, NotFound
from app.tenants import bp, operations, queries
from app.tenants.forms import TenantForm
from app.tenants.models import Tenant
from app.web import access, pages
from app.web.forms import refused, show_error

pages.set_tenant_list(queries.tenant_choices)
pages.add_settings(pages.SettingsTab("tenants", "Tenants", "/settings/tenants", Permission.TENANTS_WRITE, place=20))
TEMPLATE = "tenants/index.html"


@bp.page("/tenant", permission=Permission.SIGNED_IN, methods=("POST",))
def switch() -> Response:
    """Show only one tenant on all lists, or all again."""
    chosen = request.form.get("tenant_id", "")
    if chosen:
        queries.get_tenant(chosen, access.actor())
        session["tenant"] = chosen
    else:
        session.pop("tenant", None)
    return make_response(redirect(pages.local_target(request.form.get("next")), 303))


def _context() -> dict[str, object]:
    counts = operations.count_computers()
    rows = [{"id": t.id, "name": t.name, "created_at": t.created_at, "computers": counts.get(t.id, 0)}
            for t in queries.list_tenants(access.actor().tenant_ids)]  # fmt: skip
    return {"rows": rows, "page_title": "Tenants", "settings_tab": "tenants"}


def _one(tenant: Tenant) -> dict[str, object]:
    computers = operations.count_computers().get(tenant.id, 0)
    return {"tenant": tenant, "computers": computers, "page_title": tenant.name, "settings_tab": "tenants"}


@bp.page("/settings/tenants", permission=Permission.TENANTS_WRITE)
def index() -> str:
    """All tenants with their computers."""
    return render_template(TEMPLATE, form=TenantForm(), **_context())


@bp.page("/settings/tenants", permission=Permission.TENANTS_WRITE, methods=("POST",))
def create() -> Response:
    """Create one."""
    form = TenantForm()
    if form.validate():
        try:
            tenant = operations.create_tenant(form.name.data.strip(), actor=access.actor())
        except DomainError as error:
            show_error(form, error)
        else:
            pages.toast(f"Tenant {tenant.name} created")
            return make_response(redirect("/settings/tenants", 303))
    return refused(TEMPLATE, form, **_context())


@bp.page("/settings/tenants/<tenant_id>/edit", permission=Permission.TENANTS_WRITE)
def edit(tenant_id: str) -> str:
    """The form to rename one."""
    tenant = queries.get_tenant(tenant_id, access.actor())
    return render_template("tenants/edit.html", form=TenantForm(name=tenant.name), **_one(tenant))


@bp.page("/settings/tenants/<tenant_id>/edit", permission=Permission.TENANTS_WRITE, methods=("POST",))
def rename(tenant_id: str) -> Response:
    """Rename one."""
    form = TenantForm()
    tenant = queries.get_tenant(tenant_id, access.actor())
    if form.validate():
        try:
            operations.rename_tenant(tenant, form.name.data.strip(), actor=access.actor())
        except DomainError as error:
            show_error(form, error)
        else:
            pages.toast("Tenant renamed")
            return make_response(redirect("/settings/tenants", 303))
    return refused("tenants/edit.html", form, **_one(tenant))


@bp.page("/settings/tenants/<tenant_id>/delete", permission=Permission.TENANTS_WRITE)
def confirm_delete(tenant_id: str) -> str:
    """Ask before deleting."""
    tenant = queries.get_tenant(tenant_id, access.actor())
    title = f"Delete tenant {tenant.name}?"
    return render_template(
        "confirm.html", title=title, page_title=title, targets=[{"label": tenant.name}], total=1,
        impact="The tenant leaves menus, users and keys; it must not own any computer.",
        action=f"/settings/tenants/{tenant.id}/delete", verb="Delete tenant", cancel="/settings/tenants", fields={},
    )  # fmt: skip


@bp.page("/settings/tenants/<tenant_id>/delete", permission=Permission.TENANTS_WRITE, methods=("POST",))
def delete(tenant_id: str) -> Response:
    """Delete one to which nothing belongs."""
    try:
        operations.delete_tenant(queries.get_tenant(tenant_id, access.actor()), actor=access.actor())
        pages.toast("Tenant deleted")
    except NotFound:
        raise
    except DomainError as error:
        pages.toast(error.message, "error")
    return make_response(redirect("/settings/tenants", 303))
