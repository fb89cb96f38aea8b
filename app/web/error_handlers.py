"""Every failure becomes the contract's own error (for programs) or the error page (for people); never internals."""

from typing import Any
from uuid import uuid4

from flask import Flask, Response, g, make_response, redirect, render_template, request, url_for
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.database import is_busy, is_full
from app.errors import (
    Conflict,
    DomainError,
    Forbidden,
    Malformed,
    NotFound,
    OutOfSpace,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
)  # fmt: skip
from app.extensions import db
from app.logging import get_logger
from app.web.contracts import base_status, contract_of, is_api
from app.web.routing import json_response

log = get_logger(__name__)
HTTP_ERRORS: dict[int, type[DomainError]] = {400: Malformed, 401: Unauthenticated, 403: Forbidden, 404: NotFound}


def init_app(app: Flask) -> None:
    """Register the handlers."""
    app.register_error_handler(DomainError, _on_domain_error)
    app.register_error_handler(HTTPException, _on_http_error)
    app.register_error_handler(DBAPIError, _on_database_error)
    app.register_error_handler(PoolTimeout, _on_pool_timeout)
    app.register_error_handler(Exception, _on_bug)


def _on_domain_error(error: DomainError) -> Response:
    db.session.rollback()
    return answer(error)


def _on_http_error(error: HTTPException) -> Response:
    db.session.rollback()
    status = error.code or 500
    if isinstance(error, RequestEntityTooLarge):
        return answer(TooLarge())
    if status < 400:
        return make_response(error.get_response())
    domain = HTTP_ERRORS.get(status, DomainError)(message=_SAY.get(status, error.name))
    response = answer(domain, status)
    if status == 405 and error.response is None:
        allowed = getattr(error, "valid_methods", None)
        response.headers["Allow"] = ", ".join(sorted(allowed or ()))
    return response


_SAY = {400: "Invalid request", 404: "Resource not found", 405: "Method not allowed", 415: "Unsupported media type"}


def _on_database_error(error: DBAPIError) -> Response:
    db.session.rollback()
    if is_full(error):
        return answer(OutOfSpace())
    if isinstance(error, IntegrityError):
        log.warning("constraint refused a write", error=str(error.orig))
        return answer(Conflict("It conflicts with something that exists or has just changed"))
    if isinstance(error, OperationalError) or error.connection_invalidated or is_busy(error.orig):
        log.error("database unavailable", error=str(error.orig))
        return answer(Unavailable("The database is not available right now; nothing was stored"))
    return _on_bug(error)


def _on_pool_timeout(error: Exception) -> Response:
    log.error("database pool exhausted", error=str(error))
    return answer(Unavailable("The server is overloaded; nothing was stored"))


def _on_bug(error: Exception) -> Response:
    db.session.rollback()
    error_id = uuid4().hex
    log.exception("unhandled error", error_id=error_id, path=request.path)
    return answer(DomainError("Internal server error"), 500, error_id)


def answer(error: DomainError, status: int | None = None, error_id: str = "") -> Response:
    """The error in the shape of the path's contract, or as a page."""
    if is_api(request.path):
        contract = contract_of(request.path)
        status = status or contract.status(error)
        response = json_response(contract.body(error, status, error_id or g.get("request_id", "")), status)
    else:
        status = status or base_status(error)
        if isinstance(error, Unauthenticated):
            return _to_login()
        response = _page(error, status, error_id)
    if isinstance(error, (TooMany, Unavailable)):
        response.headers["Retry-After"] = str(error.retry_after)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _to_login() -> Response:
    target = request.full_path.rstrip("?") if request.method == "GET" else "/"
    where = url_for("auth.login_page", next=target) if target != "/" else url_for("auth.login_page")
    if request.headers.get("HX-Request"):
        return make_response("", 401, {"HX-Redirect": url_for("auth.login_page")})
    return make_response(redirect(where, 303))


def _page(error: DomainError, status: int, error_id: str) -> Response:
    bare = error.message in _BARE
    details = error.details or (_HINTS.get(status) if bare or status != 404 else None)
    context: dict[str, Any] = {
        "status": status,
        "message": _TITLES.get(status, error.message) if bare else error.message,
        "details": details,
        "errors": [{"name": row.name, "message": row.message} for row in getattr(error, "errors", [])],
        "request_id": error_id or g.get("request_id", ""),
        "page_title": f"Error {status}",
    }
    return make_response(render_template("errors/error.html", **context), status)


_BARE = ("Resource not found", "Not enough permissions", "Internal server error", "Invalid request", "Invalid request data")
_TITLES = {
    400: "That address does not fit",
    403: "You may not do this",
    404: "Not found",
    500: "Something went wrong on the server",
}
_HINTS = {404: "There is nothing at this address, or it belongs to a tenant that you cannot see.",
          403: "Ask an administrator for access.", 500: "The details are in the server's log under this request id."}  # fmt: skip
