"""Ways to do the same thing, played in turn, and what each of them costs.

What makes the figures comparable:

- Every way is warmed up, then played in rounds: each round plays all of them once, in an order
  drawn anew, so that a machine or cluster that slows down is slow for all, and none always comes
  behind the same other. Medians and spreads are over the rounds; a ratio is only worth something
  between goes of one round.
- Taking the time of each statement costs microseconds of CPU a statement, as much as some ways
  need in all. So latencies come from a go of their own, right behind the one that rate, CPU and
  memory come from.

The load is a closed loop: a way sends the next statement when an answer comes. A latency is the
time from sending to answer at that concurrency; what a statement waits before is not in it.
"""

from __future__ import annotations

import gc
import random
import statistics
from array import array
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any, TypeVar

from concurrent_exec.comparing.memory import PeakMemory
from concurrent_exec.model import Limiter, Outcome

K = TypeVar("K", bound=Hashable)

Note = Callable[[float], object]
"""Is told the seconds of one statement, from its sending to its answer; by any thread."""

Play = Callable[[int, Note | None], int]
"""Do so many statements once, and return how many of them failed.

Given a `Note`, it is called for every statement, so far as the way can tell its time.
"""

TIMED_AT_MOST = 100_000
"""Statements of a go whose times are taken: it bounds the memory that the times take."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds that 50, 99 and 99.9 percent of the statements of one go took at most."""

    p50: float
    p99: float
    p999: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Latency | None:
        """Return those of these times, or None where there are none.

        A percentile is the nearest rank: a time that was measured, never one in between.
        """
        taken = sorted(seconds)
        if not taken:
            return None

        def at_most(permille: int) -> float:
            return taken[(permille * len(taken) + 999) // 1000 - 1]

        return cls(at_most(500), at_most(990), at_most(999))


@dataclass(frozen=True, slots=True)
class Go:
    """What one way did in one round, and what that cost."""

    statements: int
    """How many there were, failed ones included."""
    failed: int
    seconds: float
    """From the first statement to the last answer."""
    cpu_seconds: float
    """Of this process, all its threads, user and system; the server's is not in it."""
    peak_bytes: int
    """The most memory that this process had resident meanwhile, whatever for."""
    latency: Latency | None
    """From a go of its own; None where no times were taken."""

    @property
    def rate(self) -> float:
        """Statements a second that succeeded."""
        return (self.statements - self.failed) / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU a statement."""
        return self.cpu_seconds / self.statements * 1e6


@dataclass(frozen=True, slots=True)
class Spread:
    """The median over the rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float

    @property
    def deviation(self) -> float:
        """The larger distance from the median, as a share of it; the median must not be 0."""
        return max(self.high - self.median, self.median - self.low) / self.median

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return that of `values`, of which there must be at least one."""
        taken = list(values)
        return cls(statistics.median(taken), min(taken), max(taken))


def play_in_turn(
    ways: Mapping[K, Play],
    *,
    statements: int,
    rounds: int = 5,
    warm_up: int = 1,
    timed: bool = True,
    report: Callable[[int, K], object] = lambda turn, name: None,
) -> dict[K, list[Go]]:
    """Play each of `ways` in turn; return the goes of each, one a round, in the rounds' order.

    statements: how many a go has.
    rounds, warm_up: how often each way goes, and before that how often without being counted.
    timed: whether to take latencies too, in goes of their own, of at most `TIMED_AT_MOST`
        statements; for that every way goes twice a round.
    report: told the round (from 0; below 0 while warming up) and the way before each of its goes.

    Raises what a way raises.
    """
    goes: dict[K, list[Go]] = {name: [] for name in ways}
    lots = random.Random(0)  # the same order every time: a run can be repeated
    for turn in range(-warm_up, rounds):
        for name in lots.sample(list(ways), len(ways)):
            report(turn, name)
            go = _play(ways[name], statements, timed and turn >= 0)
            if turn >= 0:
                goes[name].append(go)
    return goes


def _play(play: Play, statements: int, timed: bool) -> Go:
    gc.collect()
    memory = PeakMemory()
    cpu, start = process_time(), perf_counter()
    failed = play(statements, None)
    seconds, cpu = perf_counter() - start, process_time() - cpu
    peak = memory.bytes()
    taken = array("d")
    if timed:
        gc.collect()
        play(min(statements, TIMED_AT_MOST), taken.append)
    return Go(statements, failed, seconds, cpu, peak, Latency.of(taken))


class Timing:
    """A limiter that stays at its limit and tells `note` the seconds of every attempt.

    So any executor's latencies can be taken, whatever way its statements go.
    """

    def __init__(self, limit: int, note: Note) -> None:
        self.limit = self.max_limit = limit
        self._note = note

    def settled(self, *, seconds: float, in_flight: int, outcome: Outcome) -> None:
        """Tell the note."""
        self._note(seconds)


def limit_or_timing(limit: int, note: Note | None) -> int | Limiter:
    """Return the `concurrency` to give an executor in a `Play`."""
    return limit if note is None else Timing(limit, note)


class TimedSession:
    """A session that tells `note` how long each statement takes, for ways that are no executors.

    It has the two methods that an executor or the drivers' helper needs, and passes all else on.
    The time ends before the way's own callbacks run, which are added behind its own.
    """

    def __init__(self, session: Any, note: Note) -> None:
        self._session = session
        self._note = note

    def execute_async(self, query: Any, parameters: Any = None, **options: Any) -> Any:
        """Send `query`; return the driver's own future."""
        started = (perf_counter(),)
        future = self._session.execute_async(query, parameters, **options)
        future.add_callbacks(
            self._answered, self._answered, callback_args=started, errback_args=started
        )
        return future

    def execute(self, query: Any, parameters: Any = None, **options: Any) -> Any:
        """Send `query`, wait for the answer and return it, or raise what went wrong."""
        started = perf_counter()
        try:
            return self._session.execute(query, parameters, **options)
        finally:
            self._note(perf_counter() - started)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def _answered(self, answer: Any, started: float) -> None:
        self._note(perf_counter() - started)
