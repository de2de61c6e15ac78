"""One statement over records from files, frames or iterables, of any number."""

from concurrent_exec.bulk.errors import (
    BulkError,
    ChangedError,
    EarlierRunError,
    JournalError,
    NotIdempotentError,
)
from concurrent_exec.bulk.failed import FailedSource
from concurrent_exec.bulk.records import Chunk, InputError, Rejected, Source
from concurrent_exec.bulk.report import Report
from concurrent_exec.bulk.run import BulkRun, run
from concurrent_exec.bulk.settings import BulkOptions
from concurrent_exec.bulk.sources import open_source, source_of

__all__ = [
    "BulkError",
    "BulkOptions",
    "BulkRun",
    "ChangedError",
    "Chunk",
    "EarlierRunError",
    "FailedSource",
    "InputError",
    "JournalError",
    "NotIdempotentError",
    "Rejected",
    "Report",
    "Source",
    "open_source",
    "run",
    "source_of",
]
