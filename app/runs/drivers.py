"""Drivers: what a kind of run brings to the engine. A kind is known as soon as its driver is registered, nothing else names it.

A step is carried out in one of two ways. A step for a computer is sent to its connector (`Remote`); any other step is executed
by a worker (`Work`). A kind has either or both: each step says by its `dispatch` which it is.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.runs.models import Run, RunStep

GOOD = frozenset({"exited", "done"})  # outcomes of a step that has succeeded ("exited": with exit code 0)


@dataclass(frozen=True)
class Ending:
    """How a step ended. `outcome` is `exited` (then by its `exit_code`), `done`, `skipped`, or a way to fail: timeout, cancelled,
    signal, failed_to_start, expired, refused, lost, error. `output` is what it printed, as (stream, text), when none of it came
    before; `result` is JSON that the kind keeps of it.

    `then` is for steps that a worker executes: "go_on" lets the run go on, and succeed, after a step that failed; "pause" pauses
    it, and a step that failed waits to be done again or skipped. Without it a failed step ends the run.
    """

    outcome: str
    exit_code: int | None = None
    reason: str | None = None
    duration_ms: int | None = None
    output: tuple[tuple[str, str], ...] = ()
    dropped_bytes: int = 0
    result: Mapping[str, Any] | None = None
    then: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the step has succeeded."""
        return self.outcome in GOOD and (self.outcome != "exited" or self.exit_code == 0)


@dataclass(frozen=True)
class Remote:
    """Steps for a computer. `message` makes what the connector is sent (the engine adds `request_id`) of the run, the step and
    the run's secrets by name. `results` says by the `type` of an answer how it ends the step; it raises Malformed or Invalid for
    an answer that makes no sense. An answer `error` with the step's request_id ends any step.

    A connector takes the message when its `hello` names the `capability`; an original agent, which says nothing, when `original`.
    The connector must remember a request_id: delivered again, it has no effect but its answer.
    """

    capability: str
    refuses: str  # why a computer without the capability cannot do it, in words
    message: Callable[[Run, RunStep, Mapping[str, str]], dict[str, Any]]
    results: Mapping[str, Callable[[RunStep, dict[str, Any]], Ending]]
    original: bool = True
    cancel: str | None = "cancel_command"  # the type of the message that ends it, None when nothing can
    ack: str = "command_ack"  # the type of the message that says that its result is stored


def _nothing(_context: Any) -> AbstractContextManager[Any]:
    return nullcontext()


@dataclass(frozen=True)
class Work:
    """Steps that a worker executes: `step` gets a `runs.work.Context` and returns an Ending (None: done). `open` makes what the
    steps of one run share (a browser, say) and closes it at the end; with `stays` it is kept while the run is paused, and the run
    cannot go on in another worker. `timeout_s` is a step's time limit in seconds."""

    step: Callable[[Any], Ending | None]
    open: Callable[[Any], AbstractContextManager[Any]] = _nothing
    stays: bool = False
    timeout_s: Callable[[Run, RunStep], float] = lambda run, _step: run.timeout_s


@dataclass(frozen=True)
class Driver:
    """A kind of run. `again` makes a run like another, or of its failed targets only (`failed_only`), by an `actor`; it raises
    Invalid when nothing is left to do. `lane`: its steps on one computer go one after the other, in the order in which they were
    asked for; otherwise up to four of a computer run beside each other. `per_key`: how many runs with the same `key` run at once.
    `template` shows what is particular to the kind on the run's page, `noun` is what its steps for computers are there. `actions`
    are more that people may ask: "retry" for a kind of work whose steps are targets."""

    kind: str
    label: str
    again: Callable[..., Run]
    remote: Remote | None = None
    work: Work | None = None
    lane: bool = False
    per_key: int = 1
    template: str = "runs/_plain.html"
    noun: str = "computer"
    actions: frozenset[str] = field(default_factory=frozenset)

    @property
    def can(self) -> frozenset[str]:
        """What people may ask of its runs."""
        targets = frozenset({"retry"}) if self.remote is not None else frozenset()
        steps = frozenset({"pause", "resume", "skip"}) if self.work is not None else frozenset()
        return frozenset({"cancel", "again"}) | targets | steps | self.actions


_drivers: dict[str, Driver] = {}


def register(driver: Driver) -> None:
    """Make a kind known (again: replaced)."""
    _drivers[driver.kind] = driver


def forget(kind: str) -> None:
    """Unknow a kind (tests)."""
    _drivers.pop(kind, None)


def driver_of(kind: str) -> Driver:
    """The driver of a kind. Raises KeyError."""
    return _drivers[kind]


def all_drivers() -> list[Driver]:
    """Every driver."""
    return list(_drivers.values())


def label_of(kind: str) -> str:
    """What people call a kind; also one whose driver is gone."""
    driver = _drivers.get(kind)
    return driver.label if driver else kind.capitalize()


def template_of(kind: str) -> str:
    """What shows what such a run was asked to do."""
    driver = _drivers.get(kind)
    return driver.template if driver else "runs/_plain.html"


def noun_of(kind: str) -> str:
    """What its steps for computers are called."""
    driver = _drivers.get(kind)
    return driver.noun if driver else "computer"


def kinds() -> tuple[tuple[str, str], ...]:
    """(kind, label) of all, for a menu."""
    return tuple((driver.kind, driver.label) for driver in _drivers.values())


def check_kind(kind: str) -> str:
    """The kind, when it is known or empty. Raises ValueError."""
    if kind and kind not in _drivers:
        raise ValueError(f"use one of {', '.join(sorted(_drivers))}")
    return kind


def remote_kinds() -> list[str]:
    """Kinds with steps for computers."""
    return [driver.kind for driver in _drivers.values() if driver.remote is not None]


def work_kinds() -> list[str]:
    """Kinds that workers execute."""
    return [driver.kind for driver in _drivers.values() if driver.work is not None]


def lane_kinds() -> list[str]:
    """Kinds whose steps on a computer keep their order."""
    return [driver.kind for driver in _drivers.values() if driver.lane]


def result_types() -> frozenset[str]:
    """Types of messages that end a step."""
    return frozenset({"error"}).union(*(d.remote.results for d in _drivers.values() if d.remote is not None))


def spec_of(run: Run) -> dict[str, Any]:
    """What was asked for."""
    spec: dict[str, Any] = orjson.loads(run.spec)
    return spec
