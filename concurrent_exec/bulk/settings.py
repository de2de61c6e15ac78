"""The options of a bulk run, each said once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, TypedDict

from concurrent_exec.bulk.options import ConvertingOptions
from concurrent_exec.bulk.sending import BatchMode
from concurrent_exec.bulk.workers import Workers
from concurrent_exec.model import Limiter, Observer, RetryPolicy

PathLike = str | os.PathLike[str]


def path_of(given: PathLike | None) -> Path | None:
    """Return a path, or None where none is given."""
    return None if given is None else Path(given)


class BulkOptions(TypedDict, total=False):
    """The keyword options of `bulk.run`."""

    map: Mapping[str, str]
    """Markers by the columns that they take their values from, where the names differ."""
    missing: Literal["unset", "null"]
    """What a value that is missing becomes: "unset", which leaves what is there and writes no
    tombstone (the default), or "null"."""
    converting: ConvertingOptions | None
    """How texts become values; `ConvertingOptions()` by default."""
    executor: str
    """One of `concurrent_exec.executors.STRATEGIES`, or "auto", the fastest that changes nothing
    but the speed (the default)."""
    concurrency: int | Literal["adaptive"] | Limiter | None
    """The most statements in flight. Where it is None, as many as are answered in 0.1 s, from 100
    to 4,000 (`QueueDelay`), by the "direct" executor; of the others, their own default, but 3,000
    with the `batch_mode` "replica_set"."""
    max_per_second: float | None
    """The most statements sent in a second."""
    batch_mode: BatchMode
    """"partition_key" or "replica_set" to send writes in batches, as `BatchExecutor` does;
    "disabled" by default."""
    retry: RetryPolicy | None
    """What decides whether a statement that failed is sent again: `Retry()` by default."""
    idempotent: bool | None
    """Whether each statement may be applied more than once without harm. By default what its text
    tells, as `bulk.idempotence.may_be_resent` does."""
    timeout: float | None
    """Seconds that an answer may take; the session's own by default."""
    consistency: int | None
    """A `cassandra.ConsistencyLevel`; the session's own by default."""
    max_errors: int | str | None
    """Stop when more records than this have failed or been rejected: a whole number from 0, or a
    share such as "5%", which is not judged before 100 are settled. None for never."""
    failed_file: PathLike | None
    """Where records go that could not be parsed or converted, or whose statement failed, as JSON
    Lines. By default nowhere: the report counts them."""
    output: PathLike | None
    """Where rows go, in the order of the input; "-" for standard output."""
    output_format: str | None
    """"csv", "tsv", "jsonl" or "parquet"; by default what the output's name says."""
    guard_formulas: bool
    """Whether a text in CSV or TSV that a spreadsheet would take for a formula, as it begins with
    one of = + - @, a tab or a carriage return, has a ' put before it: it is not read back as the
    same then. False by default."""
    with_keys: bool
    """Whether the statement's parameters stand before each row, where it has no column of that
    name."""
    not_found_file: PathLike | None
    """Where the records go whose read brought no row, as JSON Lines."""
    checkpoint: PathLike | None
    """The journal's file; None for none, which is the default."""
    checkpoint_interval: float
    """Seconds between two entries of the journal; 1 by default."""
    resume: bool
    """Whether to go on where the run that has left `checkpoint` has stopped. Where there is none,
    it begins."""
    resume_anyway: bool
    """Whether to do so though the statement is not idempotent: what settled after the last entry
    is sent again."""
    overwrite: bool
    """Whether a new run may replace checkpoint, failed file and output of an earlier one."""
    skip: int
    """How many records to leave out at the beginning."""
    limit: int | None
    """How many records to take at most, after those."""
    dry_run: bool
    """Whether to parse and bind everything and send nothing; no file is written."""
    observers: Iterable[Observer]
    """Who is told of each statement; where there are `workers`, only `LatencyHistogram` is, of what
    they have measured."""
    workers: Workers | None
    """Other processes that convert and send the records; by default this one does."""
