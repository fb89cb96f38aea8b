"""JSON shapes of runs: one for every kind."""

from typing import Any

import orjson
from pydantic import Field, field_validator

from app.clock import iso
from app.runs import drivers
from app.runs.models import Run, RunArtefact, RunLog, RunStatus, RunStep, StepStatus
from app.runs.requests import allowed
from app.shapes import Answer, Query


class StepOut(Answer):
    """A step; `server_id` when it is for a computer, times RFC 3339, `duration_ms` as the computer measured it."""

    position: int
    name: str
    server_id: str | None
    command_uuid: str
    status: StepStatus
    outcome: str | None
    reason: str | None
    exit_code: int | None
    deliver_until: str | None
    started_at: str | None
    finished_at: str | None
    duration_ms: int | None
    log_bytes: int
    dropped_bytes: int
    attempt: int
    result: Any


class RunOut(Answer):
    """A run without its steps; `can` says what may be asked of it now."""

    id: str
    kind: str
    title: str
    status: RunStatus
    reason: str | None
    requested_by: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    timeout: int
    total: int
    succeeded: int
    failed: int
    retry_of: str | None
    can: list[str]
    spec: dict[str, Any]


class RunDetail(RunOut):
    """A run with its steps."""

    steps: list[StepOut]


class ArtefactOut(Answer):
    """A file that a run has made; `size` in bytes."""

    id: str
    name: str
    media_type: str
    size: int
    sha256: str
    created_at: str


class ArtefactList(Answer):
    """`GET /api/v1/runs/{id}/artefacts`."""

    total: int
    artefacts: list[ArtefactOut]


class RunList(Answer):
    """`GET /api/v1/runs`."""

    total: int
    page: int
    per_page: int
    runs: list[RunOut]


class LogOut(Answer):
    """A piece of output."""

    id: int
    step: int
    seq: int
    at: str
    stream: str
    text: str


class LogPage(Answer):
    """Output past an id; ask again after `next` while the run is open, or `more` is true."""

    lines: list[LogOut]
    next: int
    more: bool
    status: RunStatus


class RunsQuery(Query):
    """Filters of `GET /api/v1/runs`."""

    status: RunStatus | None = None
    kind: str = Field("", max_length=32)
    server_id: str = Field("", max_length=36)
    q: str = Field("", max_length=200)
    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(50, ge=1, le=200)

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        return drivers.check_kind(value)


class LogQuery(Query):
    """Where to go on in a log."""

    after: int = Field(0, ge=0, lt=2**63)
    step: int | None = Field(None, ge=0, lt=2**31)


def run_out(run: Run) -> dict[str, Any]:
    """A run as JSON."""
    names = ("id", "kind", "title", "status", "reason", "total", "succeeded", "failed", "retry_of")
    return {name: getattr(run, name) for name in names} | {
        "requested_by": run.actor_name, "created_at": iso(run.created_at), "started_at": iso(run.started_at),
        "finished_at": iso(run.finished_at), "timeout": run.timeout_s,
        "can": sorted(allowed(run)), "spec": orjson.loads(run.spec),
    }  # fmt: skip


def step_out(step: RunStep) -> dict[str, Any]:
    """A step as JSON."""
    names = (
        "position",
        "name",
        "status",
        "outcome",
        "reason",
        "exit_code",
        "duration_ms",
        "log_bytes",
        "dropped_bytes",
        "attempt",
    )
    times = {name: iso(getattr(step, name)) for name in ("deliver_until", "started_at", "finished_at")}
    return {name: getattr(step, name) for name in names} | times | {
        "server_id": step.computer_uuid, "command_uuid": step.uuid,
        "result": orjson.loads(step.result) if step.result else None,
    }  # fmt: skip


def artefact_out(row: RunArtefact) -> dict[str, Any]:
    """An artefact as JSON."""
    names = ("id", "name", "media_type", "size", "sha256")
    return {name: getattr(row, name) for name in names} | {"created_at": iso(row.created_at)}


def log_out(row: RunLog, positions: dict[int, int]) -> dict[str, Any]:
    """A piece of output as JSON."""
    return {
        "id": row.id,
        "step": positions[row.step_id],
        "seq": row.seq,
        "at": iso(row.at),
        "stream": row.stream,
        "text": row.text,
    }
