"""How many records may fail."""

from __future__ import annotations

from collections.abc import Callable

from concurrent_exec.model.settings import max_errors_of
from concurrent_exec.run.budget import ErrorBudget


def budget_of(max_errors: int | str | None) -> Callable[[int, int], bool]:
    """Return what says whether so many failures of so many settled records are too many.

    max_errors: as in `BulkOptions`. Raises TypeError or ValueError for what it can't be.
    """
    if max_errors is None:
        return lambda failed, finished: False
    if max_errors == 0 and not isinstance(max_errors, bool):
        return lambda failed, finished: failed > 0
    limit = max_errors_of(max_errors)
    assert limit is not None
    return ErrorBudget(limit).passed
