"""What all inputs do alike: look at their beginning, and begin where they are asked to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from concurrent_exec.bulk.records import Chunk, InputError, NoRecordsError, columns_in, cut


class Input:
    """A `Source` by what reads it from its beginning."""

    has_texts = False
    """Whether it has fields that are nothing but texts, which words for what is missing are of."""

    def __init__(self, name: str) -> None:
        self._name = name
        """For messages."""
        self._begun: Iterator[Chunk] | None = None
        """What was read already to see the columns, and the rest: a pipe can't be read again, and
        nothing else needs to be."""
        self._columns: Sequence[str] | int | None = None
        self._is_empty = False

    def _read(self) -> Iterator[Chunk]:
        """Yield the chunks from the beginning on."""
        raise NotImplementedError

    @property
    def columns(self) -> Sequence[str] | int:
        """See `Source`."""
        if self._columns is None and not self._is_empty:
            self._columns = self._look()
        if self._columns is None:
            raise NoRecordsError(f"{self._name}: there are no records")
        return self._columns

    def _look(self) -> Sequence[str] | int | None:
        """Return what the first records say, None where there are none."""
        chunks = self._read()
        seen: list[Chunk] = []
        for chunk in chunks:
            seen.append(chunk)
            columns = columns_in(chunk)
            if columns is not None:
                self._begun = chain(seen, chunks)
                return columns
        rejected = next(chain.from_iterable(chunk.rejected for chunk in seen), None)
        if rejected is not None:
            raise InputError(f"none of the records can be read: {rejected.message}")
        self._is_empty = True
        self._begun = iter(seen)
        return None

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """See `Source`."""
        begun, self._begun = self._begun, None
        for chunk in begun or self._read():
            if self._columns is None:
                self._columns = columns_in(chunk)
            if chunk.first + chunk.count >= start:
                yield cut(chunk, start)
