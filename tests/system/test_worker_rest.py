"""The worker asks the database nothing as long as nothing can be to do: `app.changes.Watch`, `app.worker.Job`."""

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from app.changes import Watch
from app.clock import now
from app.worker import Job, _run_one


def test_a_watch_sees_each_commit_of_anybody_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE things (n INTEGER)")
        watch = Watch(path)
        before = watch.version()
        assert watch.version() == before
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO things VALUES (1)")
        assert watch.version() == before, "nothing is committed yet"
        connection.execute("COMMIT")
        assert (after := watch.version()) != before
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE things SET n = 2 WHERE n = 99")
        connection.execute("COMMIT")
        assert watch.version() == after, "a transaction that changed nothing"


def test_without_a_file_to_look_into_every_look_finds_a_change(tmp_path: Path) -> None:
    for watch in (Watch(None), Watch(tmp_path / "not there.db")):
        assert watch.version() != watch.version()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_rests_until_somebody_commits_or_its_moment_has_come(app: Flask) -> None:
    ran: list[int] = []
    moment = [now() + timedelta(hours=1)]
    job = Job("some job", 0, lambda: ran.append(1), lambda: moment[0])
    with app.app_context():
        for version in (7, 7, 7):
            _run_one(job, version)
        assert len(ran) == 1
        moment[0] = now()
        _run_one(job, 8)
        assert len(ran) == 2, "somebody has committed"
        _run_one(job, 8)
        assert len(ran) == 3, "its moment has come"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_that_failed_does_not_rest(app: Flask) -> None:
    ran: list[int] = []

    def fail() -> None:
        ran.append(1)
        raise RuntimeError("not this time")

    job = Job("some job", 0, fail, lambda: None)
    with app.app_context():
        _run_one(job, 7)
        _run_one(job, 7)
    assert len(ran) == 2
