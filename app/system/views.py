"""API documentation pages, without the internet; search; the icon at its old address."""

from dataclasses import asdict
from typing import Any

from flask import Response, current_app, make_response, redirect, render_template, request

from app.actors import Permission
from app.fleet import queries as fleet
from app.system import bp
from app.web import access, pages
from app.web.headers import DOCS_CSP

SPEC = "/api/openapi.json"
pages.add_nav(pages.NavItem("Admin", "Settings", "system.settings", "settings", Permission.SIGNED_IN, "g s", prefix="/settings/"))


def _docs(template: str, title: str) -> Response:
    response = make_response(render_template(template, title=title, spec_url=SPEC))
    response.headers["Content-Security-Policy"] = DOCS_CSP
    return response


@bp.page("/docs", also=("/api/docs",), permission=Permission.PUBLIC)
def docs() -> Response:
    """Swagger UI."""
    return _docs("system/docs.html", "API")


@bp.page("/redoc", also=("/api/redoc",), permission=Permission.PUBLIC)
def redoc() -> Response:
    """ReDoc."""
    return _docs("system/redoc.html", "API reference")


@bp.page("/favicon.ico", permission=Permission.PUBLIC)
def favicon() -> Response:
    """Where browsers look for an icon on pages of their own."""
    return make_response(redirect(current_app.jinja_env.globals["asset"]("favicon.svg"), 302))  # type: ignore[operator]


@bp.page("/settings/", permission=Permission.SIGNED_IN)
def settings() -> Response:
    """To the first page of the settings."""
    return make_response(redirect("/settings/account", 302))


@bp.page("/search", permission=Permission.SIGNED_IN)
def search() -> str:
    """What the palette shows for `q`: pages, computers by name, address, serial number, user or tag, and the rooms' things."""
    text = request.args.get("q", "").strip()[:200]
    who = access.actor()
    found: list[dict[str, Any]] = pages.find_pages(text)
    if text and who.can(Permission.FLEET_READ):
        wanted = fleet.ComputerFilter(scope=pages.scope(), q=text)
        found += [{"label": c.name, "href": f"/fleet/{c.uuid}/", "icon": "device-desktop",
                   "note": " · ".join(filter(None, (c.address, c.tenant.name, c.os_name)))}
                  for c in fleet.page(wanted, "name", 12, 0)]  # fmt: skip
    if text:
        found = found[:12] + [asdict(one) for one in pages.find_things(text)]
    return render_template("system/_search.html", found=found[:16], q=text)
