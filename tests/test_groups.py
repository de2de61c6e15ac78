"""The grouping of statements, whatever they are: what goes together and in which order."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from concurrent_exec.executors._groups import grouped

MOST, MOST_BYTES = 4, 10


class Item(NamedTuple):
    """A statement, known by its number in the input."""

    number: Any
    company: object
    partition: object
    row: int | None
    bytes: int


def _item(company: int | None, partition: int | None, row: int | None, size: int) -> Item:
    return Item(0, company, partition, row, size)


def _grouped(items: list[Item], most: int = MOST, most_bytes: int = MOST_BYTES) -> Any:
    """Return the numbers of those in each group."""
    groups = grouped(items, most=most, most_bytes=most_bytes)
    return [[item.number for item in group] for group in groups]


ITEMS = st.lists(
    st.builds(
        _item,
        company=st.sampled_from([None, 1, 1, 2]),
        partition=st.sampled_from([None, 1, 2, 3, 4, 5]),
        row=st.sampled_from([None, 1, 2, 3]),
        size=st.sampled_from([1, 1, 2, 5, 11]),
    ).map(lambda item: item._replace(company=None) if item.partition is None else item),
    max_size=16,
)


def _numbered(items: list[Item]) -> list[Item]:
    return [Item(number, *item[1:]) for number, item in enumerate(items)]


def _goes_alone(item: Item) -> bool:
    return item.company is None or item.bytes > MOST_BYTES


@given(ITEMS)
def test_any_items(drawn: list[Item]) -> None:
    items = _numbered(drawn)
    groups = _grouped(items)
    sent = [number for group in groups for number in group]
    assert sorted(sent) == list(range(len(items))), "each once"
    place = {number: n for n, group in enumerate(groups) for number in group}
    for group in groups:
        members = [items[number] for number in group]
        if len(group) > 1:
            assert not any(_goes_alone(member) for member in members)
            assert len({member.company for member in members}) == 1
            assert len(group) <= MOST
            assert sum(member.bytes for member in members) <= MOST_BYTES
        touched = [(member.partition, member.row) for member in members]
        assert len(set(touched)) == len(touched), "two writes of a row"
        for partition, row in touched:
            others = [row for where, row in touched if where == partition]
            assert row is not None or len(others) == 1, "a row, and what may touch it"
    for partition in {item.partition for item in items} - {None}:
        numbers = [item.number for item in items if item.partition == partition]
        assert [number for number in sent if number in numbers] == numbers, "not in order"
    for item in items:
        if item.partition is None:
            assert all(place[number] < place[item.number] for number in range(item.number))


@given(ITEMS)
def test_no_group_ends_without_a_reason(drawn: list[Item]) -> None:
    """Two groups of one company that follow each other could not have been one."""
    items = _numbered([item for item in drawn if not _goes_alone(Item(0, *item[1:]))])
    companies: dict[object, list[list[Item]]] = {}
    for group in _grouped(items):
        members = [items[number] for number in group]
        companies.setdefault(members[0].company, []).append(members)
    for groups in companies.values():
        for former, latter in pairwise(groups):
            first = latter[0]
            between = items[former[-1].number + 1 : first.number]
            assert (
                len(former) == MOST
                or sum(member.bytes for member in former) + first.bytes > MOST_BYTES
                or any(
                    member.partition == first.partition
                    and (member.row == first.row or None in (member.row, first.row))
                    for member in former
                )
                # closed by another company's write of a partition that it had
                or any(
                    other.partition == member.partition
                    for other in between
                    if other.company != first.company
                    for member in former
                )
            )


def test_what_can_go_together_does() -> None:
    rows = [Item(number, "company", "partition", number, 1) for number in range(10)]
    assert _grouped(rows, most=4, most_bytes=100) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert _grouped(rows, most=100, most_bytes=5) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_two_companies_that_write_a_partition_keep_its_order() -> None:
    companies = ["company", "other", "company"]
    items = [Item(n, company, "partition", n, 1) for n, company in enumerate(companies)]
    assert _grouped(items) == [[0], [1], [2]]


def test_a_range_does_not_go_with_a_row_of_it() -> None:
    for rows in ([None, 1], [1, None]):
        items = [Item(n, "company", "partition", row, 1) for n, row in enumerate(rows)]
        assert _grouped(items) == [[0], [1]]


def test_what_goes_alone_waits_only_for_its_own_partition() -> None:
    items = [
        Item("a1", "company", "a", 1, 1),
        Item("b1", "company", "b", 1, 1),
        Item("other", None, "c", None, 1),
        Item("b2", None, "b", 2, 1),
        Item("a2", "company", "a", 2, 1),
        Item("unknown", None, None, None, 1),
        Item("a3", "company", "a", 3, 1),
    ]
    assert _grouped(items, most=100, most_bytes=100) == [
        ["other"],
        ["a1", "b1"],
        ["b2"],
        ["a2"],
        ["unknown"],
        ["a3"],
    ]


def test_what_is_too_large_does_not_part_those_before_and_after_it() -> None:
    items = [
        Item("before", "company", "a", 1, 1),
        Item("large", "company", "b", 1, 11),
        Item("after", "company", "a", 2, 1),
    ]
    assert _grouped(items) == [["large"], ["before", "after"]]
