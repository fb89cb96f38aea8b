"""HTTP tools without a domain: access, bodies, contracts, limits, pages, lists, CSV, sockets. Imports no room."""

import time

import structlog
from flask import Flask, Response, current_app, g, request
from werkzeug.middleware.proxy_fix import ProxyFix

from app.config import Settings
from app.database import begin_read, release
from app.errors import Malformed
from app.logging import configure, get_logger
from app.web import access, csrf, error_handlers, headers, lane, limits, pages, sockets
from app.web.body import MAX_BODY
from app.web.contracts import contract_of, is_api

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
log = get_logger("binnacle.access")


def init_app(app: Flask, settings: Settings) -> None:
    """Hooks, error handlers, template globals and static files."""
    configure(settings)
    app.config["SOCK_SERVER_OPTIONS"] = sockets.SERVER_OPTIONS
    app.before_request(_before)
    app.after_request(_after)
    error_handlers.init_app(app)
    pages.init_app(app, settings)
    app.wsgi_app = lane.Lane(app)  # type: ignore[method-assign]
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]


def _before() -> None:
    g.request_id = headers.request_id(request.headers.get("X-Request-ID", ""))
    g.started = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    begin_read()
    if lane.FAILED in request.environ:
        error, g.rate = request.environ[lane.FAILED]
        raise error
    rule = request.url_rule
    permission = None
    form = request.mimetype in FORMS and not is_api(
        request.path
    )  # curl calls every body a form: a program's is what its route reads
    if form:
        request.max_content_length = MAX_BODY  # whoever reads it first (RELIABILITY 11)
    if rule is not None:
        permission = getattr(request_view(rule.endpoint), "permission", None)
        if rule.websocket:
            request.environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)  # permessage-deflate triples the memory
    path = request.path
    # A site behind one address reconnects hundreds of connectors at once: a socket counts its own messages.
    counted = is_api(path) and not (rule is not None and rule.websocket)
    try:
        who = g.actor = access.identify(permission)
    except Exception:
        if counted:
            limits.count(access.actor(), contract_of(path), access.address())
        raise
    if counted:
        limits.count(who, contract_of(path), access.address())
    _refuse_nul(path)
    if rule is None or permission is None:
        return  # 404 or 405 follow
    if rule.websocket:
        sockets.check_opening(who, permission)
        return
    csrf.check(who)
    access.authorise(who, permission)
    if form and any("\x00" in value for values in request.form.listvalues() for value in values):
        raise Malformed(details="A field contains a NUL character")
    release()  # what identified the caller must not hold a transaction while the body is read


def _refuse_nul(path: str) -> None:
    """A NUL names nothing anywhere; SQLite would take it and PostgreSQL would not (RELIABILITY 12)."""
    if "\x00" in path or b"%00" in request.query_string:
        raise Malformed(details="The address contains a NUL character")


def request_view(endpoint: str) -> object:
    """The view function behind an endpoint."""
    return current_app.view_functions[endpoint]


def _after(response: Response) -> Response:
    headers.add(response)
    if not g.get("quiet"):
        took = round((time.perf_counter() - g.get("started", time.perf_counter())) * 1000, 1)
        log.info("request", method=request.method, path=request.path, status=response.status_code, ms=took,
                 actor=access.actor().name)  # fmt: skip
    return response
