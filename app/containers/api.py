"""Contract 002 `/api/v1/docker/{server_id}/containers…`."""

from flask import current_app

from app.actors import Permission
from app.connectors.dispatcher import check_connected, commit_and_wait
from app.containers import bp, operations, queries, shown
from app.containers.driver import CONTAINER
from app.containers.models import Container
from app.containers.operations import MARGIN_S, PAST, Action
from app.containers.schemas import ContainerOut, Done, LogsQuery, TimeoutQuery
from app.database import begin_write
from app.errors import DomainError, Malformed, NotFound, Offline, TimedOut
from app.fleet.queries import get_computer
from app.runs import queries as run_queries
from app.runs.models import Run, RunStatus
from app.web import access

PATIENCE_S = 15.0
BASE = "/api/v1/docker/<uuid>/containers"


@bp.api("GET", BASE, permission=Permission.FLEET_READ, returns=list[ContainerOut])
def list_containers(uuid: str) -> list[ContainerOut]:
    """List the containers of a computer; none when it has no container engine, 503 when it is offline."""
    computer = get_computer(uuid, access.actor())
    check_connected(current_app, computer, CONTAINER)
    return [ContainerOut.of(one) for one in queries.of_computer(computer)]


def _container(uuid: str, container_id: str) -> Container:
    """By the container's id, the beginning of it, or its name. Raises NotFound, Offline."""
    computer = get_computer(uuid, access.actor())
    check_connected(current_app, computer, CONTAINER)
    return queries.on_computer(computer, container_id)


@bp.api("POST", f"{BASE}/<container_id>/start", permission=Permission.FLEET_COMMAND, returns=Done, begins_own_write=True)
def start_container(uuid: str, container_id: str) -> Done:
    """Start a container."""
    return _act(uuid, container_id, Action.START, operations.DEFAULT_TIMEOUT_S)


@bp.api(
    "POST",
    f"{BASE}/<container_id>/stop",
    permission=Permission.FLEET_COMMAND,
    query=TimeoutQuery,
    returns=Done,
    begins_own_write=True,
)
def stop_container(uuid: str, container_id: str, query: TimeoutQuery) -> Done:
    """Stop a container: it gets `timeout` seconds to end by itself."""
    return _act(uuid, container_id, Action.STOP, query.timeout)


@bp.api(
    "POST",
    f"{BASE}/<container_id>/restart",
    permission=Permission.FLEET_COMMAND,
    query=TimeoutQuery,
    returns=Done,
    begins_own_write=True,
)
def restart_container(uuid: str, container_id: str, query: TimeoutQuery) -> Done:
    """Restart a container: it gets `timeout` seconds to end by itself."""
    return _act(uuid, container_id, Action.RESTART, query.timeout)


def _act(uuid: str, container_id: str, action: Action, timeout_s: int) -> Done:
    _container(uuid, container_id)
    begin_write()
    container = _container(uuid, container_id)
    name = container.name
    run = operations.request_action([container], action, actor=access.actor(), timeout_s=timeout_s)
    run_id = run.id
    run = commit_and_wait(current_app, run_id, timeout_s + MARGIN_S + PATIENCE_S)
    if run.status is not RunStatus.SUCCEEDED:
        raise _failure(run)
    return Done(message=f"Container {name} {PAST[action]}", run_id=run_id)


def _failure(run: Run) -> DomainError:
    step = run_queries.get_step(run.id, 0)
    match step.outcome:
        case "expired":
            return Offline()
        case "not_found":
            return NotFound("Container not found")
        case "timeout" | "lost":
            return TimedOut(step.reason or "It did not end in time", details=run.id)
        case _:
            return Malformed(step.reason or "The container engine refused")


@bp.api("GET", f"{BASE}/<container_id>/logs", permission=Permission.FLEET_READ, query=LogsQuery, returns=list[str])
def get_container_logs(uuid: str, container_id: str, query: LogsQuery) -> list[str]:
    """Get the last lines of a container's log, both streams as they came."""
    return [text for _, _, text in shown.last_lines(_container(uuid, container_id), query.tail, access.actor())]
