"""How an input's items become statements and parameters, and in which lane each goes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import count
from types import MappingProxyType
from typing import Any

import pytest

from concurrent_exec.model import InvalidItemError, NoKeyError
from concurrent_exec.run.lane import Lanes
from concurrent_exec.run.source import Lists, Source

PAIRS: list[Any] = [("a", 1), ["b", 2], ("c", None)]


class Tuple(tuple[Any, ...]):
    """May run code of the user's when it is looked into."""


@pytest.mark.parametrize("pairs", [PAIRS, tuple(PAIRS), []])
def test_a_plain_list_of_pairs_is_pulled_in_place(pairs: Any) -> None:
    wanted = [tuple(pair) for pair in pairs]
    source = Source.of_pairs(pairs)
    assert source.items is pairs
    assert source.iterator is None
    assert source.statement is None
    assert source.total == len(wanted)
    assert [source.pair_at(index) for index in range(len(wanted))] == wanted
    assert source.pairs_at(0, 10) == wanted
    assert source.pairs_at(1, 1) == wanted[1:2]
    assert source.pairs_at(1, 2) == wanted[1:3]
    assert source.pairs_at(7, 2) == []


@pytest.mark.parametrize("parameters", [[(1,), None, {"a": 2}], ((1,), (2,), (3,)), range(3)])
def test_a_plain_list_of_parameters_is_pulled_in_place(parameters: Any) -> None:
    wanted = [("s", each) for each in parameters]
    source = Source.of_parameters("s", parameters)
    assert source.items is parameters
    assert source.iterator is None
    assert source.statement == "s"
    assert source.total == 3
    assert [source.pair_at(index) for index in range(3)] == wanted
    assert source.pairs_at(0, 10) == wanted
    assert source.pairs_at(1, 1) == wanted[1:2]
    assert source.pairs_at(1, 2) == wanted[1:3]
    assert source.pairs_at(7, 2) == []
    assert source.pair(5, (1, 2, 3)) == ("s", (1, 2, 3))


@pytest.mark.parametrize(
    "make_pairs",
    [
        lambda: iter(PAIRS),
        lambda: [("a", 1), "bc"],
        lambda: [("a", 1), ("b",)],
        lambda: [Tuple(("a", 1))],
    ],
    ids=["iterator", "text", "too short", "subclass"],
)
def test_all_else_is_pulled_item_by_item(make_pairs: Callable[[], Any]) -> None:
    source = Source.of_pairs(make_pairs())
    assert source.items is None
    assert source.total is None
    assert source.statement is None
    assert source.iterator is not None
    assert source.pair(0, next(source.iterator)) == ("a", 1)


def test_an_iterator_of_parameters_keeps_its_statement() -> None:
    source = Source.of_parameters("s", iter([(1,)]))
    assert source.items is None
    assert source.total is None
    assert source.statement == "s"
    assert source.iterator is not None
    assert source.pair(0, next(source.iterator)) == ("s", (1,))


def test_a_list_may_be_pulled_item_by_item_after_all() -> None:
    source = Source.of_pairs(PAIRS)
    source.as_iterator()
    assert source.items is None
    assert source.iterator is not None
    assert source.total == 3
    assert list(source.iterator) == PAIRS
    lazy = Source.of_pairs(iter(PAIRS))
    iterator = lazy.iterator
    lazy.as_iterator()
    assert lazy.iterator is iterator


@pytest.mark.parametrize("value", ["text", b"bytes", bytearray(), {"a": 1}, None, 7])
def test_what_is_no_iterable_of_its_kind_is_refused(value: Any) -> None:
    kind = type(value).__name__
    with pytest.raises(
        TypeError,
        match=rf"^statements_and_parameters must be an iterable of \(statement, parameters\) "
        rf"pairs, not {kind}$",
    ):
        Source.of_pairs(value)
    with pytest.raises(
        TypeError,
        match=f"^parameters must be an iterable of sequences, mappings or None, not {kind}$",
    ):
        Source.of_parameters("s", value)


def test_no_statement_is_refused() -> None:
    with pytest.raises(TypeError, match=r"takes, not None$"):
        Source.of_parameters(None, [])


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("ab", "is of type str"),
        (b"ab", "is of type bytes"),
        ({"a": 1, "b": 2}, "is of type dict"),
        (MappingProxyType({"a": 1, "b": 2}), "is of type mappingproxy"),
        ({"a", "b"}, "is of type set"),
        (7, "is of type int"),
        (None, "is of type NoneType"),
        ((), "has 0 elements"),
        (("a",), "has 1 elements"),
        (("a", 1, 2), "has more than two elements"),
        (("a", 1, 2, 3), "has more than two elements"),
        (count(), "has more than two elements"),  # without an end
    ],
)
def test_an_item_that_is_no_pair_is_named_by_its_index(item: Any, reason: str) -> None:
    source = Source.of_pairs(iter([]))
    with pytest.raises(InvalidItemError, match=reason) as caught:
        source.pair(17, item)
    assert caught.value.index == 17


def test_any_two_are_a_pair() -> None:
    source = Source.of_pairs(iter([]))
    assert source.pair(0, ["a", 1]) == ("a", 1)
    assert source.pair(0, iter(("a", 1))) == ("a", 1)
    assert source.pair(0, Tuple(("a", 1))) == ("a", 1)


def test_a_list_that_was_changed_meanwhile_is_noticed() -> None:
    pairs = list(PAIRS)
    source = Source.of_pairs(pairs)
    pairs[1] = ("b",)
    with pytest.raises(InvalidItemError, match="was replaced by no pair while") as caught:
        source.pair_at(1)
    assert caught.value.index == 1
    pairs[1] = "bc"
    with pytest.raises(InvalidItemError, match="was replaced by no pair while"):
        source.pairs_at(0, 2)
    del pairs[1:]
    with pytest.raises(InvalidItemError, match="was removed while the run was under way") as caught:
        source.pair_at(1)
    assert caught.value.index == 1


# --- lanes ----------------------------------------------------------------------------------


def by_parameters(statement: Any, parameters: Any) -> Hashable:
    return statement, parameters


def test_what_has_one_key_has_one_lane() -> None:
    lanes = Lanes(by_parameters, window=10)
    first = lanes.lane_of(0, "s", 1)
    assert not first.busy
    assert list(first.queue) == []
    assert first.failed_at is None
    assert lanes.lane_of(1, "s", 2) is not first
    assert lanes.lane_of(2, "t", 1) is not first
    assert lanes.lane_of(3, "s", 1) is first


def test_lanes_that_nobody_is_in_are_forgotten() -> None:
    lanes = Lanes(by_parameters, window=3)
    busy, failed, idle = (lanes.lane_of(number, "s", number) for number in range(3))
    busy.busy = True
    failed.failed_at = 0
    for number in range(3, 6):  # twice the window
        lanes.lane_of(number, "s", number)
    assert lanes.lane_of(6, "s", 2) is idle
    lanes.lane_of(7, "s", "one more")
    assert lanes.lane_of(8, "s", 0) is busy
    assert lanes.lane_of(9, "s", 1) is failed
    assert lanes.lane_of(10, "s", 2) is not idle


def test_lanes_that_are_kept_make_room_for_as_many_more() -> None:
    lanes = Lanes(by_parameters, window=1)
    kept = [lanes.lane_of(number, "s", number) for number in range(2)]
    for lane in kept:
        lane.busy = True
    idle = [lanes.lane_of(number, "s", number) for number in range(2, 4)]  # four are now allowed
    assert lanes.lane_of(4, "s", 2) is idle[0]
    lanes.lane_of(5, "s", 5)
    assert lanes.lane_of(6, "s", 2) is not idle[0]
    assert [lanes.lane_of(7, "s", number) for number in range(2)] == kept


def test_what_is_no_key_is_named_by_its_index() -> None:
    def none(statement: Any, parameters: Any) -> Hashable:
        raise NoKeyError(0, "it has none")

    with pytest.raises(NoKeyError, match="it has none") as caught:
        Lanes(none, 10).lane_of(17, "s", 1)
    assert caught.value.index == 17
    with pytest.raises(NoKeyError, match="order_by gave a key that has no hash: list") as caught:
        Lanes(lambda statement, parameters: parameters, 10).lane_of(17, "s", [1])
    assert caught.value.index == 17


def test_of_lists_as_many_are_given_as_are_there() -> None:
    lists = Lists(iter([[], [1, 2, 3], (), [], range(4, 8), [8], []]))
    assert lists.some(2) == [1, 2]
    assert lists.some(2) == [3]
    assert lists.some(9) == range(4, 8)
    assert lists.some(9) == [8]
    assert lists.some(9) is None
    assert lists.some(9) is None


def test_lists_are_parameters_like_others_one_by_one() -> None:
    lists = Lists([[1, 2], [], [3, 4]])
    source = Source.of_parameters("s", lists)
    assert source.items is None
    assert source.total is None
    assert source.lists is lists
    assert source.iterator is not None
    assert next(source.iterator) == 1
    assert lists.some(1) == [2]  # nothing more was taken than that one
    assert list(source.iterator) == [3, 4]
    source.let_go()
    assert [source.iterator, source.lists] == [None] * 2
    assert Source.of_parameters("s", iter([1])).lists is None
