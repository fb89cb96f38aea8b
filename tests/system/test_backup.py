"""RELIABILITY 28: backups are taken online and are exact; the drill. And what `restore` refuses."""

import json
import sqlite3
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import port_open
from flask import Flask
from serving import POSTGRES, ROOT, Server

from app.auth.authenticator import from_secret
from app.backup import BackupError, make, restore
from app.config import Settings, load_settings
from app.system import bootstrap

PUSH = {"cpu_percent": 1.0, "memory_percent": 2.0}


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One to be stopped, spoilt and restored."""
    if request.param == "postgresql" and not port_open(5432):
        pytest.skip("no PostgreSQL on 127.0.0.1:5432")
    made = Server(request.param)
    yield made
    made.stop()


def tables(server: Server) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    if server.database_name is None:
        with closing(sqlite3.connect(server.data / "binnacle.db")) as database:
            found = database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            ).fetchall()
            return {name: sorted(database.execute(f'SELECT * FROM "{name}"'), key=repr) for (name,) in found}
    with psycopg.connect(f"{POSTGRES}/{server.database_name}") as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return {name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr) for (name,) in rows}


def moment(stamp: str) -> int:
    """A time as samples keep it: milliseconds since 1970."""
    return round(datetime.fromisoformat(stamp).timestamp() * 1000)


def run(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    """A command that may fail."""
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *words], cwd=ROOT, env=server.env, capture_output=True, text=True, timeout=60
    )


def test_the_drill(server: Server, tmp_path: Path) -> None:
    """A backup under load, a disaster, a restore: whatever was acknowledged before the backup began is there, to the row."""
    uuid, key = server.computer("kept")
    (server.data / "playbooks").mkdir()
    (server.data / "playbooks" / "one.yaml").write_text("name: One")
    acknowledged: list[str] = []
    over, file = threading.Event(), tmp_path / "backup.tar"

    def push() -> None:
        while not over.is_set():
            answer = server.http.post("/api/v1/metrics", json=PUSH, headers={"X-API-Key": key})
            if answer.status_code == 201:
                acknowledged.append(answer.json()["timestamp"])

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        while len(acknowledged) < 20:
            over.wait(0.01)
        before = list(acknowledged)
        server.command("backup", str(file))
        assert len(acknowledged) > len(before), "samples went on being stored meanwhile"
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert file.stat().st_mode & 0o777 == 0o600
    refused = run(server, "restore", str(file), "--yes")
    assert refused.returncode == 1
    assert "stop Binnacle first" in refused.stderr
    assert server.http.delete(f"/api/v1/servers/{uuid}").status_code == 204
    server.kill_web()
    (server.data / "playbooks" / "one.yaml").unlink()
    assert "Restored" in server.command("restore", str(file), "--yes")
    assert (server.data / "playbooks" / "one.yaml").read_text() == "name: One"

    first = tables(server)
    assert {moment(stamp) for stamp in before} <= {row[1] for row in first["samples"]}, "acknowledged, and lost"
    settings = load_settings(DATABASE_URL=server.env.get("DATABASE_URL"), BINNACLE_DATA_DIR=server.data)
    make(settings, tmp_path / "second.tar")
    restore(settings, tmp_path / "second.tar")
    assert tables(server) == first, "exact"

    server.start()
    assert server.http.get(f"/api/v1/servers/{uuid}").status_code == 200
    assert server.http.post("/api/v1/metrics", json=PUSH, headers={"X-API-Key": key}).status_code == 201
    assert "is whole" in server.sign_in().get("/settings/audit?verify=1").text


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    """A small installation that was never started."""
    made = load_settings(BINNACLE_DATA_DIR=tmp_path / "data")
    with closing(sqlite3.connect(made.data_dir / "binnacle.db")) as database:
        database.executescript("CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('0001')")
        database.execute("CREATE TABLE t (x TEXT)")
    return made


def test_a_backup_holds_what_it_lists_and_the_secret_unless_it_is_left_out(settings: Any, tmp_path: Path) -> None:
    (settings.data_dir / "connector.json").write_text("{}")
    (settings.data_dir / "setup-token").write_text("one-time")
    for with_secret in (True, False):
        target = tmp_path / f"{with_secret}.tar"
        make(settings, target, with_secret=with_secret)
        with tarfile.open(target) as tar:
            names = set(tar.getnames())
        assert names == {"manifest.json", "database.sqlite"} | (
            {"data/secret-key", "data/connector.json"} if with_secret else set()
        )
    with pytest.raises(BackupError, match="exists already"):
        make(settings, target)


def pack(folder: Path, target: Path) -> None:
    with tarfile.open(target, "w") as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                tar.add(path, path.relative_to(folder).as_posix())


MANIFESTS: dict[str, dict[str, Any]] = {
    "newer": {"revision": "9999"},
    "other database": {"database": "postgresql"},
    "format": {"format": 2},
}


@pytest.mark.parametrize("fault", ["not a tar", "cut", "changed", "missing", "extra", *MANIFESTS])
def test_a_backup_that_is_not_whole_changes_nothing(settings: Any, tmp_path: Path, fault: str) -> None:
    source, spoilt, folder = tmp_path / "good.tar", tmp_path / "spoilt.tar", tmp_path / "unpacked"
    make(settings, source)
    before = (settings.data_dir / "binnacle.db").read_bytes()
    with tarfile.open(source) as tar:
        tar.extractall(folder, filter="data")
    manifest = json.loads((folder / "manifest.json").read_text()) | MANIFESTS.get(fault, {})
    (folder / "manifest.json").write_text(json.dumps(manifest))
    if fault == "changed":
        (folder / "data" / "secret-key").write_text("x" * 64)
    elif fault == "missing":
        (folder / "data" / "secret-key").unlink()
    elif fault == "extra":
        (folder / "data" / "more").write_text("x")
    pack(folder, spoilt)
    if fault == "not a tar":
        spoilt.write_bytes(b"hello")
    elif fault == "cut":
        spoilt.write_bytes(source.read_bytes()[:3000])
    with pytest.raises(BackupError):
        restore(settings, spoilt)
    assert (settings.data_dir / "binnacle.db").read_bytes() == before
    assert sorted(path.name for path in settings.data_dir.iterdir()) == ["binnacle.db", "secret-key"]


def test_a_name_that_leads_out_of_the_folder_is_refused(settings: Any, tmp_path: Path) -> None:
    evil = tmp_path / "evil.tar"
    with tarfile.open(evil, "w") as tar:
        tar.add(settings.data_dir / "secret-key", "../../escaped")
    with pytest.raises(BackupError):
        restore(settings, evil)
    assert not list(tmp_path.rglob("escaped"))


def test_what_was_there_before_a_restore_is_kept_aside(settings: Any, tmp_path: Path) -> None:
    make(settings, tmp_path / "good.tar")
    with closing(sqlite3.connect(settings.data_dir / "binnacle.db")) as database:
        database.execute("INSERT INTO t VALUES ('later')")
        database.commit()
    _, aside = restore(settings, tmp_path / "good.tar")
    assert aside is not None
    places: list[tuple[Path, list[Any]]] = [(settings.data_dir / "binnacle.db", []), (aside / "binnacle.db", [("later",)])]
    for path, rows in places:
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("SELECT x FROM t").fetchall() == rows


# -- whose computer it is --------------------------------------------------------------------------------------------


@pytest.fixture
def enrolled(app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Settings, Path]]:
    """A machine that is enrolled; (settings, the file that holds its machine's id)."""
    machine = tmp_path / "machine-id"
    machine.write_text("of-this-one\n")
    monkeypatch.setattr(bootstrap, "MACHINE_IDS", (tmp_path / "none", machine))
    settings = load_settings(BINNACLE_DATA_DIR=tmp_path / "data")
    with app.app_context():
        bootstrap.local_connector(settings)
        yield settings, machine


def identity(settings: Settings) -> tuple[str, str]:
    """This machine's computer and its connector's key."""
    label = (settings.data_dir / "this-computer").read_text().split()
    return label[0], json.loads((settings.data_dir / "connector.json").read_text())["key"]


def start(settings: Settings) -> bool:
    left = bootstrap.leave_other_machine(settings)
    bootstrap.local_connector(settings)
    return left


def test_on_the_same_machine_the_connector_goes_on_as_the_computer_that_it_was(enrolled: tuple[Settings, Path]) -> None:
    settings, machine = enrolled
    before = identity(settings)
    assert not start(settings) and identity(settings) == before
    (settings.data_dir / "this-computer").write_text(before[0])
    assert not start(settings) and identity(settings) == before, "of a version that did not note the machine"
    assert machine.read_text().strip() not in (settings.data_dir / "this-computer").read_text(), "the id itself stays here"
    (settings.data_dir / "connector.json").unlink()
    assert not start(settings) and identity(settings)[0] == before[0], "from a backup without secrets: a new key"
    assert identity(settings)[1] != before[1]


def test_on_another_machine_it_is_enrolled_as_itself(enrolled: tuple[Settings, Path]) -> None:
    settings, machine = enrolled
    before = identity(settings)
    (settings.data_dir / "connector").mkdir()
    machine.write_text("of-another-one\n")
    assert start(settings)
    after = identity(settings)
    assert after[0] != before[0] and after[1] != before[1]
    assert not (settings.data_dir / "connector").exists(), "what it had not sent yet is not of this machine"
    assert from_secret(before[1]).computer_uuid == before[0], "the old computer is in the fleet, and its key still its own"
    machine.write_text("")
    assert not start(settings) and identity(settings) == after, "where machines have no ids nothing is guessed"


def test_what_a_restore_replaces_takes_the_identity_with_it(settings: Any, tmp_path: Path) -> None:
    make(settings, tmp_path / "good.tar")
    for name in ("connector.json", "this-computer"):
        (settings.data_dir / name).write_text("of the database of before")
    _, aside = restore(settings, tmp_path / "good.tar")
    assert aside is not None and (aside / "this-computer").exists() and (aside / "connector.json").exists()
    assert not (settings.data_dir / "this-computer").exists() and not (settings.data_dir / "connector.json").exists()


def test_a_backup_is_restored_into_an_empty_directory(settings: Any, tmp_path: Path) -> None:
    make(settings, tmp_path / "good.tar", with_secret=False)
    empty = load_settings(BINNACLE_DATA_DIR=tmp_path / "empty", SECRET_KEY="x" * 40)
    assert list(empty.data_dir.iterdir()) == []
    _, aside = restore(empty, tmp_path / "good.tar")
    assert aside is None
    assert [path.name for path in empty.data_dir.iterdir()] == ["binnacle.db"]
