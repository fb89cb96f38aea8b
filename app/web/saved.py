"""Saved views: the filters, order and columns of a list under a name, shown as tabs over it; private or for everybody.

A list gets them with one `offer` and `tabs` in its page's context. Where they are kept is said by a room, with `set_store`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from flask import Response, make_response, redirect, render_template, request

from app.actors import Actor, Permission
from app.errors import DomainError
from app.shapes import Fixed
from app.web import access, pages
from app.web.body import validate_query
from app.web.forms import ViewForm, refused, show_error
from app.web.listing import ListQuery
from app.web.routing import Room


@dataclass(frozen=True)
class Store:
    """Where views are kept. `choices` and `all` take a list's name and a person's id, and give what the person sees of it
    (`name`, `query`; with `all` also `id, owner_id, shared, created_at`); `get` is for deleting and raises NotFound."""

    choices: Callable[[str, str], Sequence[Any]]
    all: Callable[[str, str], Sequence[Any]]
    get: Callable[..., Any]
    save: Callable[..., Any]
    delete: Callable[..., None]


@dataclass(frozen=True)
class SavedList:
    """A list whose views can be saved: its name among all lists, its path, its title and what its rows are called."""

    name: str
    path: str
    title: str
    noun: str
    query: type[ListQuery]


_stores: list[Store] = []


def set_store(store: Store) -> None:
    """A room says how views are kept (at import)."""
    _stores[:] = [store]


def tabs(name: str, path: str, query: ListQuery, *, first: str | None = "All") -> tuple[Fixed[str, Any], ...]:
    """The tabs over a list: all of it under the name `first` (None: not at all), then what the person has saved and what
    others share."""
    current = query.canonical(paging=False)
    found = [Fixed(name=first, href=path, active=not current)] if first else []
    for view in _stores[0].choices(name, access.actor().user_id or ""):
        found.append(Fixed(name=view.name, href=f"{path}?{view.query}", active=current == view.query))
    return tuple(found)


def offer(bp: Room, where: SavedList) -> None:
    """Give a list the page that names its filters, and the routes that save and delete a view."""

    def new_view() -> str:
        """Name the filters of the list."""
        return render_template("_saved_view.html", form=ViewForm(), **_page(where))

    def save_view() -> Response:
        """Save them as a tab, private or shared."""
        return _save(where)

    def delete_view(view_id: str) -> Response:
        """Delete a saved view; it can be undone by saving it again."""
        return _delete(where, view_id)

    bp.page(f"{where.path}views/new", permission=Permission.SIGNED_IN)(new_view)
    bp.page(f"{where.path}views/new", permission=Permission.SIGNED_IN, methods=("POST",))(save_view)
    bp.page(f"{where.path}views/<view_id>/delete", permission=Permission.SIGNED_IN, methods=("POST",))(delete_view)


def _query(where: SavedList) -> str:
    return validate_query(where.query, request).canonical(paging=False)


def _page(where: SavedList) -> dict[str, Any]:
    who, query = access.actor(), _query(where)
    return {"where": where, "query": query, "parts": parse_qsl(query), "views": _stores[0].all(where.name, who.user_id or ""),
            "page_title": "Saved views", "user_id": who.user_id, "is_admin": who.is_admin}  # fmt: skip


def _save(where: SavedList) -> Response:
    form, query, who = ViewForm(), _query(where), access.actor()
    if form.validate():
        try:
            _stores[0].save(where.name, form.name.data.strip(), query, form.shared.data, actor=who)
        except DomainError as error:
            show_error(form, error)
        else:
            pages.toast(f"View {form.name.data.strip()} saved")
            return _to(where, query)
    return refused("_saved_view.html", form, **_page(where))


def _delete(where: SavedList, view_id: str) -> Response:
    who: Actor = access.actor()
    view = _stores[0].get(where.name, view_id, who.user_id or "", admin=who.is_admin)
    fields = {"name": view.name} | ({"shared": "y"} if view.shared else {})
    undo = {"url": f"{where.path}views/new?{view.query}", "label": "Undo", "fields": fields}
    _stores[0].delete(view, actor=who)
    pages.toast(f"View {view.name} deleted", undo=undo)
    return _to(where, "")


def _to(where: SavedList, query: str) -> Response:
    return make_response(redirect(f"{where.path}?{query}" if query else where.path, 303))
