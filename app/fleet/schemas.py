"""How a computer is shown: as contract 002's server, contract 000's computer, and a row of the CSV."""

from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator

from app.clock import now
from app.fleet.models import Computer, ComputerKind, ComputerStatus, Inventory
from app.shapes import Answer, Body, Query

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
GIB = 1024**3

# Contract 000 knows two words; a computer that was never in contact is not online.
STATUS_000 = {ComputerStatus.ONLINE: "Online", ComputerStatus.OFFLINE: "Offline", ComputerStatus.UNKNOWN: "Offline"}


class ServerIn(Body):
    """`POST /api/v1/servers`: 002's fields and ours (contracts/README.md, "Routes the documents imply")."""

    name: Name
    host: Annotated[str | None, Field(max_length=255)] = None
    port: Annotated[int | None, Field(ge=1, le=65535)] = None
    tenant_id: str | None = None
    tags: list[str] = Field(default_factory=list, max_length=50)
    kind: ComputerKind = ComputerKind.SERVER
    metadata: dict[str, Any] = Field(default_factory=dict)
    primary_user_name: Annotated[str | None, Field(max_length=200)] = None

    @field_validator("metadata")
    @classmethod
    def _small(cls, value: dict[str, Any]) -> dict[str, Any]:
        if len(str(value)) > 20_000:
            raise ValueError("metadata may hold at most 20,000 characters")
        return value


class ServerUpdate(Body):
    """`PUT /api/v1/servers/{id}`: what is given changes."""

    name: Name | None = None
    host: Annotated[str | None, Field(max_length=255)] = None
    port: Annotated[int | None, Field(ge=1, le=65535)] = None
    tenant_id: str | None = None
    tags: list[str] | None = Field(None, max_length=50)
    kind: ComputerKind | None = None
    metadata: dict[str, Any] | None = None
    primary_user_name: Annotated[str | None, Field(max_length=200)] = None

    def changes(self) -> dict[str, Any]:
        """Only what the body names, in the domain's words."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        if "primary_user_name" in given:
            given["primary_user"] = given.pop("primary_user_name")
        return given


class ServerOut(Answer):
    """A server of contract 002, with the fields that its README adds."""

    id: str
    name: str
    host: str | None
    port: int | None
    status: ComputerStatus
    created_at: datetime
    updated_at: datetime
    last_seen: datetime | None
    health_status: str
    metadata: dict[str, Any]
    tenant_id: str
    tenant_name: str
    kind: ComputerKind
    tags: list[str]
    os: str | None

    @classmethod
    def of(cls, computer: Computer, custom: dict[str, Any] | None = None) -> "ServerOut":
        return cls(
            id=computer.uuid, name=computer.name, host=computer.host or computer.address, port=computer.port,
            status=computer.status, created_at=computer.created_at, updated_at=computer.updated_at,
            last_seen=computer.last_seen, health_status=computer.health, metadata=custom or {},
            tenant_id=computer.tenant_id, tenant_name=computer.tenant.name, kind=computer.kind, tags=computer.tags,
            os=computer.os_name,
        )  # fmt: skip


class ServerQuery(Query):
    """`GET /api/v1/servers`."""

    skip: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(100_000, ge=1, le=100_000)
    status: ComputerStatus | None = None
    tenant_id: str = ""
    tag: str = ""
    q: str = Field("", max_length=200)


class Status000(StrEnum):
    """The two words of contract 000."""

    ONLINE = "Online"
    OFFLINE = "Offline"


class ComputerQuery(Query):
    """`GET /api/v1/computers`; not paged unless `page` or `per_page` is given."""

    tenant_id: str = ""
    status: Status000 | None = None
    os: str = Field("", max_length=200)
    page: int | None = Field(None, ge=1, le=1_000_000)
    per_page: int | None = Field(None, ge=1, le=1000)

    @field_validator("status", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.capitalize() if isinstance(value, str) else value


class ComputerOut(Answer):
    """A computer of contract 000's list."""

    id: str
    name: str
    status: str
    tenant_id: str
    tenant_name: str
    os: str | None
    last_seen: datetime | None
    primary_user_id: str | None
    primary_user_name: str | None

    @classmethod
    def of(cls, computer: Computer) -> "ComputerOut":
        return cls(
            id=computer.uuid, name=computer.name, status=STATUS_000[computer.status], tenant_id=computer.tenant_id,
            tenant_name=computer.tenant.name, os=computer.os_name, last_seen=computer.last_seen,
            primary_user_id=computer.primary_user_id, primary_user_name=computer.primary_user,
        )  # fmt: skip


class Hardware(Answer):
    """`hardware` of contract 000; null where the connector could not find out."""

    manufacturer: str | None
    model: str | None
    serial_number: str | None
    processor: str | None
    memory_gb: float | None
    disk_gb: float | None


class Network(Answer):
    """`network` of contract 000."""

    hostname: str | None
    domain: str | None
    ip_addresses: list[str]


class CertificateOut(Answer):
    """A TLS certificate in a file of a computer, beyond contract 000. With an `error` it cannot be read now, and the rest is as
    it was read last, or null."""

    path: str
    subject: str | None
    issuer: str | None
    not_after: datetime | None
    days_left: float | None
    error: str | None


class ComputerDetails(ComputerOut):
    """`GET /api/v1/computers/{id}`. `certificates` is null when its connector told nothing of any."""

    hardware: Hardware
    network: Network
    tags: list[str]
    certificates: list[CertificateOut] | None

    @classmethod
    def with_inventory(cls, computer: Computer, inventory: Inventory) -> "ComputerDetails":
        found = inventory.found
        hardware, network = found.get("hardware") or {}, found.get("network") or {}
        addresses = [a for i in network.get("interfaces", []) for a in i.get("addresses", []) if a not in ("127.0.0.1", "::1")]
        return cls(
            **ComputerOut.of(computer).model_dump(),
            hardware=Hardware(
                manufacturer=hardware.get("manufacturer"), model=hardware.get("model"),
                serial_number=hardware.get("serial_number"), processor=hardware.get("processor"),
                memory_gb=_gib(hardware.get("memory_bytes")), disk_gb=_gib(hardware.get("disk_bytes")),
            ),
            network=Network(hostname=computer.hostname, domain=found.get("domain"), ip_addresses=addresses),
            tags=computer.tags, certificates=_certificates(inventory),
        )  # fmt: skip


def _certificates(inventory: Inventory) -> list[CertificateOut] | None:
    moment, known = now(), inventory.certificates
    return None if known is None else [CertificateOut(**asdict(one), days_left=one.days_left(moment)) for one in known]


def _gib(size: int | None) -> float | None:
    return None if not size else round(size / GIB) if size >= 10 * GIB else round(size / GIB, 1)


class ComputerList(Answer):
    """Contract 000's list; `page`, `per_page` only when asked for."""

    total: int
    computers: list[ComputerOut]


CSV_COLUMNS = ("id", "name", "address", "tags", "status", "tenant", "os", "cpu_percent", "memory_percent", "disk_percent",
               "primary_user", "serial_number", "last_seen", "created_at")  # fmt: skip


def csv_row(c: Computer) -> tuple[Any, ...]:
    """One line of `/fleet.csv`."""
    return (c.uuid, c.name, c.address or c.host, c.tags, c.status.value, c.tenant.name, c.os_name, c.cpu, c.memory, c.disk,
            c.primary_user, c.serial_number, c.last_seen, c.created_at)  # fmt: skip
