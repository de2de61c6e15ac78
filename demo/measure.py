"""What a phase of the job cost: the time of each statement, and the process's memory."""

from __future__ import annotations

import statistics
from array import array
from dataclasses import dataclass, field


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
