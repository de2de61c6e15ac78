"""How much there is to be done of an input, and how much of that is done."""

from __future__ import annotations

from dataclasses import dataclass

from concurrent_exec.bulk.records import Source


@dataclass(slots=True)
class Wanted:
    """The part of an input that a run is about."""

    source: Source
    skip: int
    """How many records are left out at the beginning."""
    end: int | None
    """The ordinal before which it ends; None for that of the input."""
    bytes_before: int = 0
    """How many bytes were read when the run began to send: of what is skipped, or was done by an
    earlier run."""

    @property
    def total(self) -> int | None:
        """How many records there are in it; None where only reading would tell."""
        total = self.source.total_records
        if total is None:
            return None
        return max(0, (total if self.end is None else min(self.end, total)) - self.skip)

    def shares(self, settled: int, settled_before: int) -> tuple[float, float] | None:
        """Return how much of it is done, and how much was when this run began.

        settled: how many of its records are; settled_before: how many were.

        Of files it is what has been read of them. None where nobody knows how much there is.
        """
        total, size = self.total, self.source.total_bytes
        found = []
        most = total
        if total is None and self.end is not None:
            most = self.end - self.skip  # the files may end before
        if most:
            found.append((settled, settled_before, most))
        if size and total is None:
            # What is skipped is nothing to be done, and how long it is shows when it was read.
            left_out = self.bytes_before if self.skip else 0
            if size > left_out:
                found.append(
                    (
                        self.source.bytes_read - left_out,
                        self.bytes_before - left_out,
                        size - left_out,
                    )
                )
        return max(
            ((min(1.0, done / whole), before / whole) for done, before, whole in found),
            default=None,
        )
