"""The five public contracts as dialects: which one a path speaks, its error shapes and its rate limits.

The path decides (contracts/README.md, "Where documents meet"): the longest prefix in PATHS wins; an unknown path
under /api/v1 answers as 000 does, under /api as 004 does.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from app import errors as e
from app.errors import DomainError, FieldError

STATUS: tuple[tuple[type[DomainError], int], ...] = (
    (e.Malformed, 400),
    (e.Unauthenticated, 401),
    (e.Forbidden, 403),
    (e.NotFound, 404),
    (e.Conflict, 409),
    (e.TooLarge, 413),
    (e.TooMany, 429),
    (e.Offline, 503),
    (e.TimedOut, 504),
    (e.Unavailable, 503),
    (e.OutOfSpace, 507),
    (e.Invalid, 400),
)


def base_status(error: DomainError) -> int:
    """The HTTP status of a domain error where no contract says otherwise."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 400)


@dataclass(frozen=True)
class Contract:
    """One document's manners. `limits` are (amount, seconds) a credential may use; `admin_limits` for admins."""

    name: str
    limits: tuple[tuple[int, int], ...] = ((100, 60),)
    admin_limits: tuple[tuple[int, int], ...] = ((200, 60),)

    def status(self, error: DomainError) -> int:
        """The HTTP status of a domain error in this contract."""
        if isinstance(error, e.Invalid) and error.parameter:
            return 404  # an id that names nothing
        return base_status(error)

    def body(self, error: DomainError, status: int, error_id: str) -> dict[str, Any]:
        """The JSON body of an error."""
        raise NotImplementedError(self.name)  # every contract below has its own


class Contract000(Contract):
    """000-immybot-api.md: `{"error": {code, message, details}}`."""

    CODES: ClassVar[dict[int, str]] = {
        400: "invalid_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed",
        409: "conflict", 413: "payload_too_large", 415: "unsupported_media_type", 429: "rate_limit_exceeded",
        500: "internal_error", 503: "service_unavailable", 507: "insufficient_storage",
    }  # fmt: skip

    def status(self, error: DomainError) -> int:
        return base_status(error)

    def body(self, error: DomainError, status: int, error_id: str) -> dict[str, Any]:
        code, message, details = self.CODES.get(status, "error"), error.message, error.details
        if isinstance(error, e.Invalid):
            code = "invalid_parameter"
            if error.errors and not error.parameter:
                message = f"The parameter '{error.errors[0].name}' is invalid"
                details = "; ".join(f"{x.name}: {x.message}" for x in error.errors)
        if status == 500:
            details = f"Error ID {error_id}"
        return {"error": {"code": code, "message": message, "details": details}}


class Contract001(Contract):
    """001-ignition-toolbox-api.md: `{"detail": {error, message, details}}` with its code table."""

    CODES: ClassVar[dict[int, str]] = {
        400: "validation_error", 401: "authentication_required", 403: "permission_denied", 404: "not_found",
        409: "conflict", 413: "validation_error", 429: "rate_limit_exceeded", 500: "internal_error", 504: "timeout_error",
    }  # fmt: skip

    def body(self, error: DomainError, status: int, error_id: str) -> dict[str, Any]:
        details: dict[str, Any] = {"reason": error.details} if error.details else {}
        if isinstance(error, e.Invalid):
            details |= {"errors": [{"field": x.name, "message": x.message} for x in error.errors]}
        if status == 500:
            details["error_id"] = error_id
        code = self.CODES.get(status, "error")
        return {"detail": {"error": code, "message": error.message, "details": details}}


class Contract002(Contract):
    """002-chatops-api.md: `{"detail": "…"}`; what does not fit is 422 with the list form."""

    def status(self, error: DomainError) -> int:
        status = super().status(error)
        return 422 if isinstance(error, e.Invalid) and status == 400 else status

    def body(self, error: DomainError, status: int, error_id: str) -> dict[str, Any]:
        if status == 422 and isinstance(error, e.Invalid):
            return {"detail": [self._row(x) for x in error.errors] or [self._row(FieldError(("body",), error.message))]}
        if status == 404:
            return {"detail": "Resource not found"}
        return {"detail": error.message}

    @staticmethod
    def _row(error: FieldError) -> dict[str, Any]:
        if error.kind == "missing":
            return {"loc": list(error.loc), "msg": "field required", "type": "value_error.missing"}
        return {"loc": list(error.loc), "msg": error.message, "type": error.kind}


class Contract003(Contract):
    """003-bot-engine-api.md: `{"detail": "…"}`, 429 `{"error": …}`, a bad key is 403."""

    def status(self, error: DomainError) -> int:
        if isinstance(error, e.Unauthenticated) and not error.missing:
            return 403
        return super().status(error)

    def body(self, error: DomainError, status: int, error_id: str) -> dict[str, Any]:
        if isinstance(error, e.TooMany):
            return {"error": f"Rate limit exceeded: {error.limit}"}
        if isinstance(error, e.Unauthenticated):
            missing = "Missing API key. Provide X-API-Key header."
            return {"detail": missing if error.missing else "Invalid API key"}
        if isinstance(error, e.Invalid) and error.errors:
            return {"detail": "; ".join(f"{x.name}: {x.message}" for x in error.errors)}
        if isinstance(error, (e.Malformed, e.TooLarge)) and error.details:
            return {"detail": f"{error.message}: {error.details}"}
        return {"detail": error.message}


class Contract004(Contract):
    """004-ai-operating-system-api.md: `{"detail", "type", "errors"}`, `retry_after`, `error_id`; duplicates are 400."""

    TYPES: ClassVar[dict[int, str]] = {
        400: "invalid_request",
        404: "not_found",
        405: "method_not_allowed",
        413: "payload_too_large",
    }

    def status(self, error: DomainError) -> int:
        return 400 if isinstance(error, e.Conflict) else super().status(error)

    def body(self, error: DomainError, status: int, error_id: str) -> dict[str, Any]:
        body: dict[str, Any] = {"detail": error.message}
        if isinstance(error, e.Unauthenticated):
            body["detail"] = "Invalid authentication credentials"
        elif isinstance(error, e.TooMany):
            body["retry_after"] = error.retry_after
        elif isinstance(error, e.Invalid) and status == 400:
            rows = [{"field": x.name, "message": x.message} for x in error.errors]
            body = {"detail": "Invalid request data", "type": "validation_error", "errors": rows}
        elif isinstance(error, e.Conflict):
            body |= {"type": "conflict", "errors": []}
        elif status == 500:
            body = {"detail": "Internal server error", "error_id": error_id}
        elif status in self.TYPES:
            body["type"] = self.TYPES[status]
        return body


C000 = Contract000("000", limits=((60, 60), (1000, 3600)), admin_limits=((60, 60), (1000, 3600)))
C001 = Contract001("001")
C002 = Contract002("002")
C003 = Contract003("003", admin_limits=((100, 60),))
C004 = Contract004("004")

PATHS: dict[str, Contract] = {
    "/api/v1": C000,
    "/api/v1/auth": C004,
    "/api/v1/users": C004,
    "/api/v1/audit": C004,
    "/api/v1/servers": C002,
    "/api/v1/metrics": C002,
    "/api/v1/docker": C002,
    "/api/v1/commands": C002,
    "/api/v1/alerts": C002,
    "/api/v1/api-keys": C002,
    "/api/v1/agents": C002,
    "/api/v1/runs": C002,
    "/api": C004,
    "/api/playbooks": C001,
    "/api/executions": C001,
    "/api/credentials": C001,
    "/api/sessions": C003,
    "/api/events": C003,
    "/api/stats": C003,
    "/api/ip": C003,
}


def is_api(path: str) -> bool:
    """Whether the path is for programs (JSON errors, rate limits, no redirect to the login page)."""
    return path == "/api" or path.startswith("/api/")


def contract_of(path: str) -> Contract:
    """The contract that decides how this path speaks."""
    parts = path.split("/")[:4]
    while len(parts) > 1:
        if contract := PATHS.get("/".join(parts)):
            return contract
        parts.pop()
    return C004
