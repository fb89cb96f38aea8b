"""`binnacle up | worker | migrate | users create | keys create | backup | restore | secrets rotate | simulate`.

Each command imports only what it needs.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


@click.group()
def main() -> None:
    """Binnacle: the console from which technicians watch and work a fleet."""


@main.command()
def up() -> None:
    """Run web, worker and this machine's connector; restart what dies; Ctrl-C ends all of it."""
    from app.launcher import run

    sys.exit(run())


@main.command()
def worker() -> None:
    """Run the worker alone."""
    from app import create_app
    from app.worker import run

    run(create_app())


@main.command()
def migrate() -> None:
    """Bring the database up to date and exit."""
    from app import create_app
    from app.system.bootstrap import prepare

    prepare(create_app())
    click.echo("The database is up to date.")


@main.group()
def users() -> None:
    """People who sign in."""


@users.command("create")
@click.option("--username", required=True)
@click.option("--email", default=None)
@click.option("--role", type=click.Choice(["admin", "user", "readonly", "executor"]), default="admin", show_default=True)
@click.password_option("--password", envvar="BINNACLE_NEW_PASSWORD", help="Asked for when not given")
def create_user(username: str, email: str | None, role: str, password: str) -> None:
    """Create a user."""
    from app import create_app
    from app.actors import SYSTEM, Role
    from app.auth import operations
    from app.extensions import db

    with create_app().app_context():
        user = _or_say(lambda: operations.create_user(username, email, password, Role(role), actor=SYSTEM))
        db.session.commit()
        click.echo(f"Created {user.username} ({user.role.value}).")


@main.group()
def keys() -> None:
    """API keys."""


@keys.command("create")
@click.option("--name", required=True)
@click.option("--role", type=click.Choice(["admin", "user", "readonly", "executor"]), default="readonly", show_default=True)
@click.option("--rate-limit", type=click.IntRange(1, 1_000_000), default=None, help="Requests a minute")
def create_key(name: str, role: str, rate_limit: int | None) -> None:
    """Create an integration key and print it, once."""
    from app import create_app
    from app.actors import SYSTEM, Role
    from app.api_keys import operations
    from app.database import unit_of_work

    with create_app().app_context(), unit_of_work():
        _, secret = operations.create_integration_key(name, Role(role), actor=SYSTEM, rate_limit=rate_limit)
    click.echo(secret)


@main.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--without-secret", is_flag=True, help="Leave out the key of sealed secrets and that of this machine's connector")
def backup(file: Path | None, without_secret: bool) -> None:
    """Write everything into one file, while Binnacle runs."""
    from app import create_app
    from app.actors import SYSTEM
    from app.backup import make
    from app.clock import now
    from app.database import unit_of_work
    from app.factory import settings_of
    from app.journal.operations import Subject, record

    app = create_app()
    target = (file or Path(f"binnacle-{now():%Y%m%d-%H%M%S}.tar")).absolute()
    manifest = _or_say(lambda: make(settings_of(app), target, with_secret=not without_secret))
    with app.app_context(), unit_of_work():
        record("system.backed_up", SYSTEM, Subject("system", "backup", target.name), revision=manifest.revision)
    click.echo(f"{target}: {target.stat().st_size / 1e6:.1f} MB, {len(manifest.files)} files, schema {manifest.revision}.")
    if "data/secret-key" in manifest.files:
        click.echo("It holds the secret that credentials are encrypted with: keep it like one.")
    elif not without_secret:
        click.echo("SECRET_KEY is not in it: it comes from the settings. Without it, sealed credentials cannot be read.")


@main.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--yes", is_flag=True, help="Do not ask")
def restore(file: Path, yes: bool) -> None:
    """Put a backup in the place of everything there is. Stop Binnacle first."""
    from app.backup import restore as put_back
    from app.config import load_settings

    _refuse_while_it_runs()
    settings = load_settings()
    if not yes:
        click.confirm("Everything in the database and in the data directory is replaced. Go on?", abort=True)
    manifest, aside = _or_say(lambda: put_back(settings, file))
    click.echo(f"Restored what Binnacle {manifest.version} held at {manifest.made_at}.")
    if aside:
        click.echo(f"What was there before is in {aside}.")


@main.group()
def secrets() -> None:
    """What sealed secrets are encrypted with."""


@secrets.command("rotate")
def rotate_secret() -> None:
    """Encrypt everything that is sealed under a new SECRET_KEY. Stop Binnacle first; everybody signs in again."""
    from app import create_app
    from app.config import load_settings
    from app.rotation import next_secret, rotate
    from app.vault import Vault

    _refuse_while_it_runs()
    settings = load_settings()
    if settings.secret_file is not None:
        keys = next_secret(settings.secret_file)
    elif settings.secret_key is not None and settings.secret_key_previous is not None:
        keys = settings.secret_key.get_secret_value(), settings.secret_key_previous.get_secret_value()
    else:
        raise click.ClickException("set SECRET_KEY to the new secret and SECRET_KEY_PREVIOUS to the old one, and run this again")
    with create_app(load_settings()).app_context():
        counted = rotate(Vault(keys))
    click.echo(f"{counted['resealed']} secrets were encrypted anew.")
    if counted["unreadable"]:
        click.echo(f"{counted['unreadable']} could not be read and were left as they are.")
    if settings.secret_file is not None:
        settings.secret_file.with_name("secret-key.previous").unlink()
    else:
        click.echo("SECRET_KEY_PREVIOUS is not needed any more.")


def _refuse_while_it_runs() -> None:
    from app.launcher import port_is_taken, where

    place = where()
    if place is not None and port_is_taken(*place):
        raise click.ClickException(f"something answers at {place[0]}:{place[1]}; stop Binnacle first, also its worker")


@main.command()
@click.option("--computers", type=click.IntRange(1, 20_000), default=None, help="How many computers to connect")
@click.option(
    "--sessions",
    type=click.FloatRange(0, 1000, min_open=True),
    default=None,
    metavar="RATE",
    help="Sessions of browser automation begun per second, such as 0.5",
)
@click.option("--interval", type=click.IntRange(1, 3600), default=10, show_default=True, help="Seconds between samples")
@click.option(
    "--batch",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Events (and beginnings of sessions) to send in one request",
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same fleet and the same sessions")
@click.option("--duration", type=click.IntRange(1), default=None, help="Seconds to run; without it until Ctrl-C")
@click.option("--history", type=click.IntRange(0, 168), default=0, help="Hours of past samples to replay first")
def simulate(computers: int | None, sessions: float | None, **how: Any) -> None:
    """Simulate computers, sessions of bots, or both, against the running server.

    Computers connect over the real connector protocol. Bots report over the HTTP API: each session is registered, has 5 to 30
    events, and ends after 2 to 120 seconds. At the end of the run those under way are ended, too.
    """
    if computers is None and sessions is None:
        raise click.UsageError("Say what to simulate: --computers N, --sessions RATE (a second), or both.")
    from app.simulator.command import Wanted, run

    sys.exit(run(Wanted(computers, sessions, **how)))


def _or_say(action: Callable[[], Any]) -> Any:
    """Run an action; a domain error becomes a sentence and exit status 1."""
    from app.backup import BackupError
    from app.errors import DomainError, Invalid

    try:
        return action()
    except BackupError as error:
        raise click.ClickException(str(error)) from None
    except DomainError as error:
        rows = error.errors if isinstance(error, Invalid) else []
        raise click.ClickException("; ".join(row.message for row in rows) or error.message) from None


if __name__ == "__main__":
    main()
