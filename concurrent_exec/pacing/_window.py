"""What a stretch of answers says of throughput, found without a clock."""

from __future__ import annotations

from math import inf, log
from typing import NamedTuple


class Measurement(NamedTuple):
    """The means of one window."""

    concurrency: float
    """Statements in flight."""
    throughput: float
    """Statements that succeeded a second."""

    @property
    def seconds(self) -> float:
        """In flight for each success a second: the round trip, failures laid upon successes."""
        return self.concurrency / self.throughput if self.throughput > 0 else inf

    def is_apart_from(self, other: Measurement, factor: float) -> bool:
        """Say whether the concurrencies differ by more than `factor`."""
        low, high = sorted((self.concurrency, other.concurrency))
        return high > low * factor


def elasticity(one: Measurement, other: Measurement) -> float:
    """Return by how many per cent throughput grows for one per cent of concurrency.

    That is log(throughput2 / throughput1) / log(concurrency2 / concurrency1), both throughputs
    above 0; or 0 where the concurrencies are as good as the same.
    """
    if not one.is_apart_from(other, 1.01):
        return 0.0
    return log(other.throughput / one.throughput) / log(other.concurrency / one.concurrency)


class Window:
    """Gathers attempts until there are enough of them to be judged.

    Little's law (J. D. C. Little, "A Proof for the Queuing Formula: L = lambda W", Operations
    Research 9, 1961) gives the throughput as mean concurrency over mean round trip, and so spares
    a clock.
    """

    __slots__ = (
        "_concurrency",
        "_patience",
        "_seconds",
        "_skip",
        "_successes",
        "_wanted",
        "attempts",
    )

    FEWEST = 20
    """Fewer attempts than these are never judged, however long they took."""

    def __init__(self, wanted: int, *, skip: int = 0, patience: float = inf) -> None:
        """Open a window.

        wanted: how many attempts it takes.
        skip: how many to let pass first, as they speak of another limit.
        patience: end as soon as all attempts together took so many seconds.
        """
        self._wanted = wanted
        self._skip = skip
        self._patience = patience
        self.attempts = 0
        """How many it has taken in."""
        self._successes = 0
        self._seconds = 0.0
        self._concurrency = 0

    def add(self, seconds: float, in_flight: int, success: bool) -> bool:
        """Take an attempt in; return whether the window is complete."""
        if self._skip > 0:
            self._skip -= 1
            return False
        self.attempts += 1
        self._successes += success
        self._seconds += seconds
        self._concurrency += in_flight
        return self.attempts >= self._wanted or (
            self._seconds >= self._patience and self.attempts >= self.FEWEST
        )

    def measure(self) -> Measurement:
        """Return the means; the throughput is infinite where no time has passed."""
        concurrency = self._concurrency / self.attempts
        if self._seconds <= 0:
            return Measurement(concurrency, inf)
        success = self._successes / self.attempts
        return Measurement(concurrency, self._concurrency / self._seconds * success)
