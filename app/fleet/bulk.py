"""Actions on a selection of computers: tag, delete."""

from collections.abc import Sequence
from typing import Any

from flask import Response, make_response, redirect, render_template, request

from app.actors import Permission
from app.errors import DomainError
from app.fleet import bp, operations, queries
from app.fleet.forms import TagForm
from app.fleet.live import parse
from app.web import access, bulk, pages
from app.web.bulk import BulkAction, BulkList
from app.web.forms import refused, show_error


def _matching(query: str) -> list[int]:
    return queries.ids_of(parse(query).filter(pages.scope()))


def _named(uuids: list[str]) -> list[int]:
    return queries.internal_ids(uuids, access.actor().tenant_ids)


def _uuids(ids: Sequence[int]) -> list[str]:
    return [c.uuid for c in queries.by_ids(ids).values()]


def _targets(ids: Sequence[int]) -> list[dict[str, Any]]:
    return [{"label": c.name, "href": f"/fleet/{c.uuid}/", "note": c.tenant.name} for c in queries.by_ids(ids).values()]


LIST = BulkList("/fleet/", "computers", _matching, _named, _uuids, _targets, lambda q: parse(q).canonical(paging=False))
bulk.register("fleet", LIST)
bulk.add_action(
    "fleet",
    BulkAction("Tag", "tag", "/fleet/bulk/tag", Permission.FLEET_WRITE, 10),
    BulkAction("Delete", "trash", "/fleet/bulk/delete", Permission.FLEET_WRITE, 90),
)


@bp.page("/fleet/bulk/tag", permission=Permission.FLEET_WRITE, methods=("POST",))
def tag() -> Response:
    """Ask which tags, then change them; the toast can undo exactly what changed."""
    ids = LIST.selection()
    form = TagForm()
    context = {"ids": ids, "fields": LIST.carry(ids), "targets": LIST.shown(ids), "total": len(ids), "back": LIST.back(),
               "page_title": "Tag computers"}  # fmt: skip
    if not request.form.get("confirmed"):
        return make_response(render_template("fleet/tag.html", form=form, **context))
    added, removed = (form.add.data or "").split(), (form.remove.data or "").split()
    if form.validate() and (added or removed):
        try:
            changed = operations.change_tags(ids, add=added, remove=removed, actor=access.actor())
        except DomainError as error:
            show_error(form, error)
        else:
            undo = _undo(changed, added, removed)
            pages.toast(f"Tags changed on {len(changed)} computers", undo=undo)
            return make_response(redirect(LIST.back(), 303))
    elif not form.errors:
        form.form_errors.append("Name at least one tag to add or to remove")
    return refused("fleet/tag.html", form, **context)


def _undo(changed: Sequence[int], added: list[str], removed: list[str]) -> dict[str, Any] | None:
    if not changed or len(changed) > 100 or (added and removed):
        return None  # what does not fit in the cookie of the toast, or is not its own inverse, is undone by hand
    uuids = " ".join(c.uuid for c in queries.by_ids(changed).values())
    if len(uuids) > 2000:
        return None
    return {
        "url": "/fleet/bulk/untag",
        "label": "Undo",
        "fields": {"back": request.form.get("back", ""), "ids": uuids, "add": " ".join(removed), "remove": " ".join(added)},
    }


@bp.page("/fleet/bulk/untag", permission=Permission.FLEET_WRITE, methods=("POST",))
def undo_tag() -> Response:
    """Undo a change of tags on exactly the computers that it changed."""
    ids = queries.internal_ids(request.form.get("ids", "").split()[:1000], access.actor().tenant_ids)
    add, remove = request.form.get("add", "").split(), request.form.get("remove", "").split()
    changed = operations.change_tags(ids, add=add, remove=remove, actor=access.actor())
    pages.toast(f"Undone on {len(changed)} computers")
    return make_response(redirect(LIST.back(), 303))


@bp.page("/fleet/bulk/delete", permission=Permission.FLEET_WRITE, methods=("POST",))
def delete() -> Response:
    """Ask, listing targets and impact; over 25 the count is typed; then delete."""
    ids = LIST.selection()
    return _confirm_and_delete(ids, "/fleet/bulk/delete", LIST.carry(ids), LIST.back())


@bp.page("/fleet/<uuid>/delete", permission=Permission.FLEET_WRITE)
def confirm_delete(uuid: str) -> Response:
    """Ask before deleting one."""
    row = queries.get_computer(uuid, access.actor())
    return _confirm_and_delete([row.id], f"/fleet/{row.uuid}/delete", {}, f"/fleet/{row.uuid}/")


@bp.page("/fleet/<uuid>/delete", permission=Permission.FLEET_WRITE, methods=("POST",))
def delete_one(uuid: str) -> Response:
    """Delete one."""
    row = queries.get_computer(uuid, access.actor())
    return _confirm_and_delete([row.id], f"/fleet/{row.uuid}/delete", {}, f"/fleet/{row.uuid}/")


def _confirm_and_delete(ids: Sequence[int], action: str, fields: dict[str, Any], cancel: str) -> Response:
    error = None
    if request.method == "POST" and request.form.get("confirmed"):
        error = bulk.count_is_typed(len(ids))
        if error is None:
            removed = operations.delete_computers(ids, actor=access.actor())
            pages.toast(f"{removed} computers deleted" if removed != 1 else "Computer deleted")
            return make_response(redirect(LIST.back(), 303))
    title = f"Delete {len(ids):,} computers?" if len(ids) != 1 else "Delete this computer?"
    impact = ("Their metrics, inventory and keys are deleted, and their connectors are cut off." if len(ids) != 1 else
              "Its metrics, inventory and keys are deleted, and its connector is cut off.")  # fmt: skip
    return make_response(render_template(
        "confirm.html", title=title, page_title=title, impact=impact, targets=LIST.shown(ids), total=len(ids), action=action,
        fields=fields, verb="Delete", cancel=cancel, error=error, type_count=len(ids) > bulk.TYPE_COUNT_OVER,
    ), 422 if error else 200)  # fmt: skip
