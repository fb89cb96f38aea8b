"""Environment → typed settings. A wrong value stops the boot and says which setting, never what the secret was."""

import os
import secrets
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.actors import Role

EXAMPLE_SECRETS = frozenset(
    {
        "your_super_secret_key",
        "your_secret_key",
        "your_key_here",
        "your_api_key_here",
        "your_stack_project_id",
        "your_publishable_key",
        "dev_secret_key_change_me_in_production_2026",
        "secure_password123",
        "admin123",
        "changeme",
        "secret",
    }
)
CONNECTOR_NAMES = ("BINNACLE_SERVER", "BINNACLE_KEY", "BINNACLE_CONNECTOR_")  # the connector's own, on the same machine
COMMAND_NAMES = ("BINNACLE_NEW_PASSWORD",)  # read by one command of the command line, not kept as a setting
FILE_SETTINGS = ("SECRET_KEY", "SECRET_KEY_PREVIOUS", "DATABASE_URL", "REDIS_URL", "BINNACLE_ADMIN_PASSWORD")


class ConfigError(SystemExit):
    """A setting is missing, wrong or unsafe; the message names it. Unhandled, it ends the process with that message."""

    def __init__(self, message: str) -> None:
        super().__init__(f"binnacle: {message}")
        self.message = message

    def __str__(self) -> str:
        return self.message


class Settings(BaseSettings):
    """Every setting, named as the documents name it. See README.md, "Settings", for what each means."""

    model_config = SettingsConfigDict(extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    database_url: str | None = Field(None, alias="DATABASE_URL")
    redis_url: str | None = Field(None, alias="REDIS_URL")
    secret_key: SecretStr | None = Field(None, alias="SECRET_KEY")
    secret_key_previous: SecretStr | None = Field(None, alias="SECRET_KEY_PREVIOUS")
    access_token_expire_minutes: int = Field(30, ge=1, le=1440, alias="ACCESS_TOKEN_EXPIRE_MINUTES")
    bind: str = Field("127.0.0.1:8000", alias="BINNACLE_BIND")
    data_dir: Path = Field(Path("data"), alias="BINNACLE_DATA_DIR")
    admin_username: str | None = Field(None, alias="BINNACLE_ADMIN_USERNAME")
    admin_password: SecretStr | None = Field(None, alias="BINNACLE_ADMIN_PASSWORD")
    local_connector: bool | None = Field(None, alias="BINNACLE_LOCAL_CONNECTOR")
    single_user: bool = Field(False, alias="BINNACLE_SINGLE_USER")
    registration_role: Role = Field(Role.READONLY, alias="BINNACLE_REGISTRATION_ROLE")
    public_url: str | None = Field(None, alias="BINNACLE_PUBLIC_URL")
    trusted_proxies: int = Field(0, ge=0, le=5, alias="BINNACLE_TRUSTED_PROXIES")
    outbound_allow: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field((), alias="BINNACLE_OUTBOUND_ALLOW")
    web_processes: int = Field(1, ge=1, le=64, alias="BINNACLE_WEB_PROCESSES")
    session_idle_minutes: int = Field(30, ge=1, le=10080, alias="BINNACLE_SESSION_IDLE_MINUTES")
    session_absolute_minutes: int = Field(480, ge=1, le=43200, alias="BINNACLE_SESSION_ABSOLUTE_MINUTES")
    metrics_raw_hours: int = Field(48, ge=25, le=720, alias="BINNACLE_METRICS_RAW_HOURS")
    metrics_1m_days: int = Field(30, ge=8, le=365, alias="BINNACLE_METRICS_1M_DAYS")
    metrics_15m_days: int = Field(365, ge=30, le=3650, alias="BINNACLE_METRICS_15M_DAYS")
    sessions_days: int = Field(90, ge=8, le=3650, alias="BINNACLE_SESSIONS_DAYS")
    events_days: int = Field(90, ge=8, le=3650, alias="BINNACLE_EVENTS_DAYS")
    alerts_days: int = Field(90, ge=1, le=3650, alias="BINNACLE_ALERTS_DAYS")
    proxy_check_url: str = Field("https://api.ipify.org/?format=json", alias="BINNACLE_PROXY_CHECK_URL")
    proxy_check_minutes: int = Field(0, ge=0, le=10080, alias="BINNACLE_PROXY_CHECK_MINUTES")
    deliveries_waiting: int = Field(10_000, ge=100, le=1_000_000, alias="BINNACLE_DELIVERIES_WAITING")
    worker_runs: int = Field(4, ge=1, le=64, alias="BINNACLE_WORKER_RUNS")
    runs_days: int = Field(90, ge=1, le=3650, alias="BINNACLE_RUNS_DAYS")
    export_stalled_s: int = Field(60, ge=1, le=3600, alias="BINNACLE_EXPORT_STALLED_SECONDS")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", alias="BINNACLE_LOG_LEVEL")
    log_format: Literal["auto", "json", "console"] = Field("auto", alias="BINNACLE_LOG_FORMAT")

    _secret_file: Path | None = PrivateAttr(None)

    @field_validator("bind")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or not 0 <= int(port) <= 65535:
            raise ValueError("must look like 127.0.0.1:8000 or [::1]:8000")
        try:
            ip_address(host.strip("[]"))
        except ValueError:
            if host != "localhost":
                raise ValueError("the part before the port must be an IP address or localhost") from None
        return value

    @field_validator("outbound_allow", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = [part.strip() for part in value.split(",")] if value.strip() else []
        try:
            return tuple(ip_network(part) for part in parts)
        except ValueError as error:
            raise ValueError(
                f"must be networks such as 10.0.0.0/8, 192.168.1.5 or fd00::/8 with commas between: {error}"
            ) from None

    @field_validator("proxy_check_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")) or len(value) > 500:
            raise ValueError("must begin with http:// or https://")
        return value

    @field_validator("database_url")
    @classmethod
    def _database_scheme(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if value.startswith(("postgres://", "postgresql://")):  # as contract 004 writes it
            value = "postgresql+psycopg://" + value.split("://", 1)[1]
        if not value.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("must begin with sqlite:/// or postgresql://")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, value: str | None) -> str | None:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with redis://")
        return value or None

    @field_validator("secret_key", "admin_password")
    @classmethod
    def _no_example(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and value.get_secret_value().strip().lower() in EXAMPLE_SECRETS:
            raise ValueError("is an example from the documentation; make one of your own")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if bool(self.admin_username) != bool(self.admin_password):
            raise ValueError("BINNACLE_ADMIN_USERNAME and BINNACLE_ADMIN_PASSWORD go together")
        if self.web_processes > 1 and not self.redis_url:
            raise ValueError("BINNACLE_WEB_PROCESSES above 1 needs REDIS_URL, or rate limits would not be exact")
        if self.network_mode:
            key = self.secret_key.get_secret_value() if self.secret_key else ""
            if len(key.encode()) < 32:
                raise ValueError(f"bound to {self.bind} (network mode), SECRET_KEY must be 32 bytes or more")
            if self.single_user:
                raise ValueError("BINNACLE_SINGLE_USER is for local mode only")
        return self

    @property
    def network_mode(self) -> bool:
        """Whether the bound address can be reached from other machines (contracts/README.md)."""
        host = self.bind.rpartition(":")[0].strip("[]")
        return host != "localhost" and not ip_address(host).is_loopback

    @property
    def secret_file(self) -> Path | None:
        """The file that holds the secret that Binnacle made itself; None when it comes from the settings."""
        return self._secret_file

    @property
    def wants_local_connector(self) -> bool:
        """Whether this machine enrols itself: by default in local mode only."""
        return not self.network_mode if self.local_connector is None else self.local_connector

    @property
    def sqlalchemy_url(self) -> str:
        """The database's URL, by default a SQLite file in the data directory."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'binnacle.db'}"

    @property
    def own_url(self) -> str:
        """The address that people and connectors use, without a trailing slash."""
        host, _, port = self.bind.rpartition(":")
        host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 (compared, not bound)
        return (self.public_url or f"http://{host}:{port}").rstrip("/")


def load_settings(**overrides: object) -> Settings:
    """Read the environment (and `NAME_FILE` for secrets). Raises ConfigError naming what is wrong."""
    values: dict[str, object] = {}
    for name in FILE_SETTINGS:
        if path := os.environ.get(f"{name}_FILE"):
            try:
                values[name] = Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ConfigError(f"{name}_FILE: cannot read {path}: {error.strerror}") from None
    _refuse_unknown_names()
    try:
        settings = Settings(**values, **overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError("; ".join(_line(row["loc"], row["msg"]) for row in error.errors())) from None
    _prepare_data_dir(settings)
    return settings


def _line(where: tuple[int | str, ...], what: str) -> str:
    return ": ".join([*(str(part) for part in where), what.removeprefix("Value error, ")])


def _refuse_unknown_names() -> None:
    known = {str(f.alias) for f in Settings.model_fields.values()} | {f"{n}_FILE" for n in FILE_SETTINGS}
    for name in os.environ:
        others = name.startswith(CONNECTOR_NAMES) or name in COMMAND_NAMES
        if name.startswith("BINNACLE_") and name not in known and not others:
            raise ConfigError(f"{name}: no such setting; the settings are {', '.join(sorted(known))}")


def _prepare_data_dir(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.data_dir.chmod(0o700)
        if settings.secret_key is None:
            settings.secret_key = SecretStr(_own_secret(settings.data_dir / "secret-key"))
            settings._secret_file = settings.data_dir / "secret-key"
            previous = settings.data_dir / "secret-key.previous"  # a rotation that has not come to its end
            if settings.secret_key_previous is None and previous.exists():
                settings.secret_key_previous = SecretStr(previous.read_text(encoding="utf-8").strip())
    except OSError as error:
        raise ConfigError(f"BINNACLE_DATA_DIR: cannot use {settings.data_dir}: {error.strerror}") from None


def _own_secret(path: Path) -> str:
    """The secret of local mode, made once. Two processes that start together agree on one (link is atomic)."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48), encoding="utf-8")
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    stored = path.read_text(encoding="utf-8").strip()
    if len(stored) < 32:
        raise ConfigError(f"{path} is damaged; remove it, and everybody signs in again")
    return stored
