"""Which statements go together: pure bookkeeping, without any I/O."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Sequence
from itertools import accumulate
from typing import Generic, Protocol, TypeVar


class Item(Protocol):
    """What decides whom a statement may go with."""

    @property
    def company(self) -> Hashable:
        """Only those of the same company may share a group; None for one that goes alone."""

    @property
    def partition(self) -> Hashable:
        """What it may touch; None where that can't be told."""

    @property
    def row(self) -> Hashable:
        """What of the partition it touches; None where that may be any of it."""

    @property
    def bytes(self) -> int:
        """What it weighs."""


T = TypeVar("T", bound=Item)


def grouped(items: Iterable[T], *, most: int, most_bytes: int) -> list[list[T]]:
    """Put `items` into groups, and return these in the order in which to send them.

    most: how many items a group has at most.
    most_bytes: how many bytes these have together at most; a single one may have more.

    No group has two items that may touch the same row. Those of one partition keep their order,
    within groups and over them: at any moment a partition has at most one group that is open,
    and what may not join it closes it. What can't be told to touch any partition comes after all
    that is before it, and before all that is after it.
    """
    found = list(items)
    if _are_apart(found, most_bytes):
        return _cut(found, most, most_bytes)
    return _Grouping[T](most, most_bytes).group(found)


def _are_apart(items: Sequence[Item], most_bytes: int) -> bool:
    """Say whether nothing keeps any of `items` from going with whatever others of its company.

    That is so in most loads, and told of all at once.
    """
    companies = [item.company for item in items]
    partitions = [item.partition for item in items]
    if None in companies or None in partitions or any(item.bytes > most_bytes for item in items):
        return False
    different = len(set(partitions))
    if different == len(items):
        return True
    is_one = len(set(map(id, companies))) == 1
    if not is_one and len(set(zip(companies, partitions, strict=True))) > different:
        return False
    rows = [item.row for item in items]
    return None not in rows and len(set(zip(partitions, rows, strict=True))) == len(items)


def _cut(items: Sequence[T], most: int, most_bytes: int) -> list[list[T]]:
    """Return the groups of those of each company, one company after another."""
    by_company: dict[Hashable, list[T]] = {}
    same: list[T] = []
    last: Hashable = None
    for item in items:
        if item.company is not last:  # it has a hash that takes a while, and most have the same
            last = item.company
            same = by_company.setdefault(last, [])
        same.append(item)
    groups = []
    for alike in by_company.values():
        sums = [0, *accumulate(item.bytes for item in alike)]
        start = 0
        while start < len(alike):
            fits = bisect_right(sums, sums[start] + most_bytes) - 1
            end = min(start + most, fits)
            groups.append(alike[start:end])
            start = end
    return groups


class _Group(Generic[T]):
    """A group that is open, or was."""

    __slots__ = ("bytes", "company", "items", "open")

    def __init__(self, company: Hashable) -> None:
        self.company = company
        self.items: list[T] = []
        self.bytes = 0
        self.open = True


class _Grouping(Generic[T]):
    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._closed: list[list[T]] = []
        self._by_company: dict[Hashable, _Group[T]] = {}
        self._by_partition: dict[Hashable, tuple[_Group[T], set[Hashable]]] = {}
        """The latest group that touches a partition, with the rows of it that it touches."""

    def group(self, items: Iterable[T]) -> list[list[T]]:
        by_company, by_partition = self._by_company, self._by_partition
        for item in items:
            company, partition = item.company, item.partition
            if company is None or partition is None or item.bytes > self._most_bytes:
                self._take_alone(item)
                continue
            rows: set[Hashable] | None = None
            there = by_partition.get(partition)
            if there is not None and there[0].open:
                group, rows = there
                if group.company != company or _touches(rows, item.row):
                    self._close(group)
                    rows = None
            open_group = by_company.get(company)
            if open_group is not None and open_group.bytes + item.bytes > self._most_bytes:
                self._close(open_group)
                open_group = rows = None
            if open_group is None:
                open_group = by_company[company] = _Group(company)
            if rows is None:
                by_partition[partition] = open_group, {item.row}
            else:
                rows.add(item.row)
            open_group.items.append(item)
            open_group.bytes += item.bytes
            if len(open_group.items) >= self._most:
                self._close(open_group)
        self._close_all()
        return self._closed

    def _take_alone(self, item: T) -> None:
        if item.partition is None:
            self._close_all()
        else:
            there = self._by_partition.get(item.partition)
            if there is not None and there[0].open:
                self._close(there[0])
        self._closed.append([item])

    def _close(self, group: _Group[T]) -> None:
        group.open = False
        del self._by_company[group.company]
        self._closed.append(group.items)

    def _close_all(self) -> None:
        for group in list(self._by_company.values()):
            self._close(group)


def _touches(rows: set[Hashable], row: Hashable) -> bool:
    """Say whether a write of `row` may touch one of `rows`."""
    return row is None or row in rows or None in rows
