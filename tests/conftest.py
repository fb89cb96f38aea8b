"""The application on both databases, a clean slate before each test, and the cast: Alice is the admin, Bob works for the
tenant Acme only, Rita reads, Eve executes, Charlie belongs to Globex and is a stranger to Acme."""

import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient

sys.path.insert(0, str(Path(__file__).parent))

for name in [n for n in os.environ if n.startswith("BINNACLE_") or n in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY")]:
    del os.environ[name]

from app import create_app  # noqa: E402 (after the environment is clean)
from app.actors import SYSTEM, Actor, Role  # noqa: E402
from app.alerts import matching as alert_matching  # noqa: E402
from app.alerts import queries as alert_queries  # noqa: E402
from app.alerts import shelf as alert_shelf  # noqa: E402
from app.api_keys import queries as key_queries  # noqa: E402
from app.auth import queries as auth_queries  # noqa: E402
from app.config import load_settings  # noqa: E402
from app.containers import queries as container_queries  # noqa: E402
from app.database import Base, session, unit_of_work  # noqa: E402
from app.extensions import db, limiter  # noqa: E402
from app.factory import settings_of  # noqa: E402
from app.files import write_private  # noqa: E402
from app.fleet import queries as fleet_queries  # noqa: E402
from app.fleet import saved  # noqa: E402
from app.live.hub import hub_of  # noqa: E402
from app.proxies import queries as proxy_queries  # noqa: E402
from app.runs import queries as run_queries  # noqa: E402
from app.sessions import queries as session_queries  # noqa: E402
from app.system.bootstrap import prepare  # noqa: E402
from app.tenants import queries as tenant_queries  # noqa: E402
from app.web import live  # noqa: E402

POSTGRES = "postgresql://postgres@127.0.0.1:5432"


def port_open(port: int) -> bool:
    """Whether a service listens on this machine."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """An empty database of either kind; PostgreSQL is skipped, and says so, where there is none."""
    if request.param == "sqlite":
        yield None
        return
    if not port_open(5432):
        pytest.skip("no PostgreSQL on 127.0.0.1:5432")
    name = f"binnacle_test_{os.getpid()}"
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name}")
        connection.execute(f"CREATE DATABASE {name}")
    yield f"{POSTGRES}/{name}"
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def built(database_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The application with its schema, made once per database."""
    settings = load_settings(
        DATABASE_URL=database_url, BINNACLE_DATA_DIR=tmp_path_factory.mktemp("data"), BINNACLE_LOCAL_CONNECTOR=False,
        BINNACLE_LOG_LEVEL="error", BINNACLE_LOG_FORMAT="json",
    )  # fmt: skip
    made = create_app(settings)
    made.config["TESTING"] = True
    made.config["PROPAGATE_EXCEPTIONS"] = False
    prepare(made)
    yield made
    with made.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def app(built: Flask, fresh: "Stand", peopled: "Stand", request: pytest.FixtureRequest) -> Iterator[Flask]:
    """The application as a first start leaves it, and the cast when the test wants it; nothing remembered from the test before."""
    forget(built)
    (peopled if "cast" in request.fixturenames else fresh).restore(built)
    yield built
    with built.app_context():
        db.session.remove()


class Stand:
    """Every row of a database at one moment, and the first admin's token, to be put back before a test: far cheaper than making
    them again."""

    def __init__(self, made: Flask) -> None:
        self.token = (settings_of(made).data_dir / "setup-token").read_bytes()
        with made.app_context(), db.engine.begin() as connection:
            self.rows = {
                table: [tuple(row) for row in connection.execute(table.select())] for table in Base.metadata.sorted_tables
            }
        self.cast: Cast | None = None

    def restore(self, made: Flask) -> None:
        """Leave these rows and no others."""
        token = settings_of(made).data_dir / "setup-token"
        if not token.exists():
            write_private(token, self.token.decode())
        with made.app_context(), unit_of_work(power_safe=False):
            empty_tables(session().connection())
            for table, rows in self.rows.items():
                if rows:
                    names = [column.name for column in table.columns]
                    session().execute(table.insert(), [dict(zip(names, row, strict=True)) for row in rows])


def empty_tables(connection: Any) -> None:
    """Delete every row of every table, in one round trip."""
    statements = ";".join(f'DELETE FROM "{table.name}"' for table in reversed(Base.metadata.sorted_tables))
    cursor = connection.connection.cursor()
    if connection.dialect.name == "sqlite":
        for statement in statements.split(";"):  # executescript would commit first
            cursor.execute(statement)
    else:
        cursor.execute(statements)
    cursor.close()


@pytest.fixture(scope="session")
def fresh(built: Flask) -> Stand:
    """What a first start leaves in the database."""
    return Stand(built)


@pytest.fixture(scope="session")
def peopled(built: Flask, fresh: Stand) -> Stand:
    """The same with the cast in it."""
    fresh.restore(built)
    forget(built)
    cast = make_cast(built)
    made = Stand(built)
    made.cast = cast
    return made


def forget(made: Flask) -> None:
    """Empty every cache of the process."""
    key_queries.forget_cached()
    auth_queries.forget_logins()
    fleet_queries.forget_counts()
    fleet_queries.forget_choices()
    saved.forget_view_choices()
    tenant_queries.forget_choices()
    run_queries.forget_counts()
    container_queries.forget_counts()
    proxy_queries.forget_counts()
    session_queries.forget_counts()
    alert_queries.forget_counts()
    alert_matching.forget_rules()
    alert_shelf.forget_alerts()
    live.forget_rendered()
    hub_of(made)._views.clear()
    limiter.storage.reset()


@pytest.fixture(autouse=True)
def _push_request_context() -> None:
    """pytest-flask would push one context for the whole test, and a missing commit would pass: it must not."""


@dataclass
class Cast:
    """Everybody, by name: ids, keys and tenants."""

    app: Flask
    acme: str
    globex: str
    default: str
    users: dict[str, str]
    keys: dict[str, str]

    def client(self, name: str | None = None) -> FlaskClient:
        """A client that sends the name's API key (None: a stranger's)."""
        client = self.app.test_client()
        if name:
            client.environ_base["HTTP_X_API_KEY"] = self.keys[name]
        return client

    def browser(self, name: str) -> "Browser":
        """A signed-in browser: cookie, and the CSRF token of its pages."""
        return Browser(self.app, name)


PASSWORD = "a-long-enough-password"


class Browser:
    """A person's browser: keeps cookies and sends the CSRF token of the last page with its forms."""

    def __init__(self, app: Flask, name: str | None = None) -> None:
        self.client = app.test_client()
        self.token = ""
        if name:
            self.get("/login")
            answer = self.post("/login", username=name, password=PASSWORD)
            assert answer.status_code == 303, answer.text
            self.get("/fleet/")

    def get(self, path: str, **kwargs: Any) -> Any:
        """GET, remembering the page's CSRF token."""
        answer = self.client.get(path, **kwargs)
        self._remember(answer)
        return answer

    def post(self, path: str, csrf: bool = True, **fields: Any) -> Any:
        """POST a form."""
        if csrf:
            fields["csrf_token"] = self.token
        answer = self.client.post(path, data=fields)
        self._remember(answer)
        return answer

    def _remember(self, answer: Any) -> None:
        if answer.mimetype == "text/html" and 'name="csrf_token" value="' in answer.text:
            self.token = answer.text.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]


@pytest.fixture
def cast(app: Flask, peopled: Stand) -> Cast:
    """Alice, Bob, Rita, Eve and Charlie with their keys, and the tenants Acme, Globex and Default."""
    assert peopled.cast is not None
    return replace(peopled.cast, users=dict(peopled.cast.users), keys=dict(peopled.cast.keys))


def make_cast(app: Flask) -> Cast:
    """See `cast`."""
    from factories import make_key, make_tenant, make_user

    with app.app_context():
        default = tenant_queries.list_tenants(None)[0].id
        db.session.remove()
        acme, globex = make_tenant("Acme"), make_tenant("Globex")
        roles = {"alice": (Role.ADMIN, None), "bob": (Role.USER, [acme]), "rita": (Role.READONLY, [acme]),
                 "eve": (Role.EXECUTOR, [acme]), "charlie": (Role.USER, [globex])}  # fmt: skip
        users = {name: make_user(name, role, tenants) for name, (role, tenants) in roles.items()}
        keys = {name: make_key(f"{name}'s key", role, tenants, users[name]) for name, (role, tenants) in roles.items()}
    return Cast(app, acme, globex, default, users, keys)


@pytest.fixture
def actor() -> Actor:
    """Whoever may do everything."""
    return SYSTEM


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def served(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A real server with its worker: SQLite alone, or PostgreSQL with Redis. Shared by the tests: make your own computers."""
    from serving import Server

    postgres = request.param == "postgresql"
    if postgres and not (port_open(5432) and port_open(6379)):
        pytest.skip("no PostgreSQL on 127.0.0.1:5432 or no Redis on 127.0.0.1:6379")
    server = Server(request.param, worker=True, redis=postgres)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """A real container engine (Podman behind Docker's API), shared by the tests: name your containers after your test."""
    from container_engine import NoEngine, PodmanEngine

    try:
        made = PodmanEngine()
    except NoEngine as error:
        pytest.skip(str(error))
    yield made
    made.stop()


CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The one Chromium of a test process: Playwright can be started only once in a thread."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium at {CHROMIUM}; on Debian: apt-get install chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)  # a busy machine is no fault of the product

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def desk(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Alerts on a simulated clock, without the default rules (`alerts_kit.Desk`)."""
    from alerts_kit import Desk

    with app.app_context():
        yield Desk(app, monkeypatch)
