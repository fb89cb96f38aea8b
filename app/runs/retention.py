"""The end of runs: deleted by people, or by the worker when they are old; with their steps, output and artefacts."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select

from app.actors import SYSTEM, Actor
from app.clock import now
from app.database import on_commit, reading, session, unit_of_work
from app.errors import Conflict
from app.journal.operations import Happening, record, record_all
from app.runs import artefacts
from app.runs.models import Run, RunLog
from app.runs.operations import subject_of, version
from app.runs.queries import forget_counts

BATCH = 50
LOGS = 5_000  # pieces of output that one transaction removes
MAX_BATCHES = 400  # a time; the next one goes on


def delete_runs(runs: Iterable[Run], root: Path, *, actor: Actor) -> int:
    """Delete runs that have ended, for good. `root` is the data directory. Raises Conflict when one has not ended."""
    version()
    chosen = list(runs)
    for run in chosen:
        session().refresh(run, with_for_update=True)
        if run.is_open:
            raise Conflict("A run that has not ended cannot be deleted; cancel it first")
    record_all([Happening(f"{run.kind}.deleted", actor, subject_of(run), {"status": run.status.value}) for run in chosen])
    ids = [run.id for run in chosen]
    _delete(ids)
    on_commit(lambda: artefacts.remove_folders(root, ids))
    return len(ids)


def _delete(ids: list[str]) -> None:
    session().execute(delete(Run).where(Run.id.in_(ids)), execution_options={"synchronize_session": False})
    session().expire_all()
    forget_counts()


def retain(kept: timedelta, root: Path) -> int:
    """Remove runs that ended longer ago, in small transactions; returns how many."""
    gone = 0
    before = now() - kept
    for _ in range(MAX_BATCHES):
        with reading():
            ids = list(session().scalars(select(Run.id).where(Run.finished_at < before).order_by(Run.finished_at).limit(BATCH)))
        if not ids:
            break
        _remove_logs(ids)
        with unit_of_work(power_safe=False):
            version()
            _delete(ids)
        artefacts.remove_folders(root, ids)
        gone += len(ids)
    with reading():
        orphans = artefacts.orphans(root)
    artefacts.remove_folders(root, orphans)
    if gone:
        with unit_of_work():
            record("runs.purged", SYSTEM, None, runs=gone, runs_days=kept.days)
    return gone


def _remove_logs(ids: list[str]) -> None:
    """Output first: one run may hold 50 MiB of it, and nobody shall wait for a transaction that removes so much."""
    table: Any = RunLog.__table__
    while True:
        some = select(table.c.id).where(table.c.run_id.in_(ids)).limit(LOGS)
        with unit_of_work(power_safe=False):
            if session().execute(delete(table).where(table.c.id.in_(some))).rowcount < LOGS:
                return
