"""`binnacle backup` and `binnacle restore` (RELIABILITY 28): one file with all there is, taken while everything runs.

A tar with `manifest.json`, the database and what else lies in the data directory. SQLite is copied by its backup API, in one
step of one read transaction; PostgreSQL by `pg_dump`. What sealed secrets are encrypted with (`secret-key`) and the key of this
machine's connector are in it unless they are left out, so whoever has the file has the secrets: keep it as you keep those.

Restored on the same machine, the connector goes on as the computer that it was; on another machine the start sees that
(`system.bootstrap.leave_other_machine`) and enrols that machine as itself.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url

from app import __version__
from app.config import Settings
from app.system.queries import known_revisions

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = {"sqlite": "database.sqlite", "postgresql": "database.pgdump"}
SECRET_FILES = ("secret-key", "secret-key.previous", "connector.json")
OF_BEFORE = ("setup-token", "connector", "connector.json", "this-computer")  # do not fit to another database
# What is made anew or belongs to this machine alone: the database itself, the doorbell, locks, this machine's spool.
LEFT_OUT = (
    "binnacle.db",
    "binnacle.db-wal",
    "binnacle.db-shm",
    "queue.db",
    "queue.db-wal",
    "queue.db-shm",
    "prepare.lock",
    "connector",
    "setup-token",
)
KEPT_BEFORE = "before-restore-"


class BackupError(Exception):
    """It could not be made or restored; the message says why, and nothing was changed."""


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself. `files` are SHA-256 by name; `revision` is the schema's, `made_at` RFC 3339 in UTC."""

    format: int
    version: str
    made_at: str
    database: str
    revision: str
    files: dict[str, str]


def make(settings: Settings, target: Path, *, with_secret: bool = True) -> Manifest:
    """Write a backup to `target`, whole or not at all, readable by its owner only. Raises BackupError."""
    if target.exists():
        raise BackupError(f"{target} exists already")
    url = make_url(settings.sqlalchemy_url)
    kind = url.get_backend_name()
    draft = target.with_name(f".{target.name}.part")
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".binnacle-backup-") as folder:
            work = Path(folder)
            dump = _dump_sqlite if kind == "sqlite" else _dump_postgres
            revision = dump(url, work / DATABASE[kind])
            _copy_data(settings.data_dir, work / "data", with_secret)
            names = sorted(path.relative_to(work).as_posix() for path in work.rglob("*") if path.is_file())
            manifest = Manifest(FORMAT, __version__, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), kind, revision,
                                {name: _digest(work / name) for name in names})  # fmt: skip
            (work / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1), encoding="utf-8")
            draft.touch(mode=0o600)
            with draft.open("wb") as raw, tarfile.open(fileobj=raw, mode="w") as tar:
                for name in (MANIFEST, *names):
                    tar.add(work / name, name)
            _settle(draft)
        os.link(draft, target)
    except OSError as error:
        raise BackupError(f"{error.filename or target}: {error.strerror or error}") from None
    finally:
        draft.unlink(missing_ok=True)
    return manifest


def restore(settings: Settings, source: Path) -> tuple[Manifest, Path | None]:
    """Put a backup in the place of what there is. Binnacle must not run.

    Everything is unpacked and checked first; what SQLite's file and the data directory held before is moved into a folder, which
    is returned. PostgreSQL is replaced in one transaction. Raises BackupError.
    """
    url = make_url(settings.sqlalchemy_url)
    kind = url.get_backend_name()
    try:
        with tempfile.TemporaryDirectory(dir=settings.data_dir, prefix=".restore-") as folder:
            work = Path(folder)
            manifest = _unpack(source, work)
            if manifest.database != kind:
                raise BackupError(f"it holds a {manifest.database} database, and the settings name a {kind} one")
            if manifest.revision not in known_revisions():
                raise BackupError(f"Binnacle {manifest.version} made it, which is newer than this one ({__version__})")
            if kind == "sqlite":
                _check_sqlite(work / DATABASE[kind])
                return manifest, _swap_in(settings.data_dir, Path(url.database or ""), work)
            _restore_postgres(url, work / DATABASE[kind])
            return manifest, _swap_in(settings.data_dir, None, work)
    except OSError as error:
        raise BackupError(f"{error.filename or source}: {error.strerror or error}") from None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settle(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _copy_data(data: Path, target: Path, with_secret: bool) -> None:
    left_out = set(LEFT_OUT) | (set() if with_secret else set(SECRET_FILES))
    target.mkdir()
    for path in sorted(data.iterdir()):
        if path.name in left_out or path.name.startswith((".", KEPT_BEFORE)) or path.suffix == ".part":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, target / path.name, symlinks=False, ignore=shutil.ignore_patterns(".*"), copy_function=_copy)
        elif path.is_file():
            _copy(path, target / path.name)


def _copy(source: Any, target: Any) -> None:
    """A file; one that retention has just removed is not in the backup."""
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)


# -- SQLite ----------------------------------------------------------------------------------------------------------


def _dump_sqlite(url: URL, target: Path) -> str:
    path = Path(url.database or "")
    if not path.is_file():
        raise BackupError(f"there is no database at {path} yet")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=30)) as source:
        with closing(sqlite3.connect(target)) as copy:
            source.backup(copy)  # in one step: a reader of a WAL database neither waits for writers nor stops them
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
    return _check_sqlite(target)


def _check_sqlite(path: Path) -> str:
    """The schema's revision of a database that is sound. Raises BackupError."""
    try:
        with closing(sqlite3.connect(path)) as database:
            found = database.execute("PRAGMA integrity_check").fetchone()
            if found != ("ok",):
                raise BackupError(f"the database is damaged: {found[0]}")
            revision: tuple[str] | None = database.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"the database cannot be read: {error}") from None
    if revision is None:
        raise BackupError("the database is empty")
    return revision[0]


# -- PostgreSQL ------------------------------------------------------------------------------------------------------


def _tool(url: URL, *words: str) -> str:
    """Run a client program of PostgreSQL; the password goes through its environment, where `ps` does not show it."""
    address = url.set(drivername="postgresql", password=None).render_as_string()
    env = os.environ | {"PGOPTIONS": "-c lock_timeout=10s"} | ({"PGPASSWORD": str(url.password)} if url.password else {})
    try:
        done = subprocess.run([words[0], f"--dbname={address}", *words[1:]], env=env, capture_output=True, text=True)
    except FileNotFoundError:
        raise BackupError(f"{words[0]} is missing; install PostgreSQL's client programs") from None
    if done.returncode != 0:
        raise BackupError(f"{words[0]}: {done.stderr.strip()[-500:] or done.returncode}")
    return done.stdout


def _dump_postgres(url: URL, target: Path) -> str:
    revision = _tool(url, "psql", "--no-psqlrc", "-tA", "--command=SELECT version_num FROM alembic_version")
    _tool(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")
    return revision.strip()


def _restore_postgres(url: URL, dump: Path) -> None:
    script = dump.with_suffix(".sql")
    words = ["pg_restore", "--no-owner", "--no-privileges", f"--file={script}", str(dump)]
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except FileNotFoundError:
        raise BackupError("pg_restore is missing; install PostgreSQL's client programs") from None
    if done.returncode != 0:
        raise BackupError(f"pg_restore: {done.stderr.strip()[-500:]}")
    _tool(url, "psql", "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1",
          "--command=DROP SCHEMA public CASCADE", "--command=CREATE SCHEMA public", f"--file={script}")  # fmt: skip


# -- putting it in place ---------------------------------------------------------------------------------------------


def _unpack(source: Path, work: Path) -> Manifest:
    try:
        with tarfile.open(source) as tar:
            tar.extractall(work, filter="data")
        manifest = Manifest(**json.loads((work / MANIFEST).read_text(encoding="utf-8")))
        named = dict(manifest.files)
    except (tarfile.TarError, ValueError, TypeError, FileNotFoundError, EOFError) as error:
        raise BackupError(f"{source} is not a backup of Binnacle, or it is damaged ({error})") from None
    if manifest.format != FORMAT:
        raise BackupError(f"{source} has format {manifest.format}; this Binnacle reads {FORMAT}")
    there = {path.relative_to(work).as_posix() for path in work.rglob("*") if path.is_file()} - {MANIFEST}
    if there != set(named) or DATABASE.get(manifest.database) not in there:
        raise BackupError(f"{source} is damaged: it does not hold what it lists")
    for name, digest in named.items():
        if _digest(work / name) != digest:
            raise BackupError(f"{source} is damaged: {name} has changed")
    return manifest


def _swap_in(data: Path, database: Path | None, work: Path) -> Path | None:
    """Move what there was aside and what was unpacked into its place."""
    aside = data / f"{KEPT_BEFORE}{datetime.now(UTC).strftime('%Y%m%d-%H%M%S-%f')}"
    aside.mkdir(mode=0o700)
    (work / "data").mkdir(exist_ok=True)  # a backup of a directory that held nothing to keep
    fresh = sorted((work / "data").iterdir())
    old = [data / path.name for path in fresh]
    if database is not None:
        old += [database.with_name(database.name + end) for end in ("", "-wal", "-shm")]
    for path in dict.fromkeys([*old, *(data / name for name in OF_BEFORE)]):
        if path.exists():
            shutil.move(path, aside / path.name)
    for path in fresh:
        shutil.move(path, data / path.name)
    if database is not None:
        shutil.move(work / DATABASE["sqlite"], database)
        database.chmod(0o600)
    if any(aside.iterdir()):
        return aside
    aside.rmdir()
    return None
