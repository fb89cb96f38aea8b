"""What can be asked about runs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cachetools import TTLCache
from sqlalchemy import Select, func, or_, select

from app.actors import Actor
from app.database import contains, session
from app.errors import NotFound
from app.runs.models import OPEN, Run, RunLog, RunStatus, RunStep, StepStatus
from app.runs.terminal import Piece

Scope = frozenset[str] | None
TAIL_PIECES = 100


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


_SORTS: dict[str, Any] = {
    "created": Run.created_at,
    "title": Run.title,
    "status": Run.status,
    "who": Run.actor_name,
    "kind": Run.kind,
}
SORT_KEYS = tuple(_SORTS)


def _ordered(query: Select[Any], sort: str) -> Select[Any]:
    column = _SORTS[sort.removeprefix("-")]
    return query.order_by(column.desc() if sort.startswith("-") else column.asc(), Run.created_at.desc(), Run.id)


def versions(wanted: RunFilter, limit: int, offset: int, sort: str = "-created") -> list[tuple[int, str, int]]:
    """(number, public id, version) of one page, newest first unless something else is said."""
    columns: Any = select(Run.number, Run.id, Run.version)
    rows = session().execute(_ordered(_where(columns, wanted), sort).limit(limit).offset(offset))
    return [(row[0], row[1], row[2]) for row in rows]


def ids_of(wanted: RunFilter) -> list[str]:
    """The ids of all that match, newest first."""
    return list(session().scalars(_ordered(_where(select(Run.id), wanted), "-created")))


def visible_ids(ids: Iterable[str], scope: Scope) -> list[str]:
    """Those of the ids that exist within the scope, newest first."""
    query = _where(select(Run.id), RunFilter(scope=scope)).where(Run.id.in_([i.lower() for i in ids]))
    return list(session().scalars(_ordered(query, "-created")))


def each(wanted: RunFilter, sort: str = "-created", chunk: int = 500) -> Iterator[Run]:
    """All that match, in order, fetched in chunks."""
    ids = list(session().scalars(_ordered(_where(select(Run.id), wanted), sort)))
    for start in range(0, len(ids), chunk):
        found = by_ids(ids[start : start + chunk])
        yield from (found[i] for i in ids[start : start + chunk] if i in found)
        session().expunge_all()


def number_of(run_id: str) -> int:
    """A run's id as the 63-bit number that live lists key rows by."""
    return int(run_id.replace("-", "")[:15], 16)


def version_of(run_id: str, scope: Scope) -> list[tuple[int, str, int]]:
    """The same for one run; empty when it is gone or out of scope."""
    columns: Any = select(Run.number, Run.id, Run.version)
    rows = session().execute(_where(columns, RunFilter(scope=scope)).where(Run.id == run_id))
    return [(row[0], row[1], row[2]) for row in rows]


def by_ids(ids: Iterable[str]) -> dict[str, Run]:
    """Runs by id."""
    wanted = list(ids)
    return {row.id: row for row in session().scalars(select(Run).where(Run.id.in_(wanted)))} if wanted else {}


def by_numbers(numbers: Iterable[int]) -> dict[int, Run]:
    """Runs by number."""
    wanted = list(numbers)
    return {row.number: row for row in session().scalars(select(Run).where(Run.number.in_(wanted)))} if wanted else {}


def first_targets(run_ids: Iterable[str]) -> dict[str, RunStep]:
    """Run id → its first step, for what a row says of its targets."""
    query = select(RunStep).where(RunStep.run_id.in_(list(run_ids)), RunStep.position == 0)
    return {step.run_id: step for step in session().scalars(query)}


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


def ended_since(scope: Scope, moment: datetime) -> dict[str, int]:
    """How many have ended since then, by status; statuses that none has are left out."""
    columns: Any = select(Run.status, func.count(Run.id))
    found = _where(columns, RunFilter(scope=scope)).where(Run.finished_at >= moment).group_by(Run.status)
    return {status.value: n for status, n in session().execute(found)}


_open: TTLCache[Scope, int] = TTLCache(maxsize=256, ttl=1)


def open_count(scope: Scope) -> int:
    """How many have not ended; at most 1 s old."""
    known = _open.get(scope)
    if known is None:
        known = _open[scope] = count_runs(RunFilter(scope=scope, status="open"))
    return known


def forget_counts() -> None:
    """Make this process count anew."""
    _counts.clear()
    _open.clear()


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
    query = select(RunStep).where(RunStep.run_id == run_id, RunStep.position == position)
    row: RunStep | None = session().scalar(query) if 0 <= position < 2**31 else None
    if row is None:
        raise NotFound("Step not found")
    return row


def _steps(run_id: str, status: str, columns: Any) -> Select[Any]:
    query: Select[Any] = columns.where(RunStep.run_id == run_id)
    return query.where(RunStep.status == status) if status else query


def step_versions(run_id: str, status: str, limit: int, offset: int) -> list[tuple[int, str, int]]:
    """(id, `step-<position>`, version) of one page of a run's steps; `status` narrows them."""
    query = _steps(run_id, status, select(RunStep.id, RunStep.position, RunStep.version)).order_by(RunStep.position)
    return [(row[0], f"step-{row[1]}", row[2]) for row in session().execute(query.limit(limit).offset(offset))]


def step_counts(run_id: str) -> dict[str, int]:
    """A run's steps by status, with `total`."""
    query = _steps(run_id, "", select(RunStep.status, func.count())).group_by(RunStep.status)
    found: dict[str, int] = {status.value: n for status, n in session().execute(query)}
    return {status.value: found.get(status.value, 0) for status in StepStatus} | {"total": sum(found.values())}


def steps_by_ids(ids: Iterable[int]) -> dict[int, RunStep]:
    """Steps by id."""
    return {step.id: step for step in session().scalars(select(RunStep).where(RunStep.id.in_(list(ids))))}


def interesting_step(run_id: str) -> int:
    """The position of the step whose output somebody wants to see first: one that failed, best one that has printed something;
    else the one that a worker executes or has executed last, else the first computer that has begun, else the first."""
    begun, failed = RunStep.started_at.is_not(None), RunStep.status == StepStatus.FAILED
    first, last = func.min(RunStep.position), func.max(RunStep.position)
    for position, those in (
        (first, failed & (RunStep.log_bytes > 0)), (first, failed), (last, begun & RunStep.dispatch.is_(None)), (first, begun)
    ):  # fmt: skip
        found = session().scalar(select(position).where(RunStep.run_id == run_id, those))
        if found is not None:
            return int(found)
    return 0


_PIECE = (RunLog.seq, RunLog.stream, RunLog.text, RunLog.line, RunLog.joined, RunLog.at)


def output_after(step_id: int, seq: int, limit: int) -> list[Piece]:
    """A step's pieces past a seq, in order."""
    query = select(*_PIECE).where(RunLog.step_id == step_id, RunLog.seq > seq)
    return [Piece(*row) for row in session().execute(query.order_by(RunLog.seq).limit(limit))]


def seq_of_line(step: RunStep, line: int) -> int:
    """The seq of the piece in which a line begins: the last one before which fewer lines were begun. 0 when there is none."""
    low, high = 0, step.log_seq
    while low < high:  # both rise together, so a few questions find it among any number of pieces
        middle = (low + high + 1) // 2
        query = select(RunLog.line).where(RunLog.step_id == step.id, RunLog.seq >= middle).order_by(RunLog.seq).limit(1)
        begun = session().scalar(query)
        low, high = (middle, high) if begun is not None and begun < line else (low, middle - 1)
    return low


def output_tail(step_id: int, lines: int, characters: int, upto: int | None = None) -> tuple[list[Piece], bool]:
    """The last pieces of a step (up to a seq) that hold so many lines or characters, in order, and whether there is more before
    them."""
    pieces: list[Piece] = []
    held = size = 0
    query = select(*_PIECE).where(RunLog.step_id == step_id).order_by(RunLog.seq.desc())
    query = query if upto is None else query.where(RunLog.seq <= upto)
    with session().execute(query.execution_options(yield_per=TAIL_PIECES)) as found:
        for row in found:
            pieces.append(Piece(*row))
            held, size = held + row.text.count("\n"), size + len(row.text)
            if held > lines or size > characters:
                break
    return pieces[::-1], bool(pieces) and (pieces[-1].line > 0 or (pieces[-1].seq > 1 and pieces[-1].joined))


def log_after(run_id: str, after: int, limit: int, step_id: int | None = None) -> list[RunLog]:
    """Pieces of output past an id, in the order in which they came."""
    query = select(RunLog).where(RunLog.run_id == run_id, RunLog.id > after)
    if step_id is not None:
        query = query.where(RunLog.step_id == step_id)
    return list(session().scalars(query.order_by(RunLog.id).limit(limit)))


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
