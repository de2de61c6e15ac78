"""How long statements take, with all of the tail."""

from __future__ import annotations

from threading import Lock
from typing import Any

from concurrent_exec.model import Observer, StatementRetried, StatementSettled
from concurrent_exec.model.options import positive_seconds
from concurrent_exec.observers._missing import missing

HIGHEST = 3_600_000_000
"""Microseconds: what takes longer is counted as an hour."""


class LatencyHistogram(Observer):
    """An HdrHistogram of the time from sending to answer, of each attempt, in microseconds.

    Where the executor has a rate (`max_per_second`), a server that stalls also keeps what should
    have been sent meanwhile from being sent, and so from being measured: "coordinated omission".
    What was left out is then added, as HdrHistogram does it (Gil Tene, "How NOT to Measure
    Latency", 2013): each place in flight should send once in every `concurrency / max_per_second`
    seconds, and an answer that took longer stands for those that it held up as well.
    """

    def __init__(self, *, expected_interval: float | None = None, digits: int = 3) -> None:
        """Make an observer (extra `histogram`).

        expected_interval: the seconds in which each place in flight should send once. By default
            what the executor's rate asks for; without a rate, and for what is submitted, nothing
            is corrected.
        digits: how many significant digits values keep, 1 to 5.

        Raises TypeError or ValueError naming an option that is wrong; ImportError, which says
        what to install, where hdrhistogram is missing.
        """
        try:
            from hdrh.histogram import HdrHistogram
        except ModuleNotFoundError as exc:
            raise missing("LatencyHistogram", "histogram", exc) from exc
        self._interval = (
            None
            if expected_interval is None
            else positive_seconds("expected_interval", expected_interval)
        )
        if digits not in range(1, 6):
            raise ValueError(f"digits must be a whole number from 1 to 5, not {digits!r}")
        self.histogram: Any = HdrHistogram(1, HIGHEST, digits)
        """The `hdrh.histogram.HdrHistogram`, to merge, encode or plot; in microseconds."""
        self._lock = Lock()

    @property
    def count(self) -> int:
        """How many values there are, those added by the correction among them."""
        return int(self.histogram.get_total_count())

    def percentile(self, percent: float) -> float:
        """Return the seconds within which `percent` of all, 0 to 100, had their answer."""
        with self._lock:
            return float(self.histogram.get_value_at_percentile(percent)) / 1e6

    def taken(self) -> bytes:
        """Return all values so far, encoded, and begin anew: for `add` in another process."""
        with self._lock:
            encoded: bytes = self.histogram.encode()
            self.histogram.reset()
        return encoded

    def add(self, encoded: bytes) -> None:
        """Add the values that `taken` has returned in another process."""
        with self._lock:
            self.histogram.decode_and_add(encoded)

    def on_retry(self, details: StatementRetried) -> None:
        """Record the attempt that failed."""
        self._record(details)

    def on_settled(self, details: StatementSettled) -> None:
        """Record the last attempt."""
        self._record(details)

    def _record(self, details: StatementRetried | StatementSettled) -> None:
        if details.seconds is None:
            return
        micros = min(max(1, round(details.seconds * 1e6)), HIGHEST)
        interval = self._interval
        run = details.run
        if interval is None and run is not None and run.max_per_second is not None:
            interval = run.concurrency / run.max_per_second
        with self._lock:
            if interval is None:
                self.histogram.record_value(micros)
            else:
                self.histogram.record_corrected_value(micros, max(1, round(interval * 1e6)))
