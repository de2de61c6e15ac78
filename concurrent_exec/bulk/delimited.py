"""CSV and TSV, by the standard library's `csv`, which is as fast as it is strict.

Fields keep what they had, white space too. Empty lines are no records.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, islice
from typing import Any

from concurrent_exec.bulk.files import File
from concurrent_exec.bulk.lines import LONGEST, Block, blocks, is_clean
from concurrent_exec.bulk.options import ReadingOptions
from concurrent_exec.bulk.records import Chunk, InputError, Rejected

_AT_ONCE = 64
"""Records that are read before it is looked how many lines they took, where it may be many."""


@dataclass(slots=True)
class _Batch:
    """Records as they were read: those that are none between the others."""

    rows: list[list[str]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """The lines on which they begin."""
    failed: list[tuple[int, int, str]] = field(default_factory=list)
    """Number among `rows`, last line, and what is wrong with it; the row is empty."""


class Delimited:
    """The records of one file, which can be read once."""

    def __init__(self, file: File, options: ReadingOptions, delimiter: str) -> None:
        self._path = file.path
        self._blocks: deque[Block] = deque()
        # What makes a record go on in the next line.
        marks = [mark for mark in (options.quote, options.escape) if mark]
        self._unread = blocks(file, options.encoding, "", marks)
        # The limit is the whole process's: raised for fields of any length, never lowered.
        csv.field_size_limit(max(LONGEST, csv.field_size_limit()))
        self._reader = csv.reader(
            chain.from_iterable(self._lines()),
            delimiter=options.delimiter or delimiter,
            quotechar=options.quote,
            escapechar=options.escape,
            quoting=csv.QUOTE_MINIMAL if options.quote else csv.QUOTE_NONE,
            strict=True,
        )
        self._names = self._header() if options.header else None

    def _lines(self) -> Iterator[list[str]]:
        for block in self._unread:
            self._blocks.append(block)
            yield block.lines

    def _header(self) -> list[str]:
        try:
            names = next((row for row in self._reader if row), None)
        except csv.Error as error:
            raise InputError(f"{self._path}, line 1: is no header: {error}") from None
        if names is None:
            raise InputError(f"{self._path}: is empty, and should begin with a header")
        line = self._reader.line_num
        if not is_clean("".join(names)):
            raise InputError(f"{self._path}, line {line}: the header can't be decoded")
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise InputError(f"{self._path}, line {line}: two columns are called {twice[0]!r}")
        return names

    def chunks(self, first: int) -> Iterator[Chunk]:
        """Yield all records, of which the first one has the ordinal `first`.

        Of a file with a header there is one chunk at least. Raises InputError.
        """
        names = self._names
        batch = self._batch()
        while batch.rows or names is not None:
            if names is None:
                width = next((len(row) for row in batch.rows if row), 0)
                names = [str(place) for place in range(width)] or None
            chunk = self._chunk(first, names or [], batch)
            yield chunk
            first += chunk.count
            while self._blocks and self._end(self._blocks[0]) <= self._reader.line_num:
                self._blocks.popleft()
            batch = self._batch()
            if not batch.rows:
                return

    @staticmethod
    def _end(block: Block) -> int:
        return block.first + len(block.lines) - 1

    def _batch(self) -> _Batch:
        """Read the records that begin in the block of lines that comes next."""
        batch = _Batch()
        step = 1  # after which there is a block
        while step:
            begin = self._reader.line_num + 1
            read = len(batch.rows)
            failure = None
            try:
                batch.rows.extend(islice(self._reader, step))
            except csv.Error as error:
                failure = str(error)
            last = self._reader.line_num
            batch.places.extend(_places(batch.rows[read:], begin, last))
            if failure is not None:
                batch.failed.append((len(batch.rows), last, failure))
                batch.rows.append([])
                batch.places.append(begin + sum(map(_lines_of, batch.rows[read:-1])))
            elif len(batch.rows) == read:
                break
            step = self._step(step, len(batch.rows) - read, last - begin + 1)
        return batch

    def _step(self, step: int, records: int, lines: int) -> int:
        """Return how many records to read next, 0 at the end of the block."""
        block = self._blocks[0]
        left = self._end(block) - self._reader.line_num
        if not block.marked:
            return max(0, left)
        # Long records are read one by one, so that a chunk is never much more than a block.
        return min(max(0, left), _AT_ONCE, step * 2 if lines <= 4 * records else 1)

    def _chunk(self, first: int, names: Sequence[str], batch: _Batch) -> Chunk:
        rows, places = batch.rows, batch.places
        suspect = any(block.suspect for block in self._blocks)
        rejected: list[Rejected] = []
        ordinals: Sequence[int] = range(first, first + len(rows))
        if suspect or set(map(len, rows)) - {len(names)}:
            rows, places, ordinals, rejected = self._sifted(first, names, batch, suspect)
        fields = zip(*rows, strict=True) if rows else ([] for _ in names)
        return Chunk(
            source=self._path,
            first=first,
            count=len(rows) + len(rejected),
            ordinals=ordinals,
            places=places,
            columns=dict(zip(names, fields, strict=True)),
            kind="text",
            named=self._names is not None,
            rejected=rejected,
        )

    def _sifted(
        self, first: int, names: Sequence[str], batch: _Batch, suspect: bool
    ) -> tuple[list[list[str]], list[int], list[int], list[Rejected]]:
        """Return the rows that are whole, with places and ordinals, and the rejected ones."""
        failed = {number: (last, message) for number, last, message in batch.failed}
        rows: list[list[str]] = []
        places: list[int] = []
        ordinals: list[int] = []
        rejected: list[Rejected] = []
        ordinal = first
        for number, (row, place) in enumerate(zip(batch.rows, batch.places, strict=True)):
            record: Any = row
            message = None
            if number in failed:
                last, what = failed[number]
                record, message = self._text(place, last), f"is no CSV: {what}"
            elif not row:
                continue
            elif suspect and not is_clean("".join(row)):
                message = "can't be decoded"
            elif len(row) != len(names):
                message = f"has {len(row)} fields, not {len(names)}"
            if message is None:
                rows.append(row)
                places.append(place)
                ordinals.append(ordinal)
            else:
                message = f"{self._path}, line {place}: {message}"
                rejected.append(Rejected(ordinal, self._path, place, record, "ParseError", message))
            ordinal += 1
        return rows, places, ordinals, rejected

    def _text(self, first: int, last: int) -> str:
        """Return the lines of a record as they were."""
        return "".join(
            line
            for block in self._blocks
            for line in block.lines[max(0, first - block.first) : max(0, last + 1 - block.first)]
        )


def _places(rows: Sequence[list[str]], begin: int, last: int) -> Sequence[int]:
    """Return the lines that records begin on, which took those from `begin` to `last`."""
    if len(rows) == last - begin + 1:
        return range(begin, last + 1)
    return list(accumulate(map(_lines_of, rows), initial=begin))[: len(rows)]


def _lines_of(row: Sequence[str]) -> int:
    return 1 + sum(field.count("\n") + field.count("\r") - field.count("\r\n") for field in row)
