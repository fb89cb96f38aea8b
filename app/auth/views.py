"""Pages for people: login, logout, first admin, invitation, own account."""

import hmac
from pathlib import Path

from flask import Response, current_app, redirect, render_template, request, session
from flask import make_response as respond
from flask_login import login_user, logout_user

from app.actors import Permission
from app.auth import authenticator, bp, operations, queries
from app.auth.forms import LoginForm, PasswordForm, RegisterForm, SetupForm
from app.auth.models import User
from app.clock import now
from app.database import begin_write
from app.errors import DomainError, NotFound, Unauthenticated
from app.factory import settings_of
from app.web import access, limits, pages
from app.web.forms import refused, show_error

SETUP_OVER = (
    "It makes the first administrator, once. If there is one already, sign in; else take the link that the last start printed."
)


def setup_token_path() -> Path:
    """The file that holds the one-time token of the first-admin link; its absence means set-up is over."""
    return settings_of(current_app).data_dir / "setup-token"


def _sign_in(user: User, target: str) -> Response:
    chosen = session.get("tenant")
    session.clear()
    token = operations.open_login(user, access.address(), actor=queries.actor_of(user, address=access.address()))
    login_user(authenticator.SignedIn(token, queries.actor_of(user)))
    session.permanent = True
    if chosen:
        session["tenant"] = chosen
    return respond(redirect(pages.local_target(target), 303))


@bp.page("/login", permission=Permission.PUBLIC)
def login_page() -> Response | str:
    """The login page; whoever is signed in goes on."""
    if access.actor().is_person:
        return respond(redirect(pages.local_target(request.args.get("next")), 303))
    form = LoginForm(next=request.args.get("next", ""))
    return render_template("auth/login.html", form=form, page_title="Sign in", nobody=not queries.has_users())


@bp.page("/login", permission=Permission.PUBLIC, methods=("POST",), begins_own_write=True)
def login() -> Response:
    """Sign in with a form."""
    form = LoginForm()
    if not form.validate():
        return refused("auth/login.html", form, page_title="Sign in")
    limits.count_login(form.username.data, access.address())
    try:
        user = operations.check_credentials(form.username.data, form.password.data, actor=access.actor())
    except Unauthenticated:
        form.form_errors.append("The user name or the password is wrong")
        return refused("auth/login.html", form, page_title="Sign in")
    return _sign_in(user, form.next.data or "/")


@bp.page("/logout", permission=Permission.PUBLIC, methods=("POST",))
def logout() -> Response:
    """Sign out; the login, its cookie and its sockets end."""
    who = access.actor()
    if who.login_id:
        operations.close_login(who.login_id, actor=who)
    logout_user()
    session.clear()
    return respond(redirect("/login", 303))


def _setup_allowed(token: str) -> None:
    path = setup_token_path()
    wanted = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    if not wanted or not hmac.compare_digest(wanted.encode(), token.encode()) or queries.has_users():
        raise NotFound("This link does not work", SETUP_OVER)


@bp.page("/setup", permission=Permission.PUBLIC)
def setup_page() -> str:
    """The first admin, for whoever has the one-time link; afterwards 404 (RELIABILITY 3)."""
    token = request.args.get("token", "")
    _setup_allowed(token)
    return render_template("auth/setup.html", form=SetupForm(token=token), page_title="Create the first admin")


@bp.page("/setup", permission=Permission.PUBLIC, methods=("POST",), begins_own_write=True)
def setup() -> Response:
    """Create the first admin, sign in, and close the door."""
    form = SetupForm()
    _setup_allowed(form.token.data or "")
    title = "Create the first admin"
    if not form.validate():
        return refused("auth/setup.html", form, page_title=title)
    try:
        user = operations.create_first_admin(
            form.username.data, form.email.data or None, form.password.data, actor=access.actor()
        )  # fmt: skip
    except DomainError as error:
        show_error(form, error)
        return refused("auth/setup.html", form, page_title=title)
    response = _sign_in(user, "/")
    setup_token_path().unlink(missing_ok=True)
    return response


@bp.page("/register", permission=Permission.PUBLIC)
def register_page() -> str:
    """Register with an invitation's link."""
    token = request.args.get("invitation", "")
    if queries.open_invitation(token, now()) is None:
        raise NotFound("This invitation has been used or has expired; ask for a new one")
    return render_template("auth/register.html", form=RegisterForm(token=token), page_title="Join")


@bp.page("/register", permission=Permission.PUBLIC, methods=("POST",), begins_own_write=True)
def register() -> Response:
    """Make the account that the invitation grants, and sign in."""
    form = RegisterForm()
    token = form.token.data or ""
    invitation = queries.open_invitation(token, now())
    if invitation is None:
        raise NotFound("This invitation has been used or has expired; ask for a new one")
    if not form.validate():
        return refused("auth/register.html", form, page_title="Join")
    scope = invitation.tenant_ids.split(",") if invitation.tenant_ids is not None else None
    try:
        user = operations.create_user(form.username.data, form.email.data or None, form.password.data, invitation.role,
                                      scope, actor=operations.unlimited(access.actor()))  # fmt: skip
        operations.use_invitation(token, user)
    except DomainError as error:
        show_error(form, error)
        return refused("auth/register.html", form, page_title="Join")
    return _sign_in(user, "/")


@bp.page("/settings/account", permission=Permission.SIGNED_IN)
def account_page() -> str:
    """Who I am, and my password."""
    return _account(PasswordForm())


def _account(form: PasswordForm) -> str:
    user = queries.get_user(access.actor().user_id or "")
    return render_template("auth/account.html", user=user, form=form, page_title="Account", settings_tab="account")


@bp.page("/settings/account", permission=Permission.SIGNED_IN, methods=("POST",), begins_own_write=True)
def change_password() -> Response:
    """Change my password; every other login and token of mine ends."""
    form, who = PasswordForm(), access.actor()
    if form.validate():
        limits.count_login(who.name, access.address())
        try:
            user = operations.change_password(who.user_id or "", form.password.data, form.current_password.data, actor=who)
        except DomainError as error:
            show_error(form, error)
        else:
            response = _sign_in(user, "/settings/account")
            pages.toast("Password changed. All other logins have ended.")
            return response
    return respond(_account(form), 422)


@bp.page("/settings/logins/end", permission=Permission.SIGNED_IN, methods=("POST",))
def end_logins() -> Response:
    """Sign out everywhere."""
    begin_write()
    user = queries.get_user(access.actor().user_id or "")
    operations.end_all_logins(user, actor=access.actor())
    logout_user()
    session.clear()
    return respond(redirect("/login", 303))
