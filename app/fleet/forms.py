"""Forms of the fleet."""

from flask_wtf import FlaskForm
from wtforms import IntegerField, SelectField, StringField
from wtforms.validators import DataRequired, Length, NumberRange, Optional

from app.fleet.models import ComputerKind
from app.web.forms import choices


class ComputerForm(FlaskForm):  # type: ignore[misc]
    """Edit a computer."""

    name = StringField("Name", [DataRequired(), Length(max=200)])
    tenant_id = SelectField("Tenant", choices=[])
    kind = SelectField("Kind", choices=choices(*((k.value, k.value.capitalize()) for k in ComputerKind)))
    tags = StringField("Tags", [Length(max=2000)], description="Separated by spaces")
    host = StringField("Address", [Optional(), Length(max=255)], description="Shown until the connector reports one")
    port = IntegerField("Port", [Optional(), NumberRange(1, 65535)])
    primary_user = StringField("Primary user", [Length(max=200)], description="Empty: whoever is signed in on the computer")


class TagForm(FlaskForm):  # type: ignore[misc]
    """Tag a selection."""

    add = StringField("Add tags", [Length(max=500)], description="Separated by spaces")
    remove = StringField("Remove tags", [Length(max=500)], description="Separated by spaces")
