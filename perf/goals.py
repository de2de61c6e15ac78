"""Every way on what the goals are about, with more statements than `strategies` has time for.

These are one-row writes, fifty of them to a partition or not, and one-row reads, at one
concurrency. Some costs, such as those of collecting garbage, show only where there are many.
"""

from __future__ import annotations

from collections.abc import Iterator

from perf.strategies import Line, script
from perf.workloads import KINDS

GOALS = ("write", "write 50", "read 1")
SIZE = 20
"""Bytes of a value."""


def lines(quick: bool) -> Iterator[Line]:
    """Yield what is measured on each server."""
    for name in GOALS[:1] if quick else GOALS:
        yield Line(KINDS[name](SIZE))


main = script("goals", __doc__, lines, statements=10_000)

if __name__ == "__main__":
    main()
