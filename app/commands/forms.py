"""Forms of commands."""

from typing import Any

from flask_wtf import FlaskForm
from wtforms import BooleanField, FieldList, Form, FormField, IntegerField, PasswordField, SelectField, StringField, TextAreaField
from wtforms.validators import DataRequired, InputRequired, Length, NumberRange, ValidationError

from app.commands.operations import MAX_COMMAND, MAX_SECRETS, SHELLS, check_secrets
from app.errors import Invalid
from app.web.forms import choices

MAX_TIMEOUT = 86_400


def _plain(text: str | None) -> str:
    """Line ends as shells want them (forms send CR LF), and nothing that the database refuses."""
    return (text or "").replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")


class SecretForm(Form):  # type: ignore[misc]
    """A secret by the name of its environment variable. The value never stands in a page."""

    name = StringField("Name", filters=[lambda text: _plain(text).strip()])
    value = PasswordField("Value")


class CommandForm(FlaskForm):  # type: ignore[misc]
    """What to run and how."""

    command = TextAreaField("Command", [DataRequired("Type a command"), Length(max=MAX_COMMAND)], filters=[_plain])
    shell = SelectField("Shell", choices=choices(("", "The computer's own"), *((name, name) for name in SHELLS)))
    timeout = IntegerField("Time limit, seconds", [InputRequired(), NumberRange(1, MAX_TIMEOUT)], default=60)
    cwd = StringField("Working directory", [Length(max=4096)], filters=[lambda text: _plain(text).strip()])
    queue = BooleanField(
        "Wait for it if it is offline", description="For up to 7 days; otherwise it fails when it cannot be sent"
    )
    secrets = FieldList(FormField(SecretForm), "Secrets", max_entries=MAX_SECRETS)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        while len(self.secrets.entries) < MAX_SECRETS:  # `min_entries` would read those after a gap twice
            self.secrets.append_entry()

    def validate_secrets(self, field: FieldList) -> None:
        """As the operation sees them, and each with its name."""
        pairs = [(row["name"], row["value"] or "") for row in field.data]
        names = [name for name, value in pairs if name or value]
        for name, value in pairs:
            if value and not name:
                raise ValidationError("Name the environment variable of each secret")
            if name and not value:
                raise ValidationError(f"{name}: type its value; what was typed before is not kept in the page")
        if len(set(names)) < len(names):
            raise ValidationError("Two secrets have the same name")
        try:
            check_secrets(self.typed_secrets, self.command.data or "", self.cwd.data or None)
        except Invalid as error:
            raise ValidationError(error.errors[0].message) from None

    @property
    def typed_secrets(self) -> dict[str, str]:
        """The secrets by name."""
        return {row["name"]: row["value"] for row in self.secrets.data if row["name"]}

    def arguments(self) -> dict[str, Any]:
        """As `request_command` takes them."""
        return {"command": self.command.data, "shell": self.shell.data or None, "timeout_s": self.timeout.data,
                "cwd": self.cwd.data or None, "queue": bool(self.queue.data), "secrets": self.typed_secrets}  # fmt: skip

    def fields(self) -> dict[str, Any]:
        """As hidden fields of a question; secrets are none of them."""
        values = {name: getattr(self, name).data for name in ("command", "shell", "timeout", "cwd")}
        return values | ({"queue": "y"} if self.queue.data else {})
