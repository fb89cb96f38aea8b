"""Health, and the OpenAPI document."""

from typing import Any

from flask import Response, current_app
from sqlalchemy.exc import SQLAlchemyError

from app import __version__
from app.actors import ActorKind, Permission
from app.clock import now
from app.errors import Unavailable
from app.factory import settings_of
from app.logging import get_logger, redact
from app.sessions.queries import active_sessions
from app.system import bp, queries
from app.system.schemas import Health
from app.web import access, openapi
from app.web.routing import json_response

log = get_logger(__name__)


@bp.api("GET", "/api/health", permission=Permission.PUBLIC, returns=Health)
def health() -> dict[str, Any]:
    """Check the server; no credentials needed."""
    settings = settings_of(current_app)
    _check_database()
    body: dict[str, Any] = {
        "status": "healthy", "version": __version__, "uptime_seconds": queries.uptime_s(), "timestamp": now().isoformat(),
        "active_sessions": active_sessions(), "auth_enabled": True, "rate_limiting": True,
    }  # fmt: skip
    if access.actor().kind is not ActorKind.ANONYMOUS:
        body["database_path"] = redact(settings.sqlalchemy_url.split("@")[-1].removeprefix("sqlite:///"))
    return body


def _check_database() -> None:
    try:
        queries.database_answers()
    except SQLAlchemyError as error:
        log.error("health check: database away", error=str(error)[:300])
        raise Unavailable("The database is not available") from None


@bp.page("/health", permission=Permission.PUBLIC)
def health_short() -> Response:
    """For monitors that want one word."""
    _check_database()
    return json_response({"status": "healthy"})


@bp.page("/health/live", permission=Permission.PUBLIC)
def live() -> Response:
    """Whether the process answers at all; touches nothing else."""
    return json_response({"status": "alive"})


@bp.page("/health/ready", permission=Permission.PUBLIC)
def ready() -> Response:
    """Whether it can serve: 503 while it stops, while the database is away, or when migrations are due."""
    reason = "stopping" if current_app.config.get("STOPPING") else None
    if reason is None:
        try:
            at, newest = queries.schema_heads(current_app.config["MIGRATIONS_DIR"])
            reason = None if at == newest else "migrations are due"
        except SQLAlchemyError as error:
            log.error("not ready: database away", error=str(error)[:300])
            reason = "the database is not available"
    response = json_response({"status": "not ready", "reason": reason} if reason else {"status": "ready"}, 503 if reason else 200)
    if reason:
        response.headers["Retry-After"] = "5"
    return response


@bp.page("/api/openapi.json", permission=Permission.PUBLIC)
def openapi_document() -> Response:
    """The OpenAPI 3.1 document of every JSON route."""
    document = current_app.config.get("OPENAPI")
    if document is None:
        document = current_app.config["OPENAPI"] = openapi.build(current_app, "Binnacle", __version__)
    return json_response(document)
