"""What all forms share: domain errors shown at their field, and the answer of a form that does not fit (422)."""

from collections.abc import Iterable, Mapping
from typing import Any

from flask import Response, make_response, render_template
from flask_wtf import FlaskForm
from wtforms import BooleanField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import DataRequired, Length

from app.actors import Role
from app.errors import Conflict, DomainError, Invalid
from app.extensions import db


def choices(*pairs: tuple[str, str]) -> list[SelectChoice]:
    """The options of a select field from (value, label)."""
    return [SelectChoice(value, label) for value, label in pairs]


def named(things: Iterable[Mapping[str, str]]) -> list[SelectChoice]:
    """The options for things with an `id` and a `name`, such as tenants."""
    return choices(*((thing["id"], thing["name"]) for thing in things))


ROLES = choices(
    (Role.ADMIN.value, "Admin: everything"),
    (Role.USER.value, "User: works the fleet"),
    (Role.READONLY.value, "Readonly: watches"),
    (Role.EXECUTOR.value, "Executor: runs commands, reports sessions"),
)


class ViewForm(FlaskForm):  # type: ignore[misc]
    """Save a list's filters under a name."""

    name = StringField("Name", [DataRequired(), Length(max=60)])
    shared = BooleanField("For everybody", description="Others see it among their views too")


def show_error(form: FlaskForm, error: DomainError) -> None:
    """Put a domain error where the person can mend it: at its field, else at the form's head."""
    db.session.rollback()
    placed = False
    if isinstance(error, Invalid):
        for row in error.errors:
            field = form._fields.get(row.name)
            if field is not None:
                field.errors = [*field.errors, row.message]
                placed = True
    if isinstance(error, Conflict):
        for name in ("username", "email", "name"):
            if name in form._fields and error.message.lower().startswith((name, f"a tenant with this {name}")):
                form._fields[name].errors = [error.message]
                placed = True
    if not placed:
        form.form_errors.append(error.message)


def refused(template: str, form: FlaskForm, **context: Any) -> Response:
    """The form again, with what is wrong, as 422 (htmx swaps it)."""
    return make_response(render_template(template, form=form, **context), 422)
