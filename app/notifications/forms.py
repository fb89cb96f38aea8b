"""The form of a notification channel."""

from flask_wtf import FlaskForm
from wtforms import BooleanField, IntegerField, SelectMultipleField, StringField
from wtforms.validators import DataRequired, InputRequired, Length, NumberRange, Optional


class ChannelForm(FlaskForm):  # type: ignore[misc]
    """Create or change."""

    name = StringField("Name", [DataRequired(), Length(max=200)])
    url = StringField("Apprise URL", [DataRequired(), Length(max=2000)])
    warning = BooleanField("Warnings", default=True)
    critical = BooleanField("Critical alerts", default=True)
    tell_recovery = BooleanField("Tell when it is over, too", default=True)
    repeat_minutes = IntegerField(
        "Repeat after minutes", [InputRequired(), NumberRange(0, 10_080)], default=0,
        description="While nobody has acknowledged the alert; 0: tell it once",
    )  # fmt: skip
    tag = StringField("Only computers with this tag", [Optional(), Length(max=50)])
    all_tenants = BooleanField("All tenants", default=True)
    tenants = SelectMultipleField("Only these tenants", choices=[])
    enabled = BooleanField("Enabled", default=True)
