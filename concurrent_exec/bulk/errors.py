"""What `bulk` raises of its own.

ConcurrentExecError
+-- BulkError                an input, a statement or a file of a bulk run can't be used
    +-- JournalError         a checkpoint can't be read
    +-- ChangedError         it is not the run that the checkpoint is of
    +-- EarlierRunError      files of an earlier run are in the way
    +-- NotIdempotentError   to resume may apply some statements twice
    +-- BrokenOutputError    nobody reads standard output any more
+-- NoWorkersError           the processes that should do the work have gone
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from concurrent_exec.model import ConcurrentExecError


class BulkError(ConcurrentExecError):
    """The base of what is wrong with a bulk run before it begins; the message says what."""


class JournalError(BulkError):
    """A file is no checkpoint of this version."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} is no checkpoint that this version can read"


class ChangedError(BulkError):
    """What would be resumed is not what was stopped; `differences` says in what."""

    def __init__(self, path: Path, differences: Sequence[str]) -> None:
        super().__init__(path, differences)
        self.path = path
        self.differences = tuple(differences)

    def __str__(self) -> str:
        return f"can't resume by {self.path}, as this is another run: " + "; ".join(
            self.differences
        )


class EarlierRunError(BulkError):
    """An earlier run has left something that a new one would overwrite."""


class NotIdempotentError(BulkError):
    """A resumed run sends again what settled after its last checkpoint, which may do harm."""


class NoWorkersError(ConcurrentExecError):
    """The processes that should do the work have gone, and no others have come; says why."""


class BrokenOutputError(BulkError):
    """Whoever was reading the rows on standard output has gone."""
