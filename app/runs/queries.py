"""What can be asked about runs."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from cachetools import TTLCache
from sqlalchemy import Select, func, or_, select

from app.actors import Actor
from app.database import contains, session
from app.errors import NotFound
from app.runs.models import OPEN, Run, RunLog, RunStatus, RunStep

Scope = frozenset[str] | None


@dataclass(frozen=True)
class RunFilter:
    """Which runs. `status` is a run's, or `open`; `computer` a computer's public id; `q` text in title or the person's name."""

    scope: Scope = None
    tenant: str = ""
    status: str = ""
    kind: str = ""
    computer: str = ""
    q: str = ""


def _where(base: Select[Any], wanted: RunFilter) -> Select[Any]:
    query = base
    steps = select(RunStep.run_id)
    if wanted.scope is not None:  # every step's tenant must be seen: a run over several tenants is for those who see them all
        hidden = steps.where(RunStep.tenant_id.is_not(None), RunStep.tenant_id.not_in(wanted.scope))
        query = query.where(Run.id.not_in(hidden), or_(Run.tenant_id.is_(None), Run.tenant_id.in_(wanted.scope)))
    if wanted.tenant:
        query = query.where(Run.id.in_(steps.where(RunStep.tenant_id == wanted.tenant)))
    if wanted.status == "open":
        query = query.where(Run.status.in_(OPEN))
    elif wanted.status:
        query = query.where(Run.status == wanted.status)
    if wanted.kind:
        query = query.where(Run.kind == wanted.kind)
    if wanted.computer:
        query = query.where(Run.id.in_(steps.where(RunStep.computer_uuid == wanted.computer)))
    for word in wanted.q.split():
        query = query.where(or_(contains(Run.title, word), contains(Run.actor_name, word), Run.id == word.lower()))
    return query


def versions(wanted: RunFilter, limit: int, offset: int) -> list[tuple[int, str, int]]:
    """(row number, public id, version) of one page, newest first. Live lists key rows by number; a run has the hash of its id."""
    columns: Any = select(Run.id, Run.version)
    rows = session().execute(_where(columns, wanted).order_by(Run.created_at.desc(), Run.id).limit(limit).offset(offset))
    return [(number_of(row[0]), row[0], row[1]) for row in rows]


def number_of(run_id: str) -> int:
    """A run's id as the 63-bit number that live lists key rows by."""
    return int(run_id.replace("-", "")[:15], 16)


def version_of(run_id: str, scope: Scope) -> list[tuple[int, str, int]]:
    """The same for one run; empty when it is gone or out of scope."""
    columns: Any = select(Run.id, Run.version)
    rows = session().execute(_where(columns, RunFilter(scope=scope)).where(Run.id == run_id))
    return [(number_of(row[0]), row[0], row[1]) for row in rows]


def by_ids(ids: Iterable[str]) -> dict[str, Run]:
    """Runs by id."""
    wanted = list(ids)
    return {row.id: row for row in session().scalars(select(Run).where(Run.id.in_(wanted)))} if wanted else {}


def count_runs(wanted: RunFilter) -> int:
    """How many match."""
    return int(session().scalar(_where(select(func.count(Run.id)), wanted)) or 0)


_counts: TTLCache[RunFilter, dict[str, int]] = TTLCache(maxsize=512, ttl=1)


def status_counts(wanted: RunFilter, *, fresh: bool = False) -> dict[str, int]:
    """Runs by status, with `total` and `open`, of all that match apart from the status filter; at most 1 s old."""
    wanted = replace(wanted, status="")
    known = None if fresh else _counts.get(wanted)
    if known is None:
        columns: Any = select(Run.status, func.count(Run.id))
        found = {status.value: n for status, n in session().execute(_where(columns, wanted).group_by(Run.status))}
        known = {status.value: found.get(status.value, 0) for status in RunStatus}
        known |= {"total": sum(known.values()), "open": sum(known[status.value] for status in OPEN)}
        _counts[wanted] = known
    return known


def forget_counts() -> None:
    """Make this process count anew."""
    _counts.clear()


def get_run(run_id: str, actor: Actor) -> Run:
    """One run. Raises NotFound when there is none, or one that the actor may not see whole."""
    query: Any = select(Run).where(Run.id == run_id.lower())
    row: Run | None = session().scalar(_where(query, RunFilter(scope=actor.tenant_ids)))
    if row is None:
        raise NotFound("Run not found")
    return row


def steps_of(run_id: str) -> list[RunStep]:
    """The steps of a run in order."""
    return list(session().scalars(select(RunStep).where(RunStep.run_id == run_id).order_by(RunStep.position)))


def get_step(run_id: str, position: int) -> RunStep:
    """One step. Raises NotFound."""
    row: RunStep | None = session().scalar(select(RunStep).where(RunStep.run_id == run_id, RunStep.position == position))
    if row is None:
        raise NotFound("Step not found")
    return row


def log_after(run_id: str, after: int, limit: int, step_id: int | None = None) -> list[RunLog]:
    """Pieces of output past an id, in the order in which they came."""
    query = select(RunLog).where(RunLog.run_id == run_id, RunLog.id > after)
    if step_id is not None:
        query = query.where(RunLog.step_id == step_id)
    return list(session().scalars(query.order_by(RunLog.id).limit(limit)))


def log_tail(run_id: str, limit: int, step_id: int | None = None) -> list[RunLog]:
    """The last pieces of output, in order."""
    query = select(RunLog).where(RunLog.run_id == run_id)
    if step_id is not None:
        query = query.where(RunLog.step_id == step_id)
    return list(session().scalars(query.order_by(RunLog.id.desc()).limit(limit)))[::-1]


def output_of(step: RunStep, limit: int = 5 << 20) -> dict[str, str]:
    """`stdout`, `stderr` and `output` (both as they came) of a step; about `limit` characters, the oldest left out."""
    pieces: list[tuple[str, str]] = []
    size = 0
    query = select(RunLog.stream, RunLog.text).where(RunLog.step_id == step.id).order_by(RunLog.seq.desc())
    for stream, text in session().execute(query):
        pieces.append((stream, text))
        size += len(text)
        if size > limit:
            break
    pieces.reverse()
    texts = {name: "".join(text for stream, text in pieces if stream == name) for name in ("stdout", "stderr")}
    return texts | {"output": "".join(text for stream, text in pieces if stream != "system")}
