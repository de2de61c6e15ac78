"""Which statements go together: pure bookkeeping, without any I/O."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Item(NamedTuple, Generic[T]):
    """A statement, and what decides whom it may go with."""

    content: T
    company: Hashable
    """Only those of the same company may share a group; None for one that goes alone."""
    partition: Hashable
    """What it may touch; None where that can't be told."""
    row: Hashable
    """What of the partition it touches; None where that may be any of it."""
    bytes: int


def grouped(items: Iterable[Item[T]], *, most: int, most_bytes: int) -> list[list[T]]:
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
    """A group that is still open, and what it touches."""

    __slots__ = ("bytes", "company", "contents", "rows")

    def __init__(self, company: Hashable) -> None:
        self.company = company
        self.contents: list[T] = []
        self.bytes = 0
        self.rows: dict[Hashable, set[Hashable]] = {}
        """By partition."""

    def touches(self, item: Item[T]) -> bool:
        rows = self.rows.get(item.partition)
        return rows is not None and (item.row is None or item.row in rows or None in rows)

    def add(self, item: Item[T]) -> None:
        self.contents.append(item.content)
        self.bytes += item.bytes
        self.rows.setdefault(item.partition, set()).add(item.row)


class _Grouping(Generic[T]):
    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._closed: list[list[T]] = []
        self._by_company: dict[Hashable, _Group[T]] = {}
        self._by_partition: dict[Hashable, _Group[T]] = {}

    def group(self, items: Iterable[Item[T]]) -> list[list[T]]:
        for item in items:
            self._take(item)
        self._close_all()
        return self._closed

    def _take(self, item: Item[T]) -> None:
        goes_alone = item.company is None or item.bytes > self._most_bytes
        if item.partition is None:
            self._close_all()
        else:
            there = self._by_partition.get(item.partition)
            if there is not None and (
                goes_alone or there.company != item.company or there.touches(item)
            ):
                self._close(there)
        if goes_alone or item.partition is None:
            self._closed.append([item.content])
            return
        group = self._by_company.get(item.company)
        if group is not None and group.bytes + item.bytes > self._most_bytes:
            self._close(group)
            group = None
        if group is None:
            group = self._by_company[item.company] = _Group(item.company)
        group.add(item)
        self._by_partition[item.partition] = group
        if len(group.contents) >= self._most:
            self._close(group)

    def _close(self, group: _Group[T]) -> None:
        del self._by_company[group.company]
        for partition in group.rows:
            del self._by_partition[partition]
        self._closed.append(group.contents)

    def _close_all(self) -> None:
        for group in list(self._by_company.values()):
            self._close(group)
