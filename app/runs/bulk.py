"""Actions on a selection of runs: cancel those that are open, run them again."""

from collections.abc import Sequence
from typing import Any

from flask import Response, current_app, make_response, redirect, render_template, request

from app.actors import Permission
from app.errors import Invalid
from app.factory import vault_of
from app.runs import bp, queries, requests
from app.runs.live import parse
from app.runs.models import Run
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
    BulkAction("Run again", "rotate-clockwise", "/runs/bulk/again", Permission.FLEET_COMMAND, 20),
)


@bp.page("/runs/bulk/cancel", permission=Permission.FLEET_COMMAND, methods=("POST",))
def cancel_many() -> Response:
    """Ask, then cancel those of the selection that have not ended."""
    chosen = LIST.selection()
    found = queries.by_ids(chosen)
    ids = [i for i in chosen if i in found and found[i].is_open]
    if not ids:
        raise Invalid("None of the selected runs is open")
    error = bulk.count_is_typed(len(ids)) if request.form.get("confirmed") else None
    if request.form.get("confirmed") and error is None:
        for i in ids:
            requests.request_cancel(found[i], actor=access.actor())
        pages.toast(f"{len(ids):,} runs are being cancelled" if len(ids) != 1 else "The run is being cancelled")
        return make_response(redirect(LIST.back(), 303))
    ended = len(chosen) - len(ids)
    impact = "What waits for its computer is never sent; what runs is told to stop."
    impact += f" {ended:,} of the selected have ended already and stay as they are." if ended else ""
    title = f"Cancel {len(ids):,} runs?" if len(ids) != 1 else "Cancel this run?"
    return _ask(chosen, ids, title, impact, "/runs/bulk/cancel", "Cancel the runs" if len(ids) != 1 else "Cancel the run", error)


@bp.page("/runs/bulk/again", permission=Permission.FLEET_COMMAND, methods=("POST",))
def again_many() -> Response:
    """Ask, then run all of the selection again."""
    ids = LIST.selection()
    found = queries.by_ids(ids)
    error = bulk.count_is_typed(len(ids)) if request.form.get("confirmed") else None
    if request.form.get("confirmed") and error is None:
        made = [
            requests.run_again(found[i], actor=access.actor(), vault=vault_of(current_app)) for i in reversed(ids) if i in found
        ]
        pages.toast(f"{len(made):,} runs begun again" if len(made) != 1 else "Begun again")
        return make_response(redirect(LIST.back() if len(made) != 1 else f"/runs/{made[0].id}/", 303))
    total = sum(run.total for run in found.values())
    title = f"Run {len(ids):,} runs again?" if len(ids) != 1 else "Run this again?"
    impact = f"Everything is done once more on each of its computers, {total:,} in all."
    return _ask(ids, ids, title, impact, "/runs/bulk/again", "Run again", error)


def _ask(
    chosen: Sequence[str], ids: Sequence[str], title: str, impact: str, action: str, verb: str, error: str | None
) -> Response:
    return make_response(render_template(
        "confirm.html", title=title, page_title=title, impact=impact, targets=LIST.shown(ids), total=len(ids), action=action,
        fields=LIST.carry(chosen), verb=verb, cancel=LIST.back(), error=error, type_count=len(ids) > bulk.TYPE_COUNT_OVER,
    ), 422 if error else 200)  # fmt: skip
