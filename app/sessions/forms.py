"""Forms of the sessions."""

from flask_wtf import FlaskForm
from wtforms import BooleanField, StringField
from wtforms.validators import DataRequired, Length


class ViewForm(FlaskForm):  # type: ignore[misc]
    """Save the list's filters under a name."""

    name = StringField("Name", [DataRequired(), Length(max=60)])
    shared = BooleanField("For everybody", description="Others see it among their views too")
