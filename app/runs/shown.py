"""What pages show of a step's output: its last lines at first, then what is new; the lines around one that somebody wants to see;
those with a text; and the whole of it as a download."""

import time
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
MAX_FOUND = 1000
AROUND = 2000  # lines before and after one that somebody wants to see
PIECES = 500
AT_ONCE = 50  # pieces that are searched before others have their turn


@dataclass(frozen=True)
class Output:
    """Lines to show; `after` is the seq to go on from, `earlier`: more came before them, `later`: more after them, so that they
    are no end that grows, `more`: more is there already. With `find` they are lines with that text, the first of `found`."""

    lines: Sequence[Line]
    after: int
    earlier: bool
    more: bool = False
    later: bool = False
    find: str = ""
    found: int = 0

    @property
    def is_part(self) -> bool:
        """Whether it is no end that grows."""
        return self.later or bool(self.find)

    @property
    def first(self) -> int:
        """The number of the first line; 0 without one."""
        return next((line.number for line in self.lines if line.number), 0)

    @property
    def last(self) -> int:
        """The number of the last line; 0 without one."""
        return max((line.number for line in self.lines), default=0)


def wanted(step: RunStep, line: int = 0, find: str = "") -> Output:
    """The lines with a text, or those around a line that is not among the last; otherwise the last ones."""
    if find:
        return search(step, find)
    end = tail(step)
    return around(step, line) if 0 < line < end.first else end


def tail(step: RunStep) -> Output:
    """The last lines of a step."""
    pieces, earlier = queries.output_tail(step.id, MAX_LINES, MAX_CHARACTERS)
    found, left_out = terminal.lines(pieces, MAX_LINES)
    return Output(found, pieces[-1].seq if pieces else 0, earlier or left_out)


def around(step: RunStep, line: int) -> Output:
    """A line with those before and after it."""
    begins = queries.seq_of_line(step, line)
    pieces, _ = queries.output_tail(step.id, AROUND, MAX_CHARACTERS, begins)
    after, size, last = begins, 0, False
    while not last and (more := queries.output_after(step.id, after, AT_ONCE)):
        after, size = more[-1].seq, size + sum(len(piece.text) for piece in more)
        pieces += more
        last = size > MAX_CHARACTERS or more[-1].line > line + AROUND
    found = [one for one in terminal.split(pieces) if max(pieces[0].line, line - AROUND - 1) < one.number <= line + AROUND]
    ends = max(one.number for one in found)
    return Output(terminal.finish(found), after, found[0].number > 1, later=ends < step.log_lines or step.finished_at is None)


def search(step: RunStep, text: str) -> Output:
    """The lines with a text, in any case."""
    splitter, low, hits, after, count = terminal.Splitter(), text.lower(), list[Line](), 0, 0
    while pieces := queries.output_after(step.id, after, AT_ONCE):
        for piece in pieces:
            splitter.feed(piece)
        more = [line for line in splitter.take() if terminal.shows(line, low)]
        after, count = pieces[-1].seq, count + len(more)
        hits += more[: MAX_FOUND - len(hits)]
        time.sleep(0)  # others have their turn
    rest = [line for line in splitter.lines if terminal.shows(line, low)]
    hits = sorted((hits + rest)[:MAX_FOUND], key=lambda line: line.number)
    return Output([_alone(line) for line in hits], after, False, find=text, found=count + len(rest))


def _alone(line: Line) -> Line:
    """A line with its own colours only."""
    terminal.finish([line])
    return line


def new(step: RunStep, after: int) -> Output:
    """What came past a seq."""
    pieces = queries.output_after(step.id, after, PIECES)
    found, left_out = terminal.lines(pieces, MAX_LINES)
    return Output(found, pieces[-1].seq if pieces else after, left_out, len(pieces) == PIECES)


def viewer(run: Run, step: RunStep, scope: live.Scope, line: int = 0, find: str = "") -> dict[str, Any]:
    """What `runs/_now.html` and `runs/_output.html` need on a page: the live head with its `rev`, the step and what is `wanted`
    of its output."""
    state = live.snapshot(RUN, f"id={run.id}", scope)
    head = Markup("").join(live.rows(RUN, state.keys).values())
    return {"run_head": head, "run_rev": state.rev, "step": step, "output": wanted(step, line, find), "kind_can": _can(run)}


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
