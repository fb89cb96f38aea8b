"""Calling Apprise in a process of its own (`app.apprise_child`), with a hard end. The caller never imports Apprise (50 MB)."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.outbound import Network

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 25.0
PASSED_ON = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "LD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True)
class Message:
    """What people read. `kind` is Apprise's: info, success, warning or failure."""

    title: str
    body: str
    kind: str = "info"


@dataclass(frozen=True)
class Told:
    """What came of it. `status` and `excerpt` are of the last answer over HTTP, not masked yet; `latency_ms` is of the whole."""

    ok: bool
    latency_ms: float
    status: int | None = None
    excerpt: str = ""
    retry_after: str | None = None
    error: str | None = None
    service: str | None = None


def describe(url: str) -> Told:
    """Whether Apprise understands the URL, and what it calls the service. Sends nothing."""
    return _call({"action": "describe", "url": url}, TIMEOUT_S)


def tell(url: str, message: Message, allow: Sequence[Network], timeout_s: float = TIMEOUT_S) -> Told:
    """Send a message. Never raises for what the service does; after `timeout_s` seconds the process is killed."""
    task = {"action": "send", "url": url, "title": message.title, "body": message.body, "type": message.kind}
    return _call(task | {"allow": [str(network) for network in allow]}, timeout_s)


def _call(task: dict[str, object], timeout_s: float) -> Told:
    began = time.monotonic()
    read, write = os.pipe()
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    try:
        child = subprocess.Popen(
            [sys.executable, "-s", "-m", "app.apprise_child", str(read)],
            cwd=ROOT,
            env=passed_on | {"LANG": "C.UTF-8", "HOME": "/nonexistent"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(read,),
            start_new_session=True,
        )
        try:
            said, _ = child.communicate(json.dumps(task).encode(), timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            return Told(False, _since(began), error=f"no end within {timeout_s:g} s")
    finally:
        os.close(read)
        os.close(write)
    try:
        answer = json.loads(said)
    except ValueError:
        return Told(False, _since(began), error=f"the process that sends ended with status {child.returncode}")
    return Told(
        bool(answer["ok"]), _since(began), answer.get("status"), answer.get("excerpt") or "", answer.get("retry_after"),
        answer.get("error"), answer.get("service"),
    )  # fmt: skip


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 1)
