"""The systemd service: a unit around the connector, installed and removed in one step."""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
from pathlib import Path

from .config import ConfigError

NAME = "binnacle-connector"
UNIT_DIR = Path("/etc/systemd/system")

_UNIT = """\
[Unit]
Description=Binnacle connector
Wants=network-online.target
After=network-online.target

[Service]
Type=simple
ExecStart={command}
{environment}Restart=always
RestartSec=5
# A wrong setting stays wrong: wait for somebody to mend it.
RestartPreventExitStatus=2
TimeoutStopSec=10
UMask=0077
{powers}
[Install]
WantedBy=multi-user.target
"""

# Commands do what an administrator does at a terminal: install packages, load modules, write anywhere, with more memory
# and processes than a program needs that only measures. Every line of the sandbox would break some of it.
_FREE = """\
# The console runs commands here as root, so this service is not sandboxed; `install --no-commands` writes one that is.
# A command that runs out of memory is not the service's end, and a stop lets the connector end its commands and say so.
OOMPolicy=continue
KillMode=mixed
TasksMax=infinity
"""

_SANDBOX = """\
MemoryMax=256M
TasksMax=64
Nice=5

# Root without most of root: the serial number (DMI) is root's to read, mounts may lie below private folders.
CapabilityBoundingSet=CAP_DAC_READ_SEARCH
NoNewPrivileges=yes
ProtectSystem=strict
# Visible, since a separate /home is one of the disks.
ProtectHome=read-only
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
# ProtectProc and PrivateDevices stay off: processes are counted and disks measured.
"""


def _quoted(text: str) -> str:
    """An argument as systemd reads it: quoted, with specifiers and variables made literal. Raises ConfigError."""
    if any(ord(character) < 32 for character in text):
        raise ConfigError("A path for the service must not contain control characters.")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != text or " " in text or "'" in text or not text else text


def unit(config: Path, state_dir: Path, commands: bool = True, python: str = sys.executable) -> str:
    """The unit's text: sandboxed without `commands`. The key is in the config file, so that nothing here shows it."""
    words = [python, "-m", "binnacle_connector", "--config", str(config), "--state-dir", str(state_dir)]
    words += [] if commands else ["--no-commands"]
    folder = Path(__file__).resolve().parent.parent
    environment = "Environment=PYTHONUNBUFFERED=1\n"
    if not any(Path(known).resolve() == folder for known in [*site.getsitepackages(), site.getusersitepackages()]):
        environment += f"Environment={_quoted(f'PYTHONPATH={folder}')}\n"
    if state_dir == Path("/var/lib") / NAME:
        environment += f"StateDirectory={NAME}\nStateDirectoryMode=0700\n"
    else:
        environment += f"ReadWritePaths={_quoted(str(state_dir))}\n"
    powers = _FREE if commands else _SANDBOX
    return _UNIT.format(command=" ".join(map(_quoted, words)), environment=environment, powers=powers)


def install(
    config: Path, state_dir: Path, commands: bool = True, unit_dir: Path = UNIT_DIR, start: bool = True
) -> Path:
    """Write the unit and, with `start`, enable and start it. Raises ConfigError with what to do about it."""
    _require_linux()
    path = unit_dir / f"{NAME}.service"
    try:
        path.write_text(unit(config.absolute(), state_dir.absolute(), commands), "utf-8")
        path.chmod(0o644)
    except OSError as error:
        raise ConfigError(f"The unit {path} cannot be written: {error.strerror}; run this as root.") from None
    if start:
        _systemctl("daemon-reload")
        _systemctl("enable", NAME)
        _systemctl("restart", NAME)
    return path


def uninstall(unit_dir: Path = UNIT_DIR, stop: bool = True) -> Path:
    """Stop, disable and remove the unit; the config and the spool stay. Raises ConfigError."""
    _require_linux()
    path = unit_dir / f"{NAME}.service"
    if not path.exists():
        raise ConfigError(f"There is no unit {path}.")
    if stop:
        _systemctl("disable", "--now", NAME)
    try:
        path.unlink()
    except OSError as error:
        raise ConfigError(f"The unit {path} cannot be removed: {error.strerror}; run this as root.") from None
    if stop:
        _systemctl("daemon-reload")
    return path


def _require_linux() -> None:
    if not sys.platform.startswith("linux"):
        raise ConfigError("install and uninstall are for Linux with systemd; elsewhere, start the connector yourself.")


def _systemctl(*arguments: str) -> None:
    program = shutil.which("systemctl")
    if program is None:
        raise ConfigError("There is no systemd here: use --no-start, or start the connector yourself.")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise ConfigError(f"systemctl {arguments[0]} failed: {done.stderr.strip()[:300] or done.returncode}")
