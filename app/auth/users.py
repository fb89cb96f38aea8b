"""`/settings/users`: users and invitations, for admins."""

from typing import Any

from flask import Response, current_app, make_response, redirect, render_template, request

from app.actors import Permission, Role
from app.auth import bp, operations, queries
from app.auth.forms import InviteForm, UserForm
from app.auth.models import User
from app.clock import now
from app.database import begin_write
from app.errors import DomainError
from app.factory import settings_of
from app.tenants.queries import tenant_choices
from app.web import access, pages
from app.web.forms import named, refused, show_error

pages.add_settings(
    pages.SettingsTab("account", "Account", "/settings/account", Permission.SIGNED_IN, place=0),
    pages.SettingsTab("users", "Users", "/settings/users", Permission.USERS_WRITE, place=10),
)
LIST, ONE = "auth/users.html", "auth/user.html"


def _choices(form: Any) -> Any:
    form.tenants.choices = named(tenant_choices(None))
    return form


@bp.page("/settings/users", permission=Permission.USERS_WRITE)
def users() -> str:
    """All users and open invitations."""
    q, form = request.args.get("q", "").strip()[:200], _choices(InviteForm())
    return render_template(LIST, users=queries.list_users(q), invitations=queries.list_invitations(now()), form=form,
                           invite_link=None, q=q, page_title="Users")  # fmt: skip


@bp.page("/settings/users/invite", permission=Permission.USERS_WRITE, methods=("POST",))
def invite() -> Response:
    """Make an invitation link, shown once."""
    form, link = _choices(InviteForm()), None
    if form.validate():
        _, token = operations.invite(Role(form.role.data), form.tenant_ids(), actor=access.actor())
        address = settings_of(current_app).public_url or request.host_url
        link = f"{address.rstrip('/')}/register?invitation={token}"
    context = {"users": queries.list_users(), "invitations": queries.list_invitations(now()), "q": "", "page_title": "Users"}
    return make_response(render_template(LIST, form=form, invite_link=link, **context), 200 if link else 422)


@bp.page("/settings/users/new", permission=Permission.USERS_WRITE)
def new_user() -> str:
    """The form for a new user."""
    return render_template(ONE, form=_choices(UserForm()), user=None, page_title="New user")


@bp.page("/settings/users/new", permission=Permission.USERS_WRITE, methods=("POST",), begins_own_write=True)
def add_user() -> Response:
    """Create a user."""
    form = _choices(UserForm())
    if form.validate():
        try:
            operations.create_user(form.username.data, form.email.data, form.password.data or "", Role(form.role.data),
                                   form.tenant_ids(), actor=access.actor())  # fmt: skip
        except DomainError as error:
            show_error(form, error)
        else:
            pages.toast(f"User {form.username.data} created")
            return make_response(redirect("/settings/users", 303))
    return refused(ONE, form, user=None, page_title="New user")


def _user_form(user: User) -> UserForm:
    if request.method == "POST":
        return _choices(UserForm())  # type: ignore[no-any-return]
    form = UserForm(username=user.username, email=user.email, role=user.role.value, is_active=user.is_active,
                    all_tenants=user.all_tenants, tenants=[t.id for t in user.tenants])  # fmt: skip
    return _choices(form)  # type: ignore[no-any-return]


@bp.page("/settings/users/<user_id>", permission=Permission.USERS_WRITE)
def user(user_id: str) -> str:
    """The form to edit one."""
    row = queries.get_user(user_id)
    return render_template(ONE, form=_user_form(row), user=row, page_title=row.username)


@bp.page("/settings/users/<user_id>", permission=Permission.USERS_WRITE, methods=("POST",), begins_own_write=True)
def save_user(user_id: str) -> Response:
    """Save; a new role, scope, password or disabling ends the user's logins and tokens."""
    row, who = queries.get_user(user_id), access.actor()
    form = _user_form(row)
    if form.validate():
        try:
            if form.password.data:
                operations.change_password(user_id, form.password.data, None, actor=who)
            else:
                begin_write()
            operations.update_user(
                queries.get_user(user_id), actor=who, username=form.username.data, email=form.email.data,
                role=Role(form.role.data), is_active=form.is_active.data, tenant_ids=form.tenant_ids(), set_tenants=True,
            )  # fmt: skip
        except DomainError as error:
            show_error(form, error)
        else:
            pages.toast("Saved")
            return make_response(redirect("/settings/users", 303))
    return refused(ONE, form, user=queries.get_user(user_id), page_title="Edit user")


@bp.page("/settings/users/<user_id>/delete", permission=Permission.USERS_WRITE)
def confirm_delete(user_id: str) -> str:
    """Ask before deleting."""
    row = queries.get_user(user_id)
    title = f"Delete user {row.username}?"
    return render_template(
        "confirm.html", title=title, page_title=title, targets=[{"label": row.username, "note": row.email}], total=1,
        impact="All logins and tokens of this person end at once.", action=f"/settings/users/{row.id}/delete",
        verb="Delete user", cancel=f"/settings/users/{row.id}", fields={},
    )  # fmt: skip


@bp.page("/settings/users/<user_id>/delete", permission=Permission.USERS_WRITE, methods=("POST",))
def delete_user(user_id: str) -> Response:
    """Delete."""
    try:
        operations.delete_user(queries.get_user(user_id), actor=access.actor())
        pages.toast("User deleted")
    except DomainError as error:
        pages.toast(error.message, "error")
    return make_response(redirect("/settings/users", 303))
