"""The form for an integration key."""

from flask_wtf import FlaskForm
from wtforms import BooleanField, IntegerField, SelectField, SelectMultipleField, StringField
from wtforms.validators import DataRequired, Length, NumberRange, Optional

from app.actors import Role
from app.web.forms import ROLES, choices

LIVES = choices(("", "Never"), ("30", "In 30 days"), ("90", "In 90 days"), ("365", "In a year"))


class KeyForm(FlaskForm):  # type: ignore[misc]
    """Create an `itk_` key."""

    name = StringField("Name", [DataRequired(), Length(max=200)], description="What will use it")
    role = SelectField("Role", choices=ROLES, default=Role.READONLY.value)
    all_tenants = BooleanField("All tenants", default=True)
    tenants = SelectMultipleField("Only these tenants", choices=[])
    expires = SelectField("Expires", choices=LIVES, default="90")
    rate_limit = IntegerField("Requests a minute", [Optional(), NumberRange(1, 1_000_000)],
                              description="Empty: the usual limits of the API")  # fmt: skip
