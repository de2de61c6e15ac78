"""What a phase of the job cost: the time of each statement, and the process's memory."""

from __future__ import annotations

import resource
import statistics
import sys
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

_MB = 1_000_000


class TimedSession:
    """A session that notes how long each statement takes, from its sending to its answer.

    An executor takes it for the driver's: it needs no more than these two methods. What it notes
    is one number a statement, put into an array: no lock, and a few microseconds.
    """

    def __init__(self, session: Any) -> None:
        """Send over `session`; `seconds` has the times, in the order of the answers."""
        self._session = session
        self.seconds: array[float] = array("d")

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
            self.seconds.append(perf_counter() - started)

    def _answered(self, answer: Any, started: float) -> None:
        self.seconds.append(perf_counter() - started)


class PeakMemory:
    """The most memory that this process has had resident since this object was made.

    `is_own` is False where the system can't start the measure anew: then it counts from the
    process's start.
    """

    def __init__(self) -> None:
        try:
            Path("/proc/self/clear_refs").write_text("5")
            self.is_own = True
        except OSError:
            self.is_own = False

    def megabytes(self) -> float:
        """Return it as of now, in millions of bytes."""
        if self.is_own:
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name == "VmHWM":
                    return int(value.removesuffix("kB")) * 1024 / _MB
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most * (1 if sys.platform == "darwin" else 1024) / _MB


@dataclass
class Phase:
    """One step of the job, and what came of it.

    strategy, what: which executor did what.
    statements, failed: how many were answered, and how many of these with an error.
    rows: how many rows were written, read or counted.
    seconds: from the first statement to the last result's check.
    p50_ms, p99_ms: of the statements' times.
    peak_mb, peak_is_own: the process's peak memory, and whether it is this phase's own.
    wrong: how many of the answers were not what the file says.
    complaints: what failed or was wrong, in words; the first few.
    """

    strategy: str
    what: str
    statements: int = 0
    failed: int = 0
    rows: int = 0
    seconds: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    peak_mb: float = 0.0
    peak_is_own: bool = True
    wrong: int = 0
    complaints: list[str] = field(default_factory=list)

    MOST_COMPLAINTS = 5

    @property
    def is_right(self) -> bool:
        """Whether nothing failed and nothing was wrong."""
        return not self.failed and not self.wrong

    def complain(self, words: str) -> None:
        """Remember what was wrong, as long as there is not too much of it to be read."""
        if len(self.complaints) < self.MOST_COMPLAINTS:
            self.complaints.append(words)

    def set_times(self, seconds: array[float]) -> None:
        """Work out the percentiles of the statements' times."""
        if len(seconds) > 1:
            percentiles = statistics.quantiles(seconds, n=100, method="inclusive")
            self.p50_ms, self.p99_ms = percentiles[49] * 1000, percentiles[98] * 1000
        elif seconds:
            self.p50_ms = self.p99_ms = seconds[0] * 1000
