"""A portion of a bulk run, which another process does, and what it says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from concurrent_exec.bulk.records import Chunk
from concurrent_exec.bulk.settled import Range
from concurrent_exec.executors.auto import Choice

SHARD = 1 << 40
"""Ordinals that each shard has for its records: more than any file has lines."""
CHUNKS = 16
"""Chunks of a shard that a portion has at most, as its records may be large. A chunk ends where it
does whoever reads it, so a portion that is done again has the same records."""


@dataclass(frozen=True, slots=True)
class Task:
    """What all portions of a run have in common."""

    key: str
    """Which run it is: a process keeps one session for each."""
    connect: bytes
    """Makes the session, pickled."""
    statement: bytes
    """Prepared, and pickled as a statement that travels."""
    columns: Sequence[str] | int | None
    """Of the input; None where each shard says its own."""
    binding: Mapping[str, Any]
    """Options of `Binding`."""
    executor: Mapping[str, Any]
    """Options of `make_executor`, for one process."""
    choice: Choice
    profile: Mapping[str, Any]
    """Options of `profile_for`."""
    max_errors: int | str | None
    idempotent: bool
    with_keys: Sequence[int]
    keeps_rows: bool
    keeps_not_found: bool
    measures: bool
    """Whether latencies are asked for."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Records that a process does in one go."""

    first: int
    """The ordinal of the first."""
    most: int
    """How many records of a shard to do at most; `CHUNKS` may be fewer."""
    chunks: Sequence[Chunk] | None
    """The records; None where they are those of a shard, which the process reads for itself."""
    beyond: Sequence[Range]
    """Which of them are settled already."""
    timestamp: int = 0
    """Microseconds: what a write of the first record gives to its columns. Those of the next ones
    follow, whichever process sends them, so that of two records of one row the later counts."""
    before: tuple[int, int] = (0, 0)
    """How many records have failed, and how many have settled, elsewhere in this run."""
    lost: str | None = None
    """Why the process was lost that had them before, where they may not be sent again."""


@dataclass(slots=True)
class Settlement:
    """What has become of a portion."""

    settled: Sequence[Range]
    counts: Mapping[str, int]
    kinds: Mapping[str, int]
    examples: Mapping[str, str]
    failed: bytes
    """Lines of the failed file."""
    not_found: bytes
    retries: int
    rows: Sequence[Sequence[Any]]
    """Of reads, in the order of the input, with the keys that stand before them."""
    latencies: bytes | None = None
    """What a `LatencyHistogram` has taken."""
    seconds: float = 0.0
    """How long it has taken."""
    end: int = 0
    """The ordinal after its last record."""
    ended: bool = False
    """Whether a shard is at its end."""
