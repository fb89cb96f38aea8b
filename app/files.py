"""Files that hold secrets."""

import os
from pathlib import Path


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(content, encoding="utf-8")
    draft.replace(path)
