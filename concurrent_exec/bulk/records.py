"""Records on their way from an input to statements: some thousand at a time, in columns.

Every record of an input has an ordinal, from 0, over all of its files. Those that can't be read are
counted too, so an ordinal means the same record whenever the same input is read again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from concurrent_exec.model import ConcurrentExecError

Kind = Literal["text", "json", "python"]
"""How values are to be converted: texts of CSV, what JSON has, or objects of Python."""


class InputError(ConcurrentExecError):
    """An input can't be used, or not any further; the message says where and why.

    It names file, line and column, never a value.
    """


class NoRecordsError(InputError):
    """An input has no records, and no header that says which columns they would have."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that becomes no statement."""

    ordinal: int
    """Of the record in the whole input, from 0."""
    source: str
    """As in `Chunk`."""
    place: int
    """As in `Chunk.places`."""
    record: Any
    """The record as it was: a mapping by names, a list of fields, or its text where it was no
    record. What came as JSON or text can be written as JSON; what was Python's is as it was."""
    kind: str
    """What went wrong: "ParseError" or "ConversionError"."""
    message: str
    """What went wrong, with source, place and column, without a value of it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some records of one source, in columns.

    What `rejected` has is not in the columns: `ordinals`, `places` and every column are equally
    long. A chunk may be of rejected records only.
    """

    source: str
    """The file's name as it was given or found, "-" for standard input, "" for an iterable."""
    first: int
    """The ordinal of the chunk's first record, rejected or not."""
    count: int
    """How many ordinals it takes up, the rejected ones with them: the next chunk's first is
    `first + count`."""
    ordinals: Sequence[int]
    """Of each record in the whole input, rising."""
    places: Sequence[int]
    """Of each record in its source, from 1: the line it begins on, or its row where there are no
    lines."""
    columns: Mapping[str, Sequence[Any]]
    """The values by the column's name, or by "0", "1", ... where they have only places. What a
    record does not have is None."""
    kind: Kind
    named: bool = True
    """Whether the columns have names of their own."""
    rejected: Sequence[Rejected] = ()
    """Those among the chunk's records that could not be read."""


class Source(Protocol):
    """An input that can be read in chunks, never as a whole."""

    @property
    def columns(self) -> Sequence[str] | int:
        """The names of its columns, or how many there are where they have only places.

        Of inputs without a header it is what the first records have. It looks at the beginning of
        the input, and raises InputError where there is none, or none that makes sense.
        """

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """Yield the records from the ordinal `start` on, in order.

        A file is opened anew each time; standard input and an iterator can be read once. Raises
        InputError where reading can't go on.
        """

    @property
    def bytes_read(self) -> int:
        """How far it is in `total_bytes`; of a compressed file the compressed bytes."""

    @property
    def total_bytes(self) -> int | None:
        """The size of all files together, None where it is not known."""

    @property
    def total_records(self) -> int | None:
        """How many records there are in all, None where only reading would tell."""

    def fingerprint(self) -> Mapping[str, Any]:
        """What tells this input from another, or from itself after a change, as JSON has it.

        Of each file its name, its size and a hash of its beginning and end; and all options that
        decide which records it has.
        """


def cut(chunk: Chunk, start: int, end: int | None = None) -> Chunk:
    """Return what `chunk` has from the ordinal `start` on, and before `end` where one is given.

    Nothing is copied if that is all.
    """
    last = chunk.first + chunk.count
    if start <= chunk.first and (end is None or end >= last):
        return chunk
    start, end = max(start, chunk.first), last if end is None else min(end, last)
    kept = slice(bisect_left(chunk.ordinals, start), bisect_left(chunk.ordinals, end))
    return replace(
        chunk,
        first=start,
        count=max(0, end - start),
        ordinals=chunk.ordinals[kept],
        places=chunk.places[kept],
        columns={name: column[kept] for name, column in chunk.columns.items()},
        rejected=[each for each in chunk.rejected if start <= each.ordinal < end],
    )


def record_at(chunk: Chunk, number: int) -> Any:
    """Return the record that is at `number` in the columns: a mapping, or a list without names."""
    if chunk.named:
        return {name: column[number] for name, column in chunk.columns.items()}
    return [column[number] for column in chunk.columns.values()]


def where(chunk: Chunk, place: int) -> str:
    """Return in words where the record at `place` is."""
    if not chunk.source:
        return f"record {place}"
    return f"{chunk.source}, {'row' if chunk.kind == 'python' else 'line'} {place}"


def columns_in(chunk: Chunk) -> Sequence[str] | int | None:
    """Return the names or the number of the columns, None where there were only rejected
    records."""
    if not chunk.columns and not chunk.ordinals:
        return None
    return list(chunk.columns) if chunk.named else len(chunk.columns)
