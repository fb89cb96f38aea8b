"""The Add computer form."""

from flask_wtf import FlaskForm
from wtforms import SelectField, StringField
from wtforms.validators import Length


class EnrolForm(FlaskForm):  # type: ignore[misc]
    """Where the new computer belongs."""

    tenant_id = SelectField("Tenant", choices=[])
    tags = StringField("Tags", [Length(max=500)], description="Separated by spaces")
