"""The form of an action on containers."""

from flask_wtf import FlaskForm
from wtforms import IntegerField
from wtforms.validators import NumberRange, Optional

from app.containers.operations import DEFAULT_TIMEOUT_S, MAX_TIMEOUT_S


class ActionForm(FlaskForm):  # type: ignore[misc]
    """How long a container gets to end by itself before it is killed."""

    timeout = IntegerField(
        "Seconds to end by itself", [Optional(), NumberRange(0, MAX_TIMEOUT_S, "Between 0 and 3,600 seconds")],
        default=DEFAULT_TIMEOUT_S, description="Then it is killed",
    )  # fmt: skip

    @property
    def seconds(self) -> int:
        """The time in seconds; the usual one when the form has none."""
        return self.timeout.data if self.timeout.data is not None else DEFAULT_TIMEOUT_S
