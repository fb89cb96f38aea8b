"""What this computer is: the protocol's inventory, collected in parts and written to a file that detects change."""

from __future__ import annotations

import hashlib
import json
import platform
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import hardware, software
from .certificates import DEFAULT_CERTIFICATES, certificates
from .log import logger
from .metrics import is_loopback
from .state import PrivateFile

MAX_TEXT = 1000
MAX_BYTES = 4 * 1024 * 1024
MAX_INTERFACES = 200


def clean(value: Any) -> Any:
    """`value` with every string made valid: at most 1,000 characters, no NUL, no lone surrogate."""
    if isinstance(value, str):
        return value[:MAX_TEXT].replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    return value


def os_family() -> str:
    """linux, windows, macos or other."""
    if sys.platform.startswith("linux"):
        return "linux"
    return {"win32": "windows", "darwin": "macos"}.get(sys.platform, "other")


def os_release(path: Path = Path("/etc/os-release")) -> dict[str, str]:
    """The fields of an os-release file; empty without one."""
    import shlex

    fields: dict[str, str] = {}
    try:
        text = path.read_text("utf-8", "replace")[:65536]
    except OSError:
        return fields
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            try:
                fields[name.strip()] = " ".join(shlex.split(value))
            except ValueError:
                fields[name.strip()] = value.strip("\"' ")
    return fields


def operating_system(windows_said: dict[str, Any]) -> dict[str, Any]:
    """The protocol's `os` object."""
    name: str | None = platform.system() or None
    version: str | None = platform.version() or None
    if os_family() == "linux":
        release = os_release()
        name, version = release.get("PRETTY_NAME") or release.get("NAME") or name, release.get("VERSION_ID")
    elif os_family() == "windows":
        name = hardware.meaningful(windows_said.get("caption")) or f"Windows {platform.release()}"
    elif os_family() == "macos":
        version = platform.mac_ver()[0] or None
        name = f"macOS {version}" if version else "macOS"
    kernel, architecture = platform.release() or None, platform.machine() or None
    return {"family": os_family(), "name": name, "version": version, "kernel": kernel, "architecture": architecture}


def interfaces() -> list[dict[str, Any]]:
    """Each interface but loopback and containers' cable ends, with its MAC and its addresses (no scope ids)."""
    import psutil

    found: list[dict[str, Any]] = []
    for name, addresses in sorted(psutil.net_if_addrs().items()):
        if is_loopback(name) or name.startswith("veth"):
            continue
        mac = next((a.address for a in addresses if a.family == psutil.AF_LINK), None)
        ip = [a.address.split("%")[0] for a in addresses if a.family in (socket.AF_INET, socket.AF_INET6)]
        found.append({"name": name, "mac": mac, "addresses": ip})
    return found[:MAX_INTERFACES]


def users() -> list[str]:
    """The names of whoever is logged in, once each."""
    import psutil

    return sorted({user.name for user in psutil.users() if user.name})[:MAX_INTERFACES]


def boot_time() -> str:
    """When the computer started, to the second."""
    import psutil

    return datetime.fromtimestamp(int(psutil.boot_time()), timezone.utc).isoformat().replace("+00:00", "Z")


def _names(windows_said: dict[str, Any]) -> dict[str, Any]:
    hostname = socket.gethostname()
    fqdn: str | None = socket.getfqdn()
    if not fqdn or "." not in fqdn or fqdn.startswith("localhost") or fqdn.endswith(".arpa"):
        fqdn = None
    domain = hardware.meaningful(windows_said.get("domain")) or (fqdn.split(".", 1)[1] if fqdn else None)
    return {"hostname": hostname, "fqdn": fqdn, "domain": domain}


def brief() -> dict[str, Any]:
    """What is known without asking any other program: enough to introduce the computer."""
    return clean({"hostname": socket.gethostname(), "os": operating_system({})})  # type: ignore[no-any-return]


def collect(patterns: Sequence[str] = DEFAULT_CERTIFICATES) -> dict[str, Any]:
    """The inventory without `software`. A part that fails is null. May take a minute (DNS, PowerShell).

    `patterns` name the files with the computer's certificates.
    """
    said = hardware.windows_facts() if sys.platform == "win32" else {}
    parts: dict[str, Callable[[], Any]] = {
        "os": lambda: operating_system(said),
        "hardware": lambda: hardware.hardware(said),
        "network": lambda: {"interfaces": interfaces()},
        "users": users,
        "boot_time": boot_time,
        "certificates": lambda: certificates(patterns),
    }
    found: dict[str, Any] = _names(said)
    for name, read in parts.items():
        try:
            found[name] = clean(read())
        except Exception as error:
            logger.warning("no %s in the inventory: %s: %s", name, type(error).__name__, error)
            found[name] = None
    return clean(found)  # type: ignore[no-any-return]


def chunks(found: dict[str, Any]) -> Iterator[str]:
    """The inventory as JSON in small pieces, the software streamed behind the rest, at most 4 MiB in all."""
    head = json.dumps(found, separators=(",", ":"), allow_nan=False)
    size = len(head)
    yield head[:-1] + ',"software":['
    separator = ""
    for item in software.installed():
        piece = separator + json.dumps(clean(item), separators=(",", ":"))
        size += len(piece)
        if size > MAX_BYTES:
            logger.warning("the list of software is too long: the rest of it is left out")
            break
        yield piece
        separator = ","
    yield "]}"


def write(path: Path, patterns: Sequence[str] = DEFAULT_CERTIFICATES) -> str:
    """Collect everything into `path` (0600); gives a digest that changes when anything but the boot time does."""
    found = collect(patterns)
    digest = hashlib.sha256(json.dumps({**found, "boot_time": None}, sort_keys=True).encode())
    with PrivateFile(path) as file:
        for number, piece in enumerate(chunks(found)):
            if number:
                digest.update(piece.encode())
            file.stream.write(piece)
        file.commit()
    return digest.hexdigest()
