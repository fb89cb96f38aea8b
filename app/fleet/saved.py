"""Saved views of lists: who sees which, saving and deleting them. `app.web.saved` makes the pages."""

from dataclasses import dataclass

from cachetools import TTLCache, cached
from sqlalchemy import event, or_, select

from app.actors import Actor
from app.auth.models import User
from app.database import session
from app.errors import Conflict, NotFound, field_error
from app.fleet.models import SavedView
from app.journal.operations import Subject, record


def saved_views(list_name: str, user_id: str) -> list[SavedView]:
    """One's own views, and those that are shared by somebody with whom one has a tenant in common: a search can name things."""
    query = select(SavedView).where(SavedView.list_name == list_name, or_(SavedView.owner_id == user_id, SavedView.shared))
    rows = list(session().scalars(query.order_by(SavedView.created_at)))
    people = select(User).where(User.id.in_({user_id, *(row.owner_id for row in rows)}))
    scopes = {user.id: user.tenant_scope for user in session().scalars(people)} if rows else {}
    mine = scopes.get(user_id, frozenset())
    return [row for row in rows if row.owner_id == user_id or _meet(mine, scopes.get(row.owner_id, frozenset()))]


def _meet(one: frozenset[str] | None, other: frozenset[str] | None) -> bool:
    return one is None or other is None or bool(one & other)


@dataclass(frozen=True)
class ViewChoice:
    """A saved view as a tab shows it."""

    id: str
    name: str
    query: str
    owner_id: str
    shared: bool


_view_choices: TTLCache[tuple[str, str], tuple[ViewChoice, ...]] = TTLCache(maxsize=2048, ttl=2)


@cached(_view_choices)
def view_choices(list_name: str, user_id: str) -> tuple[ViewChoice, ...]:
    """The same for the tabs of a list; at most 2 s old."""
    views = saved_views(list_name, user_id)
    return tuple(ViewChoice(v.id, v.name, v.query, v.owner_id, v.shared) for v in views)


def forget_view_choices() -> None:
    """Make this process read the tabs anew."""
    _view_choices.clear()


def get_view(list_name: str, view_id: str, user_id: str, *, admin: bool) -> SavedView:
    """A view of a list that one may delete: one's own, or (for admins) a shared one. Raises NotFound."""
    row: SavedView | None = session().get(SavedView, view_id)
    if row is None or row.list_name != list_name or not (row.owner_id == user_id or (admin and row.shared)):
        raise NotFound("Saved view not found")
    return row


def save_view(list_name: str, name: str, query: str, shared: bool, *, actor: Actor) -> SavedView:
    """Raises Conflict past 50 views, Invalid for an empty or long name."""
    if not 1 <= len(name) <= 60:
        raise field_error("name", "1 to 60 characters")
    own = [v for v in saved_views(list_name, actor.user_id or "") if v.owner_id == actor.user_id]
    if len(own) >= 50:
        raise Conflict("You have 50 saved views; delete one first")
    view = SavedView(list_name=list_name, owner_id=actor.user_id, name=name, query=query[:1000], shared=shared)
    session().add(view)
    session().flush()
    record("view.saved", actor, Subject("view", view.id, name), shared=shared)
    _forget_views_when_committed()
    return view


def delete_view(view: SavedView, *, actor: Actor) -> None:
    """Delete a saved view."""
    record("view.deleted", actor, Subject("view", view.id, view.name))
    session().delete(view)
    _forget_views_when_committed()


def _forget_views_when_committed() -> None:
    """Earlier, another request could read and keep the old ones before this one commits."""
    event.listen(session()(), "after_commit", lambda _session: forget_view_choices(), once=True)
