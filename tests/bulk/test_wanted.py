"""How much of what is to be done is done, of a limited run and of one that goes on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from concurrent_exec.bulk.wanted import Wanted


def wanted(
    *, read: int = 0, size: int | None = None, records: int | None = None, **options: Any
) -> Wanted:
    source: Any = SimpleNamespace(bytes_read=read, total_bytes=size, total_records=records)
    return Wanted(source, **{"skip": 0, "end": None, **options})


@pytest.mark.parametrize(
    ("skip", "end", "total"),
    [(0, None, 100), (30, None, 70), (0, 40, 40), (30, 40, 10), (30, 200, 70), (200, 210, 0)],
)
def test_how_many_there_are_of_those_that_are_known(skip: int, end: int | None, total: int) -> None:
    part = wanted(records=100, skip=skip, end=end)
    assert part.total == total
    assert part.shares(total // 2, total // 10) == ((0.5, 0.1) if total else None)


def test_of_a_file_it_is_what_was_read() -> None:
    assert wanted(read=25, size=100).shares(1, 0) == (0.25, 0.0)
    assert wanted(read=25, size=100).total is None


def test_a_run_that_goes_on_has_done_something_already() -> None:
    assert wanted(read=80, size=100, bytes_before=60).shares(8, 6) == (0.8, 0.6)


def test_what_is_skipped_is_not_to_be_done() -> None:
    assert wanted(read=70, size=100, skip=5, bytes_before=60).shares(1, 0) == (0.25, 0.0)
    assert wanted(read=100, size=100, skip=5, bytes_before=100).shares(1, 0) is None


@pytest.mark.parametrize(("read", "share"), [(10, 0.5), (75, 0.75)])
def test_a_limit_ends_it_if_the_file_does_not(read: int, share: float) -> None:
    """Whichever comes first."""
    assert wanted(read=read, size=100, end=10).shares(5, 0) == (share, 0.0)
    assert wanted(size=None, skip=90, end=100).shares(5, 2) == (0.5, 0.2)


def test_nobody_knows_of_a_pipe() -> None:
    assert wanted().shares(5, 0) is None
