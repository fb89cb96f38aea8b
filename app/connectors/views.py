"""Add a computer: the one-line install with a one-time token, a live wait for the first check-in, and the installer itself."""

import io
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Response, current_app, make_response, redirect, render_template, request

from app.actors import Permission
from app.clock import now
from app.connectors import bp, operations, queries
from app.connectors.forms import EnrolForm
from app.connectors.models import EnrolmentToken
from app.errors import DomainError
from app.factory import ROOT, settings_of
from app.fleet.queries import by_ids
from app.tenants.queries import tenant_choices
from app.web import access, pages
from app.web.forms import named, refused, show_error


def _address() -> str:
    """Where a connector finds this server: the setting, else the address that the person's browser used."""
    return (settings_of(current_app).public_url or request.host_url).rstrip("/")


def _form() -> EnrolForm:
    form = EnrolForm()
    form.tenant_id.choices = named(tenant_choices(access.actor().tenant_ids))
    if request.method == "GET" and pages.current_tenant():
        form.tenant_id.data = pages.current_tenant()
    return form


def _open_tokens() -> list[EnrolmentToken]:
    moment = now()
    return [row for row in queries.list_tokens(access.actor()) if row.is_open(moment)]


@bp.page("/fleet/new", permission=Permission.FLEET_WRITE)
def new() -> str:
    """Choose a tenant and tags for the new computer."""
    return render_template("connectors/new.html", form=_form(), tokens=_open_tokens(), page_title="Add a computer")


@bp.page("/fleet/new", permission=Permission.FLEET_WRITE, methods=("POST",))
def create() -> Response:
    """Show the install lines with a fresh token, once, and wait for the check-in."""
    form = _form()
    if form.validate():
        try:
            row, token = operations.create_token(form.tenant_id.data, form.tags.data.split(), actor=access.actor())
        except DomainError as error:
            show_error(form, error)
        else:
            return make_response(render_template("connectors/install.html", lines=_lines(token), address=_address(),
                                                 local=_only_local(), page_title="Add a computer", **_waiting(row)))  # fmt: skip
    return refused("connectors/new.html", form, tokens=_open_tokens(), page_title="Add a computer")


def _only_local() -> bool:
    settings = settings_of(current_app)
    return not settings.network_mode and not settings.public_url


def _lines(token: str) -> list[dict[str, str]]:
    """The one line per operating system. The token is an argument and never part of a URL, so no log sees it."""
    base = _address()
    return [
        {"os": "Linux", "id": "linux", "line": f"curl -fsSL {base}/install.sh | sudo sh -s -- --token {token}"},
        {"os": "macOS", "id": "macos", "line": f"curl -fsSL {base}/install.sh | sudo sh -s -- --token {token}"},
        {"os": "Windows (PowerShell)", "id": "windows",
         "line": f"$env:BINNACLE_TOKEN='{token}'; irm {base}/install.ps1 | iex"},
    ]  # fmt: skip


def _waiting(row: EnrolmentToken) -> dict[str, Any]:
    computer = by_ids([row.computer_id]).get(row.computer_id) if row.computer_id is not None else None
    return {"row": row, "computer": computer, "is_open": row.is_open(now())}


@bp.page("/fleet/new/<token_id>/wait", permission=Permission.FLEET_WRITE)
def wait(token_id: str) -> str:
    """The live wait: asks again until the computer has checked in or the token has ended."""
    row = queries.get_token(token_id, access.actor())
    template = "connectors/_wait.html" if pages.is_fragment() else "connectors/wait.html"
    return render_template(template, page_title="Add a computer", **_waiting(row))


@bp.page("/fleet/new/<token_id>/revoke", permission=Permission.FLEET_WRITE, methods=("POST",))
def revoke(token_id: str) -> Response:
    """End a token that was not used."""
    operations.revoke_token(queries.get_token(token_id, access.actor()), actor=access.actor())
    pages.toast("The install line no longer works")
    return make_response(redirect("/fleet/new", 303))


def _script(name: str) -> Response:
    response = make_response(render_template(f"connectors/{name}", address=_address()))
    response.mimetype = "text/plain"
    return response


@bp.page("/install.sh", permission=Permission.PUBLIC)
def install_sh() -> Response:
    """The installer for Linux and macOS; it holds no secret."""
    return _script("install.sh")


@bp.page("/install.ps1", permission=Permission.PUBLIC)
def install_ps1() -> Response:
    """The installer for Windows; it holds no secret."""
    return _script("install.ps1")


@lru_cache(maxsize=1)
def connector_archive(root: Path = ROOT) -> bytes:
    """The connector's distribution as a zip that pip installs; the same bytes every time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((root / "connector").rglob("*")):
            name = path.relative_to(root / "connector")
            if path.is_file() and path.suffix in (".py", ".toml", ".md", ".in") and "build" not in name.parts:
                info = zipfile.ZipInfo(f"binnacle-connector/{name.as_posix()}", (2026, 1, 1, 0, 0, 0))
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, path.read_bytes())
    return buffer.getvalue()


@bp.page("/install/connector.zip", permission=Permission.PUBLIC)
def connector_zip() -> Response:
    """The connector itself, as this server knows it."""
    return Response(connector_archive(), mimetype="application/zip")
