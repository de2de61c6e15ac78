"""Metrics that Prometheus can scrape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from concurrent_exec.model import (
    Observer,
    RunStarted,
    StatementRetried,
    StatementSettled,
    StatementStarted,
)
from concurrent_exec.observers._missing import missing

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds."""


class PrometheusObserver(Observer):
    """Counts and times statements, over all executors that it is given to.

    - `<namespace>_statements_total`, a counter with the labels `outcome` ("success" or "failure")
      and `error`, the name of the exception's class, "" for a success
    - `<namespace>_retries_total`, a counter with the label `error`
    - `<namespace>_statements_in_flight`, a gauge
    - `<namespace>_concurrency_limit`, a gauge: the most in flight; with a limiter, its level now
    - `<namespace>_attempt_duration_seconds`, a histogram of the time from sending to answer
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        namespace: str = "concurrent_exec",
        buckets: Sequence[float] = BUCKETS,
    ) -> None:
        """Make an observer (extra `prometheus`).

        registry: where the metrics are registered; prometheus_client's own by default.
        namespace: what their names begin with. A second observer in one registry needs another.
        buckets: the upper bounds of the histogram's buckets, in seconds.

        Raises ValueError where the registry has metrics of these names; ImportError, which says
        what to install, where prometheus_client is missing.
        """
        try:
            from prometheus_client import REGISTRY, Counter, Gauge, Histogram
        except ModuleNotFoundError as exc:
            raise missing("PrometheusObserver", "prometheus", exc) from exc
        registry = REGISTRY if registry is None else registry
        self._statements = Counter(
            f"{namespace}_statements",
            "Statements whose outcome is final",
            ["outcome", "error"],
            registry=registry,
        )
        self._retries = Counter(
            f"{namespace}_retries",
            "Attempts that failed and were to be made again",
            ["error"],
            registry=registry,
        )
        self._in_flight = Gauge(
            f"{namespace}_statements_in_flight",
            "Statements that the session has not answered yet",
            registry=registry,
        )
        self._limit = Gauge(
            f"{namespace}_concurrency_limit",
            "The most statements in flight at once",
            registry=registry,
        )
        self._seconds = Histogram(
            f"{namespace}_attempt_duration_seconds",
            "Time from sending a statement to its answer",
            registry=registry,
            buckets=buckets,
        )
        self._success = self._statements.labels("success", "")

    def on_run_started(self, details: RunStarted) -> None:
        """Set the limit."""
        self._limit.set(details.concurrency)

    def on_started(self, details: StatementStarted) -> None:
        """Count it as in flight."""
        self._in_flight.inc()

    def on_retry(self, details: StatementRetried) -> None:
        """Count and time the attempt."""
        self._retries.labels(type(details.error).__name__).inc()
        self._answered(details)

    def on_settled(self, details: StatementSettled) -> None:
        """Count the statement and time its last attempt."""
        if details.success:
            self._success.inc()
        else:
            self._statements.labels("failure", type(details.error).__name__).inc()
        self._answered(details)

    def _answered(self, details: StatementRetried | StatementSettled) -> None:
        self._limit.set(details.limit)
        if details.seconds is not None:
            self._in_flight.dec()
            self._seconds.observe(details.seconds)
