"""Output: stored as it comes, numbered by line, with the run's secrets masked on the way in, and capped."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from cachetools import LRUCache
from sqlalchemy import select

from app.bulk_sql import BulkInsert
from app.clock import now
from app.database import session
from app.runs.masking import Masker
from app.runs.models import Run, RunLog, RunStep
from app.vault import Vault, VaultError

MAX_LOG_BYTES = 50 << 20  # a step; more is counted and dropped
_TRUNCATED = "… the output went on; the rest was not kept\n"
_insert_log = BulkInsert(RunLog.__table__, ("run_id", "step_id", "seq", "at", "stream", "text", "line", "joined"))
_maskers: LRUCache[str, Masker | None] = LRUCache(maxsize=2_000)


@dataclass(frozen=True)
class Piece:
    """A piece of output; `seq` counts per step from 1."""

    seq: int
    stream: str
    text: str


def seal(secrets: Mapping[str, str], vault: Vault) -> str | None:
    """Secrets by name as they are stored; None when there are none."""
    return vault.encrypt(orjson.dumps(dict(secrets)).decode()) if secrets else None


def secrets_of(run: Run, vault: Vault) -> dict[str, str]:
    """A run's secrets by name. Raises VaultError."""
    return orjson.loads(vault.decrypt(run.secrets)) if run.secrets else {}


def secret_names(run: Run, vault: Vault) -> list[str]:
    """The names of a run's secrets; none when they cannot be read."""
    try:
        return sorted(secrets_of(run, vault))
    except VaultError:
        return []


def masker_of(run_id: str, vault: Vault) -> Masker | None:
    """What masks the output of a run; None when it has no secrets. Raises VaultError."""
    if run_id not in _maskers:
        sealed = session().scalar(select(Run.secrets).where(Run.id == run_id))
        _maskers[run_id] = Masker(orjson.loads(vault.decrypt(sealed)).values()) if sealed else None
    return _maskers[run_id]


def forget_maskers() -> None:
    """Read secrets anew (tests)."""
    _maskers.clear()


def masked(run_id: str, text: str | None, vault: Vault) -> str | None:
    """A whole text without the run's secrets. Nothing at all when they cannot be read."""
    try:
        masker = masker_of(run_id, vault)
    except VaultError:
        return None
    return masker.mask(text) if masker and text else text


def masked_result(run_id: str, result: Mapping[str, Any] | None, vault: Vault) -> dict[str, Any] | None:
    """What a kind keeps of a step, without the run's secrets: it is masked value by value, so that it stays the JSON that it was.
    The names of its fields are the kind's own. Nothing at all when the secrets cannot be read."""
    if result is None:
        return None
    try:
        masker = masker_of(run_id, vault)
    except VaultError:
        return None
    return {name: masker.mask_json(value) if masker else value for name, value in result.items()}


def append(step: RunStep, pieces: Iterable[Piece], vault: Vault | None = None) -> int:
    """Store output that follows on from what is there; pieces that are known are left out. Returns the highest seq now.

    Past MAX_LOG_BYTES output is counted and dropped, which a last piece of the stream `system` says. Raises VaultError when the
    run has secrets that cannot be read.
    """
    rows: list[tuple[Any, ...]] = []
    masker = masker_of(step.run_id, vault) if vault is not None else None
    held = _held(step, vault) if masker else {}
    for piece in sorted(pieces, key=lambda piece: piece.seq):
        if piece.seq <= step.log_seq:
            continue
        text = piece.text
        if masker:
            text, held[piece.stream] = masker.feed(held.get(piece.stream, ""), text)
        step.log_seq = piece.seq
        _add(rows, step, piece.seq, piece.stream, text)
    if masker and vault is not None:
        _hold(step, held, vault)
    _insert_log(session().connection(), rows)
    return step.log_seq


def add_lines(step: RunStep, stream: str, text: str, vault: Vault | None = None) -> None:
    """Store output that has no number yet."""
    append(step, [Piece(step.log_seq + 1, stream, text)], vault)


def flush(step: RunStep, vault: Vault | None) -> None:
    """The output has ended: store what was held back because it might have been the beginning of a secret."""
    if step.held is None or vault is None:
        return
    rows: list[tuple[Any, ...]] = []
    masker = masker_of(step.run_id, vault)
    for stream, text in _held(step, vault).items():
        if masker and text:
            step.log_seq += 1
            _add(rows, step, step.log_seq, stream, masker.flush(text))
    step.held = None
    _insert_log(session().connection(), rows)


def _add(rows: list[tuple[Any, ...]], step: RunStep, seq: int, stream: str, text: str) -> None:
    if not text:
        return
    size = len(text.encode())
    if step.log_bytes + size > MAX_LOG_BYTES:
        if not step.dropped_bytes:
            rows.append(_row(step, seq, "system", _TRUNCATED))
        step.dropped_bytes += size
    else:
        rows.append(_row(step, seq, stream, text))
    step.log_bytes += size


def _row(step: RunStep, seq: int, stream: str, text: str) -> tuple[Any, ...]:
    """A row of run_logs; `runs/terminal.py` splits lines by the same rule."""
    going_on = set(step.log_open.split(",")) - {""}
    before, joined = step.log_lines, stream in going_on
    whole = text.endswith("\n")
    step.log_lines += text.count("\n") + (not whole) - joined
    step.log_open = ",".join(sorted(going_on - {stream} if whole else going_on | {stream}))
    return step.run_id, step.id, seq, now(), stream, text, before, joined


def _held(step: RunStep, vault: Vault | None) -> dict[str, str]:
    return orjson.loads(vault.decrypt(step.held)) if step.held and vault is not None else {}


def _hold(step: RunStep, held: dict[str, str], vault: Vault) -> None:
    kept = {stream: text for stream, text in held.items() if text}
    step.held = vault.encrypt(orjson.dumps(kept).decode()) if kept else None
