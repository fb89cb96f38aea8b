"""Trade a one-time token for this computer's key, and keep the key in a private file."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from .config import ENROL_PATH, ConfigError, check_interval, check_key, check_server, read_file
from .inventory import os_family
from .log import brief
from .state import PrivateFile

TIMEOUT = 30.0
MAX_ANSWER = 65536


class EnrolmentError(Exception):
    """The server refused, or could not be asked; the message is a sentence without the token."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The token goes to the named server and nowhere else."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any) -> None:
        return None


def enrol(server: str, token: str, connector_id: str, config: Path, ca_file: str | None = None) -> dict[str, Any]:
    """Enrol this computer and write `config` (JSON, mode 0600); gives the server's answer without the key.

    The file is opened before the token is spent, so that a folder without room or rights costs no token. Other settings
    in the file stay. Raises ConfigError, EnrolmentError.
    """
    server = check_server(server)
    if not token or len(token) > 1000 or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("The token must be the text that the Add computer page shows.")
    before = read_file(config, must_exist=False)
    try:
        config.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with PrivateFile(config) as file:
            answer = _ask(server, token, connector_id, ca_file)
            settings = {**before, "server": server, "key": answer.pop("key"), "interval": answer["interval"]}
            if ca_file:
                settings["ca_file"] = str(Path(ca_file).absolute())
            json.dump(settings, file.stream, indent=2, default=str)
            file.stream.write("\n")
            file.commit()
    except OSError as error:
        raise ConfigError(f"The config file {config} cannot be written: {error.strerror or error}.") from None
    return answer


def _ask(server: str, token: str, connector_id: str, ca_file: str | None) -> dict[str, Any]:
    import ssl

    asked = {"token": token, "hostname": socket.gethostname(), "connector_id": connector_id, "os": os_family()}
    request = urllib.request.Request(
        server + ENROL_PATH,
        data=json.dumps(asked).encode(),
        headers={"Content-Type": "application/json", "Accept": "application/json"},
        method="POST",
    )
    tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file))
    try:
        with urllib.request.build_opener(_NoRedirects, tls).open(request, timeout=TIMEOUT) as response:
            status, body = response.status, response.read(MAX_ANSWER)
    except urllib.error.HTTPError as error:
        raise EnrolmentError(_refusal(error.code, error.read(MAX_ANSWER))) from None
    except (OSError, ValueError) as error:
        raise EnrolmentError(f"The server cannot be reached: {brief(str(error))}.") from None
    except Exception as error:
        raise EnrolmentError(f"The server's answer is not HTTP: {type(error).__name__}.") from None
    return _checked(status, body)


def _checked(status: int, body: bytes) -> dict[str, Any]:
    """The answer of a 201, each field with the type it must have. Raises EnrolmentError."""
    try:
        answer = json.loads(body)
        if status != 201 or not isinstance(answer["server_id"], str) or not isinstance(answer["name"], str):
            raise ValueError
        key, interval = check_key(answer["key"]), check_interval(answer["interval"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigError):
        raise EnrolmentError("The server's answer to the enrolment is not understood.") from None
    return {"server_id": answer["server_id"], "name": answer["name"], "key": key, "interval": interval}


def _refusal(status: int, body: bytes) -> str:
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError, RecursionError):
        detail = ""
    words = f" ({brief(detail)})" if isinstance(detail, str) and detail else ""
    if status == 404:
        return f"The token was used, revoked or has expired{words}; make a new one on the Add computer page."
    return f"The server refused the enrolment with HTTP {status}{words}."
