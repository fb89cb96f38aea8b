"""Headers of every answer: the strict CSP of ux/README.md, nosniff, no-store on pages, HSTS behind TLS (RELIABILITY 30)."""

import re
from uuid import uuid4

from flask import Response, g, request

from app.web import limits
from app.web.contracts import is_api

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Swagger UI and ReDoc set style attributes and run a search worker from a blob; their own pages alone allow that.
DOCS_CSP = CSP.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'") + "; worker-src blob:"
API = (("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store"))
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def request_id(given: str) -> str:
    """The id of a request: the caller's own when it is a plain one, else a new one."""
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex


def add(response: Response) -> Response:
    """Put them on; `Vary: HX-Request` wherever a page could also have been a fragment."""
    headers = response.headers
    headers["X-Request-ID"] = g.get("request_id", "")
    headers["X-Content-Type-Options"] = "nosniff"
    if is_api(request.path):
        limits.add_headers(response)
        headers.setdefault("Cache-Control", "no-store")
        return response
    headers.setdefault("Content-Security-Policy", CSP)
    headers.setdefault("Cache-Control", "no-store")
    headers["Referrer-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.vary.update(("HX-Request", "Cookie"))
    if request.is_secure:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return response
