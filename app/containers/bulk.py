"""Actions on a selection of containers: start, stop, restart, after a page that says what that means."""

from collections.abc import Sequence
from typing import Any

from flask import Response, make_response, redirect, render_template, request

from app.actors import Permission
from app.containers import bp, operations, queries
from app.containers.forms import ActionForm
from app.containers.live import parse
from app.containers.models import Container
from app.containers.operations import Action
from app.fleet.models import ComputerStatus
from app.web import access, bulk, pages
from app.web.bulk import BulkAction, BulkList


def _matching(query: str) -> list[int]:
    return queries.ids_of(parse(query).filter(pages.scope()))


def _named(ids: list[str]) -> list[int]:
    return queries.internal_ids(ids, access.actor().tenant_ids)


def _public(ids: Sequence[int]) -> list[str]:
    return [one.uuid for one in queries.by_ids(ids).values()]


def _targets(ids: Sequence[int]) -> list[dict[str, Any]]:
    found = queries.by_ids(ids)
    return [{"label": found[i].name, "href": f"/containers/{found[i].uuid}/", "note": _note(found[i])} for i in ids if i in found]


def _note(one: Container) -> str:
    return f"on {one.computer.name}, {one.state.value}"


LIST = BulkList("/containers/", "containers", _matching, _named, _public, _targets, lambda q: parse(q).canonical(paging=False))
bulk.register("containers", LIST)
bulk.add_action(
    "containers",
    BulkAction("Start", "player-play", "/containers/bulk/start", Permission.FLEET_COMMAND, 10),
    BulkAction("Stop", "player-stop", "/containers/bulk/stop", Permission.FLEET_COMMAND, 20),
    BulkAction("Restart", "rotate-clockwise", "/containers/bulk/restart", Permission.FLEET_COMMAND, 30),
)
IMPACT = {
    Action.START: "They are started; those that run already stay as they are.",
    Action.STOP: "What they serve is gone until somebody starts them again.",
    Action.RESTART: "What they serve is gone until they are up again; those that are stopped are started.",
}


@bp.page(
    "/containers/bulk/start", also=("/containers/bulk/stop", "/containers/bulk/restart"),
    permission=Permission.FLEET_COMMAND, methods=("POST",),
)  # fmt: skip
def act_on_many() -> Response:
    """Ask whether really (over 25 the count is typed), then do it: one run with a step for each container."""
    ids, wanted, form = LIST.selection(), Action(request.path.rpartition("/")[2]), ActionForm()
    found = queries.by_ids(ids)
    containers = [found[i] for i in ids if i in found]
    confirmed = bool(request.form.get("confirmed"))
    error = bulk.count_is_typed(len(containers)) if confirmed else None
    if confirmed and error is None and not form.validate():
        error = " ".join(form.timeout.errors) or "The page was open too long. Send it again."
    if confirmed and error is None:
        run = operations.request_action(containers, wanted, actor=access.actor(), timeout_s=form.seconds)
        return make_response(redirect(f"/runs/{run.id}/", 303))
    return _ask(ids, containers, wanted, form, error)


def _ask(ids: Sequence[int], containers: list[Container], wanted: Action, form: ActionForm, error: str | None) -> Response:
    total = len(containers)
    words = "1 container" if total == 1 else f"{total:,} containers"
    away = len({one.computer_id for one in containers if one.computer.status is not ComputerStatus.ONLINE})
    impact = IMPACT[wanted]
    if away:
        impact += f" {away:,} of their computers {'are' if away != 1 else 'is'} not online now: there it fails."
    title = f"{wanted.capitalize()} {words}?"
    return make_response(render_template(
        "containers/bulk.html", title=title, page_title=title, impact=impact, targets=LIST.shown(ids), total=total,
        action=f"/containers/bulk/{wanted}", verb=f"{wanted.capitalize()} {words}", fields=LIST.carry(ids), cancel=LIST.back(),
        error=error, type_count=total > bulk.TYPE_COUNT_OVER, form=form if wanted is not Action.START else None,
    ), 422 if error else 200)  # fmt: skip
