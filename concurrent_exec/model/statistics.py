"""Counts of a run and of an executor at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """What one run has done so far.

    At any moment ``delivered <= settled <= started <= pulled``, and
    ``started == settled + in_flight + waiting_for_retry``.
    """

    pulled: int
    """Statements taken from the input."""
    started: int
    """Statements whose turn has come, each counted once however often it is tried. Nearly all were
    handed to the session; past a deadline, or skipped, one fails in its turn instead."""
    in_flight: int
    """Statements that the session has not answered yet."""
    waiting_for_retry: int
    """Statements that failed and will be sent again."""
    succeeded: int
    failed: int
    delivered: int
    """Results handed to the caller."""
    retries: int
    """How many times a statement was put off to be sent again."""
    elapsed: float
    """Seconds from the start of the run to its end, or to now while it goes on."""

    @property
    def settled(self) -> int:
        """Statements whose outcome is final."""
        return self.succeeded + self.failed


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """How often attempts failed in one way: nothing of a statement, nor of a server's message."""

    kind: str
    """The name of the exception's class."""
    count: int
    """How many attempts, since the executor was made or this kind was last forgotten."""
    seconds_ago: float
    """How long ago the last one failed."""


@dataclass(frozen=True, slots=True)
class ExecutorStatistics:
    """What one executor is doing now, over all its runs and submitted statements."""

    concurrency: int
    """The most statements it has in flight at once; with a limiter, at this moment."""
    in_flight: int
    """Statements that the session has not answered yet."""
    queued: int
    """Statements pulled or submitted, and not sent yet, or due to be sent again."""
    waiting_for_retry: int
    """Statements that failed and will be sent again, when their time has come."""
    runs: int
    """Runs that are not over."""
    by_run: tuple[RunStatistics, ...] = ()
    """The counts of each of these, the oldest first."""
    errors: tuple[ErrorCount, ...] = ()
    """What attempts failed with, also those that were made again: the latest kind first, and no
    more than the latest 20 kinds."""
