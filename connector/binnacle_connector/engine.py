"""One container engine over Docker's API. The library is imported once an engine is there."""

from __future__ import annotations

import datetime
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .log import brief

ENGINE_TIMEOUT = 10.0
OFF = ("off", "no", "false", "0")
AUTO = ("", "auto", "on", "yes", "true", "1")


class EngineError(Exception):
    """What was asked did not work. `state` is how the engine is (docs/connector-protocol.md, "Containers") or, for one
    that works, "ok"; `status` is the engine's HTTP status when it answered."""

    def __init__(self, state: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.state, self.status = state, status


class Stats(NamedTuple):
    """A reading of a container: processor nanoseconds so far, memory in bytes."""

    cpu_ns: int
    used: int
    limit: int


class Log(NamedTuple):
    """A log being read: `chunks` of bytes, whose `close()` ends it from another thread; whether it has no frames,
    as from a terminal; and when the container was `started`, in the engine's words (RFC 3339)."""

    chunks: Any
    terminal: bool
    started: str


def started(told: dict[str, Any]) -> str:
    """When an inspected container was last started; empty when nobody knows."""
    return str((told.get("State") or {}).get("StartedAt") or "")


def is_running(told: dict[str, Any]) -> bool:
    """Whether an inspected container runs."""
    return (told.get("State") or {}).get("Running") is True


def _unix(moment: str) -> str:
    """RFC 3339 as engines take it in `since`: seconds and nanoseconds."""
    whole, _, rest = moment.partition(".")
    digits = re.match(r"\d*", rest)
    fraction = (digits.group() if digits else "").ljust(9, "0")[:9]
    zone = rest.lstrip("0123456789") if rest else whole[19:]
    offset = "+00:00" if zone in ("Z", "") else zone
    seconds = datetime.datetime.fromisoformat(whole[:19] + offset).timestamp()
    return f"{int(seconds)}.{fraction}"


def candidates(setting: str, environ: dict[str, str] | None = None) -> list[str]:
    """Where an engine may be, the likeliest first; none when containers are switched off."""
    env = dict(os.environ) if environ is None else environ
    if setting.lower() in OFF:
        return []
    if setting.lower() not in AUTO:
        return [setting]
    if env.get("DOCKER_HOST"):
        return [env["DOCKER_HOST"]]
    if sys.platform == "win32":
        return ["npipe:////./pipe/docker_engine"]
    uid = os.getuid()
    places = ["/var/run/docker.sock", "/run/podman/podman.sock"]
    places.append(f"{env.get('XDG_RUNTIME_DIR') or f'/run/user/{uid}'}/podman/podman.sock")
    places.append(str(Path(env.get("HOME") or "/") / ".docker" / "run" / "docker.sock"))
    return [f"unix://{place}" for place in places]


class Finder:
    """Finds the engine that the setting and the environment name."""

    def __init__(self, setting: str = "auto") -> None:
        self._setting = setting

    def open(self, timeout: float = ENGINE_TIMEOUT) -> Engine:
        """The first engine that answers. Raises EngineError with the most telling reason why there is none."""
        wheres = candidates(self._setting)
        if not wheres:
            raise EngineError("off", "Containers are switched off on this computer.")
        worst: EngineError | None = None
        for where in wheres:
            try:
                return Engine(where, timeout)
            except EngineError as error:
                if worst is None or worst.state == "none":
                    worst = error
        assert worst is not None
        if worst.state == "none":
            raise EngineError("none", "There is neither Docker nor Podman on this computer.") from None
        raise worst


def _knock(where: str) -> None:
    """Touch a Unix socket before any library is loaded. Raises EngineError."""
    path = where[len("unix://") :] if where.startswith("unix://") else ""
    if not path:
        return
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(2.0)
    try:
        sock.connect(path)
    except (FileNotFoundError, NotADirectoryError):
        raise EngineError("none", f"There is no {path}.") from None
    except PermissionError:
        raise EngineError("denied", f"The connector may not use {path}.") from None
    except OSError as error:
        raise EngineError("silent", f"Nobody answers at {path}: {error.strerror or error}.") from None
    finally:
        sock.close()


class Engine:
    """One engine. Every method raises EngineError; an instance belongs to one thread at a time."""

    def __init__(self, where: str, timeout: float = ENGINE_TIMEOUT) -> None:
        _knock(where)
        try:
            import docker
            import docker.errors
            import requests
            import urllib3
        except ImportError:
            raise EngineError("unsupported", "The connector was installed without the Python package docker.") from None
        self._docker = docker
        self._failures = (docker.errors.DockerException, requests.RequestException, urllib3.exceptions.HTTPError,
                          OSError, ValueError)  # fmt: skip
        self._api: Any = None
        tls = docker.utils.kwargs_from_env().get("tls") if where.startswith(("tcp:", "https:")) else None
        self._api = self._guarded(docker.APIClient, base_url=where, version="1.41", timeout=timeout, tls=tls or False)
        head = self._guarded(self._api.get, f"{self._api.base_url}/_ping", timeout=min(timeout, ENGINE_TIMEOUT))
        if head.status_code != 200:
            raise EngineError("silent", f"The engine answers with HTTP {head.status_code}.", head.status_code)
        self._api._version = self._speak(head.headers.get("Api-Version", ""))
        name, _, rest = head.headers.get("Server", "").partition("/")
        self.name = {"Libpod": "Podman"}.get(name, name or "Docker")[:40]
        self.version = rest.split(" ")[0][:40]

    def _speak(self, offered: str) -> str:
        """The version of the API to use: theirs, but not a newer one than the library knows."""
        known = self._docker.constants.DEFAULT_DOCKER_API_VERSION
        parts = offered.split(".")
        if len(parts) != 2 or not all(part.isdecimal() for part in parts):
            return str(self._api._version)
        return str(min(offered, known, key=lambda version: [int(part) for part in version.split(".")]))

    def _guarded(self, call: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return call(*arguments, **named)
        except self._failures as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> EngineError:
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        if isinstance(status, int):
            said = getattr(error, "explanation", None) or f"HTTP {status}"
            return EngineError("ok", brief(said, 500), status)
        if "Permission denied" in str(error):
            return EngineError("denied", "The connector may not use the engine's socket.")
        if "timed out" in str(error).lower():
            return EngineError("silent", "The engine does not answer in time.")
        return EngineError("silent", f"The engine does not answer: {brief(str(error), 300)}")

    def containers(self) -> list[dict[str, Any]]:
        """All of them, as the engine lists them."""
        found = self._guarded(self._api.containers, all=True)
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def inspect(self, container_id: str) -> dict[str, Any]:
        """All that the engine knows of one."""
        return dict(self._guarded(self._api.inspect_container, container_id))

    def stats(self, container_id: str) -> Stats:
        """What a running one uses."""
        said = self._guarded(self._api.stats, container_id, stream=False, one_shot=True)
        try:
            memory = said["memory_stats"]
            detail = memory.get("stats") or {}
            cached = detail.get("inactive_file", detail.get("total_inactive_file", 0))
            used = max(0, int(memory.get("usage", 0)) - int(cached))
            return Stats(int(said["cpu_stats"]["cpu_usage"]["total_usage"]), used, int(memory.get("limit", 0)))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise EngineError("ok", "The engine's figures cannot be read.") from None

    def act(self, action: str, container_id: str, timeout: int) -> None:
        """`start`, `stop` or `restart` one; it gets `timeout` seconds to end by itself."""
        if action == "start":
            self._guarded(self._api.start, container_id)
        else:
            self._guarded(getattr(self._api, action), container_id, timeout=timeout)

    def events(self) -> Any:
        """What happens to containers, as dicts, for ever; `close()` ends it from another thread."""
        return self._guarded(self._api.events, decode=True, filters={"type": ["container"]})

    def logs(self, container_id: str, tail: int | None, follow: bool, since: str | None = None) -> Log:
        """Its log, each line behind its time. `tail` is the number of last lines, none is all; `since` as in `Log`."""
        told = self.inspect(container_id)
        wanted: dict[str, Any] = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow)}
        wanted["tail"] = "all" if tail is None else tail
        if since is not None:
            wanted["since"] = _unix(since)
        url = f"{self._api.base_url}/v{self._api.api_version}/containers/{container_id}/logs"
        response = self._guarded(self._api.get, url, params=wanted, stream=True, timeout=(ENGINE_TIMEOUT, None))
        if response.status_code != 200:
            said = brief(response.text, 300)
            response.close()
            raise EngineError("ok", said, response.status_code)
        chunks = self._docker.types.CancellableStream(self._chunks(response), response)
        return Log(chunks, bool((told.get("Config") or {}).get("Tty")), started(told))

    def _chunks(self, response: Any) -> Iterator[bytes]:
        try:
            yield from response.raw.stream(65536, decode_content=False)
        except self._failures as error:
            raise self._failed(error) from None

    def close(self) -> None:
        """Give the connections back."""
        self._api.close()
