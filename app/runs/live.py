"""Which rows of runs are pushed: the Runs list, the head of a run's page, and its targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode

from flask import current_app
from markupsafe import Markup
from pydantic import Field, field_validator

from app.actors import Permission
from app.clock import now
from app.errors import Invalid
from app.runs import artefacts, drivers, queries
from app.runs.models import Run, RunStatus, RunStep, StepStatus
from app.runs.operations import CLOCK
from app.runs.queries import RunFilter, Scope
from app.runs.requests import allowed
from app.web import live
from app.web.listing import Column, ListQuery

COLUMNS = (
    Column("title", "Run"),
    Column("status", "Status"),
    Column("targets", "Targets", sortable=False),
    Column("kind", "Kind"),
    Column("who", "By"),
    Column("created", "Asked for"),
    Column("duration", "Duration", sortable=False),
)
CHIPS = (("", "All"), ("open", "Open"), ("queued", "Queued"), ("succeeded", "Succeeded"), ("failed", "Failed"),
         ("timed_out", "Timed out"), ("cancelled", "Cancelled"), ("lost", "Lost"))  # fmt: skip
STEP_CHIPS = (("", "All"), ("pending", "Waiting"), ("running", "Running"), ("succeeded", "Succeeded"), ("failed", "Failed"))
STEPS_PAGE = 100


class RunListQuery(ListQuery):
    """The Runs page's URL."""

    COLUMNS: ClassVar[tuple[Column, ...]] = COLUMNS
    DEFAULT_SORT: ClassVar[str] = "-created"

    status: str = Field("", pattern=f"^(|open|{'|'.join(RunStatus)})$")
    kind: str = Field("", max_length=32)
    computer: str = Field("", max_length=36)

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        return drivers.check_kind(value)

    def filter(self, scope: Scope) -> RunFilter:
        """As the domain takes it."""
        return RunFilter(scope=scope, q=self.q, status=self.status, kind=self.kind, computer=self.computer.lower())


@dataclass(frozen=True)
class Row:
    """What `runs/_row.html` shows; `seconds` is None while it runs."""

    id: str
    title: str
    kind: str
    status: str
    reason: str | None
    target: str
    total: int
    succeeded: int
    failed: int
    who: str
    created_at: datetime
    started_at: datetime | None
    seconds: float | None
    is_open: bool


def seconds_of(run: Run) -> float | None:
    """How long it took, or None while it has not ended."""
    return (run.finished_at - (run.started_at or run.created_at)).total_seconds() if run.finished_at else None


def row_of(run: Run, first: RunStep | None) -> Row:
    """A run as a row."""
    name = first.name if first else ""
    target = name if run.total == 1 else f"{name} and {run.total - 1:,} more"
    return Row(run.id, run.title, drivers.label_of(run.kind), run.status.value, run.reason, target, run.total, run.succeeded,
               run.failed, run.actor_name, run.created_at, run.started_at, seconds_of(run), run.is_open)  # fmt: skip


def render_rows(numbers: Sequence[int]) -> Mapping[int, str]:
    """Rows by number as HTML; the same for every viewer."""
    template = current_app.jinja_env.get_template("runs/_row.html")
    runs = queries.by_numbers(numbers)
    first = queries.first_targets(run.id for run in runs.values())
    return {
        number: Markup(template.render(row=row_of(run, first.get(run.id))).strip())  # noqa: S704 (rendered with autoescape)
        for number, run in runs.items()
    }


parse = RunListQuery.parse


def _canonical(query_string: str) -> str:
    return parse(query_string).view()


def _keys(query_string: str, scope: Scope) -> list[live.Key]:
    query = parse(query_string)
    return queries.versions(query.filter(scope), query.per_page, query.offset, query.sort_key)


def _counts(query_string: str, scope: Scope) -> dict[str, int]:
    query = parse(query_string)
    counts = queries.status_counts(query.filter(scope), fresh=True)
    narrowed = set(query.filters()) - {"status"}
    return counts if narrowed else counts | {"open-runs": counts["open"]}  # the navigation counts all that are open


RUNS = live.LiveList("runs", CLOCK, Permission.FLEET_READ, _canonical, _keys, render_rows, _counts)
live.register(RUNS)


def _values(query_string: str) -> dict[str, str]:
    try:
        values = {name: items[-1] for name, items in parse_qs(query_string, max_num_fields=10).items()}
    except ValueError:
        raise Invalid("too many parameters") from None
    if len(values.get("id", "")) != 36:
        raise Invalid("id=<the run's id>")
    return values


def _one(query_string: str) -> str:
    return f"id={_values(query_string)['id'].lower()}"


def _one_key(query_string: str, scope: Scope) -> list[live.Key]:
    return queries.version_of(query_string.removeprefix("id="), scope)


def _render_heads(numbers: Sequence[int]) -> Mapping[int, str]:
    template = current_app.jinja_env.get_template("runs/_now.html")
    runs = queries.by_numbers(numbers)
    first = queries.first_targets(run.id for run in runs.values())
    shown = {
        number: {"run": run, "seconds": seconds_of(run), "first": first.get(run.id), "can": sorted(allowed(run))}
        for number, run in runs.items()
    }
    return {i: Markup(template.render(**values).strip()) for i, values in shown.items()}  # noqa: S704 (with autoescape)


def _nothing(_query: str, _scope: Scope) -> dict[str, Any]:
    return {}


RUN = live.LiveList("run", CLOCK, Permission.FLEET_READ, _one, _one_key, _render_heads, _nothing, switched=False)
live.register(RUN)


def steps_view(run_id: str, status: str = "", page: int = 1) -> str:
    """The canonical query of a run's targets."""
    values = {"id": run_id} | ({"page": str(page)} if page > 1 else {}) | ({"status": status} if status else {})
    return urlencode(values)


def _steps(query_string: str) -> tuple[str, str, int]:
    values = _values(query_string)
    status, page = values.get("status", ""), values.get("page", "1")
    if status not in ("", *StepStatus) or not (page.isdecimal() and 1 <= int(page) < 100_000):
        raise Invalid("id=<the run's id>&page=<number>&status=<a step's status>")
    return values["id"].lower(), status, int(page)


def _steps_canonical(query_string: str) -> str:
    return steps_view(*_steps(query_string))


def _step_keys(query_string: str, scope: Scope) -> list[live.Key]:
    run_id, status, page = _steps(query_string)
    if not queries.version_of(run_id, scope):
        return []
    return queries.step_versions(run_id, status, STEPS_PAGE, (page - 1) * STEPS_PAGE)


def _step_counts(query_string: str, scope: Scope) -> dict[str, int]:
    run_id = _steps(query_string)[0]
    counts = queries.step_counts(run_id) if queries.version_of(run_id, scope) else {}
    return {f"steps-{name}": number for name, number in counts.items()}


def _render_steps(ids: Sequence[int]) -> Mapping[int, str]:
    template = current_app.jinja_env.get_template("runs/_step.html")
    found, moment = queries.steps_by_ids(ids).items(), now()
    return {i: Markup(template.render(step=step, now=moment).strip()) for i, step in found}  # noqa: S704 (with autoescape)


STEPS = live.LiveList("run-steps", CLOCK, Permission.FLEET_READ, _steps_canonical, _step_keys, _render_steps, _step_counts,
                      switched=False)  # fmt: skip
live.register(STEPS)


def _file_keys(query_string: str, scope: Scope) -> list[live.Key]:
    run_id = query_string.removeprefix("id=")
    return artefacts.versions(run_id) if queries.version_of(run_id, scope) else []


def _render_files(numbers: Sequence[int]) -> Mapping[int, str]:
    template = current_app.jinja_env.get_template("runs/_file.html")
    found = artefacts.by_numbers(numbers).items()
    return {i: Markup(template.render(file=file).strip()) for i, file in found}  # noqa: S704 (with autoescape)


FILES = live.LiveList("run-files", CLOCK, Permission.FLEET_READ, _one, _file_keys, _render_files, _nothing, switched=False)
live.register(FILES)
