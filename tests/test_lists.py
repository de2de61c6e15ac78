"""What comes and goes many at a time: parameters in lists, and results."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest

from concurrent_exec import CallbackExecutor, DirectExecutor, Executor
from concurrent_exec.run import Lists
from concurrent_exec.testing import (
    Reply,
    ScriptedInput,
    ScriptedSession,
    VirtualClock,
    wait_until_quiet,
)

ROWS = [(number,) for number in range(25)]


def at_once(statement: Any, parameters: Any) -> Reply:
    return Reply(rows=[parameters], at_once=True)


def in_lists(*sizes: int) -> Iterator[list[tuple[int]]]:
    first = 0
    for size in sizes:
        yield ROWS[first : first + size]
        first += size


@pytest.mark.parametrize(
    "options",
    [{}, {"feeder": "caller"}, {"order_by": lambda statement, row: row[0] % 3}, {"buffersize": 2}],
    ids=["a thread", "the caller", "an order", "a narrow window"],
)
def test_all_are_sent_in_their_order(options: Any) -> None:
    session = ScriptedSession(at_once)
    with CallbackExecutor(session, concurrency=4) as executor:
        results = executor.map("s", Lists(in_lists(5, 0, 12, 8)), **options)
        assert [result.unwrap().one() for result in results] == ROWS


def test_what_is_in_a_list_is_pulled_together_as_far_as_there_is_room() -> None:
    pulled = []

    def script(statement: Any, parameters: Any) -> Reply:
        pulled.append(results.statistics().pulled)
        return at_once(statement, parameters)

    session, given = ScriptedSession(script), ScriptedInput()
    executor = CallbackExecutor(session, concurrency=1)
    results = executor.map("s", Lists(given), buffersize=4)
    given.give(ROWS[:6])
    wait_until_quiet(executor, session)
    assert pulled == [4, 4, 4, 4]
    results.close()


def test_what_is_in_a_list_keeps_its_order_by_keys() -> None:
    session = ScriptedSession()
    with CallbackExecutor(session, concurrency=9) as executor:
        lists = Lists(in_lists(5, 7))
        results = executor.map("s", lists, order_by=lambda statement, row: row[0] % 3)
        for first in range(0, 12, 3):
            wait_until_quiet(executor, session)
            requests = session.pending
            assert [request.parameters for request in requests] == ROWS[first : first + 3]
            for request in requests:
                request.succeed()
        assert len(list(results)) == 12


def test_no_list_is_asked_for_before_there_is_room() -> None:
    session, given = ScriptedSession(), ScriptedInput()
    executor = CallbackExecutor(session, concurrency=2)
    results = executor.map("s", Lists(given), buffersize=4)
    given.give(ROWS[:3])
    given.give(ROWS[3:6])
    given.give(ROWS[6:9])
    wait_until_quiet(executor, session)
    assert results.statistics().pulled == 4
    results.close()


def test_what_the_lists_raise_comes_behind_what_was_in_them() -> None:
    def lists() -> Iterator[list[tuple[int]]]:
        yield ROWS[:7]
        raise ZeroDivisionError

    session = ScriptedSession(at_once)
    with CallbackExecutor(session, concurrency=2) as executor:
        results = executor.map("s", Lists(lists()), buffersize=3)
        assert [next(results).unwrap().one() for _ in range(7)] == ROWS[:7]
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_no_list_is_asked_for_after_the_last() -> None:
    asked: list[threading.Thread] = []

    class Given:
        def __iter__(self) -> Given:
            return self

        def __next__(self) -> list[tuple[int]]:
            asked.append(threading.current_thread())
            if len(asked) == 3:
                raise StopIteration
            return ROWS[:2]

    with CallbackExecutor(ScriptedSession(at_once)) as executor:
        results = executor.map("s", Lists(Given()))
        assert len(list(results)) == 4
        asked[0].join(20)
    assert asked == [asked[0]] * 3
    assert not asked[0].is_alive()


def test_no_list_is_asked_for_after_the_run_was_closed() -> None:
    asked: list[threading.Thread] = []
    asked_for_one, closed = threading.Event(), threading.Event()

    def lists() -> Iterator[list[tuple[int]]]:
        while True:
            asked.append(threading.current_thread())
            asked_for_one.set()
            assert closed.wait(20)
            yield ROWS[:2]

    with CallbackExecutor(ScriptedSession(at_once)) as executor:
        results = executor.map("s", Lists(lists()), buffersize=8)
        assert asked_for_one.wait(20)
        results.close()
        closed.set()
        asked[0].join(20)
    assert len(asked) == 1
    assert results.statistics().pulled == 0


class Reader:
    """A thread that takes lists of results."""

    def __init__(self, executor: Executor[Any], rows: Any = ROWS, **options: Any) -> None:
        self.lists: list[list[int]] = []
        self.raised: BaseException | None = None
        self.results = executor.map("s", rows, buffersize=80, **options)
        self._completed = self.results.lists_as_completed()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for taken in self._completed:
                self.lists.append([index for index, _ in taken])
        except Exception as exc:
            self.raised = exc

    @property
    def waits(self) -> bool:
        """Whether nobody has woken it since it began to wait."""
        return bool(self.results._run.consumers.tickets)

    def wait_until_it_waits(self, lists: int) -> None:
        """Return when it has taken so many and waits for more."""
        pause = threading.Event()
        while not (len(self.lists) == lists and self.waits):
            pause.wait(0.0005)

    def end(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.mark.parametrize("kind", [CallbackExecutor, DirectExecutor])
def test_they_are_taken_where_there_are_many_or_may_be_no_more_for_long(
    clock: VirtualClock, kind: Any
) -> None:
    session = ScriptedSession(clock=clock)
    executor = kind(session, concurrency=100, clock=clock)
    reader = Reader(executor, raise_on_first_error=False)
    reader.wait_until_it_waits(0)
    requests = session.pending
    for request in requests[:9]:
        request.succeed()
        assert reader.waits
    requests[9].succeed()  # an eighth of the window
    reader.wait_until_it_waits(1)
    requests[10].succeed()
    assert reader.waits
    clock.advance(0.02)
    requests[11].fail(ValueError())  # and so long none was taken
    reader.wait_until_it_waits(2)
    for request in requests[12:]:
        request.succeed()
    reader.end()
    executor.shutdown()
    assert [sorted(each) for each in reader.lists[:2]] == [list(range(10)), [10, 11]]
    assert sorted(chain.from_iterable(reader.lists)) == list(range(25))
    assert reader.raised is None


def test_while_nothing_is_in_flight_all_there_is_is_taken(clock: VirtualClock) -> None:
    session, given = ScriptedSession(clock=clock), ScriptedInput()
    executor = CallbackExecutor(session, concurrency=5, clock=clock)
    reader = Reader(executor, Lists(given), raise_on_first_error=False)
    reader.wait_until_it_waits(0)
    for number in range(3):
        given.give(ROWS[number * 2 : number * 2 + 2])
        wait_until_quiet(executor, session)
        first, second = session.pending
        first.succeed()
        assert reader.waits
        second.succeed()
        reader.wait_until_it_waits(number + 1)
    given.end()
    reader.end()
    executor.shutdown()
    assert [sorted(each) for each in reader.lists] == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("before", [0, 3])
def test_a_failure_that_ends_the_run_is_raised_behind_what_came_before(
    clock: VirtualClock, before: int
) -> None:
    session = ScriptedSession(clock=clock)
    executor = CallbackExecutor(session, concurrency=20, clock=clock)
    reader = Reader(executor)
    reader.wait_until_it_waits(0)
    error = ValueError("mine")
    requests = session.pending
    for request in requests[:before]:
        request.succeed()
    requests[before].fail(error)
    reader.end()
    assert reader.raised is error
    assert sorted(chain.from_iterable(reader.lists)) == list(range(before))
    for request in session.pending:
        request.succeed()
    executor.shutdown()


def test_a_close_ends_who_waits_for_a_list_though_answers_are_still_to_come(
    clock: VirtualClock,
) -> None:
    session = ScriptedSession(clock=clock)
    executor = CallbackExecutor(session, concurrency=5, clock=clock)
    reader = Reader(executor)
    reader.wait_until_it_waits(0)
    reader.results.close()
    reader.end()
    assert len(session.pending) == 5
    assert (reader.lists, reader.raised) == ([], None)


def test_what_was_taken_in_order_before_is_not_taken_again() -> None:
    session = ScriptedSession(at_once)
    with CallbackExecutor(session, concurrency=4) as executor:
        results = executor.map("s", ROWS, buffersize=80)
        assert [next(results).unwrap().one() for _ in range(3)] == ROWS[:3]
        rest = [pair for taken in results.lists_as_completed() for pair in taken]
        assert [index for index, _ in rest] == list(range(3, 25))
        assert results.statistics().delivered == 25
        with pytest.raises(RuntimeError):
            results.lists_as_completed()
