"""One statement over records from files, frames or iterables, of any number."""

from concurrent_exec.bulk.errors import (
    BrokenOutputError,
    BulkError,
    ChangedError,
    EarlierRunError,
    JournalError,
    NotIdempotentError,
    NoWorkersError,
)
from concurrent_exec.bulk.failed import FailedSource
from concurrent_exec.bulk.options import ConvertingOptions, ReadingOptions
from concurrent_exec.bulk.reading import open_source
from concurrent_exec.bulk.records import Chunk, InputError, Rejected, Source
from concurrent_exec.bulk.report import Report
from concurrent_exec.bulk.run import BulkRun, run
from concurrent_exec.bulk.settings import BulkOptions
from concurrent_exec.bulk.sources import source_of
from concurrent_exec.bulk.workers import Shards, Workers

__all__ = [
    "BrokenOutputError",
    "BulkError",
    "BulkOptions",
    "BulkRun",
    "ChangedError",
    "Chunk",
    "ConvertingOptions",
    "EarlierRunError",
    "FailedSource",
    "InputError",
    "JournalError",
    "NoWorkersError",
    "NotIdempotentError",
    "ReadingOptions",
    "Rejected",
    "Report",
    "Shards",
    "Source",
    "Workers",
    "open_source",
    "run",
    "source_of",
]
