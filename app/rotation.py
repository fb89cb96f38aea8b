"""`binnacle secrets rotate` (RELIABILITY 20): everything that is sealed, encrypted anew under the present SECRET_KEY.

A sealed text is found by its form, in any column of text or JSON: a new one needs no entry in a list that somebody could forget.
What depends on the key in another way, such as keyed hashes, is made anew by the rooms (`app.vault.made_anew`).
"""

import re
import secrets
from collections import Counter
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, String, Table, Text, cast, select, update

from app.actors import SYSTEM
from app.database import Base, session, unit_of_work
from app.files import write_private
from app.journal.operations import Subject, record
from app.vault import Vault, VaultError, made_anew

TOKEN = re.compile(r"gAAAA[A-Za-z0-9_-]{60,}={0,2}")  # Fernet: version 0x80, then a time that begins with zeros
NEVER_SEALED = ("journal", "samples")  # entries are chained by their hashes and hold no secret; samples are many and hold figures


def next_secret(path: Path) -> tuple[str, str]:
    """Put a fresh secret into the file of local mode and keep the one before beside it: (new, old).

    A rotation that did not come to its end is taken up again, with the secrets that it had."""
    before = path.with_name(f"{path.name}.previous")
    if not before.exists():
        write_private(before, path.read_text(encoding="utf-8").strip())
    old, new = (one.read_text(encoding="utf-8").strip() for one in (before, path))
    if new == old:
        new = secrets.token_urlsafe(48)
        write_private(path, new)
    return new, old


def rotate(vault: Vault) -> Counter[str]:
    """`reseal` in a unit of work of its own, with an entry in the journal. Needs an app context."""
    with unit_of_work():
        counted = reseal(vault)
        record("system.secret_rotated", SYSTEM, Subject("system", "secret", "SECRET_KEY"), **counted)
    return counted


def reseal(vault: Vault) -> Counter[str]:
    """Encrypt everything anew under the first secret of `vault`, in the caller's unit of work.

    Counts what was `resealed` and what is `unreadable`: sealed under a secret that is not there, or it only looks sealed; that is
    left as it is."""
    counted: Counter[str] = Counter()
    for table in Base.metadata.sorted_tables:
        if table.name not in NEVER_SEALED:
            _reseal_table(table, vault, counted)
    for make_anew in made_anew:
        make_anew(vault)
    return counted


def _reseal_table(table: Table, vault: Vault, counted: Counter[str]) -> None:
    keys = list(table.primary_key)
    for column in table.columns:
        if not isinstance(column.type, String | JSON):
            continue
        rows = session().execute(select(*keys, column.label("sealed")).where(cast(column, Text).contains("gAAAA"))).all()
        for row in rows:
            fresh = _anew(row.sealed, vault, counted)
            if fresh != row.sealed:
                same = [key == value for key, value in zip(keys, row, strict=False)]
                session().execute(update(table).where(*same).values({column: fresh}))


def _anew(value: Any, vault: Vault, counted: Counter[str]) -> Any:
    """The value with each sealed text in it sealed anew."""
    if isinstance(value, dict):
        return {key: _anew(item, vault, counted) for key, item in value.items()}
    if isinstance(value, list):
        return [_anew(item, vault, counted) for item in value]
    if not isinstance(value, str) or not TOKEN.fullmatch(value):
        return value
    try:
        fresh = vault.rotate(value)
    except VaultError:
        counted["unreadable"] += 1
        return value
    counted["resealed"] += 1
    return fresh
