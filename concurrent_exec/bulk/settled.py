"""Which records of the input are settled: all up to one of them, and ranges beyond it."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

from concurrent_exec.bulk.records import Chunk

Range = tuple[int, int]
"""The first ordinal, and the one after the last."""

_first_index = attrgetter("first_index")
_SETTLED = re.compile(b"\x01+")


class Part:
    """Records on end that were read together, until each of them is settled."""

    __slots__ = ("chunk", "first", "first_index", "flags", "left", "ordinals", "parameters", "size")

    def __init__(
        self,
        chunk: Chunk,
        first_index: int,
        ordinals: Sequence[int],
        parameters: Sequence[Any] | None,
        size: int = 0,
    ) -> None:
        """Make one of which the records with these `ordinals` are sent, and the others settled.

        chunk: what they were read in, from which a record that fails is told.
        first_index: the position among all that is sent of the first that is sent of these.
        parameters: of those that are sent, where they will be asked for.
        size: about how many bytes of the memory they take.
        """
        self.chunk = chunk
        self.first = first = chunk.first
        self.first_index = first_index
        self.ordinals = ordinals
        self.parameters = parameters
        self.size = size
        self.left = len(ordinals)
        if self.left == chunk.count:
            self.flags = bytearray(chunk.count)
        else:
            self.flags = bytearray(b"\x01") * chunk.count
            for ordinal in ordinals:
                self.flags[ordinal - first] = 0

    @property
    def end(self) -> int:
        """The ordinal after its last."""
        return self.first + len(self.flags)

    def row(self, index: int) -> int:
        """Return where in the chunk's columns a record is, by its position among all sent."""
        return bisect_left(self.chunk.ordinals, self.ordinals[index - self.first_index])

    def settled(self) -> Iterable[Range]:
        """Return the ranges that are settled."""
        for found in _SETTLED.finditer(self.flags):
            yield self.first + found.start(), self.first + found.end()


class Settled:
    """The settled records, as few ranges as they make. It has no lock of its own."""

    def __init__(self, done: int = 0, beyond: Iterable[Range] = ()) -> None:
        """Begin with all before `done`, and the ranges `beyond` it."""
        self.done = done
        """All before this ordinal are settled."""
        self._beyond: list[Range] = []
        self._parts: list[Part] = []
        """In their order: those of which some are not settled yet."""
        self.size = 0
        """About how many bytes of the memory these take."""
        self._take_in(beyond)

    def add(self, first: int, end: int) -> None:
        """Note that all from `first` up to, but not including, `end` are settled."""
        self._take_in([(first, end)])

    def _take_in(self, ranges: Iterable[Range]) -> None:
        merged = [(0, self.done)]
        for first, end in sorted((*self._beyond, *ranges)):
            if first > merged[-1][1]:
                merged.append((first, end))
            elif end > merged[-1][1]:
                merged[-1] = merged[-1][0], end
        self.done = merged.pop(0)[1]
        self._beyond = merged

    def has(self, ordinal: int) -> bool:
        """Say whether a record is settled, as those before this run may be."""
        if ordinal < self.done:
            return True
        at = bisect_right(self._beyond, (ordinal, 1 << 62)) - 1
        return at >= 0 and ordinal < self._beyond[at][1]

    def opens(self, part: Part) -> None:
        """Take in records that were read; those to be sent are not settled yet."""
        if part.left:
            self._parts.append(part)
            self.size += part.size
        else:
            self.add(part.first, part.end)

    def part_of(self, index: int) -> Part:
        """Return the records among which the one sent at position `index` was read."""
        return self._parts[bisect_right(self._parts, index, key=_first_index) - 1]

    def settle(self, indexes: Iterable[int]) -> None:
        """Note that the records sent at these positions are settled."""
        # One long loop: what is looked up for each record has a name of its own.
        part: Part
        first_index = end = 0
        for index in indexes:
            if not first_index <= index < end:
                part = self.part_of(index)
                ordinals, flags, first = part.ordinals, part.flags, part.first
                first_index, end = part.first_index, part.first_index + len(ordinals)
            flags[ordinals[index - first_index] - first] = 1
            part.left -= 1
            if not part.left:
                self._parts.remove(part)
                self.size -= part.size
                self.add(part.first, part.end)

    def snapshot(self) -> tuple[int, list[Range]]:
        """Return the ordinal before which all are settled, and the ranges beyond."""
        now = Settled(self.done, self._beyond)
        now._take_in(found for part in self._parts for found in part.settled())
        return now.done, now._beyond
