"""What pages show of a step's output: its last lines at first, then what is new; and the whole of it as a download."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, stream_with_context
from markupsafe import Markup

from app.runs import queries, terminal
from app.runs.live import RUN
from app.runs.models import Run, RunStep
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
    found, left_out = terminal.lines(((stream, text) for _, stream, text in pieces), MAX_LINES)
    return Output(found, pieces[-1][0] if pieces else 0, earlier or left_out)


def new(step: RunStep, after: int) -> Output:
    """What came past a seq."""
    pieces = queries.output_after(step.id, after, PIECES)
    found, left_out = terminal.lines(((stream, text) for _, stream, text in pieces), MAX_LINES)
    return Output(found, pieces[-1][0] if pieces else after, left_out, len(pieces) == PIECES)


def viewer(run: Run, step: RunStep, scope: live.Scope) -> dict[str, Any]:
    """What `runs/_now.html` and `runs/_output.html` need on a page: the live head with its `rev`, the step and its output."""
    state = live.snapshot(RUN, f"id={run.id}", scope)
    head = Markup("").join(live.rows(RUN, state.keys).values())
    return {"run_head": head, "run_rev": state.rev, "step": step, "output": tail(step)}


def as_download(step: RunStep) -> Response:
    """All of it as text that no browser opens as a page."""
    run_id, step_id = step.run_id, step.id

    def pieces() -> Iterator[str]:
        after = 0
        while rows := queries.output_after(step_id, after, PIECES):
            yield "".join(text for _, _, text in rows)
            after = rows[-1][0]

    response = Response(stream_with_context(pieces()), mimetype="text/plain")
    response.headers["Content-Disposition"] = f'attachment; filename="{run_id[:8]}-{step.position}.log"'
    return response
