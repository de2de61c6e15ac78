"""In which order each sink gives results back, and what it counts as delivered."""

from __future__ import annotations

import pytest

from concurrent_exec.model import ExecutionResult
from concurrent_exec.sink import CompletionSink, DiscardingSink, ListSink, OrderedSink

RESULTS: list[ExecutionResult[int]] = [ExecutionResult(True, number) for number in range(6)]


def filled(*indexes: int) -> OrderedSink[int]:
    sink: OrderedSink[int] = OrderedSink()
    for index in indexes:
        sink.put(index, RESULTS[index])
    return sink


def test_a_result_waits_for_those_before_it() -> None:
    sink = filled()
    assert not sink.delivers_at_once
    assert sink.take(10) == []
    assert sink.put(1, RESULTS[1]) is False
    assert sink.put(2, RESULTS[2]) is False
    assert sink.take(10) == []
    assert sink.put(0, RESULTS[0]) is True
    assert sink.put(4, RESULTS[4]) is True  # there is still something to take
    assert sink.delivered == 0
    assert sink.take(10) == RESULTS[:3]
    assert sink.delivered == 3
    assert sink.take(10) == []
    assert sink.put(3, RESULTS[3]) is True
    assert sink.take(10) == RESULTS[3:5]
    assert sink.delivered == 5
    assert sink.pairs() == []


@pytest.mark.parametrize("most", [1, 2, 3, 6, 7])
def test_no_more_are_taken_than_are_asked_for(most: int) -> None:
    sink = filled(5, 4, 3, 2, 1, 0)
    taken: list[ExecutionResult[int]] = []
    while some := sink.take(most):
        assert len(some) == min(most, 6 - len(taken))
        taken += some
        assert sink.delivered == len(taken)
    assert taken == RESULTS


def test_in_the_order_of_completion_each_comes_with_its_index() -> None:
    ordered = filled(0, 3, 1)
    assert ordered.take(1) == RESULTS[:1]
    assert ordered.pairs() == [(3, RESULTS[3]), (1, RESULTS[1])]
    sink = CompletionSink(ordered)
    assert not sink.delivers_at_once
    assert sink.delivered == 1
    assert sink.put(5, RESULTS[5]) is True
    assert sink.take(2) == [(3, RESULTS[3]), (1, RESULTS[1])]
    assert sink.delivered == 3
    assert sink.take(2) == [(5, RESULTS[5])]
    assert sink.delivered == 4
    assert sink.take(2) == []
    assert sink.delivered == 4


def test_a_list_has_them_in_order_from_where_the_caller_had_come_to() -> None:
    ordered = filled(0, 3, 1)
    ordered.take(1)
    sink = ListSink(ordered)
    assert sink.delivers_at_once
    assert sink.delivered == 3
    assert sink.put(2, RESULTS[2]) is False
    assert sink.put(5, RESULTS[5]) is False
    assert sink.put(4, RESULTS[4]) is False
    assert sink.delivered == 6
    assert sink.take(10) == []
    assert sink.results() == RESULTS[1:]


def test_a_list_that_ends_early_has_no_gaps() -> None:
    sink = ListSink(filled())
    for index in (4, 0, 2):
        sink.put(index, RESULTS[index])
    assert sink.results() == [RESULTS[0], RESULTS[2], RESULTS[4]]
    assert sink.put(5, RESULTS[5]) is False
    assert sink.results() == [RESULTS[0], RESULTS[2], RESULTS[4], RESULTS[5]]


def test_what_nobody_listens_to_is_let_go() -> None:
    sink: DiscardingSink[int] = DiscardingSink(2)
    assert not sink.delivers_at_once
    assert sink.put(2, RESULTS[2]) is False
    assert sink.take(10) == []
    assert sink.delivered == 2


def test_many_are_kept_as_one_is() -> None:
    def pairs(*indexes: int) -> list[tuple[int, ExecutionResult[int]]]:
        return [(index, RESULTS[index]) for index in indexes]

    ordered = filled()
    assert ordered.put_all(pairs(2, 1)) is False
    assert ordered.put_all(pairs(0, 4)) is True
    assert ordered.take(10) == RESULTS[:3]
    completed = CompletionSink(ordered, pairs(1, 2))  # which the caller has not had after all
    assert completed.delivered == 1
    assert completed.put_all(pairs(5, 3)) is True
    assert completed.take(10) == pairs(1, 2, 4, 5, 3)
    assert completed.delivered == 6
    assert completed.put_all([]) is False
    listed = ListSink(filled(1))
    assert listed.put_all(pairs(3, 0)) is False
    assert listed.delivered == 3
    assert listed.results() == [RESULTS[0], RESULTS[1], RESULTS[3]]
    discarding: DiscardingSink[int] = DiscardingSink(2)
    assert discarding.put_all(pairs(0)) is False
    assert discarding.take(10) == []
