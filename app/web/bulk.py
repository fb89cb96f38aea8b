"""Actions on a selection of a list's rows: a page's ticks, or "all N that match" with a guard against a count that drifted.

A list says here how its rows are found. An action belongs to the room that offers it: one that comes later than the list's own
room adds itself with `add_action`, and works on the same selection.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flask import request

from app.actors import Permission
from app.errors import Conflict, Invalid
from app.shapes import Fixed
from app.web import access

TYPE_COUNT_OVER = 25
SHOWN = 20
MAX_IDS = 1000


@dataclass(frozen=True)
class BulkAction:
    """A button of a list's bulk bar; it posts the selection to `href`."""

    label: str
    icon: str
    href: str
    permission: Permission
    place: int = 50


@dataclass(frozen=True)
class BulkList:
    """How the rows of a list are found: `matching` takes the list's query, `named` public ids; both give internal ids of rows
    that the actor may see. `public` and `targets` take internal ids, `canonical` a query."""

    path: str
    noun: str
    matching: Callable[[str], Sequence[Any]]
    named: Callable[[list[str]], Sequence[Any]]
    public: Callable[[Sequence[Any]], list[str]]
    targets: Callable[[Sequence[Any]], list[dict[str, Any]]]
    canonical: Callable[[str], str]

    def selection(self) -> Sequence[Any]:
        """The internal ids that the bulk form names.

        Raises Invalid when nothing is selected, and Conflict when "all that match" is not the number that the person saw.
        """
        if request.form.get("all"):
            ids = self.matching(request.form.get("query", ""))
            if str(len(ids)) != request.form.get("count", ""):
                raise Conflict(f"The selection has changed: {len(ids)} {self.noun} match now. Look again and repeat.")
        else:
            ids = self.named(request.form.getlist("ids")[:MAX_IDS])
        if not ids:
            raise Invalid(f"Select at least one of the {self.noun}")
        return ids

    def back(self) -> str:
        """The list as it was filtered when the action began."""
        query = request.form.get("back", "")
        return f"{self.path}?{self.canonical(query)}" if query else self.path

    def carry(self, ids: Sequence[Any]) -> dict[str, Any]:
        """The hidden fields that bring the same selection, and the way back."""
        back = {"back": request.form.get("back", "")}
        if request.form.get("all"):
            return back | {"all": "1", "query": request.form.get("query", ""), "count": request.form.get("count", "")}
        return back | {"ids": self.public(ids)}

    def shown(self, ids: Sequence[Any]) -> list[dict[str, Any]]:
        """The first of them, as the confirm page lists them."""
        return self.targets(ids[:SHOWN])


_lists: dict[str, BulkList] = {}
_actions: dict[str, list[BulkAction]] = {}


def register(name: str, bulk_list: BulkList) -> None:
    """A room announces how the rows of its list are found (at import)."""
    _lists[name] = bulk_list


def of(name: str) -> BulkList:
    """A list by name."""
    return _lists[name]


def add_action(name: str, *actions: BulkAction) -> None:
    """A room announces what can be done with a selection of a list (at import; twice is once)."""
    known = _actions.setdefault(name, [])
    known.extend(action for action in actions if action not in known)


def actions(name: str) -> tuple[Fixed[str, str], ...]:
    """The buttons of a list's bulk bar that the actor may use; a program that reads the page gets none."""
    who = access.actor()
    allowed = sorted((a for a in _actions.get(name, ()) if who.is_person and who.can(a.permission)), key=lambda a: a.place)
    return tuple(Fixed(label=a.label, icon=a.icon, href=a.href) for a in allowed)


def count_is_typed(total: int) -> str | None:
    """What is wrong with the count that a person has to type for more than TYPE_COUNT_OVER rows; None when all is well."""
    if total <= TYPE_COUNT_OVER or request.form.get("typed", "").replace(",", "").strip() == str(total):
        return None
    return f"Type {total}"
