"""Which statements go together: pure bookkeeping, without any I/O."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
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
    return _Grouping[T](most, most_bytes).group(items)


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
