"""Forms of alerts, rules and silences. What a value may be is the domain's to say; a form turns what was typed into values."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from flask_wtf import FlaskForm
from wtforms import BooleanField, FloatField, IntegerField, RadioField, SelectField, StringField
from wtforms.validators import Length, NumberRange, Optional

from app.alerts.catalogue import Metric, Source
from app.alerts.models import Comparison, Repeat, ScopeKind, Silence, Threshold
from app.web.forms import choices

COMPARISONS = [(Comparison.GT.value, "over"), (Comparison.GTE.value, "at least"), (Comparison.LT.value, "under"),
               (Comparison.LTE.value, "at most")]  # fmt: skip
UNITS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}
UNIT_CHOICES = [("s", "seconds"), ("min", "minutes"), ("h", "hours"), ("d", "days")]
SHOWN_IN = {"B/s": ("MB/s", 1_000_000.0)}  # what people think in
SCOPES = [(ScopeKind.ALL.value, "Everything"), (ScopeKind.TENANT.value, "One tenant"), (ScopeKind.TAG.value, "A tag"),
          (ScopeKind.COMPUTER.value, "One computer")]  # fmt: skip
REPEATS = [("", "Once"), (Repeat.DAILY.value, "Every day"), (Repeat.WEEKLY.value, "Every week")]
UNTIL = [("1h", "For 1 hour"), ("8h", "For 8 hours"), ("tomorrow", "Until tomorrow, 08:00 UTC"), ("custom", "Until another time")]
SILENCED = [("computer", "Everything about the same computer"), ("rule", "The same rule, on whatever it is about")]
_TYPED = ("%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d")


class ChoiceField(SelectField):  # type: ignore[misc]
    """A choice that a form need not have: what was not sent is the first one."""

    def pre_validate(self, form: Any) -> None:
        if not self.raw_data:
            known = [value for value, *_ in self.iter_choices()]
            self.data = self.data if self.data in known else known[0] if known else ""  # type: ignore[has-type]
            return
        super().pre_validate(form)


class NumberField(FloatField):  # type: ignore[misc]
    """A number; `90 %`, `14 days` and `1,000` are numbers too."""

    data: float | None

    def process_formdata(self, valuelist: list[str]) -> None:
        text = (valuelist[0] if valuelist else "").replace(",", "").strip()
        number = re.fullmatch(r"([+-]?[\w.+-]+?)\s*(%|[a-zA-Z]+/s|d(?:ays?)?)?", text)
        try:
            self.data = float(number[1] if number else text) if text else None
        except ValueError:
            self.data = None
            raise ValueError("A number, please") from None

    def _value(self) -> str:
        if self.raw_data:
            return str(self.raw_data[0])
        return "" if self.data is None else f"{self.data:.12g}"


class MomentField(StringField):  # type: ignore[misc]
    """A time in UTC as `<input type=datetime-local>` sends it; `moment` is the aware time."""

    moment: datetime | None = None
    data: str | None

    def process_formdata(self, valuelist: list[str]) -> None:
        super().process_formdata(valuelist)
        self.data = (self.data or "").strip()
        if not self.data:
            return
        for shape in _TYPED:
            try:
                self.moment = datetime.strptime(self.data.removesuffix("Z"), shape).replace(tzinfo=UTC)
            except ValueError:
                continue
            return
        raise ValueError("A day and a time, such as 2026-01-31 08:00")

    def process_data(self, value: Any) -> None:
        self.data = value.strftime("%Y-%m-%dT%H:%M") if isinstance(value, datetime) else ""
        self.moment = value


class NoteForm(FlaskForm):  # type: ignore[misc]
    """Acknowledge, with a note."""

    note = StringField("Note", [Length(max=2000)], description="Optional: what you found, what you are doing about it")


class SilenceForm(FlaskForm):  # type: ignore[misc]
    """Silence what a selection of alerts is about."""

    until = RadioField("How long", choices=choices(*UNTIL), default="1h")
    custom = MomentField("Until (UTC)", [Optional()])
    by = RadioField("What", choices=choices(*SILENCED), default="computer")
    reason = StringField("Reason", [Length(max=500)], description="Optional; others see it among the silences")

    def end(self, moment: datetime) -> datetime | None:
        """When it is over; None when no time was given."""
        if self.until.data == "tomorrow":
            return (moment + timedelta(days=1)).replace(hour=8, minute=0, second=0, microsecond=0)
        if self.until.data == "custom":
            return self.custom.moment
        return moment + timedelta(hours=1 if self.until.data == "1h" else 8)

    def validate(self, extra_validators: Any = None) -> bool:
        """A time of one's own has to be given."""
        fine = bool(super().validate(extra_validators))
        if self.until.data == "custom" and self.custom.moment is None and not self.custom.errors:
            self.custom.errors = ["Say until when"]
            return False
        return fine


class ScopeForm(FlaskForm):  # type: ignore[misc]
    """What a rule or a silence is about. Each scope has a field of its own; the others are not looked at."""

    scope = ChoiceField("About", choices=choices(*SCOPES))
    of_tenant = ChoiceField("Tenant", choices=[])
    tag = StringField("Tag", [Length(max=50)])
    computer = StringField("Computer", [Length(max=255)], description="Its name or its id")

    def place(self, computer_id: str | None) -> dict[str, Any]:
        """The columns of the scope; `computer_id` is what the typed computer was found to be."""
        scope = ScopeKind(self.scope.data)
        chosen = self.of_tenant.data or None
        named = {ScopeKind.TENANT: chosen, ScopeKind.TAG: (self.tag.data or "").strip(), ScopeKind.COMPUTER: computer_id}
        tenant = chosen if scope in (ScopeKind.ALL, ScopeKind.TAG) else None
        return {"scope": scope, "scope_id": named.get(scope) or None, "tenant_id": tenant}

    def show_scope(self, row: Threshold | Silence, computer_name: str | None) -> None:
        """Fill the fields from what is stored."""
        self.scope.data = row.scope.value
        self.of_tenant.data = (row.scope_id if row.scope is ScopeKind.TENANT else row.tenant_id) or ""
        self.tag.data = row.scope_id if row.scope is ScopeKind.TAG else ""
        self.computer.data = computer_name if row.scope is ScopeKind.COMPUTER else ""


class WindowForm(ScopeForm):
    """A silence or maintenance window."""

    starts_at = MomentField("From (UTC)", [Optional()], description="Empty: now")
    ends_at = MomentField("To (UTC)", [Optional()])
    repeat = ChoiceField("Repeat", choices=choices(*REPEATS))
    repeat_until = MomentField("Repeat until (UTC)", [Optional()], description="Empty: until somebody ends it")
    reason = StringField("Reason", [Length(max=500)])
    rule = ChoiceField("Rule", choices=[])

    def values(self, computer_id: str | None) -> dict[str, Any]:
        """As the domain takes it."""
        place = self.place(computer_id)
        if self.scope.data == ScopeKind.THRESHOLD.value:
            place |= {"scope_id": self.rule.data or None, "tenant_id": self.of_tenant.data or None}
        until = self.repeat_until.moment if self.repeat.data else None
        return {"starts_at": self.starts_at.moment, "ends_at": self.ends_at.moment, "repeat": self.repeat.data or None,
                "repeat_until": until, "reason": (self.reason.data or "").strip()} | place  # fmt: skip


class ThresholdForm(ScopeForm):
    """A rule. Which fields there are depends on the metric: numbers in its unit, or levels that have names."""

    name = StringField("Name", [Length(max=200)], description="Empty: it is named after what it says")
    metric = ChoiceField("Metric", choices=[])
    path = StringField("Disk", [Length(max=1024)], description="A path such as /var or C:\\; empty: the fullest disk")
    direction = ChoiceField("Direction", choices=choices(("", "Received and sent"), ("recv", "Received"), ("sent", "Sent")))
    comparison = ChoiceField("Bad when", choices=choices(*COMPARISONS))
    warning_value = NumberField("Warning", [Optional()])
    critical_value = NumberField("Critical", [Optional()])
    recovery_value = NumberField("Well again at", [Optional()], description="Empty: at the first limit itself")
    warning_level = ChoiceField("Warning when", choices=[])
    critical_level = ChoiceField("Critical when", choices=[])
    for_n = IntegerField("For at least", [Optional(), NumberRange(0, 604_800)])
    for_unit = ChoiceField("Unit of the time", choices=choices(*UNIT_CHOICES))
    back_n = IntegerField("Well for at least", [Optional(), NumberRange(0, 604_800)])
    back_unit = ChoiceField("Unit of the time to recover", choices=choices(*UNIT_CHOICES))
    include_ephemeral = BooleanField("Also about computers that may come and go")
    enabled = BooleanField("Switched on", default=True)

    def turn(self, metric: Metric) -> None:
        """Another metric was chosen. If it is bad on the other side, what was typed is not about it: its usual limit instead."""
        if metric.words or self.comparison.data == metric.comparison.value:
            return
        self.comparison.data = metric.comparison.value
        for field, value in ((self.warning_value, metric.limit), (self.critical_value, None), (self.recovery_value, None)):
            field.data, field.raw_data = value, None

    def fit(self, metric: Metric) -> None:
        """Make the fields those of a metric."""
        unit = SHOWN_IN.get(metric.unit, (metric.unit, 1.0))[0]
        if metric.key == "certificate":
            self.path.label.text = "Certificate"
            self.path.description = "The path of its file, as the computer's page shows it; empty: the first of all to end"
        for field in (self.warning_value, self.critical_value, self.recovery_value):
            field.label.text = f"{field.label.text}, {unit}" if unit else field.label.text
        levels = [(str(level - 1), word.capitalize() + (" or worse" if level < len(metric.words) - 1 else ""))
                  for level, word in enumerate(metric.words) if level]  # fmt: skip
        self.warning_level.choices = self.critical_level.choices = choices(("", "–"), *levels)

    def values(self, metric: Metric, computer_id: str | None) -> dict[str, Any]:
        """As the domain takes it."""
        factor = SHOWN_IN.get(metric.unit, ("", 1.0))[1]
        limits: dict[str, Any] = {name: _times(getattr(self, name).data, factor)
                                  for name in ("warning_value", "critical_value", "recovery_value")}  # fmt: skip
        comparison = self.comparison.data
        if metric.words:
            comparison, limits = Comparison.GT.value, {"recovery_value": None}
            for name in ("warning", "critical"):
                chosen = getattr(self, f"{name}_level").data
                limits[f"{name}_value"] = float(chosen) if chosen else None
        argument = {"path": (self.path.data or "").strip(), "recv|sent": self.direction.data}.get(metric.arguments) or None
        return {
            "name": (self.name.data or "").strip(), "metric": metric.key, "argument": argument, "comparison": comparison,
            **limits,
            "for_seconds": 0 if metric.source is Source.EVENT else (self.for_n.data or 0) * UNITS[self.for_unit.data],
            "recovery_for_seconds": 0 if metric.source is Source.EVENT else (self.back_n.data or 0) * UNITS[self.back_unit.data],
            "include_ephemeral": bool(self.include_ephemeral.data), "enabled": bool(self.enabled.data),
        } | self.place(computer_id)  # fmt: skip

    def show(self, row: Threshold, metric: Metric | None) -> None:
        """Fill the fields from what is stored."""
        factor = SHOWN_IN.get(metric.unit if metric else "", ("", 1.0))[1]
        self.name.data, self.metric.data, self.comparison.data = row.name, row.metric, row.comparison.value
        self.path.data = self.direction.data = row.argument or ""
        self.enabled.data, self.include_ephemeral.data = row.enabled, row.include_ephemeral
        for name in ("warning_value", "critical_value", "recovery_value"):
            getattr(self, name).data = _times(getattr(row, name), 1 / factor)
        for level, value in ((self.warning_level, row.warning_value), (self.critical_level, row.critical_value)):
            level.data = "" if value is None else f"{value:.0f}"
        for number, unit, seconds in (
            (self.for_n, self.for_unit, row.for_seconds),
            (self.back_n, self.back_unit, row.recovery_for_seconds),
        ):
            unit.data = next(
                (key for key in ("d", "h", "min") if seconds and seconds % UNITS[key] == 0), "s" if seconds else "min"
            )
            number.data = seconds // UNITS[unit.data]


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
