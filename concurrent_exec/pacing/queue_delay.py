"""A limit that keeps all that a cluster can do in flight, and the wait there short."""

from __future__ import annotations

import time
from math import inf
from threading import Lock

from concurrent_exec.model.options import positive_int, positive_seconds
from concurrent_exec.model.protocols import Outcome

GROWTH = 2.0
"""The most that the limit grows by in a round trip, as in TCP's slow start; ..."""

WARY_GROWTH = 1.1
"""... and that once the cluster has said that it is overloaded."""

DROP = 0.5
"""The least that is left of it after a round trip: a pause of the input is no fault of the
cluster's."""

LOW = 4
"""By what the limit is divided to see whether the cluster is thrashing."""

TURNS = 4
"""How often the lower limit and the limit itself take turns then, as long as the lower one is
ahead: in one turn chance may tell."""

RELIEF = 1.5
"""The cluster was thrashing where the lower one had a throughput that is higher by this factor."""

FIRST, LONGEST = 1.0, 60.0
"""Seconds until the first such look, and between two of them at most: each pause is twice the one
before. As long at `min` tells how short a round trip can be, as looks of others are in it. But for
a limit this much above those that were looked at ..."""

UNKNOWN = 1.5
"""... the first is enough, ..."""

ROUND_TRIPS = 10
"""... and nowhere less than so many round trips, as the limit grows by these."""


class QueueDelay:
    """A `Limiter` for whoever wants throughput and is not in a hurry for any one answer.

    It keeps as many statements in flight as the cluster answers in `target` seconds, beyond the
    time that it takes without a queue. More in flight than the least that keeps a cluster busy
    makes each statement cheaper, for whoever sends and for the nodes, as more of them travel
    together; and a bounded wait keeps far from any timeout.

    By Little's law (J. Little, "A Proof for the Queuing Formula L = lambda W", 1961) a round trip
    lasts as long as `limit` answers take to come, so counting them is enough:

        limit = throughput * (shortest + target)

    where `shortest` is the shortest round trip so far: that is the aim of LEDBAT, a fixed delay
    in the queue of at most 100 ms (RFC 6817). The limit at most doubles or halves in a step, which
    is a round trip to get there and one to count.

    - A way that becomes longer is taken for a queue at first. But in a minute at `min` it has seen
      round trips as short as they can be: the shortest of these counts from then on, as in BBR
      (Cardwell et al. 2016). If that was the queue of others, a look at less (see below) tells.
    - On overload it halves, and grows by a tenth at a time from then on.
    - Some clusters do less, the more is in flight. So after a second, then more and more seldom,
      a quarter of the limit and the limit take turns. Where less brings more, that is the most
      from then on. Each later look that finds nothing doubles this bound.

    It is told how many statements have been answered, not of each (`CountingLimiter`), so it costs
    next to nothing. One of these serves one executor.
    """

    def __init__(self, target: float = 0.1, min: int = 100, max: int = 4000) -> None:
        """Make a limiter.

        target: the seconds that a statement may wait in a queue.
        min: the fewest that it will ever allow, and how many may be in flight at first.
        max: the most that it will ever allow.

        Raises TypeError or ValueError unless `target` is a positive number of seconds, and `min`
        and `max` are whole numbers with 1 <= `min` <= `max`.
        """
        self._target = positive_seconds("target", target)
        self._min = positive_int("min", min)
        self._max = positive_int("max", max)
        if self._max < self._min:
            raise ValueError(f"max must be at least min, which is {min}, not {max}")
        self._lock = Lock()
        self._limit = self._min
        self._ceiling = self._max
        """What it does not go beyond, as the cluster would be thrashing there."""
        self._growth = GROWTH
        self._shortest = inf
        self._at_min = 0.0
        """How many seconds were measured at `min` since it was last far above it, ..."""
        self._shortest_at_min = inf
        """... and the shortest round trip in these."""
        self._earlier = 0
        """How many are in flight that were sent at another limit: nothing is measured by them. They
        are counted by what succeeds or is overloaded."""
        self._overloaded = 0
        """How many are in flight that were sent before the limit was halved."""
        self._since: float | None = None
        """When it was begun to count successes for the next step, ..."""
        self._count = 0
        """... and how many there were since."""
        self._look: _Look | None = None
        """A lower limit that is being compared with the limit."""
        self._looked_at: float | None = None
        """When the last one ended."""
        self._pause = FIRST
        self._known = self._min
        """The highest limit that is known not to be too much."""

    @property
    def limit(self) -> int:
        """How many statements may be in flight now."""
        return self._limit

    @property
    def max_limit(self) -> int:
        """The most that it will ever allow."""
        return self._max

    @property
    def target(self) -> float:
        """The seconds that a statement may wait in a queue."""
        return self._target

    def __repr__(self) -> str:
        return (
            f"QueueDelay(limit={self._limit}, target={self._target}, "
            f"min={self._min}, max={self._max})"
        )

    def settled(self, *, seconds: float, in_flight: int, outcome: Outcome) -> None:
        """Take note of an attempt, which has just come to its end; see `Limiter`."""
        self.settled_many(
            successes=int(outcome == "success"),
            overloads=int(outcome == "overload"),
            now=time.monotonic(),
        )

    def settled_many(self, *, successes: int, overloads: int, now: float) -> None:
        """Take note of attempts; see `CountingLimiter`."""
        with self._lock:
            if overloads and self._overloaded <= 0:
                limit = self._limit
                if self._look is not None:
                    limit, self._look, self._looked_at = self._look.high, None, now
                self._overloaded = max(self._limit, self._earlier)
                self._growth = WARY_GROWTH
                self._go(limit * DROP)
            self._overloaded -= successes + overloads
            if self._earlier > 0:
                self._earlier -= successes + overloads
            elif self._since is None:
                self._since, self._count = now, 0
            else:
                self._count += successes
                seconds = now - self._since
                if self._count >= self._limit and seconds > 0:  # a clock may be coarse
                    self._step(seconds, now)

    def _step(self, seconds: float, now: float) -> None:
        """Go on after at least one round trip at the same limit."""
        if self._look is not None:
            if seconds >= self._target:
                self._compare(self._look, seconds, now)
            return
        self._see(seconds)  # of at least a round trip, however they come
        wanted = self._count / seconds * (self._shortest + self._target)
        self._since, self._count = now, 0
        most = max(self._limit * self._growth, self._limit + 1)
        if self._is_to_look(now):
            self._look = _Look(self._limit, max(self._min, self._limit // LOW))
            self._go(self._look.low)
        else:
            self._go(max(self._limit * DROP, min(most, wanted)))

    def _see(self, round_trip: float) -> None:
        """Keep the shortest round trip, as long as there may be one that is as short."""
        self._shortest = min(self._shortest, round_trip)
        if self._limit == self._min:  # only here, or its own queue would be taken for the way
            self._at_min += round_trip
            self._shortest_at_min = min(self._shortest_at_min, round_trip)
            if self._at_min >= LONGEST:
                self._shortest = self._shortest_at_min
        if self._at_min >= LONGEST or self._limit > GROWTH * self._min:
            self._at_min, self._shortest_at_min = 0.0, inf

    def _is_to_look(self, now: float) -> bool:
        if self._looked_at is None:
            self._looked_at = now
        pause = FIRST if self._limit > UNKNOWN * self._known else self._pause
        pause = max(pause, ROUND_TRIPS * self._shortest)
        return self._limit > self._min and now >= self._looked_at + pause

    def _compare(self, look: _Look, seconds: float, now: float) -> None:
        """Take the throughput of a limit that is being compared with another."""
        # With less in flight a queue is shorter, if it is this limiter's own.
        self._shortest = min(self._shortest, self._limit * seconds / self._count)
        look.counts[self._limit] += self._count
        look.seconds[self._limit] += seconds
        look.turns -= 1
        if not look.is_over:
            self._go(look.low if self._limit == look.high else look.high)
            return
        if look.throughput(look.low) > RELIEF * look.throughput(look.high):
            known = self._known if self._known < look.high else 0
            self._ceiling = self._known = max(look.low, known)
        else:
            self._ceiling = min(self._max, max(self._ceiling, 2 * look.high))
            self._known = look.high
        self._pause = min(2 * self._pause, LONGEST)
        self._look, self._looked_at = None, now
        self._go(look.high)  # or to the ceiling

    def _go(self, limit: float) -> None:
        before = self._limit
        self._limit = round(max(self._min, min(self._ceiling, limit)))
        if self._limit != before:
            self._earlier, self._since = max(before, self._earlier), None


class _Look:
    """Two limits that take turns, and what they bring."""

    def __init__(self, high: int, low: int) -> None:
        self.high = high
        self.low = low
        self.turns = 2 * TURNS
        """How many there are still to be."""
        self.counts = {low: 0, high: 0}
        self.seconds = {low: 0.0, high: 0.0}

    @property
    def is_over(self) -> bool:
        """Whether both had all their turns, or the lower one is no better after some."""
        if self.turns % 2:
            return False
        return not self.turns or self.throughput(self.low) <= self.throughput(self.high)

    def throughput(self, limit: int) -> float:
        """Return the successes a second of one of the two."""
        return self.counts[limit] / self.seconds[limit]
