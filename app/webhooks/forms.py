"""The form of a webhook."""

from flask_wtf import FlaskForm
from wtforms import BooleanField, SelectMultipleField, StringField
from wtforms.validators import DataRequired, Length, Optional
from wtforms.widgets import CheckboxInput, ListWidget

from app.web.forms import choices
from app.webhooks.events import EVENTS


class WebhookForm(FlaskForm):  # type: ignore[misc]
    """Create or change."""

    name = StringField("Name", [DataRequired(), Length(max=200)])
    description = StringField("Description", [Optional(), Length(max=1000)])
    url = StringField("Address", [DataRequired(), Length(max=2100)], description="Where to POST to: https://…")
    everything = BooleanField("All events, also those to come", default=True)
    events = SelectMultipleField(
        "Events",
        choices=choices(*EVENTS.items()),
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
    )
    all_tenants = BooleanField("All tenants", default=True)
    tenants = SelectMultipleField("Only these tenants", choices=[])
    enabled = BooleanField("Enabled", default=True)
