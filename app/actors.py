"""Who acts and what they may do: roles, permissions and the Actor that every operation takes. No Flask here."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """The four roles of contracts/README.md, "Authentication"."""

    ADMIN = "admin"
    USER = "user"
    READONLY = "readonly"
    EXECUTOR = "executor"


class Permission(StrEnum):
    """What a route can ask for. The first three are not granted by a role but by the kind of caller."""

    PUBLIC = "public"  # anyone
    SIGNED_IN = "signed-in"  # a person or a key of any role
    HOST = "host"  # the key of a computer's connector
    FLEET_READ = "fleet:read"
    FLEET_WRITE = "fleet:write"
    FLEET_COMMAND = "fleet:command"
    ALERTS_READ = "alerts:read"
    ALERTS_WRITE = "alerts:write"
    SYSTEM_READ = "system:read"
    TENANTS_READ = "tenants:read"
    TENANTS_WRITE = "tenants:write"
    USERS_WRITE = "users:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    AUDIT_READ = "audit:read"
    METRICS_PUSH = "metrics:push"
    SESSIONS_READ = "sessions:read"
    SESSIONS_WRITE = "sessions:write"
    PROXIES_WRITE = "proxies:write"
    CHANNELS_WRITE = "channels:write"
    WEBHOOKS_WRITE = "webhooks:write"


P = Permission
_READ = frozenset({P.FLEET_READ, P.ALERTS_READ, P.SYSTEM_READ, P.TENANTS_READ, P.SESSIONS_READ})
ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.ADMIN: frozenset(Permission) - {P.HOST},
    Role.USER: _READ | {P.FLEET_WRITE, P.FLEET_COMMAND, P.ALERTS_WRITE, P.KEYS_READ, P.METRICS_PUSH, P.PROXIES_WRITE},
    Role.READONLY: _READ,
    Role.EXECUTOR: _READ | {P.FLEET_COMMAND, P.SESSIONS_WRITE},
}
HOST_PERMISSIONS = frozenset({P.HOST, P.METRICS_PUSH})


class ActorKind(StrEnum):
    """How the caller proved who it is."""

    ANONYMOUS = "anonymous"
    USER = "user"  # login cookie
    TOKEN = "token"  # JWT
    KEY = "key"  # itk_ API key
    HOST = "host"  # chatops_ key of one computer
    SYSTEM = "system"  # worker, command line


@dataclass(frozen=True)
class Actor:
    """The caller of an operation. `tenant_ids` None means all tenants; `computer_id` and `computer_uuid` are set for host
    keys only, `token_id` (the `jti`) and `valid_until` for JWTs only.
    """

    kind: ActorKind
    id: str | None = None
    name: str = "anonymous"
    role: Role | None = None
    tenant_ids: frozenset[str] | None = None
    user_id: str | None = None
    key_id: str | None = None
    computer_id: int | None = None
    computer_uuid: str | None = None
    rate_limit: int | None = None
    login_id: str | None = None
    token_id: str | None = None
    valid_until: datetime | None = None
    address: str | None = None
    request_id: str | None = None

    @property
    def is_admin(self) -> bool:
        """Whether this is a person or key of the role admin, for all tenants."""
        return self.role is Role.ADMIN and self.tenant_ids is None

    @property
    def is_person(self) -> bool:
        """Whether a user stands behind it (cookie or JWT)."""
        return self.kind in (ActorKind.USER, ActorKind.TOKEN)

    @property
    def permissions(self) -> frozenset[Permission]:
        """Everything that the kind and the role allow."""
        if self.kind is ActorKind.HOST:
            return HOST_PERMISSIONS
        if self.kind is ActorKind.SYSTEM:
            return frozenset(Permission)
        if self.role is None:
            return frozenset()
        granted = ROLE_PERMISSIONS[self.role]
        return granted if self.tenant_ids is None else granted - _UNSCOPED_ONLY

    def can(self, permission: "Permission | str") -> bool:
        """Whether the actor holds the permission; PUBLIC always, SIGNED_IN for everyone but strangers and hosts."""
        wanted = Permission(permission)
        if wanted is P.PUBLIC:
            return True
        if wanted is P.SIGNED_IN:
            return self.kind not in (ActorKind.ANONYMOUS, ActorKind.HOST)
        return wanted in self.permissions

    def sees(self, tenant_id: str | None) -> bool:
        """Whether objects of this tenant exist for the actor."""
        return self.tenant_ids is None or tenant_id in self.tenant_ids


# What only makes sense for somebody who sees every tenant: an admin of two tenants must not read the others' audit.
_UNSCOPED_ONLY = frozenset({P.USERS_WRITE, P.TENANTS_WRITE, P.AUDIT_READ})

ANONYMOUS = Actor(ActorKind.ANONYMOUS)
SYSTEM = Actor(ActorKind.SYSTEM, id="system", name="system")
