"""Records of runs and of what failed in them, for `logging`."""

from __future__ import annotations

import logging
import time
from typing import Any

from concurrent_exec.model import (
    Observer,
    RunFinished,
    RunStarted,
    StatementRetried,
    StatementSettled,
)
from concurrent_exec.model.statement import short_text
from concurrent_exec.pacing import Rate


class LoggingObserver(Observer):
    """Logs the start and end of each run (INFO), retries (INFO) and failures (WARNING).

    Each record has its facts as attributes, as `extra=` gives them: `event` ("run_started",
    "retry", "failure" or "run_finished"), and, where they apply, `statement` (its text), `index`,
    `attempts`, `error_type`, `seconds`, `delay`, `batch_size`, `in_flight`, `limit`, `total`,
    `succeeded`, `failed`, `retries` and `elapsed`. What the server said is not among them, as it
    may quote values; nor is a value of a parameter.
    """

    def __init__(self, logger: logging.Logger | None = None, *, max_per_second: float = 10) -> None:
        """Make an observer.

        logger: where to log; `concurrent_exec.statements` by default.
        max_per_second: how many records there are at most, of all kinds together. The next one
            says in `suppressed` how many were left out before it.

        Raises TypeError or ValueError where `max_per_second` is no number above 0.
        """
        self._logger = logger or logging.getLogger("concurrent_exec.statements")
        self._rate = Rate(max_per_second, burst=max(1.0, max_per_second))
        self._suppressed = 0

    def on_run_started(self, details: RunStarted) -> None:
        """Log it."""
        self._log(
            logging.INFO,
            "a run begins",
            event="run_started",
            statement=None if details.statement is None else short_text(details.statement),
            total=details.total,
            limit=details.concurrency,
        )

    def on_retry(self, details: StatementRetried) -> None:
        """Log it."""
        error = type(details.error).__name__
        self._log(
            logging.INFO,
            f"statement {details.index} failed with {error} and will be sent again",
            event="retry",
            delay=details.delay,
            **_facts(details, error),
        )

    def on_settled(self, details: StatementSettled) -> None:
        """Log a failure."""
        if not details.success:
            error = type(details.error).__name__
            self._log(
                logging.WARNING,
                f"statement {details.index} failed with {error}",
                event="failure",
                **_facts(details, error),
            )

    def on_finished(self, details: RunFinished) -> None:
        """Log it."""
        counts = details.statistics
        self._log(
            logging.INFO,
            f"a run has ended: {counts.succeeded} succeeded, {counts.failed} failed",
            event="run_finished",
            error_type=None if details.error is None else type(details.error).__name__,
            succeeded=counts.succeeded,
            failed=counts.failed,
            retries=counts.retries,
            elapsed=counts.elapsed,
        )

    def _log(self, level: int, message: str, **facts: Any) -> None:
        if not self._logger.isEnabledFor(level):
            return
        if not self._rate.take(time.monotonic()):
            self._suppressed += 1
            return
        facts["suppressed"], self._suppressed = self._suppressed, 0
        self._logger.log(level, "%s", message, extra=facts)


def _facts(details: StatementRetried | StatementSettled, error: str) -> dict[str, Any]:
    return {
        "statement": short_text(details.statement),
        "index": details.index,
        "attempts": details.attempts,
        "error_type": error,
        "seconds": details.seconds,
        "batch_size": details.batch_size,
        "in_flight": details.in_flight,
        "limit": details.limit,
    }
