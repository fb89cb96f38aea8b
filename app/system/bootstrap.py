"""What a web process does before it serves, one process at a time: migrations, the default tenant, the first admin or its
one-time link, the default rules for alerts, the key of this machine's connector."""

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.actors import SYSTEM, Role
from app.alerts.operations import make_default_rules
from app.api_keys.operations import create_host_key, revoke_host_keys
from app.auth.operations import create_user
from app.auth.queries import has_users
from app.config import ConfigError, Settings
from app.database import begin_read, session, unit_of_work
from app.extensions import db
from app.factory import settings_of
from app.files import write_private
from app.fleet.models import Computer
from app.fleet.operations import create_computer
from app.fleet.queries import by_ids, internal_ids
from app.logging import get_logger
from app.system.queries import schema_heads
from app.tenants.operations import create_tenant
from app.tenants.queries import list_tenants
from app.webhooks.operations import hide_addresses

MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
MIGRATION_LOCK = 0x62696E6E6D
log = get_logger(__name__)


def prepare(app: Flask) -> None:
    """Bring the database up to date and make what a first start needs. Safe from several processes at once."""
    settings = settings_of(app)
    with app.app_context(), _alone(settings.data_dir / "prepare.lock"):
        migrate(app)
        _default_tenant()
        _first_admin(settings)
        make_default_rules()
        hide_addresses()
        leave_other_machine(settings)
        if settings.wants_local_connector:
            local_connector(settings)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def migrate(app: Flask) -> None:
    """Upgrade the schema to the newest revision, each step in a transaction of its own (RELIABILITY 28)."""
    directory = Path(app.config["MIGRATIONS_DIR"])
    try:
        at, newest = schema_heads(directory)
    except OperationalError as error:
        raise ConfigError(f"the database of DATABASE_URL does not answer: {str(error.orig).strip()}") from error
    session().rollback()
    if at == newest:
        return
    log.info("migrating", at=at, to=newest)
    from alembic import command  # 12 MB that no process keeps which finds its database up to date
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(directory))
    with db.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_lock(:k)"), {"k": MIGRATION_LOCK})
            connection.commit()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        finally:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_unlock(:k)"), {"k": MIGRATION_LOCK})
                connection.commit()


def _default_tenant() -> None:
    if not list_tenants(None):
        with unit_of_work():
            if not list_tenants(None):
                create_tenant("Default", actor=SYSTEM)
    session().rollback()


def _first_admin(settings: Settings) -> None:
    token = settings.data_dir / "setup-token"
    if has_users():
        token.unlink(missing_ok=True)
    elif settings.admin_username and settings.admin_password:
        create_user(settings.admin_username, None, settings.admin_password.get_secret_value(), Role.ADMIN, actor=SYSTEM)
        session().commit()
        token.unlink(missing_ok=True)
        log.info("first admin made from the settings", username=settings.admin_username)
    elif not token.exists():
        write_private(token, secrets.token_urlsafe(24))
    session().remove()
    begin_read()


def leave_other_machine(settings: Settings) -> bool:
    """When the data directory has come here from another machine, restored or copied, the computer that it names is not this one:
    forget its key and its connector's state, so that this machine is enrolled as itself. Returns whether it was so."""
    label = settings.data_dir / "this-computer"
    whose, mine = _named(label)[1], machine_mark()
    if not whose or not mine or whose == mine:
        return False
    (settings.data_dir / "connector.json").unlink(missing_ok=True)
    shutil.rmtree(settings.data_dir / "connector", ignore_errors=True)
    label.unlink()  # last: until then the next start does it again
    log.info("the data directory comes from another machine; its computer stays in the fleet, and this one is another")
    return True


def local_connector(settings: Settings) -> None:
    """Enrol this machine, so that the first page shows a real computer: its key goes into the data directory, as
    `connector.json` (the connector's configuration); `this-computer` holds its id, and what tells this machine from others."""
    config, label = settings.data_dir / "connector.json", settings.data_dir / "this-computer"
    computer = _known(label)
    if label.exists() and computer is None:
        return  # somebody deleted this machine from the fleet; it does not come back by itself
    if computer is not None and config.exists() and orjson.loads(config.read_bytes()).get("server") == settings.own_url:
        if not _named(label)[1] and machine_mark():  # of a version that did not know whose it is
            write_private(label, f"{computer.uuid}\n{machine_mark()}")
        return
    with unit_of_work():
        computer = _known(label) or create_computer(os.uname().nodename or "this machine", actor=SYSTEM)
        revoke_host_keys(computer.id, actor=SYSTEM, reason="replaced")
        _, key = create_host_key("connector of this machine", computer.id, computer.uuid, computer.tenant_id, actor=SYSTEM)
        uuid = computer.uuid
    write_private(config, orjson.dumps({"server": settings.own_url, "key": key}).decode())
    write_private(label, f"{uuid}\n{machine_mark()}")


def machine_mark() -> str:
    """What tells this machine from others, without naming it; empty where the system has no such id, as in most images of
    containers."""
    for path in MACHINE_IDS:
        with suppress(OSError):
            if found := path.read_text(encoding="ascii", errors="replace").strip():
                return hashlib.sha256(f"binnacle {found}".encode()).hexdigest()[:32]
    return ""


def _named(label: Path) -> tuple[str, str]:
    """The computer's public id, and the mark of its machine."""
    uuid, _, mark = label.read_text(encoding="utf-8").partition("\n") if label.exists() else ("", "", "")
    return uuid.strip(), mark.strip()


def _known(label: Path) -> Computer | None:
    ids = internal_ids([_named(label)[0]], None) if label.exists() else []
    return by_ids(ids).get(ids[0]) if ids else None
