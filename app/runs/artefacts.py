"""Artefacts: files that runs have made. The row is in the database, the bytes in `artefacts/<run>/<id>` of the data directory.

The file is written before the row is committed, and removed after the row: a file without a row is waste that retention removes.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import func, or_, select

from app.database import session
from app.errors import Invalid, NotFound
from app.runs.models import Run, RunArtefact
from app.runs.operations import version
from app.runs.queries import number_of

MAX_ARTEFACT = 100 << 20  # bytes
MAX_OF_RUN = 500 << 20
MAX_COUNT = 1_000
_CHUNK = 1 << 20
_AT_ONCE = 100  # terms of a query


def folder_of(root: Path, run_id: str) -> Path:
    """Where the artefacts of a run lie."""
    return root / "artefacts" / str(UUID(run_id))


def store(root: Path, run_id: str, step_id: int | None, name: str, data: bytes | Path, media_type: str) -> RunArtefact:
    """Keep bytes, or a copy of a file. `root` is the data directory. Raises Invalid past the limits."""
    query = select(func.count(), func.coalesce(func.sum(RunArtefact.size), 0)).where(RunArtefact.run_id == run_id)
    count, held = session().execute(query).one()
    size = len(data) if isinstance(data, bytes) else data.stat().st_size
    if size > MAX_ARTEFACT or held + size > MAX_OF_RUN or count >= MAX_COUNT:
        limits = f"a file has at most {MAX_ARTEFACT >> 20} MiB, those of a run {MAX_OF_RUN >> 20} MiB"
        raise Invalid(f"{name[:100]} is not kept: {limits}")
    artefact_id = str(uuid4())
    folder = folder_of(root, run_id)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, size = _write(folder / artefact_id, data)
    version()  # the list of its files has changed
    row = RunArtefact(id=artefact_id, run_id=run_id, step_id=step_id, name=_plain(name), media_type=media_type[:100],
                      size=size, sha256=digest)  # fmt: skip
    session().add(row)
    session().flush()
    return row


def _write(path: Path, data: bytes | Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for chunk in [data] if isinstance(data, bytes) else _chunks(data):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest(), size


def _chunks(path: Path) -> Iterable[bytes]:
    left = MAX_ARTEFACT  # a file that grows meanwhile is cut
    with path.open("rb") as file:
        while left and (chunk := file.read(min(_CHUNK, left))):
            left -= len(chunk)
            yield chunk


def _plain(name: str) -> str:
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(c if c.isprintable() and c not in '"<>|:*?' else "_" for c in base).strip(". ")
    return kept[-200:] or "file"


def of_run(run_id: str) -> list[RunArtefact]:
    """Those of a run, oldest first."""
    query = select(RunArtefact).where(RunArtefact.run_id == run_id).order_by(RunArtefact.created_at, RunArtefact.id)
    return list(session().scalars(query))


def versions(run_id: str) -> list[tuple[int, str, int]]:
    """(number, public id, version) of those of a run, oldest first. They never change."""
    query = select(RunArtefact.id).where(RunArtefact.run_id == run_id).order_by(RunArtefact.created_at, RunArtefact.id)
    return [(number_of(found), f"file-{found}", 1) for found in session().scalars(query)]


def by_numbers(numbers: Sequence[int]) -> dict[int, RunArtefact]:
    """Artefacts by number."""
    found: dict[int, RunArtefact] = {}
    for at in range(0, len(numbers), _AT_ONCE):
        begin = [_beginning(number) for number in numbers[at : at + _AT_ONCE]]
        query = select(RunArtefact).where(or_(*(RunArtefact.id.between(text, f"{text}g") for text in begin)))
        found |= {number_of(row.id): row for row in session().scalars(query)}
    return found


def _beginning(number: int) -> str:
    """How an id begins that has this number (`number_of`)."""
    digits = f"{number:015x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:]}"


def get(run: Run, artefact_id: str) -> RunArtefact:
    """One of a run. Raises NotFound."""
    row: RunArtefact | None = session().get(RunArtefact, artefact_id.lower())
    if row is None or row.run_id != run.id:
        raise NotFound("Artefact not found")
    return row


def remove_folders(root: Path, run_ids: Iterable[str]) -> None:
    """Remove the files of runs that are gone."""
    for run_id in run_ids:
        shutil.rmtree(folder_of(root, run_id), ignore_errors=True)


def orphans(root: Path, limit: int = 1_000) -> list[str]:
    """Run ids that have a folder and no row."""
    try:
        names = [entry.name for entry in os.scandir(root / "artefacts") if _is_id(entry.name)][:limit]
    except FileNotFoundError:
        return []
    known = set(session().scalars(select(Run.id).where(Run.id.in_(names))))
    return [name for name in names if name not in known]


def _is_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
