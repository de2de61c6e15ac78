"""How much of what is to be done is done, of a limited run and of one that goes on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from concurrent_exec.bulk.wanted import Wanted


def wanted(
    *, size: int | None = None, records: int | None = None, skip: int = 0, end: int | None = None
) -> Wanted:
    source: Any = SimpleNamespace(total_bytes=size, total_records=records)
    return Wanted(source, skip, end)


PARTS = [(0, None, 100), (30, None, 70), (0, 40, 40), (30, 40, 10), (30, 200, 70), (200, 210, 0)]


@pytest.mark.parametrize(("skip", "end", "total"), PARTS)
def test_of_how_many_there_are_the_part_is_known(skip: int, end: int | None, total: int) -> None:
    part = wanted(records=100, skip=skip, end=end)
    assert part.total == total
    assert part.shares(total // 2, total // 10) == ((0.5, 0.1) if total else None)


@pytest.mark.parametrize(("skip", "end", "total"), PARTS)
def test_of_a_file_it_is_estimated(skip: int, end: int | None, total: int) -> None:
    """By what was read so far, settled or not."""
    part = wanted(size=1000, skip=skip, end=end)
    part.has_read(50, 500)
    assert part.total is None
    assert part.shares(total // 2, total // 10) == ((0.5, 0.1) if total else None)
    assert part.shares(1000, 0) == ((1.0, 0.0) if total else None)


def test_before_a_file_was_read_only_a_limit_says_anything() -> None:
    assert wanted(size=1000).shares(0, 0) is None
    assert wanted(size=1000, skip=10, end=20).shares(0, 0) == (0.0, 0.0)


def test_of_a_pipe_too() -> None:
    assert wanted().shares(5, 0) is None
    part = wanted(skip=90, end=100)
    part.has_read(95, 500)
    assert part.shares(5, 2) == (0.5, 0.2)
