"""How many records may fail."""

from __future__ import annotations

from collections.abc import Callable

from concurrent_exec.model.settings import max_errors_of
from concurrent_exec.run.budget import ErrorBudget


def budget_of(max_errors: int | str | None) -> Callable[[int, int], bool]:
    """Return what says whether so many failures of so many settled records are too many.

    max_errors: as in `BulkOptions`. Raises TypeError or ValueError for what it can't be.
    """
    limit = max_errors_of(max_errors, least=0)
    if limit is None:
        return lambda failed, finished: False
    return ErrorBudget(limit).passed
