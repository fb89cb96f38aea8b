"""The process's one writer of samples: a group commit, so that an answer comes after the commit and still costs little."""

from collections.abc import Sequence

from flask import Flask

from app.errors import NotFound
from app.group_commit import GroupCommit
from app.metrics.operations import NewSample, store


def _store(pieces: Sequence[list[NewSample]]) -> list[set[int] | Exception]:
    missing = store([sample for piece in pieces for sample in piece])
    return [{sample.computer_id for sample in piece} & missing if missing else set() for piece in pieces]


class SampleWriter(GroupCommit[list[NewSample], set[int]]):
    """Stores samples; `submit` returns the ids of computers that do not exist (theirs were not stored)."""

    def __init__(self, app: Flask) -> None:
        super().__init__(app, "sample-writer", _store, len, power_safe=False)

    def submit_one(self, sample: NewSample) -> None:
        """Store one sample. Raises NotFound when its computer is gone, and what `submit` raises."""
        if self.submit([sample]):
            raise NotFound("Computer not found")


def writer_of(app: Flask) -> SampleWriter:
    """The process's writer."""
    writer: SampleWriter = app.extensions["binnacle_writer"]
    return writer
