"""A process that lives for one message: Apprise in it cannot hang, bloat or mislead the worker.

The parent writes one JSON object to its standard input and reads one from its standard output; nothing secret is in the arguments
or the environment, which other users of the machine can read. When the parent dies, the lifeline closes and this process ends:
what nobody will note down shall not be sent.

An audit hook keeps the policy for outgoing calls (RELIABILITY 16) below every library: each address that a socket connects to is
checked, no file is opened but Python's own and the system's for names and certificates, and no program is started. Redirects are
not followed.
"""

import json
import logging
import mimetypes
import os
import site
import sys
import threading
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from app.errors import Invalid
from app.outbound import Network, refuse

EXCERPT = 2000
# Services of this machine rather than of a network.
LOCAL = frozenset({"dbus", "kde", "qt", "glib", "gnome", "macosx", "windows", "syslog", "blink1"})
_READABLE = (
    "/etc/ssl/", "/etc/pki/", "/etc/ca-certificates/", "/usr/lib/ssl/", "/usr/share/zoneinfo/", "/usr/share/ca-certificates/",
    "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/localtime", "/etc/mime.types", "/dev/null", "/dev/urandom",
)  # fmt: skip
_STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn")


class Refused(OSError):
    """A library tried what is not allowed."""


class Guard:
    """The audit hook, and what it has refused."""

    def __init__(self, allow: Sequence[Network]) -> None:
        self.refused: list[str] = []
        self._allow = allow
        own = {sys.prefix, sys.base_prefix, *site.getsitepackages(), str(Path(__file__).parent)}
        self._readable = (*(f"{os.path.realpath(one)}/" for one in own), *(f"{one}/" for one in own), *_READABLE)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg") and arguments[1] is not None:
            self._address(arguments[1])
        elif event == "open":
            self._file(*arguments)
        elif event in _STARTS:
            self._no("a channel may not start programs")

    def _no(self, why: str) -> None:
        self.refused.append(why)
        raise Refused(why)

    def _address(self, address: Any) -> None:
        if not isinstance(address, tuple):
            self._no("a channel may not use sockets of this machine")
        try:
            refuse([ip_address(str(address[0]))], self._allow)
        except ValueError:
            self._no("a channel may only connect to an address that was checked")
        except Invalid as error:
            self._no(error.message)

    def _file(self, path: Any, mode: str | None, flags: int) -> None:
        if isinstance(path, int):
            return
        name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR)) and name != "/dev/null"
        if writes or not name.startswith(self._readable):
            self._no("a channel may not read or write files of this machine")


class Answers:
    """The answers that Apprise's services gave over HTTP; the last one counts."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.excerpt = ""
        self.retry_after: str | None = None

    def listen(self) -> None:
        """See every answer that `requests` gets, and let it follow no redirect."""
        import requests

        send = requests.Session.send
        seen = self

        def observed(session: Any, request: Any, **how: Any) -> Any:
            answer = send(session, request, **how)
            seen.status, seen.retry_after = answer.status_code, answer.headers.get("Retry-After")
            seen.excerpt = answer.content[:EXCERPT].decode("utf-8", errors="replace")
            return answer

        requests.Session.send = observed  # type: ignore[method-assign, assignment]
        requests.Session.get_redirect_target = lambda _session, _answer: None  # type: ignore[method-assign, assignment]


class Words(logging.Handler):
    """What Apprise says of its troubles."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def perform(task: dict[str, Any]) -> dict[str, Any]:
    """Describe a URL, or send a message through it."""
    import apprise

    words, answers = Words(), Answers()
    logging.getLogger("apprise").addHandler(words)
    logging.getLogger("apprise").setLevel(logging.WARNING)
    answers.listen()
    mimetypes.init()
    asset = apprise.AppriseAsset(app_id="Binnacle", app_desc="Binnacle", secure_logging=True, storage_mode="memory")
    guard = Guard([ip_network(one) for one in task.get("allow", ())])
    schema = str(task["url"]).partition("://")[0].lower()
    if schema in LOCAL:
        return {"ok": False, "error": "a channel may not use services of this machine"}
    found = apprise.Apprise.instantiate(task["url"], asset=asset, suppress_exceptions=True)
    if found is None:
        return {"ok": False, "error": "Apprise does not understand this address"}
    if task["action"] == "describe":
        return {"ok": True, "service": str(found.service_name)}
    sys.addaudithook(guard)
    target = apprise.Apprise(asset=asset)
    target.add(found)
    ok = bool(target.notify(body=task["body"], title=task["title"], notify_type=task["type"], body_format="text"))
    error = None if ok else (guard.refused or words.lines[-1:] or ["it was not sent, and the service did not say why"])[-1]
    return {"ok": ok, "status": answers.status, "excerpt": answers.excerpt, "retry_after": answers.retry_after, "error": error}


def _end_with(lifeline: int) -> None:
    os.read(lifeline, 1)  # blocks until the parent is gone
    os._exit(1)


def main() -> None:
    """One task, one answer."""
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    task = json.loads(sys.stdin.read())
    try:
        answer = perform(task)
    except Exception as error:  # Apprise has a hundred plug-ins: whatever one of them raises is an answer, too
        answer = {"ok": False, "error": f"the service's plug-in failed: {type(error).__name__}"}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)  # what a plug-in has left running ends here


if __name__ == "__main__":
    main()
