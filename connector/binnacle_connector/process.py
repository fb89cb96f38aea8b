"""Starting one command in a shell of its own, and ending it with everything that it started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from typing import Any

import psutil

from .request import Request

WINDOWS = os.name == "nt"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UMASK = 0o022  # the service's own is 0077, and what `apt-get` installs must be readable
SAME_START = 2.0
# What the connector and systemd know of each other is not the command's business.
_OURS = {"PYTHONPATH", "PYTHONUNBUFFERED", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "INVOCATION_ID"}
_OURS |= {"JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "STATE_DIRECTORY", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE"}


def environment(extra: dict[str, str]) -> dict[str, str]:
    """The connector's environment without what is its own, with what a login would have, and `extra` over it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BINNACLE_") and name not in _OURS}
    if not WINDOWS:
        import pwd

        try:
            me = pwd.getpwuid(os.geteuid())
            login = {"HOME": me.pw_dir, "USER": me.pw_name, "LOGNAME": me.pw_name, "SHELL": me.pw_shell or "/bin/sh"}
        except KeyError:
            login = {"HOME": "/"}
        kept = {"PATH": PATH, "LANG": "C.UTF-8", "TERM": "dumb", **login, **kept}
    return {**kept, **extra}


def arguments(request: Request, env: dict[str, str]) -> Any:
    """What to start: the shell, and the command as one argument. Raises FileNotFoundError."""
    program = shutil.which("/bin/sh" if request.shell == "sh" and not WINDOWS else request.shell, path=env.get("PATH"))
    if program is None:
        raise FileNotFoundError(2, f"There is no {request.shell} on this computer", request.shell)
    if request.shell == "cmd":
        return f'"{program}" /d /s /c "{request.command}"'  # cmd reads the rest of the line as it stands
    if request.shell in ("powershell", "pwsh"):
        return [program, "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", request.command]
    # A shell would take a command that begins with - or + for more options.
    return [program, "-c", " " + request.command if request.command[0] in "-+" else request.command]


def spawn(request: Request) -> subprocess.Popen[bytes]:
    """Start the command in a session (Windows: a process group) of its own. Raises OSError, ValueError."""
    env = environment(request.env)
    own: dict[str, Any] = {"start_new_session": True, "umask": UMASK}
    if WINDOWS:
        own = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    home = env.get("HOME") or env.get("USERPROFILE") or ""
    return subprocess.Popen(
        arguments(request, env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        cwd=request.cwd or (home if os.path.isdir(home) else os.path.abspath(os.sep)),
        env=env,
        **own,
    )


def started_at(pid: int) -> float | None:
    """When the process was started (Unix time), or none when it is gone: tells it from a later one with its number."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


class Group:
    """All processes of one command: its process group, and descendants that went into another one.

    `leader` is the shell while it is our child. A number is never signalled after its process was seen to be gone.
    """

    def __init__(self, pid: int, leader: subprocess.Popen[bytes] | None = None) -> None:
        self.pid, self._leader = pid, leader
        self._over = False
        self._strays: list[psutil.Process] = []
        try:
            self._root: list[psutil.Process] = [psutil.Process(pid)]  # knows itself from a later one with its number
        except psutil.Error:
            self._root = []

    def terminate(self) -> None:
        """Ask every process to end."""
        self._find_strays()
        if WINDOWS:
            try:
                os.kill(self.pid, getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))
            except OSError:
                return  # a service has no console to break; `kill` follows
        else:
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End every process that is left."""
        self._find_strays()
        if WINDOWS and self._leader is not None:
            self._leader.kill()
        self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))

    def alive(self) -> bool:
        """Whether any process of it still runs; one that only waits to be collected does not."""
        if self._leader is not None and self._leader.poll() is None:
            return True
        return any(map(_runs, self._strays)) or (not WINDOWS and self._has_members())

    def _has_members(self) -> bool:
        if self._over:
            return False
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            self._over = True
            return False
        except PermissionError:
            return True
        return any(_group_of(pid) == self.pid and _runs(pid) for pid in psutil.pids())

    def _find_strays(self) -> None:
        """Descendants outside of the group, as far as the chain of parents still leads to them."""
        known = {process.pid for process in self._strays}
        for root in [*self._root, *self._strays]:
            try:
                found = root.children(recursive=True)
            except psutil.Error:
                continue
            fresh = [one for one in found if one.pid not in known and (WINDOWS or _group_of(one.pid) != self.pid)]
            known.update(one.pid for one in fresh)
            self._strays += fresh

    def _signal(self, number: int) -> None:
        if not WINDOWS and not self._over:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left, or only somebody else's
                os.killpg(self.pid, number)
        for stray in self._strays:
            try:
                stray.send_signal(number)
            except (psutil.Error, OSError):
                continue


def left_behind(pid: int, born: float) -> Group | None:
    """The group of a command that an earlier connector started, when its shell is still there."""
    seen = started_at(pid)
    if seen is None or abs(seen - born) > SAME_START or (not WINDOWS and _group_of(pid) != pid):
        return None
    return Group(pid)


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def _runs(process: psutil.Process | int) -> bool:
    try:
        known = psutil.Process(process) if isinstance(process, int) else process
        return known.is_running() and known.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
