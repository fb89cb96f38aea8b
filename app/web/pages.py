"""What every page needs: navigation, tenant switch, toasts, static files with a content hash, fragments."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from flask import Flask, flash, get_flashed_messages, request, session, url_for
from markupsafe import Markup
from whitenoise import WhiteNoise

from app.actors import Permission
from app.config import Settings
from app.errors import field_error
from app.shapes import Fixed
from app.web import access, csrf, live
from app.web.live import LiveList
from app.web.parts import Parts

Count = Callable[[frozenset[str] | None], int]
SECTIONS = (None, "Fleet", "Work", "Watch", "Admin")


@dataclass(frozen=True)
class NavItem:
    """An entry of the navigation. `count` gives the number beside it in a tenant scope; live pages update it by `count_key`.
    A number that every page watches (`watch_everywhere`) needs no `count`; `alarm_key` names the one that makes it red unless it
    is 0. Entries of a section are in the order of the rooms; one with a higher `place` comes later."""

    section: str | None
    label: str
    endpoint: str
    icon: str
    permission: Permission
    hotkey: str | None = None
    count: Count | None = None
    count_key: str | None = None
    prefix: str | None = None
    hot: bool = False
    alarm_key: str | None = None
    place: int = 0


@dataclass(frozen=True)
class SettingsTab:
    """A page of the settings, and its place among them."""

    key: str
    label: str
    href: str
    permission: Permission
    place: int = 50


@dataclass(frozen=True)
class Tab:
    """A tab of an object's page: the path under the object's, its label and its place."""

    path: str
    label: str
    place: int


@dataclass(frozen=True)
class Found:
    """Something that the search palette shows."""

    label: str
    href: str
    icon: str
    note: str = ""


@dataclass
class Toast:
    """A message after an action; `undo` is `{url, label, fields}` for a reversible one."""

    kind: str
    text: str
    id: str
    undo: dict[str, Any] | None = None


@dataclass(frozen=True)
class Watched:
    """A live list without rows that every page watches for its counts; `src` answers them to whoever missed one. The count
    `alarm` goes into the title and colours the icon of the page."""

    list: LiveList
    src: str
    alarm: str


_nav: list[NavItem] = []
_watched: list[Watched] = []
_settings: list[SettingsTab] = []
_tabs: dict[str, list["Tab"]] = {}
_finders: list[tuple[Permission, Callable[[str], Sequence[Found]]]] = []
TenantList = Callable[[frozenset[str] | None], Sequence[Fixed[str, str]]]
_tenant_lists: list[TenantList] = []


def add_nav(*items: NavItem) -> None:
    """A room announces its pages (at import; twice is once)."""
    _nav.extend(item for item in items if item not in _nav)


def watch_everywhere(*watched: Watched) -> None:
    """A room announces counts that every page shows (at import; twice is once)."""
    _watched.extend(one for one in watched if one not in _watched)


def add_tabs(prefix: str, *tabs: Tab) -> None:
    """A room announces its tabs on the pages of an object, such as a computer (`prefix` `/fleet/`)."""
    known = _tabs.setdefault(prefix, [])
    known.extend(tab for tab in tabs if tab not in known)


def object_frame(thing: Any, view: tuple[str, str], base: str, active: str, title: str) -> dict[str, Any]:
    """What every tab of an object's page needs: the object, its live header (`view` is the list's name and query), its tabs
    and the title."""
    prefix = "/" + base.split("/")[1] + "/"
    live_list = live.get(view[0])
    if live_list is None:
        raise LookupError(f"no live list {view[0]}")
    state = live.snapshot(live_list, view[1], access.actor().tenant_ids)
    head = Markup("").join(live.rows(live_list, state.keys).values())
    tabs = sorted(_tabs.get(prefix, []), key=lambda tab: tab.place)
    shown = [{"label": tab.label, "href": base + tab.path, "active": tab.path == active} for tab in tabs]
    return {"computer": thing, "tabs": shown, "tab": active, "rev": state.rev, "view_key": "?".join(view), "page_title": title,
            "head": head}  # fmt: skip


def add_settings(*tabs: SettingsTab) -> None:
    """A room announces its settings pages (at import; twice is once)."""
    _settings.extend(tab for tab in tabs if tab not in _settings)


def settings_tabs(active: str) -> list[dict[str, Any]]:
    """The settings pages that the actor may open, for the tabs macro."""
    who = access.actor()
    shown = sorted((t for t in _settings if who.can(t.permission)), key=lambda tab: tab.place)
    return [{"label": t.label, "href": t.href, "active": t.key == active} for t in shown]


def set_tenant_list(provider: TenantList) -> None:
    """The room `tenants` says how the tenants of a scope are listed."""
    _tenant_lists[:] = [provider]


def current_tenant() -> str | None:
    """The tenant chosen in the top bar, if the actor may see it."""
    chosen: str | None = session.get("tenant")
    return chosen if chosen and access.actor().sees(chosen) else None


def scope() -> frozenset[str] | None:
    """The tenants that lists on pages show: the chosen one, else all that the actor may see (None: all)."""
    chosen = current_tenant()
    return frozenset({chosen}) if chosen else access.actor().tenant_ids


def toast(text: str, kind: str = "success", undo: dict[str, Any] | None = None) -> None:
    """Show a message on the next page."""
    message: Any = {"kind": kind, "text": text, "id": uuid4().hex[:8], "undo": undo}
    flash(message, "toast")


def is_fragment() -> bool:
    """Whether htmx asks for a part of the page (boosted and history requests want all of it)."""
    wants = request.headers
    return bool(wants.get("HX-Request")) and not wants.get("HX-Boosted") and not wants.get("HX-History-Restore-Request")


def page_number() -> int:
    """The page that the address asks for. Raises Invalid when it is none (as lists do)."""
    given = request.args.get("page", "") or "1"
    if not (given.isascii() and given.isdigit() and 1 <= len(given) <= 7 and 1 <= int(given) <= 1_000_000):
        raise field_error("page", "is a number from 1 to 1,000,000", "query")
    return int(given)


def local_target(target: str | None) -> str:
    """Where to go after a form: a path of this site, else the front page."""
    if target and target.startswith("/") and not target.startswith(("//", "/\\")) and not urlsplit(target).netloc:
        return target
    return "/"


def find_pages(text: str) -> list[dict[str, Any]]:
    """Pages of the navigation and the settings whose name begins with or contains the text."""
    who, needle = access.actor(), text.lower()
    known = [(i.label, url_for(i.endpoint), i.icon) for i in _nav if who.can(i.permission)]
    known += [(t.label, t.href, "settings") for t in _settings if who.can(t.permission)]
    return [
        {"label": label, "href": href, "icon": icon, "note": "Page"} for label, href, icon in known if needle in label.lower()
    ]


def add_finder(permission: Permission, find: Callable[[str], Sequence[Found]]) -> None:
    """A room announces how the search palette finds its things by a text (at import)."""
    if (permission, find) not in _finders:
        _finders.append((permission, find))


def find_things(text: str) -> list[Found]:
    """What the rooms find, of what the actor may read."""
    return [found for permission, find in _finders if access.actor().can(permission) for found in find(text)]


def _everywhere() -> tuple[list[dict[str, Any]], dict[str, Any], int]:
    """The lists that this page watches, all their counts, and how many alarms there are."""
    shown: list[dict[str, Any]] = []
    counts: dict[str, Any] = {}
    alarms = 0
    for one in _watched:
        if access.actor().can(one.list.permission):
            state = live.snapshot(one.list, "", scope())
            shown.append({"view": one.list.name, "rev": state.rev, "src": one.src})
            counts |= state.counts
            alarms += state.counts.get(one.alarm, 0)
    return shown, counts, alarms


def _navigation(counts: dict[str, Any]) -> tuple[Fixed[str, Any], ...]:
    who, path = access.actor(), request.path
    sections: list[Fixed[str, Any]] = []
    shown = sorted(_nav, key=lambda item: item.place)
    for title in SECTIONS:
        items = tuple(_nav_entry(item, path, counts) for item in shown if item.section == title and who.can(item.permission))
        if items:
            sections.append(Fixed(title=title, items=items))
    return tuple(sections)


def _nav_entry(item: NavItem, path: str, counts: dict[str, Any]) -> Fixed[str, Any]:
    href = url_for(item.endpoint)
    prefix = item.prefix or href
    return Fixed({
        "label": item.label,
        "href": href,
        "icon": item.icon,
        "hotkey": item.hotkey,
        "count": item.count(scope()) if item.count else counts.get(item.count_key or ""),
        "count_key": item.count_key,
        "hot": item.hot,
        "alarm_key": item.alarm_key,
        "alarms": counts.get(item.alarm_key or "", 0),
        "active": path == href or (prefix != "/" and path.startswith(prefix)),
    })  # fmt: skip


def _toasts() -> list[Toast]:
    messages: list[Any] = get_flashed_messages(category_filter=["toast"])
    return [Toast(**message) for message in messages]


def _build_hash(root: Path) -> tuple[str, frozenset[str]]:
    digest, names = hashlib.sha256(), set()
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p.suffix not in (".gz", ".br")):
        name = path.relative_to(root).as_posix()
        names.add(name)
        digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()[:12], frozenset(names)


def init_app(app: Flask, settings: Settings) -> None:
    """Template globals, and static files under a path that holds their hash, so that they are cached for ever."""
    root: Path = app.config["STATIC_DIR"]
    build, names = _build_hash(root)
    app.config["BUILD"] = build

    def asset(path: str) -> str:
        if path not in names:
            raise LookupError(f"no static file {path}")
        return f"/static/{build}/{path}"

    def context() -> dict[str, Any]:
        who = access.actor()
        signed_in = who if who.is_person else None
        always = {"principal": signed_in, "csrf_token": csrf.token}
        if is_fragment():
            return always
        watched, counts, alarms = _everywhere() if signed_in else ([], {}, 0)
        return always | {
            "nav": _navigation(counts) if signed_in else (),
            "watched": watched,
            "alarms": alarms,
            "tenants": _tenant_lists[0](who.tenant_ids) if signed_in and _tenant_lists else (),
            "current_tenant": current_tenant(),
            "flashes": _toasts(),
        }

    app.jinja_env.globals.update(asset=asset, build=build, settings_tabs=settings_tabs, csrf_token=csrf.token)
    app.jinja_env.globals["part"] = Parts(app.jinja_env)
    app.context_processor(context)

    def headers(response_headers: Any, path: str, url: str) -> None:
        response_headers["X-Content-Type-Options"] = "nosniff"

    app.wsgi_app = WhiteNoise(  # type: ignore[method-assign]
        app.wsgi_app, root=str(root), prefix=f"static/{build}/", max_age=31536000,
        immutable_file_test=lambda path, url: True, add_headers_function=headers, allow_all_origins=False,
    )  # fmt: skip
