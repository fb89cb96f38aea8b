"""A container's log as pages and programs get it: the last lines at once, what is new for a viewer, all of it as a download."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from flask import Response, current_app, stream_with_context

from app.actors import Actor
from app.containers import readings
from app.containers.desk import desk_of
from app.containers.models import Container
from app.containers.readings import Line, Taken
from app.database import unit_of_work
from app.errors import Malformed, NotFound, Offline, TimedOut
from app.runs import terminal

PATIENCE_S = 15.0
LOOK_S = 0.25
TAIL = 500
CLOCK = "%Y-%m-%d %H:%M:%S"


def open_reading(container: Container, *, actor: Actor, tail: int | None, follow: bool) -> str:
    """Ask for a log, in a transaction of its own; the reading's id. Raises Conflict when too many are read."""
    with unit_of_work(power_safe=False):
        reading_id = readings.begin(container, actor=actor, tail=tail, follow=follow).id
    desk_of(current_app).ring()
    return reading_id


def pieces(container: Container, tail: int | None, actor: Actor) -> Iterator[list[Line]]:
    """The lines of a log, as they come, until its present end. Raises Conflict, TimedOut, NotFound, Offline, Malformed."""
    computer_id, engine_id, desk = container.computer_id, container.engine_id, desk_of(current_app)
    reading_id = open_reading(container, actor=actor, tail=tail, follow=False)
    heard, after, deadline = desk.expect(reading_id), 0, time.monotonic() + PATIENCE_S
    try:
        while True:
            heard.clear()
            with unit_of_work(power_safe=False):
                taken = readings.take(reading_id, computer_id, engine_id, after)
            if taken is None:
                raise TimedOut("The log was not read in time")
            if taken.lines:
                yield list(taken.lines)
                after, deadline = taken.after, time.monotonic() + PATIENCE_S
            if not taken.open:
                _check(taken)
                return
            if time.monotonic() > deadline:
                raise TimedOut("The computer did not send the log in time")
            if not taken.lines:
                heard.wait(LOOK_S)
    finally:
        desk.forget(reading_id)
        with unit_of_work(power_safe=False):
            readings.end(reading_id)


def _check(taken: Taken) -> None:
    match taken.outcome:
        case "ended" | "stopped":
            return
        case "not_found":
            raise NotFound("Container not found")
        case "lost":
            raise Offline
        case _:
            raise Malformed(taken.message or "The log cannot be read")


def last_lines(container: Container, tail: int, actor: Actor) -> list[Line]:
    """The last lines of a log. Raises as `pieces` does."""
    return [line for some in pieces(container, tail, actor) for line in some][-tail:]


def shown(lines: list[Line]) -> list[terminal.Line]:
    """Lines as a terminal would show them, each with its time. They have no numbers: nobody counts from the beginning."""
    said = (terminal.Piece(0, stream, f"{text}\n", at=_moment(at)) for stream, at, text in lines)
    found, _ = terminal.lines(said, len(lines), CLOCK)
    for line in found:
        line.number = 0
    return found


def _moment(at: str | None) -> datetime | None:
    """An engine's time (RFC 3339), for people in UTC."""
    try:
        return datetime.fromisoformat(at).astimezone(UTC) if at else None
    except (ValueError, OverflowError):
        return None


def as_download(container: Container, actor: Actor) -> Response:
    """All of it as text that no browser opens as a page; it is read while it is sent."""
    some = pieces(container, None, actor)
    first: list[Line] = next(some, [])  # so that what cannot be read is an error and not an empty file
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in container.name)[:80] or container.short_id

    def text() -> Iterator[str]:
        yield _text(first)
        for lines in some:
            yield _text(lines)

    response = Response(stream_with_context(text()), mimetype="text/plain")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.log"'
    return response


def _text(lines: list[Line]) -> str:
    return "".join(f"{at} {text}\n" if at else f"{text}\n" for _, at, text in lines)
