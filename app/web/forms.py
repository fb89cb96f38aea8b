"""What all forms share: domain errors shown at their field, and the answer of a form that does not fit (422)."""

from typing import Any

from flask import Response, make_response, render_template
from flask_wtf import FlaskForm
from wtforms import BooleanField, StringField
from wtforms.validators import DataRequired, Length

from app.errors import Conflict, DomainError, Invalid
from app.extensions import db


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
