"""CSV and TSV, by the standard library's `csv`; where no field is quoted, in a shorter way.

Fields keep what they had, white space too. Empty lines are no records.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, islice, repeat
from typing import Any

from concurrent_exec.bulk.files import File
from concurrent_exec.bulk.lines import LONGEST, Block, blocks, is_clean, line_ends
from concurrent_exec.bulk.options import ReadingOptions
from concurrent_exec.bulk.records import Chunk, InputError, Rejected

_AT_ONCE = 64
"""Records that are read before it is looked how many lines they took."""


@dataclass(slots=True)
class _Batch:
    """Records as they were read: those that are none between the others."""

    rows: list[list[str]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """The lines on which they begin."""
    failed: dict[int, tuple[str, str]] = field(default_factory=dict)
    """By the number among `rows`, where the row is empty: the text, and what is wrong with it."""
    suspect: bool = False


class Delimited:
    """The records of one file, which can be read once."""

    def __init__(self, file: File, options: ReadingOptions, delimiter: str = ",") -> None:
        self._path = file.path
        self._delimiter = options.delimiter or delimiter
        self._encoding = options.encoding
        # What may have a delimiter or a line's end after it that is none.
        self._marks = [mark for mark in (options.quote, options.escape) if mark]
        self._unread = blocks(file, options.encoding, "")
        self._blocks: deque[Block] = deque()
        """Those that the reader is in, the last one, or was in during this batch."""
        self._line = 0
        """The last one that was read."""
        # The limit is the whole process's: raised for fields of any length, never lowered.
        csv.field_size_limit(max(LONGEST, csv.field_size_limit()))
        self._reader = csv.reader(
            chain.from_iterable(self._lines()),
            delimiter=self._delimiter,
            quotechar=options.quote,
            escapechar=options.escape,
            quoting=csv.QUOTE_MINIMAL if options.quote else csv.QUOTE_NONE,
            strict=True,
        )
        self.names: Sequence[str] | None = self._header() if options.header else None
        """The header's, None if there is none."""

    def _lines(self) -> Iterator[list[str]]:
        """Yield to the reader: the block that was put before it, else the next one."""
        given: Block | None = None
        while True:
            if self._blocks and self._blocks[-1] is not given:
                given = self._blocks[-1]
            else:
                given = next(self._unread, None)
                if given is None:
                    return
                self._blocks.append(given)
            yield given.lines

    def _header(self) -> list[str]:
        batch = _Batch()
        while not batch.rows or not (batch.rows[-1] or batch.failed):
            if not self._read(batch, 1):
                raise InputError(f"{self._path}: is empty, and should begin with a header")
        place, names = batch.places[-1], batch.rows[-1]
        if batch.failed:
            what = batch.failed.popitem()[1][1]
            raise InputError(f"{self._path}, line {place}: is no header: {what}")
        if not is_clean("".join(names)):
            raise InputError(
                f"{self._path}, line {place}: the header can't be decoded as {self._encoding}"
            )
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise InputError(f"{self._path}, line {place}: two columns are called {twice[0]!r}")
        return names

    def chunks(self, first: int) -> Iterator[Chunk]:
        """Yield all records, of which the first one has the ordinal `first`.

        Of a file with a header there is one chunk at least. Raises InputError.
        """
        names = self.names
        begun = False
        while (batch := self._next(names)) is not None:
            if isinstance(batch, _Batch):
                if names is None:
                    width = next((len(row) for row in batch.rows if row), 0)
                    names = _positions(width) or None
                chunk = self._chunk(first, names or [], batch)
                if names is None and not chunk.count:
                    continue  # empty lines, before anything says how many columns there are
            else:
                names = names or _positions(len(batch))
                count = len(batch[0])
                chunk = Chunk(
                    source=self._path,
                    first=first,
                    count=count,
                    ordinals=range(first, first + count),
                    places=range(self._line + 1 - count, self._line + 1),
                    columns=dict(zip(names, batch, strict=True)),
                    kind="text",
                    named=self.names is not None,
                )
            yield chunk
            begun = True
            first += chunk.count
        if names is not None and not begun:
            yield self._chunk(first, names, _Batch())

    def _next(self, names: Sequence[str] | None) -> _Batch | list[list[str]] | None:
        """Return the next records, in columns if that could be done, None at the end."""
        if self._blocks and self._blocks[-1].last > self._line:
            return self._batch()
        self._blocks.clear()
        block = next(self._unread, None)
        if block is None:
            return None
        text = block.text
        if "\r" in text and text.count("\r") == text.count("\r\n"):
            text = text.replace("\r\n", "\n")
        if "\r" in text or any(mark in text for mark in self._marks):
            self._blocks.append(block)
            return self._batch()
        return self._split(text, block, None if names is None else len(names))

    def _split(self, text: str, block: Block, width: int | None) -> _Batch | list[list[str]]:
        """Return the records of a text where every line is one and every delimiter is one."""
        text = text.removesuffix("\n")
        lines = text.split("\n")
        first, self._line = self._line + 1, self._line + len(lines)
        delimiters = set(map(str.count, lines, repeat(self._delimiter)))
        width = width or max(delimiters) + 1
        if delimiters == {width - 1} and not block.is_suspect and not (width == 1 and "" in lines):
            fields = text.replace("\n", self._delimiter).split(self._delimiter)
            return [fields[place::width] for place in range(width)]
        return _Batch(
            rows=[line.split(self._delimiter) if line else [] for line in lines],
            places=list(range(first, self._line + 1)),
            suspect=block.is_suspect,
        )

    def _batch(self) -> _Batch:
        """Read the records that begin in the present block of lines."""
        batch = _Batch()
        block = self._blocks[-1]
        step = 1
        while self._line < block.last:
            read, begin = len(batch.rows), self._line
            self._read(batch, min(step, block.last - self._line))
            # Long records are read one by one, so that a batch is never much more than a block.
            is_long = self._line - begin > 4 * (len(batch.rows) - read)
            step = 1 if is_long else min(step * 2, _AT_ONCE)
        batch.suspect = any(each.is_suspect for each in self._blocks)
        while len(self._blocks) > 1:
            self._blocks.popleft()
        return batch

    def _read(self, batch: _Batch, count: int) -> bool:
        """Read `count` records into `batch`, or up to one that is none; return whether any was
        left."""
        begin, read, before = self._line + 1, len(batch.rows), self._reader.line_num
        failure = None
        try:
            batch.rows.extend(islice(self._reader, count))
        except csv.Error as error:
            failure = str(error)
        self._line += self._reader.line_num - before
        batch.places += _places(batch.rows[read:], begin, self._line)
        if failure is not None:
            place = begin + sum(map(_lines_of, batch.rows[read:]))
            batch.failed[len(batch.rows)] = self._text(place, self._line), failure
            batch.rows.append([])
            batch.places.append(place)
        return len(batch.rows) > read

    def _text(self, first: int, last: int) -> str:
        """Return the lines of a record as they were."""
        return "".join(
            line
            for block in self._blocks
            for line in block.lines[max(0, first - block.first) : max(0, last + 1 - block.first)]
        )

    def _chunk(self, first: int, names: Sequence[str], batch: _Batch) -> Chunk:
        rows, places = batch.rows, batch.places
        rejected: list[Rejected] = []
        ordinals: Sequence[int] = range(first, first + len(rows))
        if batch.suspect or not names or set(map(len, rows)) - {len(names)}:
            rows, places, ordinals, rejected = self._sifted(first, names, batch)
        fields = zip(*rows, strict=True) if rows else ([] for _ in names)
        return Chunk(
            source=self._path,
            first=first,
            count=len(rows) + len(rejected),
            ordinals=ordinals,
            places=places,
            columns=dict(zip(names, fields, strict=True)),
            kind="text",
            named=self.names is not None,
            rejected=rejected,
        )

    def _sifted(
        self, first: int, names: Sequence[str], batch: _Batch
    ) -> tuple[list[list[str]], list[int], list[int], list[Rejected]]:
        """Return the rows that are whole, with places and ordinals, and the rejected ones."""
        rows: list[list[str]] = []
        places: list[int] = []
        ordinals: list[int] = []
        rejected: list[Rejected] = []
        ordinal = first
        for number, (row, place) in enumerate(zip(batch.rows, batch.places, strict=True)):
            record: Any = row
            message = None
            if number in batch.failed:
                record, what = batch.failed[number]
                message = f"is no CSV: {what}"
            elif not row:
                continue
            elif batch.suspect and not is_clean("".join(row)):
                message = f"can't be decoded as {self._encoding}"
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


def _positions(width: int) -> list[str]:
    return [str(place) for place in range(width)]


def _places(rows: Sequence[list[str]], begin: int, last: int) -> Sequence[int]:
    """Return the lines that records begin on, which took those from `begin` to `last`."""
    if len(rows) == last - begin + 1:
        return range(begin, last + 1)
    return list(accumulate(map(_lines_of, rows), initial=begin))[: len(rows)]


def _lines_of(row: Sequence[str]) -> int:
    return 1 + sum(map(line_ends, row))
