"""Actions on a selection of proxies: a page's ticks, or "all N that match" with a guard against a count that drifted."""

from collections.abc import Sequence
from typing import Any

from flask import Response, current_app, make_response, redirect, request

from app.actors import Permission
from app.factory import settings_of
from app.proxies import bp, operations, queries
from app.proxies.live import parse
from app.proxies.models import Proxy
from app.web import access, bulk, pages
from app.web.bulk import BulkAction, BulkList

MAX_UNDO = 2000  # characters of ids that fit in the cookie of a toast


def _matching(query: str) -> list[int]:
    return queries.ids_of(parse(query).filter(pages.scope()))


def _named(ids: list[str]) -> list[int]:
    return queries.internal_ids(
        " ".join(ids).split()[: bulk.MAX_IDS], access.actor().tenant_ids
    )  # an undo names all in one field


def _uuids(ids: Sequence[int]) -> list[str]:
    return [proxy.uuid for proxy in queries.by_ids(ids).values()]


def _targets(ids: Sequence[int]) -> list[dict[str, Any]]:
    return [{"label": p.address, "href": f"/proxies/{p.uuid}/", "note": p.tenant.name} for p in queries.by_ids(ids).values()]


LIST = BulkList("/proxies/", "proxies", _matching, _named, _uuids, _targets, lambda q: parse(q).canonical(paging=False))
bulk.register("proxies", LIST)
bulk.add_action(
    "proxies",
    BulkAction("Check now", "activity", "/proxies/bulk/check", Permission.PROXIES_WRITE, 10),
    BulkAction("Enable", "circle-check", "/proxies/bulk/enable", Permission.PROXIES_WRITE, 20),
    BulkAction("Disable", "circle-minus", "/proxies/bulk/disable", Permission.PROXIES_WRITE, 30),
)


def _back() -> Response:
    """To the list as it was filtered when the action began."""
    return make_response(redirect(LIST.back(), 303))


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
    ids = LIST.selection()
    made = operations.request_checks(ids, settings_of(current_app).proxy_check_url, actor=access.actor())
    left = f"; {_number(len(ids) - len(made))} had one under way" if len(made) < len(ids) else ""
    pages.toast(f"Check of {_number(len(made))} asked for{left}" if made else "A check of each is under way already")
    return _back()


@bp.page("/proxies/bulk/enable", permission=Permission.PROXIES_WRITE, methods=("POST",))
def enable_selected() -> Response:
    """Enable them, which ends their rest; as the undo of disabling them, which does not."""
    keep = bool(request.form.get("keep_rest"))
    ids = LIST.selection()
    disabled = {proxy.id for proxy in queries.by_ids(ids).values() if not proxy.enabled}
    changed = operations.change_enabled(ids, True, actor=access.actor(), keep_rest=keep)
    undo = None if keep else _undo("disable", [proxy for proxy in changed if proxy.id in disabled])
    pages.toast(f"{_number(len(changed))} enabled" if changed else "Nothing to enable", undo=undo)
    return _back()


@bp.page("/proxies/bulk/disable", permission=Permission.PROXIES_WRITE, methods=("POST",))
def disable_selected() -> Response:
    """Disable them."""
    changed = operations.change_enabled(LIST.selection(), False, actor=access.actor())
    undo = None if request.form.get("keep_rest") else _undo("enable", changed)
    pages.toast(f"{_number(len(changed))} disabled" if changed else "Nothing to disable", undo=undo)
    return _back()
