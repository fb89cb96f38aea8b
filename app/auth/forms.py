"""Forms for people: login, first admin, users, own account."""

from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    EmailField,
    HiddenField,
    PasswordField,
    SelectField,
    SelectMultipleField,
    StringField,
)  # fmt: skip
from wtforms.validators import DataRequired, EqualTo, Length, Optional, Regexp

from app.actors import Role
from app.web.forms import ROLES

_USERNAME = [DataRequired(), Length(3, 50), Regexp(r"^[\w.@+-]+$", message="Letters, digits and . _ @ + - only")]
_EMAIL = [Length(max=254), Regexp(r"^[^@\s]{1,64}@[^@\s]+\.[^@\s.]{2,63}$", message="This is not an e-mail address")]
_PASSWORD = [Length(8, 256, message="8 to 256 characters")]


class LoginForm(FlaskForm):  # type: ignore[misc]
    """`/login`."""

    username = StringField("User name or e-mail", [DataRequired(), Length(max=254)],
                           render_kw={"autocomplete": "username", "autofocus": True})  # fmt: skip
    password = PasswordField("Password", [DataRequired(), Length(max=1024)], render_kw={"autocomplete": "current-password"})
    next = HiddenField()


class SetupForm(FlaskForm):  # type: ignore[misc]
    """`/setup`: the first admin."""

    username = StringField("User name", _USERNAME, render_kw={"autocomplete": "username", "autofocus": True})
    email = EmailField("E-mail", [Optional(), *_EMAIL], description="Optional", render_kw={"autocomplete": "email"})
    password = PasswordField("Password", [DataRequired(), *_PASSWORD], description="At least 8 characters",
                             render_kw={"autocomplete": "new-password"})  # fmt: skip
    confirm = PasswordField("Password again", [EqualTo("password", message="The two passwords differ")],
                            render_kw={"autocomplete": "new-password"})  # fmt: skip
    token = HiddenField()


class RegisterForm(SetupForm):
    """`/register`, from an invitation; `token` is the invitation's."""


class _TenantsMixin:
    all_tenants = BooleanField("All tenants", default=True)
    tenants = SelectMultipleField("Only these tenants", choices=[], validate_choice=True)

    def tenant_ids(self) -> list[str] | None:
        """None for all tenants, else the chosen ids."""
        return None if self.all_tenants.data else list(self.tenants.data or [])


class UserForm(_TenantsMixin, FlaskForm):  # type: ignore[misc]
    """`/settings/users/new` and the edit page, where the password may stay empty."""

    username = StringField("User name", _USERNAME)
    email = EmailField("E-mail", [DataRequired(), *_EMAIL])
    role = SelectField("Role", choices=ROLES, default=Role.READONLY.value)
    password = PasswordField("Password", [Optional(), *_PASSWORD], render_kw={"autocomplete": "new-password"})
    is_active = BooleanField("Active", default=True)


class InviteForm(_TenantsMixin, FlaskForm):  # type: ignore[misc]
    """An invitation."""

    role = SelectField("Role", choices=ROLES, default=Role.READONLY.value)


class PasswordForm(FlaskForm):  # type: ignore[misc]
    """`/settings/account`."""

    current_password = PasswordField("Current password", [DataRequired()], render_kw={"autocomplete": "current-password"})
    password = PasswordField("New password", [DataRequired(), *_PASSWORD], render_kw={"autocomplete": "new-password"})
    confirm = PasswordField("New password again", [EqualTo("password", message="The two passwords differ")],
                            render_kw={"autocomplete": "new-password"})  # fmt: skip
