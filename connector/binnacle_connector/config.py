"""Settings, from the command line, then the environment, then a config file, then the defaults."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .certificates import DEFAULT_CERTIFICATES
from .engine import AUTO, OFF

DEFAULT_INTERVAL = 10
MIN_INTERVAL, MAX_INTERVAL = 1, 3600
LOG_LEVELS = ("debug", "info", "warning", "error")
FILE_KEYS = ("server", "key", "interval", "state_dir", "ca_file", "log_level", "commands", "containers", "certificates")
MAX_PATTERNS = 100
ENVIRONMENT = {  # names that say whose they are, beside the console's settings
    "commands": "BINNACLE_CONNECTOR_COMMANDS",
    "containers": "BINNACLE_CONNECTOR_CONTAINERS",
    "certificates": "BINNACLE_CONNECTOR_CERTIFICATES",
}
AGENT_PATH = "/api/v1/agents/ws"
ENROL_PATH = "/api/v1/agents/enrol"


class ConfigError(Exception):
    """A setting is wrong; the message is a sentence for whoever set it and never contains the key."""


class Settings(NamedTuple):
    """What one run of the connector needs. `server` is an http(s) base URL; `interval` is in seconds."""

    server: str
    key: str
    interval: int
    state_dir: Path
    ca_file: str | None
    log_level: str
    commands: bool = True
    containers: str = "auto"
    certificates: tuple[str, ...] = DEFAULT_CERTIFICATES

    @property
    def socket_url(self) -> str:
        """The WebSocket's address: http becomes ws and https becomes wss."""
        return "ws" + self.server[len("http") :] + AGENT_PATH


def is_admin() -> bool:
    """Whether this process may use the machine's own folders."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def default_state_dir() -> Path:
    """Where the spool lives when nobody says otherwise."""
    if sys.platform == "win32":
        return Path(os.environ.get("PROGRAMDATA", r"C:\ProgramData"), "Binnacle", "connector")
    if sys.platform == "darwin" and is_admin():
        return Path("/Library/Application Support/Binnacle/connector")
    if is_admin():
        return Path("/var/lib/binnacle-connector")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state", "binnacle-connector")


def default_config_file() -> Path:
    """Where `enrol` writes, and where a run looks when no other file is named."""
    if sys.platform == "win32":
        return Path(os.environ.get("PROGRAMDATA", r"C:\ProgramData"), "Binnacle", "connector.json")
    if is_admin():
        return Path("/etc/binnacle-connector/config.json")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "binnacle-connector", "config.json")


def check_server(text: str) -> str:
    """The base URL without a trailing slash and as http(s); ws(s) is taken for it. Raises ConfigError."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise ConfigError(f"The server URL {text!r} cannot be read.") from None
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    if scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigError("The server must be a URL such as https://binnacle.example.com.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError("The server URL must not contain a user, a password, a query or a fragment.")
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def check_key(text: str) -> str:
    """A host key (`chatops_` and its characters). Raises ConfigError without repeating it."""
    rest = text[len("chatops_") :]
    if not text.startswith("chatops_") or not rest or not rest.replace("_", "").replace("-", "").isalnum():
        raise ConfigError("The key must be a host key: it starts with chatops_ and has no spaces.")
    if not text.isascii() or len(text) > 512:
        raise ConfigError("The key must be a host key of at most 512 plain characters.")
    return text


def check_interval(value: Any) -> int:
    """Seconds between two samples, 1 to 3600. Raises ConfigError."""
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if not MIN_INTERVAL <= number <= MAX_INTERVAL:
        raise ConfigError(f"The interval must be a whole number of seconds from 1 to 3600, not {str(value)[:40]!r}.")
    return number


def check_commands(value: Any) -> bool:
    """Whether the server may run commands here: true, yes, on, 1 or their opposites. Raises ConfigError."""
    text = "yes" if value is None else str(value).strip().lower()
    if text not in ("1", "yes", "true", "on", "0", "no", "false", "off"):
        raise ConfigError("The setting commands must be true or false.")
    return text in ("1", "yes", "true", "on")


def check_containers(value: Any) -> str:
    """Where the container engine is: auto, off, or an address as in DOCKER_HOST. Raises ConfigError."""
    text = "auto" if value is None else str(value).strip()
    if text.lower() in ("", *AUTO, *OFF) or text.startswith(("unix:///", "tcp://", "http://", "https://", "npipe://")):
        return text
    raise ConfigError("The setting containers must be auto, off, or an address such as unix:///run/docker.sock.")


def check_certificates(value: Any) -> tuple[str, ...]:
    """Which files hold the computer's certificates: a list, or text with commas, of absolute paths that may have `*`.
    `auto` stands for the usual places, `off` for none. Raises ConfigError."""
    given = ["auto"] if value is None else value if isinstance(value, list) else str(value).split(",")
    words = [str(word).strip() for word in given if str(word).strip()]
    if [word.lower() for word in words] == ["off"]:
        return ()
    paths: list[str] = []
    for word in words or ["auto"]:
        if word.lower() == "auto":
            paths += DEFAULT_CERTIFICATES
        elif os.path.isabs(word) and len(word) <= 1000 and word.isprintable():
            paths.append(word)
        else:
            raise ConfigError("The setting certificates must be auto, off, or absolute paths such as /etc/ssl/*.pem.")
    if len(paths) > MAX_PATTERNS:
        raise ConfigError(f"The setting certificates names at most {MAX_PATTERNS} paths.")
    return tuple(dict.fromkeys(paths))


def check_ca_file(value: str | None) -> str | None:
    """A readable PEM file, or none. Raises ConfigError."""
    if not value:
        return None
    import ssl

    try:
        ssl.create_default_context(cafile=value)
    except OSError as error:
        raise ConfigError(f"The CA file {value} cannot be used: {error.strerror or error}.") from None
    return value


def read_file(path: Path, must_exist: bool = True) -> dict[str, Any]:
    """The settings in a JSON or INI file. Raises ConfigError when it is unreadable, open to others, or unknown."""
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8")
    except FileNotFoundError:
        if must_exist:
            raise ConfigError(f"The config file {path} does not exist.") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        if not must_exist and isinstance(error, PermissionError):
            return {}
        raise ConfigError(f"The config file {path} cannot be read: {error}.") from None
    values = _parse(path, text)
    unknown = sorted(set(values) - set(FILE_KEYS))
    if unknown:
        known = ", ".join(FILE_KEYS)
        raise ConfigError(f"The config file {path} has an unknown setting {unknown[0][:40]!r}; known are {known}.")
    if os.name == "posix" and values.get("key") and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"The config file {path} holds a key and others can read it; run: chmod 600 {path}")
    return values


def _parse(path: Path, text: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise ConfigError(f"The config file {path} is not valid JSON.") from None
        return dict(values)
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text if text.lstrip().startswith("[") else "[connector]\n" + text)
    except configparser.Error:
        raise ConfigError(f"The config file {path} is neither JSON nor INI.") from None
    if parser.sections() not in ([], ["connector"]):
        raise ConfigError(f"The config file {path} must have its settings in one section [connector].")
    return dict(parser["connector"]) if parser.sections() else {}


def _text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, (str, Path)):
        raise ConfigError(f"The setting {name} must be text.")
    return str(value)


def merge(arguments: dict[str, Any], environ: dict[str, str] | None = None) -> dict[str, Any]:
    """The settings as they were given, the first source that says something winning. Raises ConfigError for a file."""
    env = dict(os.environ) if environ is None else environ
    named = arguments.get("config") or env.get("BINNACLE_CONFIG")
    merged = read_file(Path(named)) if named else read_file(default_config_file(), must_exist=False)
    for name in FILE_KEYS:
        chosen = arguments.get(name) or env.get(ENVIRONMENT.get(name, "BINNACLE_" + name.upper()))
        if chosen is not None and chosen != "":
            merged[name] = chosen
    return merged


def load(arguments: dict[str, Any], environ: dict[str, str] | None = None) -> Settings:
    """The settings of a run, each of them checked. Raises ConfigError."""
    merged = merge(arguments, environ)
    server, key = _text(merged, "server"), _text(merged, "key")
    if not server:
        raise ConfigError("No server is set: use --server, BINNACLE_SERVER or --config.")
    if not key:
        raise ConfigError("No key is set: use BINNACLE_KEY, --config or --key, or enrol with a token first.")
    level = _text(merged, "log_level") or "info"
    if level not in LOG_LEVELS:
        raise ConfigError(f"The log level must be one of {', '.join(LOG_LEVELS)}.")
    return Settings(
        server=check_server(server),
        key=check_key(key),
        interval=check_interval(merged.get("interval") or DEFAULT_INTERVAL),
        state_dir=Path(_text(merged, "state_dir") or default_state_dir()).expanduser(),
        ca_file=check_ca_file(_text(merged, "ca_file")),
        log_level=level,
        commands=check_commands(merged.get("commands")),
        containers=check_containers(merged.get("containers")),
        certificates=check_certificates(merged.get("certificates")),
    )
