"""Which entries of the journal are which public events (contracts/README.md, "Events of webhooks"), and what is said of each.

`EVENTS` is all that can be subscribed to. `TABLE` grows with the rooms: an event is emitted from when its room exists.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.journal.models import JournalEntry

EVENTS: dict[str, str] = {
    "session.started": "A maintenance session begins",
    "session.completed": "A maintenance session ends well",
    "session.failed": "A maintenance session fails",
    "computer.added": "A computer is added",
    "computer.status_changed": "A computer goes online or offline",
    "deployment.created": "A deployment is created",
    "deployment.updated": "A deployment is changed",
    "software.added": "Software is added to the catalogue",
    "software.updated": "Software of the catalogue is changed",
    "agent.execution.completed": "An analysis agent ends well",
    "agent.execution.failed": "An analysis agent fails",
    "execution.completed": "A command or a playbook ends well",
    "execution.failed": "A command or a playbook fails, is cancelled or is lost",
    "alert.fired": "An alert becomes active, or gets worse",
    "alert.resolved": "An alert is over",
    "automation_session.started": "A bot begins a session",
    "automation_session.ended": "A session of a bot ends",
    "proxy.status_changed": "The health of a proxy changes",
}
TEST = "webhook.test"  # sent by hand only


@dataclass(frozen=True)
class Public:
    """An entry as programs see it. `subject_id` is what it is about."""

    event: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Mapping:
    """How entries of one type are told: the public events that they can be, which one an entry is, and its data."""

    events: tuple[str, ...]
    data: Callable[[JournalEntry], dict[str, Any]]
    choose: Callable[[JournalEntry], int] = lambda _entry: 0


def _computer(entry: JournalEntry) -> dict[str, Any]:
    return {"computer_id": entry.subject_id, "computer_name": entry.subject_name, "tenant_id": entry.tenant_id}


def _computer_status(entry: JournalEntry) -> dict[str, Any]:
    return _computer(entry) | {"status": entry.data.get("after"), "previous_status": entry.data.get("before")}


def _session(entry: JournalEntry) -> dict[str, Any]:
    return {"id": entry.subject_id, "session_id": entry.subject_name, "tenant_id": entry.tenant_id} | entry.data


def _proxy(entry: JournalEntry) -> dict[str, Any]:
    said = {"status": entry.data.get("after"), "previous_status": entry.data.get("before"), "reason": entry.data.get("reason")}
    return {"proxy_id": entry.subject_id, "address": entry.subject_name, "tenant_id": entry.tenant_id} | said


def _execution(entry: JournalEntry) -> dict[str, Any]:
    kind = entry.type.partition(".")[0]
    return {"execution_id": entry.subject_id, "kind": kind, "name": entry.subject_name, "tenant_id": entry.tenant_id} | entry.data


def _alert(entry: JournalEntry) -> dict[str, Any]:
    said = {"alert_id": entry.subject_id, "title": entry.subject_name, "tenant_id": entry.tenant_id} | entry.data
    return said | {"escalated": entry.type == "alert.escalated"}


def _went_wrong(entry: JournalEntry) -> int:
    return 0 if entry.data.get("status") == "succeeded" else 1


_RUN = ("execution.completed", "execution.failed")
TABLE: dict[str, Mapping] = {
    "computer.added": Mapping(("computer.added",), _computer),
    "computer.status_changed": Mapping(("computer.status_changed",), _computer_status),
    "automation_session.started": Mapping(("automation_session.started",), _session),
    "automation_session.ended": Mapping(("automation_session.ended",), _session),
    "proxy.status_changed": Mapping(("proxy.status_changed",), _proxy),
    "command.finished": Mapping(_RUN, _execution, _went_wrong),
    "playbook.finished": Mapping(_RUN, _execution, _went_wrong),
    "alert.fired": Mapping(("alert.fired",), _alert),
    "alert.escalated": Mapping(("alert.fired",), _alert),
    "alert.resolved": Mapping(("alert.resolved",), _alert),
}


TOLD = frozenset(event for mapping in TABLE.values() for event in mapping.events)  # the others wait for their rooms


def public(entry: JournalEntry) -> Public | None:
    """An entry as programs see it; None for those that are not told."""
    mapping = TABLE.get(entry.type)
    return None if mapping is None else Public(mapping.events[mapping.choose(entry)], mapping.data(entry))


def types_for(wanted: set[str]) -> tuple[str, ...]:
    """The journal's types that can become one of these public events; `*` is all of them."""
    return tuple(name for name, mapping in TABLE.items() if "*" in wanted or wanted & set(mapping.events))
