"""What a room tells the live tables: which lists it has, how a view of one is read, and how a row is rendered.

A view is a list's canonical query plus the viewer's tenant scope. Its `rev` is the list's change clock at the moment it
was read, so it means the same in every process and after a restart.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache
from flask import Flask, current_app

from app.actors import Permission

Scope = frozenset[str] | None
Key = tuple[int, str, int]  # internal id, public id, version


@dataclass(frozen=True)
class LiveList:
    """A list that can be watched. `parse` validates a query string and gives it back in canonical form, or raises Invalid."""

    name: str
    clock: str
    permission: Permission
    parse: Callable[[str], str]
    keys: Callable[[str, Scope], Sequence[Key]]
    render: Callable[[Sequence[int]], Mapping[int, str]]
    counts: Callable[[str, Scope], Mapping[str, Any]]
    switched: bool = True  # whether the tenant switch of the top bar narrows it


@dataclass(frozen=True)
class Snapshot:
    """A state of a view: its rows' keys in order, its `rev`, and its counts (at most a second old)."""

    keys: Sequence[Key]
    rev: int
    counts: Mapping[str, Any]


_lists: dict[str, LiveList] = {}
_rendered: LRUCache[tuple[str, int], tuple[int, str]] = LRUCache(maxsize=20_000)


def register(live_list: LiveList) -> None:
    """A room announces a list (at import)."""
    _lists[live_list.name] = live_list


def get(name: str) -> LiveList | None:
    """A list by name."""
    return _lists.get(name)


def set_snapshots(app: Flask, snapshot: Callable[[LiveList, str, Scope], Snapshot]) -> None:
    """The room `live` says here how a page gets a state that the patches follow on from."""
    app.extensions["binnacle_snapshots"] = snapshot


def snapshot(live_list: LiveList, query: str, scope: Scope) -> Snapshot:
    """The present state of a view, for a page: live tables continue from its `rev`."""
    found: Snapshot = current_app.extensions["binnacle_snapshots"](live_list, query, scope)
    return found


def rows(live_list: LiveList, keys: Sequence[Key]) -> dict[int, str]:
    """The rendered rows by internal id, each rendered once per version. A row that has just gone is left out."""
    found, missing = {}, []
    for internal, _, version in keys:
        known = _rendered.get((live_list.name, internal))
        if known and known[0] == version:
            found[internal] = known[1]
        else:
            missing.append(internal)
    if missing:
        versions = {internal: version for internal, _, version in keys}
        for internal, html in live_list.render(missing).items():
            found[internal] = html
            _rendered[(live_list.name, internal)] = (versions[internal], html)
    return found


def forget_rendered() -> None:
    """Render every row anew."""
    _rendered.clear()
