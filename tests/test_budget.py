"""When so many have failed that a run ends, and what is said of them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from concurrent_exec.model import ErrorCount, ExecutionResult
from concurrent_exec.run.budget import ErrorBudget
from concurrent_exec.run.errors import KINDS, ErrorCounts


def failed(error: BaseException) -> ExecutionResult[Any]:
    return ExecutionResult(False, error)


@pytest.mark.parametrize(
    ("failures", "finished", "over"),
    [(0, 0, False), (3, 3, False), (4, 4, True), (4, 1000, True), (3, 1000, False)],
)
def test_a_number_is_passed_by_one_more(failures: int, finished: int, over: bool) -> None:
    assert ErrorBudget(3).passed(failures, finished) is over


@pytest.mark.parametrize(
    ("failures", "finished", "over"),
    [
        (99, 99, False),  # too few have finished to be judged
        (100, 100, True),
        (5, 100, False),
        (6, 100, True),
        (50, 1000, False),
        (51, 1000, True),
        (51, 1019, True),
        (51, 1020, False),
    ],
)
def test_a_share_is_of_those_that_have_finished(failures: int, finished: int, over: bool) -> None:
    assert ErrorBudget(Fraction(5, 100)).passed(failures, finished) is over


def test_a_share_may_be_large() -> None:
    assert not ErrorBudget(Fraction(2, 5)).passed(40, 100)
    assert ErrorBudget(Fraction(2, 5)).passed(41, 100)


def test_a_share_is_exact_however_many_have_finished() -> None:
    budget = ErrorBudget(Fraction(1, 3))
    assert not budget.passed(10**18, 3 * 10**18)
    assert budget.passed(10**18 + 1, 3 * 10**18)


@pytest.mark.parametrize(
    ("most", "text"), [(3, "3"), (Fraction(5, 100), "5%"), (Fraction(1, 400), "0.25%")]
)
def test_the_error_sums_up_what_failed(most: int | Fraction, text: str) -> None:
    budget = ErrorBudget(most)
    results = [failed(KeyError(number)) for number in range(2)]
    results += [failed(ValueError(number)) for number in range(5)]
    for result in results:
        budget.note(result)
    error = budget.error(7, 200)
    assert error.max_errors == text
    assert (error.failed, error.finished) == (7, 200)
    assert list(error.kinds.items()) == [("ValueError", 5), ("KeyError", 2)]  # the most first
    assert error.examples == tuple(results[:5])  # three of a kind


def test_errors_are_counted_by_kind_the_latest_first() -> None:
    counts = ErrorCounts()
    assert counts.counts(1.0) == ()
    for error, now in ((KeyError(), 1.0), (ValueError(), 2.0), (KeyError(), 4.5)):
        counts.note(error, now)
    assert counts.counts(5.0) == (
        ErrorCount("KeyError", 2, 0.5),
        ErrorCount("ValueError", 1, 3.0),
    )
    # Another thread may have read the clock before the one that noted the error.
    assert counts.counts(4.0)[0] == ErrorCount("KeyError", 2, 0.0)


def test_the_kinds_that_came_last_are_kept() -> None:
    counts = ErrorCounts()
    kinds = [type(f"Error{number}", (Exception,), {}) for number in range(KINDS + 1)]
    for now, kind in enumerate(kinds[:KINDS]):
        counts.note(kind(), now)
    assert len(counts.counts(100)) == KINDS
    counts.note(kinds[0](), 50)
    counts.note(kinds[KINDS](), 60)
    names = [each.kind for each in counts.counts(100)]
    assert names == [f"Error{number}" for number in (KINDS, 0, *range(KINDS - 1, 1, -1))]
