"""Actions on a selection of proxies: a page's ticks, or "all N that match" with a guard against a count that drifted."""

from typing import Any

from flask import Response, current_app, make_response, redirect, request

from app.actors import Permission
from app.errors import Conflict, Invalid
from app.factory import settings_of
from app.proxies import bp, operations, queries
from app.proxies.live import parse
from app.proxies.models import Proxy
from app.web import access, pages

MAX_UNDO = 2000  # characters of ids that fit in the cookie of a toast


def selection() -> list[int]:
    """The internal ids that the bulk form names, of proxies that the actor may see.

    Raises Invalid when nothing is selected, and Conflict when "all that match" is not the number that the person saw.
    """
    if request.form.get("all"):
        ids = queries.ids_of(parse(request.form.get("query", "")).filter(pages.scope()))
        if str(len(ids)) != request.form.get("count", ""):
            raise Conflict(f"The selection has changed: {len(ids)} proxies match now. Look again and repeat.")
    else:
        named = " ".join(request.form.getlist("ids")).split()
        ids = queries.internal_ids(named[:1000], access.actor().tenant_ids)
    if not ids:
        raise Invalid("Select at least one proxy")
    return ids


def _back() -> Response:
    """To the list as it was filtered when the action began."""
    query = request.form.get("back", "")
    return make_response(redirect(f"/proxies/?{parse(query).canonical(paging=False)}" if query else "/proxies/", 303))


def _number(count: int) -> str:
    return "1 proxy" if count == 1 else f"{count:,} proxies"


def _undo(action: str, changed: list[Proxy]) -> dict[str, Any] | None:
    """The form that takes an action back on exactly the proxies that it changed."""
    ids = " ".join(proxy.uuid for proxy in changed)
    if not ids or len(ids) > MAX_UNDO:
        return None
    fields = {"back": request.form.get("back", ""), "ids": ids, "keep_rest": "1"}
    return {"url": f"/proxies/bulk/{action}", "label": "Undo", "fields": fields}


@bp.page("/proxies/bulk/check", permission=Permission.PROXIES_WRITE, methods=("POST",))
def check_selected() -> Response:
    """Ask for a check of each; those with one under way are left alone."""
    ids = selection()
    made = operations.request_checks(ids, settings_of(current_app).proxy_check_url, actor=access.actor())
    left = f"; {_number(len(ids) - len(made))} had one under way" if len(made) < len(ids) else ""
    pages.toast(f"Check of {_number(len(made))} asked for{left}" if made else "A check of each is under way already")
    return _back()


@bp.page("/proxies/bulk/enable", permission=Permission.PROXIES_WRITE, methods=("POST",))
def enable_selected() -> Response:
    """Enable them, which ends their rest; as the undo of disabling them, which does not."""
    keep = bool(request.form.get("keep_rest"))
    ids = selection()
    disabled = {proxy.id for proxy in queries.by_ids(ids).values() if not proxy.enabled}
    changed = operations.change_enabled(ids, True, actor=access.actor(), keep_rest=keep)
    undo = None if keep else _undo("disable", [proxy for proxy in changed if proxy.id in disabled])
    pages.toast(f"{_number(len(changed))} enabled" if changed else "Nothing to enable", undo=undo)
    return _back()


@bp.page("/proxies/bulk/disable", permission=Permission.PROXIES_WRITE, methods=("POST",))
def disable_selected() -> Response:
    """Disable them."""
    changed = operations.change_enabled(selection(), False, actor=access.actor())
    undo = None if request.form.get("keep_rest") else _undo("enable", changed)
    pages.toast(f"{_number(len(changed))} disabled" if changed else "Nothing to disable", undo=undo)
    return _back()
