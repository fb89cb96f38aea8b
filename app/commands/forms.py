"""Forms of commands."""

from typing import Any

from flask_wtf import FlaskForm
from wtforms import BooleanField, IntegerField, SelectField, StringField, TextAreaField
from wtforms.validators import DataRequired, InputRequired, Length, NumberRange

from app.commands.operations import MAX_COMMAND, SHELLS
from app.web.forms import choices

MAX_TIMEOUT = 86_400


def _plain(text: str | None) -> str:
    """Line ends as shells want them (forms send CR LF), and nothing that the database refuses."""
    return (text or "").replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")


class CommandForm(FlaskForm):  # type: ignore[misc]
    """What to run and how."""

    command = TextAreaField("Command", [DataRequired("Type a command"), Length(max=MAX_COMMAND)], filters=[_plain])
    shell = SelectField("Shell", choices=choices(("", "The computer's own"), *((name, name) for name in SHELLS)))
    timeout = IntegerField("Time limit, seconds", [InputRequired(), NumberRange(1, MAX_TIMEOUT)], default=60)
    cwd = StringField("Working directory", [Length(max=4096)], filters=[lambda text: _plain(text).strip()])
    queue = BooleanField(
        "Wait for it if it is offline", description="For up to 7 days; otherwise it fails when it cannot be sent"
    )

    def arguments(self) -> dict[str, Any]:
        """As `request_command` takes them."""
        return {"command": self.command.data, "shell": self.shell.data or None, "timeout_s": self.timeout.data,
                "cwd": self.cwd.data or None, "queue": bool(self.queue.data)}  # fmt: skip

    def fields(self) -> dict[str, Any]:
        """As hidden fields of a question."""
        values = {name: getattr(self, name).data for name in ("command", "shell", "timeout", "cwd")}
        return values | ({"queue": "y"} if self.queue.data else {})
