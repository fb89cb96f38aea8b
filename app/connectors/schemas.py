"""What connectors send: enrolment, hello, inventory, samples (docs/connector-protocol.md)."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from app.shapes import Body


def _short(length: int) -> BeforeValidator:
    """Cut to what is stored: a connector that says too much is not refused for it."""
    return BeforeValidator(lambda value: value[:length].strip() or None if isinstance(value, str) else value)


def _storable(moment: datetime | None) -> datetime | None:
    """In UTC, and off the edges of the calendar: a certificate that shall never end says 9999-12-31 (RFC 5280, 4.1.2.5)."""
    if moment is None:
        return None
    if not 2 <= moment.year <= 9998:
        moment = moment.replace(year=2 if moment.year < 2 else 9998, month=12, day=31)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Text = Annotated[str | None, _short(1000)]
Label = Annotated[str | None, _short(200)]  # as long as the list's columns are
Hostname = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Bytes = Annotated[int | None, Field(ge=0, lt=2**63)]


class Enrol(Body):
    """`POST /api/v1/agents/enrol`."""

    token: str = Field(min_length=1, max_length=200)
    hostname: Hostname
    connector_id: Annotated[str | None, Field(max_length=64)] = None
    os: Annotated[str | None, Field(max_length=32)] = None


class Enrolled(Body):
    """The answer; `key` is shown once."""

    server_id: str
    name: str
    key: str
    interval: int


class Os(Body):
    """The operating system."""

    family: Literal["linux", "windows", "macos", "other"] | None = None
    name: Label = None
    version: Text = None
    kernel: Text = None
    architecture: Text = None


class Hardware(Body):
    """The machine; sizes in bytes."""

    manufacturer: Text = None
    model: Text = None
    serial_number: Label = None
    processor: Text = None
    cores: Annotated[int | None, Field(ge=0, le=100_000)] = None
    memory_bytes: Bytes = None
    disk_bytes: Bytes = None


class Interface(Body):
    """A network interface with its addresses."""

    name: Text = None
    mac: Text = None
    addresses: list[Annotated[str, Field(max_length=64)]] = Field(default_factory=list, max_length=64)


class NetworkFound(Body):
    """The interfaces."""

    interfaces: list[Interface] = Field(default_factory=list, max_length=256)


class Package(Body):
    """An installed package."""

    name: Annotated[str, BeforeValidator(lambda v: v[:300] if isinstance(v, str) else v)]
    version: Annotated[str | None, BeforeValidator(lambda v: v[:200] if isinstance(v, str) else v)] = None
    publisher: Annotated[str | None, BeforeValidator(lambda v: v[:300] if isinstance(v, str) else v)] = None


class CertificateFound(Body):
    """A file with a TLS certificate; with an `error` it could not be read."""

    path: Annotated[str, Field(min_length=1, max_length=1000)]
    subject: Label = None
    issuer: Label = None
    not_after: Annotated[datetime | None, AfterValidator(_storable)] = None
    error: Label = None


class InventoryFound(Body):
    """The inventory of `hello` and `inventory`."""

    hostname: Label = None
    fqdn: Text = None
    domain: Text = None
    os: Os = Field(default_factory=Os)
    hardware: Hardware = Field(default_factory=Hardware)
    network: NetworkFound = Field(default_factory=NetworkFound)
    users: list[Annotated[str, Field(max_length=200)]] = Field(default_factory=list, max_length=100)
    boot_time: Text = None
    certificates: list[CertificateFound] | None = Field(None, max_length=200)
    software: list[Package] | None = Field(None, max_length=10_000)

    def parts(self) -> tuple[dict[str, Any], list[dict[str, Any]] | None]:
        """(what goes into the inventory's document, the packages or None when the list was not sent)."""
        found = self.model_dump(mode="json", exclude={"software"})
        packages = None if self.software is None else [p.model_dump() for p in self.software]
        return found, packages


class Spool(Body):
    """What waits on the connector's disk, and what did not fit there."""

    pending: Annotated[int, Field(ge=0, lt=2**31)] = 0
    dropped: Annotated[int, Field(ge=0, lt=2**31)] = 0


class Hello(Body):
    """The first message of our own connector after `auth_success`."""

    connector_id: Annotated[str, Field(min_length=8, max_length=36)]
    version: Annotated[str, Field(max_length=64)] = ""
    interval: Annotated[int, Field(ge=1, le=3600)] = 10
    capabilities: list[Annotated[str, Field(max_length=32)]] = Field(default_factory=list, max_length=32)
    inventory: InventoryFound | None = None
    spool: Spool = Field(default_factory=Spool)
    commands_memory: Annotated[str, Field(max_length=36)] | None = None


class InventoryMessage(Body):
    """`{"type": "inventory", "inventory": {…}}`."""

    inventory: InventoryFound
