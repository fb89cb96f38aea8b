"""The tenant form."""

from flask_wtf import FlaskForm
from wtforms import StringField
from wtforms.validators import DataRequired, Length


class TenantForm(FlaskForm):  # type: ignore[misc]
    """Create or rename."""

    name = StringField("Name", [DataRequired(), Length(max=200)])
