"""The process's one writer of sessions and events: a group commit, so that an answer comes after the commit and costs little."""

from flask import Flask

from app.errors import TooMany
from app.factory import vault_of
from app.group_commit import GroupCommit
from app.sessions.operations import store
from app.sessions.pieces import Piece, Stored


class SessionWriter(GroupCommit[Piece, Stored]):
    """`submit` stores what a request brought. Raises NotFound, Invalid, TooMany when more arrives than can be stored, and what
    GroupCommit raises."""

    def __init__(self, app: Flask) -> None:
        super().__init__(
            app, "session-writer", lambda pieces: store(pieces, vault_of(app)), lambda piece: piece.size, power_safe=True,
            full=TooMany(retry_after=2, limit="more than can be stored just now"),
        )  # fmt: skip


def writer_of(app: Flask) -> SessionWriter:
    """The process's writer."""
    writer: SessionWriter = app.extensions["binnacle_session_writer"]
    return writer
