"""The state folder: one connector at a time, one id for ever."""

from __future__ import annotations

import os
import sys
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from .config import ConfigError
from .log import logger


class StateDir:
    """A private folder (0700) with the spool, the inventory and the connector's id; held by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: BinaryIO | None = None
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"The state folder {path} cannot be made: {error.strerror}.") from None
        if not os.access(path, os.W_OK | os.X_OK):
            raise ConfigError(f"The state folder {path} cannot be written to.")

    @property
    def spool(self) -> Path:
        return self.path / "spool.db"

    @property
    def commands(self) -> Path:
        return self.path / "commands.db"

    @property
    def inventory(self) -> Path:
        return self.path / "inventory.json"

    def connector_id(self) -> str:
        """The UUID of this installation, made on first use. A file that holds none is replaced."""
        file = self.path / "connector_id"
        try:
            return str(uuid.UUID(file.read_text("ascii").strip()))
        except FileNotFoundError:
            pass
        except (ValueError, OSError) as error:
            logger.warning("the file %s holds no id (%s): a new one is made", file, error)
        fresh = str(uuid.uuid4())
        write_private(file, fresh + "\n")
        return fresh

    def __enter__(self) -> StateDir:
        """Claim the folder. Raises ConfigError while another connector holds it."""
        handle = open(self.path / "lock", "a+b")
        try:
            _lock_file(handle)
        except OSError:
            handle.close()
            raise ConfigError(f"Another connector is running with the state folder {self.path}.") from None
        self._lock = handle
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _lock_file(handle: BinaryIO) -> None:
    """Lock without waiting; the system lets go when the process ends, however it ends. Raises OSError."""
    if sys.platform == "win32":
        import msvcrt

        handle.seek(0)
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class PrivateFile:
    """A file of mode 0600 that appears whole or not at all: write to it, then `commit()`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._temporary.unlink(missing_ok=True)
        descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self.stream = os.fdopen(descriptor, "w", encoding="utf-8", newline="\n")

    def commit(self) -> None:
        """Flush to the disk, then take the place of whatever had this name. Raises OSError."""
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.stream.close()
        os.replace(self._temporary, self.path)

    def __enter__(self) -> PrivateFile:
        return self

    def __exit__(self, *_: Any) -> None:
        self.stream.close()
        self._temporary.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path`, mode 0600, all or nothing. Raises OSError."""
    with PrivateFile(path) as file:
        file.stream.write(text)
        file.commit()
