"""How much there is to be done of an input, and how much of that is done."""

from __future__ import annotations

from concurrent_exec.bulk.records import Source


class Wanted:
    """The part of an input that a run is about."""

    def __init__(self, source: Source, skip: int, end: int | None) -> None:
        """Make that of all but the first `skip` records, up to, but not including, the ordinal
        `end`; None for the end of the input."""
        self._source = source
        self._skip = skip
        self._end = end
        self._read: tuple[int, int] | None = None

    def has_read(self, records: int, bytes_read: int) -> None:
        """Note that so many records of the input, from its beginning, are in so many bytes."""
        self._read = records, bytes_read

    @property
    def total(self) -> int | None:
        """How many records there are in it; None where only reading would tell."""
        total = self._source.total_records
        return None if total is None else int(self._within(total))

    def shares(self, settled: int, settled_before: int) -> tuple[float, float] | None:
        """Return how much of it is done, and how much was when this run began.

        settled: how many of its records are; settled_before: how many were.

        Of files it is an estimate, by the size of the records read so far. None where nobody knows
        how much there is.
        """
        whole = self._whole()
        return (min(1.0, settled / whole), settled_before / whole) if whole else None

    def _whole(self) -> float | None:
        """Return about how many records there are in it, at most if it has an end."""
        total: float | None = self._source.total_records
        size = self._source.total_bytes
        if total is None and size and self._read is not None and self._read[1]:
            records, bytes_read = self._read
            total = size * records / bytes_read
        if total is None:
            total = self._end
        return None if total is None else self._within(total)

    def _within(self, total: float) -> float:
        return max(0, (total if self._end is None else min(self._end, total)) - self._skip)
