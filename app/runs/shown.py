"""What pages show of a step's output: its last lines at first, then what is new; and the whole of it as a download."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flask import Response, current_app, send_file, stream_with_context
from markupsafe import Markup

from app.errors import NotFound
from app.factory import settings_of
from app.runs import queries, terminal
from app.runs.artefacts import folder_of
from app.runs.drivers import driver_of
from app.runs.live import RUN
from app.runs.models import Run, RunArtefact, RunStep
from app.runs.terminal import Line
from app.web import live

MAX_LINES = 5000
MAX_CHARACTERS = 2_000_000
PIECES = 500


@dataclass(frozen=True)
class Output:
    """Lines to show; `after` is the seq to go on from, `earlier`: more came before them, `more`: more is there already."""

    lines: Sequence[Line]
    after: int
    earlier: bool
    more: bool = False


def tail(step: RunStep) -> Output:
    """The last lines of a step."""
    pieces, earlier = queries.output_tail(step.id, MAX_LINES, MAX_CHARACTERS)
    found, left_out = terminal.lines(pieces, MAX_LINES)
    return Output(found, pieces[-1].seq if pieces else 0, earlier or left_out)


def new(step: RunStep, after: int) -> Output:
    """What came past a seq."""
    pieces = queries.output_after(step.id, after, PIECES)
    found, left_out = terminal.lines(pieces, MAX_LINES)
    return Output(found, pieces[-1].seq if pieces else after, left_out, len(pieces) == PIECES)


def viewer(run: Run, step: RunStep, scope: live.Scope) -> dict[str, Any]:
    """What `runs/_now.html` and `runs/_output.html` need on a page: the live head with its `rev`, the step and its output."""
    state = live.snapshot(RUN, f"id={run.id}", scope)
    head = Markup("").join(live.rows(RUN, state.keys).values())
    return {"run_head": head, "run_rev": state.rev, "step": step, "output": tail(step), "kind_can": _can(run)}


def _can(run: Run) -> frozenset[str]:
    """What may ever be asked of it: the live head says what may be now."""
    try:
        return driver_of(run.kind).can
    except KeyError:
        return frozenset()


def as_download(step: RunStep) -> Response:
    """All of it as text that no browser opens as a page."""
    run_id, step_id = step.run_id, step.id

    def pieces() -> Iterator[str]:
        after = 0
        while rows := queries.output_after(step_id, after, PIECES):
            yield "".join(row.text for row in rows)
            after = rows[-1].seq

    return _attached(Response(stream_with_context(pieces()), mimetype="text/plain"), f"{run_id[:8]}-{step.position}.log")


def run_as_download(run: Run) -> Response:
    """The output of all steps, each under its name."""
    run_id = run.id
    steps = [(step.id, step.position, step.name) for step in queries.steps_of(run_id)]

    def pieces() -> Iterator[str]:
        for step_id, position, name in steps:
            yield f"===== {position + 1}. {name} =====\n" if len(steps) > 1 else ""
            after, last = 0, "\n"
            while rows := queries.output_after(step_id, after, PIECES):
                yield (last := "".join(row.text for row in rows))
                after = rows[-1].seq
            yield "" if last.endswith("\n") else "\n"

    return _attached(Response(stream_with_context(pieces()), mimetype="text/plain"), f"{run_id[:8]}.log")


def _attached(response: Response, name: str) -> Response:
    response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def artefact_download(row: RunArtefact) -> Response:
    """Its bytes, as a file to save: whatever they are, no browser shows them here. Raises NotFound when they are gone."""
    path = folder_of(settings_of(current_app).data_dir, row.run_id) / row.id
    if not path.is_file():
        raise NotFound("The file is gone")
    return _attached(send_file(path.absolute(), mimetype="application/octet-stream", etag=False), row.name)
