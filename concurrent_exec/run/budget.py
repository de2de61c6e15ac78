"""How many statements of a run may fail."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from concurrent_exec.model import ExecutionResult, MaxErrorsExceededError

FIRST_JUDGED = 100
"""So many statements must have finished before a share of them is judged."""
EXAMPLES = 3
"""So many failures of each kind are kept."""


class ErrorBudget:
    """Counts failures by kind, and says when there are too many.

    `max_errors` is a number, or the share of those finished that may fail. It is the run's own,
    and has no lock.
    """

    def __init__(self, max_errors: int | Fraction) -> None:
        self._max_errors = max_errors
        self._kinds: dict[str, int] = {}
        self._examples: list[ExecutionResult[Any]] = []

    def note(self, result: ExecutionResult[Any]) -> None:
        """Take note of a failure."""
        kind = type(result.result_or_exc).__name__
        seen = self._kinds.get(kind, 0)
        self._kinds[kind] = seen + 1
        if seen < EXAMPLES:
            self._examples.append(result)

    def passed(self, failed: int, finished: int) -> bool:
        """Say whether `failed` of `finished` statements are too many."""
        limit = self._max_errors
        if isinstance(limit, int):
            return failed > limit
        if finished < FIRST_JUDGED:
            return False
        return failed * limit.denominator > finished * limit.numerator

    def error(self, failed: int, finished: int) -> MaxErrorsExceededError:
        """Return what sums up the failures."""
        limit = self._max_errors
        text = str(limit) if isinstance(limit, int) else f"{float(limit * 100):g}%"
        kinds = dict(sorted(self._kinds.items(), key=lambda each: -each[1]))
        return MaxErrorsExceededError(text, failed, finished, kinds, tuple(self._examples))
