"""What each simulated computer is: its name, tenant, hardware, software, and how it behaves. Depends on (seed, number) only."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from app.simulator.chance import bits, unit

TENANTS = ("Acme", "Globex", "Initech", "Umbrella")
VERSION = "simulated"
GIB = 1024**3
DAY = 86_400


@dataclass(frozen=True)
class System:
    """An operating system with what tends to be installed on it."""

    family: str
    name: str
    version: str
    kernel: str
    architecture: str
    server: bool
    weight: int
    packages: tuple[tuple[str, str, str | None], ...]


_LINUX = (("openssh-server", "1:9.6p1-3", None), ("curl", "8.5.0-2", None), ("systemd", "255.4-1", None))
_NGINX, _DOCKER, _DATABASE = ("nginx", "1.24.0-2", None), ("docker-ce", "5:27.3.1-1", None), ("postgresql-15", "15.8-0", None)
_MICROSOFT = "Microsoft Corporation"
_WINDOWS = (("Microsoft Edge", "126.0.2592.87", _MICROSOFT), ("7-Zip 24.07 (x64)", "24.07", "Igor Pavlov"))
_OFFICE = (("Microsoft 365 Apps", "16.0.17726", _MICROSOFT), ("Mozilla Firefox (x64)", "128.0", "Mozilla"))
_MAC = (("Google Chrome", "128.0.6613.120", "Google LLC"), ("Slack", "4.39.95", None))
SYSTEMS = (
    System("linux", "Ubuntu 24.04.1 LTS", "24.04", "6.8.0-45-generic", "x86_64", True, 26, (*_LINUX, _NGINX)),
    System("linux", "Ubuntu 22.04.5 LTS", "22.04", "5.15.0-122-generic", "x86_64", True, 14, (*_LINUX, _DOCKER)),
    System("linux", "Debian GNU/Linux 12 (bookworm)", "12", "6.1.0-26-amd64", "x86_64", True, 20, (*_LINUX, _DATABASE)),
    System("windows", "Microsoft Windows Server 2022 Standard", "10.0.20348", "10.0.20348", "AMD64", True, 14, _WINDOWS),
    System("windows", "Microsoft Windows 11 Pro", "10.0.22631", "10.0.22631", "AMD64", False, 16, (*_WINDOWS, *_OFFICE)),
    System("macos", "macOS 14.6", "14.6", "23.6.0", "arm64", False, 10, _MAC),
)
_ROLES = ("web", "db", "app", "mail", "build", "cache", "file", "proxy")
_PEOPLE = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory", "olivia", "peggy")
_BOXES = {"linux": ("Dell Inc.", "PowerEdge R650"), "windows": ("LENOVO", "ThinkStation P3"), "macos": ("Apple Inc.", "Mac14,3")}
_CHIPS = {"x86_64": "Intel(R) Xeon(R) Gold 5318Y", "AMD64": "13th Gen Intel(R) Core(TM) i7-13700", "arm64": "Apple M2"}


def _weighted(draw: float) -> System:
    left = draw * sum(system.weight for system in SYSTEMS)
    for system in SYSTEMS:
        left -= system.weight
        if left < 0:
            return system
    return SYSTEMS[0]


@dataclass(frozen=True)
class Machine:
    """A simulated computer."""

    seed: int
    number: int

    def draw(self, what: int) -> float:
        """One of this computer's own random numbers, in [0, 1)."""
        return unit(self.seed, self.number, what)

    @cached_property
    def key(self) -> int:
        """What its noise is seeded with."""
        return bits(self.seed, self.number, 1)

    @cached_property
    def system(self) -> System:
        return _weighted(self.draw(2))

    @property
    def tenant(self) -> str:
        return TENANTS[bits(self.seed, self.number, 3) % len(TENANTS)]

    @cached_property
    def name(self) -> str:
        """Its host name, unique within the fleet by its number."""
        if self.system.server:
            return f"{_ROLES[bits(self.key, 4) % len(_ROLES)]}-{self.number:04d}"
        return f"{'mac' if self.system.family == 'macos' else 'desk'}-{self.user}-{self.number:04d}"

    @property
    def user(self) -> str:
        return _PEOPLE[bits(self.key, 5) % len(_PEOPLE)]

    @property
    def connector_id(self) -> str:
        return str(UUID(int=bits(self.key, 6) << 64 | bits(self.key, 7), version=4))

    @cached_property
    def memory(self) -> int:
        """Bytes of memory."""
        return int((8, 16, 32, 64, 128)[bits(self.key, 8) % (5 if self.system.server else 3)] * GIB)

    @cached_property
    def disk(self) -> int:
        """Bytes of its first disk."""
        return int((128, 256, 512, 1024)[bits(self.key, 9) % 4] * GIB)

    @property
    def cores(self) -> int:
        return int((2, 4, 8, 16, 32)[bits(self.key, 10) % (5 if self.system.server else 3)])

    @cached_property
    def fills_up(self) -> bool:
        """Whether its disk grows by several percent a day until somebody (every few days) cleans up."""
        return self.draw(11) < 0.04

    @cached_property
    def leaks(self) -> bool:
        """Whether a program on it leaks memory and is restarted every few hours."""
        return self.draw(12) < 0.05

    @cached_property
    def fails(self) -> bool:
        """Whether it goes quiet for minutes now and then."""
        return self.draw(13) < 0.02

    @cached_property
    def domain(self) -> str:
        return f"{self.tenant.lower()}.lan"

    @cached_property
    def address(self) -> str:
        return f"10.{TENANTS.index(self.tenant) + 10}.{self.number // 250 % 250}.{self.number % 250 + 1}"

    def booted(self, at: float) -> float:
        """When it was last booted, seconds since 1970: every few weeks."""
        every = (6 + 40 * self.draw(14)) * DAY
        shift = self.draw(15) * every
        return (at - shift) // every * every + shift

    def is_quiet(self, at: float) -> bool:
        """Whether it is out of reach at this moment: failing computers, for 2 to 5 minutes of every 20."""
        if not self.fails:
            return False
        slot, within = divmod(at + self.draw(16) * 1200, 1200)
        return within > 1200 - (120 + 180 * unit(self.key, 17, int(slot)))

    def certificates(self, at: float) -> list[dict[str, Any]]:
        """A Linux server's certificate of 90 days, renewed a month before its end; of a few only a week after it."""
        if not (self.system.server and self.system.family == "linux"):
            return []
        every = (97 if self.draw(50) < 0.02 else 60) * DAY
        shift = self.draw(51) * every
        ends = datetime.fromtimestamp((at - shift) // every * every + shift + 90 * DAY, UTC)
        return [{"path": f"/etc/letsencrypt/live/{self.name}/fullchain.pem", "subject": f"{self.name}.{self.domain}",
                 "issuer": "Let's Encrypt, R11", "not_after": ends.isoformat(timespec="seconds").replace("+00:00", "Z"),
                 "error": None}]  # fmt: skip

    def inventory(self, at: float) -> dict[str, Any]:
        """The inventory of `hello` (docs/connector-protocol.md)."""
        system, mac = self.system, f"{bits(self.key, 18) % 2**40:010x}"
        maker, model = _BOXES[system.family]
        address6 = f"fe80::{self.number % 65536:x}:1"
        card = {"name": "en0" if system.family == "macos" else "eth0", "addresses": [self.address, address6],
                "mac": "02:" + ":".join(mac[i : i + 2] for i in range(0, 10, 2))}  # fmt: skip
        return {
            "hostname": self.name, "fqdn": f"{self.name}.{self.domain}", "domain": self.domain,
            "os": {"family": system.family, "name": system.name, "version": system.version, "kernel": system.kernel,
                   "architecture": system.architecture},
            "hardware": {"manufacturer": maker, "model": model, "serial_number": f"SIM{bits(self.key, 19) % 10**8:08d}",
                         "processor": _CHIPS[system.architecture], "cores": self.cores, "memory_bytes": self.memory,
                         "disk_bytes": self.disk},
            "network": {"interfaces": [card]},
            "users": ["root"] if system.server and system.family == "linux" else [self.user],
            "boot_time": datetime.fromtimestamp(self.booted(at), UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "certificates": self.certificates(at),
            "software": [{"name": n, "version": v, "publisher": p} for n, v, p in system.packages],
        }  # fmt: skip
