"""Actions on a selection of runs: cancel, pause, resume, retry, run again, delete those that are in a state for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, current_app, make_response, redirect, render_template, request

from app.actors import Permission
from app.errors import Invalid
from app.factory import settings_of, vault_of
from app.runs import bp, queries, requests
from app.runs.live import parse
from app.runs.models import Run
from app.runs.retention import delete_runs
from app.web import access, bulk, pages
from app.web.bulk import BulkAction, BulkList


def _matching(query: str) -> list[str]:
    return queries.ids_of(parse(query).filter(pages.scope()))


def _named(ids: list[str]) -> list[str]:
    return queries.visible_ids(ids, access.actor().tenant_ids)


def _targets(ids: Sequence[str]) -> list[dict[str, Any]]:
    found = queries.by_ids(ids)
    return [{"label": found[i].title, "href": f"/runs/{i}/", "note": _note(found[i])} for i in ids if i in found]


def _note(run: Run) -> str:
    computers = "1 computer" if run.total == 1 else f"{run.total:,} computers"
    return f"{computers}, {run.status.value.replace('_', ' ')}"


LIST = BulkList("/runs/", "runs", _matching, _named, list, _targets, lambda q: parse(q).canonical(paging=False))
bulk.register("runs", LIST)
bulk.add_action(
    "runs",
    BulkAction("Cancel", "player-stop", "/runs/bulk/cancel", Permission.FLEET_COMMAND, 10),
    BulkAction("Pause", "player-pause", "/runs/bulk/pause", Permission.FLEET_COMMAND, 12),
    BulkAction("Resume", "player-play", "/runs/bulk/resume", Permission.FLEET_COMMAND, 14),
    BulkAction("Retry failed only", "refresh", "/runs/bulk/retry", Permission.FLEET_COMMAND, 18),
    BulkAction("Run again", "rotate-clockwise", "/runs/bulk/again", Permission.FLEET_COMMAND, 20),
    BulkAction("Delete", "trash", "/runs/bulk/delete", Permission.FLEET_WRITE, 30),
)


@dataclass(frozen=True)
class Many:
    """What is asked of many runs at once: of those that can be asked (`requests.allowed`) for `what`."""

    what: str
    verb: str  # "Cancel": begins the question and the button
    impact: str
    done: str  # "being cancelled"
    act: Callable[[list[Run]], object]
    asks: bool = True  # first, since it cannot be undone


def _each(ask: Callable[..., object]) -> Callable[[list[Run]], object]:
    def act(runs: list[Run]) -> None:
        for run in runs:
            ask(run, actor=access.actor())

    return act


def _again(*, failed_only: bool) -> Callable[[list[Run]], object]:
    def act(runs: list[Run]) -> None:
        for run in reversed(runs):
            requests.run_again(run, failed_only=failed_only, actor=access.actor(), vault=vault_of(current_app))

    return act


def _delete(runs: list[Run]) -> None:
    delete_runs(runs, settings_of(current_app).data_dir, actor=access.actor())


ACTIONS = {
    "cancel": Many("cancel", "Cancel", "What waits for its computer is never sent; what runs is told to stop.", "being cancelled",
                   _each(requests.request_cancel)),
    "pause": Many("pause", "Pause", "Each stops before its next step, until somebody resumes it.", "being paused",
                  _each(requests.request_pause), asks=False),
    "resume": Many("resume", "Resume", "What is paused goes on; what failed begins anew at the step that failed.", "going on",
                   _each(requests.request_resume), asks=False),
    "retry": Many("retry", "Retry", "Everything is done once more where it failed, and only there.", "begun again",
                  _again(failed_only=True)),
    "again": Many("again", "Run again:", "Everything is done once more on each of its targets, {total:,} in all.", "begun again",
                  _again(failed_only=False)),
    "delete": Many("delete", "Delete", "Their steps, their output and their files are gone for good.", "deleted", _delete),
}  # fmt: skip


@bp.page("/runs/bulk/cancel", permission=Permission.FLEET_COMMAND, methods=("POST",))
def cancel_many() -> Response:
    """Ask, then cancel those of the selection that have not ended."""
    return _many(ACTIONS["cancel"])


@bp.page("/runs/bulk/pause", permission=Permission.FLEET_COMMAND, methods=("POST",))
def pause_many() -> Response:
    """Pause those of the selection that can be paused."""
    return _many(ACTIONS["pause"])


@bp.page("/runs/bulk/resume", permission=Permission.FLEET_COMMAND, methods=("POST",))
def resume_many() -> Response:
    """Let those of the selection go on that are paused or have failed."""
    return _many(ACTIONS["resume"])


@bp.page("/runs/bulk/retry", permission=Permission.FLEET_COMMAND, methods=("POST",))
def retry_many() -> Response:
    """Ask, then run those of the selection again where they failed."""
    return _many(ACTIONS["retry"])


@bp.page("/runs/bulk/again", permission=Permission.FLEET_COMMAND, methods=("POST",))
def again_many() -> Response:
    """Ask, then run those of the selection again that have ended."""
    return _many(ACTIONS["again"])


@bp.page("/runs/bulk/delete", permission=Permission.FLEET_WRITE, methods=("POST",))
def delete_many() -> Response:
    """Ask, then delete those of the selection that have ended."""
    return _many(ACTIONS["delete"])


def _many(action: Many) -> Response:
    chosen = LIST.selection()
    found = queries.by_ids(chosen)
    runs = [found[i] for i in chosen if i in found and action.what in requests.allowed(found[i])]
    if not runs:
        raise Invalid(f"{action.verb.rstrip(':')}: none of the selected runs is in a state for that")
    confirmed = bool(request.form.get("confirmed"))
    error = bulk.count_is_typed(len(runs)) if confirmed and action.asks else None
    if (confirmed or not action.asks) and error is None:
        action.act(runs)
        pages.toast(f"{len(runs):,} runs are {action.done}" if len(runs) != 1 else f"The run is {action.done}")
        return make_response(redirect(LIST.back(), 303))
    return _ask(action, chosen, runs, error)


def _ask(action: Many, chosen: Sequence[str], runs: Sequence[Run], error: str | None) -> Response:
    total, left = len(runs), len(chosen) - len(runs)
    impact = action.impact.format(total=sum(run.total for run in runs))
    impact += f" {left:,} of the selected are not in a state for it and stay as they are." if left else ""
    words = f"{action.verb} {total:,} runs" if total != 1 else f"{action.verb} this run"
    return make_response(render_template(
        "confirm.html", title=f"{words}?", page_title=f"{words}?", impact=impact, targets=LIST.shown([run.id for run in runs]),
        total=total, action=f"/runs/bulk/{action.what}", fields=LIST.carry(chosen), verb=words, cancel=LIST.back(), error=error,
        type_count=total > bulk.TYPE_COUNT_OVER,
    ), 422 if error else 200)  # fmt: skip
