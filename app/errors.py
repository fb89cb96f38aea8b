"""What can go wrong in the domain. No Flask here: `app.web.contracts` gives each its status and its contract's shape."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class FieldError:
    """One wrong value: `loc` is the path to it, beginning with `body`, `query` or `path`."""

    loc: tuple[str | int, ...]
    message: str
    kind: str = "value_error"

    @property
    def name(self) -> str:
        """The bare name of the field, as a person would say it."""
        return ".".join(str(part) for part in self.loc[1:]) or str(self.loc[0])


@dataclass
class DomainError(Exception):
    """Base of everything that an operation or a query raises on purpose."""

    message: str = "The request could not be carried out"
    details: str | None = None

    def __str__(self) -> str:
        return self.message


@dataclass
class Malformed(DomainError):
    """The body or the query cannot be parsed at all."""

    message: str = "Invalid request"


@dataclass
class Invalid(DomainError):
    """It parses, but does not fit. `errors` names each wrong field; `parameter` marks an id that names nothing."""

    message: str = "Invalid request data"
    errors: list[FieldError] = field(default_factory=list)
    parameter: str | None = None


@dataclass
class Unauthenticated(DomainError):
    """No credentials, or credentials that are not valid. `missing` tells which."""

    message: str = "Could not validate credentials"
    missing: bool = False


@dataclass
class Forbidden(DomainError):
    """The credentials are good, but do not allow this."""

    message: str = "Not enough permissions"


@dataclass
class NotFound(DomainError):
    """It does not exist, or belongs to a tenant that the actor cannot see."""

    message: str = "Resource not found"


@dataclass
class Conflict(DomainError):
    """It exists already, or has changed since it was read."""

    message: str = "It has changed meanwhile"


@dataclass
class TooLarge(DomainError):
    """The body is larger than the route takes."""

    message: str = "The request body is too large"


@dataclass
class TooMany(DomainError):
    """A rate limit is used up. `retry_after` is in seconds; `limit` is worded like `100 per 1 minute`."""

    message: str = "Rate limit exceeded"
    retry_after: int = 60
    limit: str = ""


@dataclass
class Offline(DomainError):
    """The computer that should do it is not connected."""

    message: str = "The computer is offline"


@dataclass
class TimedOut(DomainError):
    """The work was begun and did not end in time."""

    message: str = "It did not end in time"


@dataclass
class Unavailable(DomainError):
    """A part that the request needs (database, disk) cannot serve it now. `retry_after` is in seconds."""

    message: str = "The service is temporarily unavailable"
    retry_after: int = 5


@dataclass
class OutOfSpace(DomainError):
    """The disk that holds the database is full."""

    message: str = "The server's disk is full; nothing was stored"


def unknown_id(parameter: str, label: str, value: str) -> Invalid:
    """An id in a filter or a body that names nothing the actor may see (contracts/README.md, "Settled")."""
    return Invalid(
        message=f"The parameter '{parameter}' is invalid",
        details=f"{label} with ID '{value}' not found",
        parameter=parameter,
        errors=[FieldError(("body", parameter), f"{label} with ID '{value}' not found", "value_error.unknown")],
    )


def field_error(name: str, message: str, where: str = "body", kind: str = "value_error") -> Invalid:
    """One wrong field, as an Invalid."""
    return Invalid(message=f"{name}: {message}", errors=[FieldError((where, name), message, kind)])
