"""What connectors say about containers: the list, figures, and pieces of logs; original agents in their `metrics` and answers."""

from typing import Any
from weakref import WeakKeyDictionary

import orjson
from flask import current_app
from sqlalchemy import select

from app.connectors import registry
from app.connectors.conversation import on_result
from app.connectors.dispatcher import say
from app.connectors.registry import Connection
from app.connectors.writer import read
from app.containers import readings, reports
from app.containers.desk import desk_of
from app.containers.models import EngineState, LogReading, ReadingState
from app.containers.reports import EngineFound
from app.containers.schemas import Figures, LogEnd, LogPieceIn, Report, of_agent
from app.database import reading, session, unit_of_work
from app.errors import Malformed
from app.fleet import operations as fleet

MAX_LINES = 20_000
MAX_STRAYS = 1000  # pieces of logs that nobody reads; some are on their way when a reader leaves
TOO_MUCH = "The computer sent more of the log than it was acknowledged"
_told: WeakKeyDictionary[Connection, bytes] = WeakKeyDictionary()  # what an original agent said last
_strays: WeakKeyDictionary[Connection, int] = WeakKeyDictionary()


def listen() -> None:
    """Register with the connectors' registry and the fleet (twice is once)."""
    registry.message_handlers.update(
        containers=_on_report, container_figures=_on_figures, container_log=_on_log, container_log_end=_on_log_end,
        container_logs=_on_logs, error=_on_error,
    )  # fmt: skip
    for hooks, hook in (
        (registry.greeted_hooks, _on_hello), (registry.gone_hooks, _on_gone), (registry.metrics_hooks, _on_metrics),
        (fleet.status_hooks, reports.renew), (fleet.deletion_hooks, reports.forget),
    ):  # fmt: skip
        if hook not in hooks:
            hooks.append(hook)  # type: ignore[arg-type]


def _on_report(connection: Connection, message: dict[str, Any]) -> None:
    engine, found = read(Report, message).parts()
    with unit_of_work(power_safe=False):
        reports.store_report(connection.computer_id, engine, found)


def _on_figures(connection: Connection, message: dict[str, Any]) -> None:
    figures = read(Figures, message).figures
    with unit_of_work(power_safe=False):
        reports.store_figures(connection.computer_id, figures)


def _on_metrics(connection: Connection, containers: list[Any] | None) -> None:
    """An original agent's `metrics`: it says all of them every few seconds, so only what is new is stored."""
    if containers is None or connection.greeted:
        return
    if connection not in _told:
        desk_of(current_app).ring()  # perhaps somebody wants to read a log of it
    said = orjson.dumps(containers)
    if _told.get(connection) == said:
        return
    found = of_agent(containers)
    with unit_of_work(power_safe=False):
        reports.store_report(connection.computer_id, EngineFound(EngineState.AGENT, total=len(found)), found)
    _told[connection] = said


def _on_log(connection: Connection, message: dict[str, Any]) -> None:
    piece = read(LogPieceIn, message)
    lines = [(stream, at, text.replace("\x00", "\N{REPLACEMENT CHARACTER}")) for stream, at, text in piece.lines]
    with unit_of_work(power_safe=False):
        known = readings.store(piece.request_id, connection.computer_id, piece.seq, lines)
    desk = desk_of(current_app)
    if known is None or not known.new:
        strays = _strays[connection] = _strays.get(connection, 0) + 1
        if strays > MAX_STRAYS:
            raise Malformed("container_log for a log that nobody reads, or out of its order")
    if known is None:  # nobody reads it any more, or it is another computer's
        say(connection, type="unfollow_container_logs", request_id=piece.request_id)
        return
    if known.new and not desk.landed(connection, piece.request_id, known, readings.weight(lines)):
        _ended(connection, piece.request_id, "failed", TOO_MUCH)
        say(connection, type="unfollow_container_logs", request_id=piece.request_id)
        return
    desk.heard(piece.request_id)
    desk.acknowledge(connection, piece.request_id, readings.allowed(known.seq, known.taken))


def _on_log_end(connection: Connection, message: dict[str, Any]) -> None:
    said = read(LogEnd, message)
    _ended(connection, said.request_id, said.reason, said.message)


def _ended(connection: Connection, reading_id: str, outcome: str, words: str | None) -> bool:
    with unit_of_work(power_safe=False):
        mine = readings.finish(reading_id, connection.computer_id, outcome, words)
    if mine:
        desk_of(current_app).over(reading_id)
    return mine


def _on_logs(connection: Connection, message: dict[str, Any]) -> None:
    """An original agent's answer: all the lines at once, as one text or as a list."""
    reading_id, data = message.get("request_id"), message.get("data")
    logs = data.get("logs") if isinstance(data, dict) else None
    if not isinstance(reading_id, str) or not isinstance(logs, (str, list)):
        raise Malformed("container_logs has a request_id and data.logs, a text or a list of lines")
    texts = [str(one) for one in logs] if isinstance(logs, list) else logs.split("\n")
    if texts and not texts[-1]:
        texts.pop()
    lines = [
        ("stdout", None, text.rstrip("\n").replace("\x00", "\N{REPLACEMENT CHARACTER}")[:100_000]) for text in texts[-MAX_LINES:]
    ]
    with unit_of_work(power_safe=False):
        readings.store(reading_id, connection.computer_id, 1, lines)
    _ended(connection, reading_id, "ended", None)


def _on_error(connection: Connection, message: dict[str, Any]) -> None:
    """An `error` that names a log's request ends it; any other is about a run's step."""
    reading_id = message.get("request_id")
    if isinstance(reading_id, str):
        with reading():
            query = select(LogReading.id).where(LogReading.id == reading_id, LogReading.state == ReadingState.SENT)
            mine = session().scalar(query.where(LogReading.computer_id == connection.computer_id)) is not None
        if mine:
            data = message.get("data")
            reason = data.get("reason") if isinstance(data, dict) else None
            words = str(message.get("message") or "The computer reports an error").replace("\x00", "\N{REPLACEMENT CHARACTER}")
            _ended(connection, reading_id, reason if isinstance(reason, str) else "failed", words)
            return
    on_result(connection, message)


def _on_hello(connection: Connection) -> None:
    """What was read over an earlier connection, perhaps of a process that died, has ended."""
    _cut_off(connection)
    desk_of(current_app).ring()


def _on_gone(connection: Connection) -> None:
    _cut_off(connection)
    with unit_of_work(power_safe=False):
        reports.forget_figures([connection.computer_id])
        reports.renew([connection.computer_id])


def _cut_off(connection: Connection) -> None:
    with unit_of_work(power_safe=False):
        ended = readings.cut_off(connection.computer_id)
    for reading_id in ended:
        desk_of(current_app).over(reading_id)
