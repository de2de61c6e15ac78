"""The state machine of a run by itself: played step by step, with neither session nor threads."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from queue import SimpleQueue
from typing import Any, cast

import pytest

from concurrent_exec import (
    DeadlineExceededError,
    ExecutionResult,
    ExecutorShutdownError,
    InvalidItemError,
    MaxErrorsExceededError,
    SkippedError,
)
from concurrent_exec.model import RunSettings
from concurrent_exec.run import Gate, Job, Lanes, Run, Source
from concurrent_exec.run.feeder import demand, pull_one
from concurrent_exec.run.run import A_MOMENT
from concurrent_exec.run.work import succeed_all
from concurrent_exec.sink import CompletionSink, ListSink, OrderedSink
from concurrent_exec.testing import VirtualClock
from tests.test_retrying import Fixed

ALL = 1000


class Noted:
    """A watch that notes what it is told of the run, and tells nothing."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.dropped: list[object] = []
        self.told = 0

    def started(self, job: Job) -> None:
        raise AssertionError("nothing is handed to a session")

    def retried(self, job: Job, error: BaseException, delay: float) -> None:
        self.heard.append(("retried", job.index, error))

    def settled(self, job: Job, success: bool, value: Any) -> None:
        self.heard.append(("settled", job.index, success, value))

    def finished(self, statistics: Any, error: BaseException | None) -> None:
        self.heard.append(("finished", statistics.settled, error))

    def closed(self, run: Run) -> None:
        assert not run.over or run.closed
        self.heard.append("closed")

    def drop_later(self, discarded: object) -> None:
        self.dropped.append(discarded)

    def tell(self, *, wait: bool = False) -> None:
        self.told += 1


class World:
    """A run of numbered statements, of a list or an iterator, at a gate whose clock stands still.

    key: of the lane of each, if any.
    """

    def __init__(
        self,
        count: int,
        *,
        kind: Callable[[Any], Any] = list,
        limit: int = 100,
        window: int = 100,
        watched: bool = False,
        key: Callable[[Any, Any], Any] | None = None,
        **options: Any,
    ) -> None:
        self.clock = VirtualClock()
        self.clock.advance(2.0)
        self.launches = 0
        self.gate = Gate(limit, clock=self.clock, find_launch=lambda: self.launch)
        options = {"raise_on_first_error": False, "buffersize": window, **options}
        if key is not None:
            options["order_by"] = key
        settings = RunSettings.checked(cast(Any, options), retry=None)
        self.watch = Noted()
        if watched:
            sending = replace(settings.sending, watch=self.watch)
            settings = replace(settings, sending=sending)
        self.items = kind([(number,) for number in range(count)])
        source = Source.of_parameters("q", self.items)
        lanes = None if key is None else Lanes(key, window)
        if lanes is not None:
            source.as_iterator()
        self.run = Run(self.gate, source, settings, lanes)
        self.doorbell = cast("SimpleQueue[None]", self.run.doorbell)
        if source.items is not None:
            with self.gate.lock:
                self.gate.enqueue(self.run)

    def launch(self) -> None:
        self.launches += 1

    def feed(self) -> int:
        """Pull what there is room for of an iterator; return how many."""
        pulled = 0
        if self.run.source.iterator is None:
            return 0
        for _ in range(demand(self.run) or 0):
            if not pull_one(self.run):
                break
            pulled += 1
        return pulled

    def take(self, most: int = ALL) -> list[Job]:
        """Take and begin jobs, as an executor does."""
        sent = []
        for job in self.gate.take(most):
            refusal = self.run.refusal(job)
            if refusal is None:
                job.attempts += 1
                sent.append(job)
            else:
                self.run.settle(job, False, refusal, final=True)
        return sent

    def results(self, most: int = ALL, held: int = 0) -> list[Any]:
        with self.gate.lock:
            return self.run.take_results(most, held)

    def locked(self, step: Callable[[], Any]) -> Any:
        with self.gate.lock:
            return step()

    def rung(self) -> bool:
        """Whether the feeder was rung for since it was asked."""
        found = not self.doorbell.empty()
        while not self.doorbell.empty():
            self.doorbell.get()
        return found

    def counts(self) -> dict[str, int]:
        """The counts that are not 0."""
        counts = self.run.statistics(())
        assert counts.elapsed >= 0
        names = "pulled started in_flight waiting_for_retry succeeded failed delivered retries"
        return {name: getattr(counts, name) for name in names.split() if getattr(counts, name)}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.run, name)


def counted(**counts: int) -> dict[str, int]:
    return counts


def indexes(jobs: list[Job]) -> list[int]:
    return [job.index for job in jobs]


def values(results: list[Any]) -> list[Any]:
    return [result.result_or_exc for result in results]


lists_and_iterators = pytest.mark.parametrize("kind", [list, iter])
in_any_number = pytest.mark.parametrize("most", [1, ALL])


# --- a list, pulled in place ----------------------------------------------------------------


@in_any_number
def test_a_list_is_pulled_as_far_as_the_window(most: int) -> None:
    world = World(6, window=3, weight=5)

    def take() -> list[Job]:
        jobs: list[Job] = []
        while more := world.take(most):
            jobs += more
        return jobs

    assert (world.gate.takeable(), world.gate.queued()) == (3, 0)
    assert world.weight == 5
    first = take()
    assert indexes(first) == [0, 1, 2]
    assert [(job.statement, job.parameters, job.work) for job in first] == [
        ("q", (number,), world.run) for number in range(3)
    ]
    assert world.counts() == counted(pulled=3, started=3, in_flight=3)
    assert (world.room, world.exhausted, world.over) == (0, False, False)
    first[1].succeed("b")
    assert world.results() == []
    assert take() == []
    first[0].succeed("a")
    assert values(world.results(1, 0)) == ["a"]
    assert world.counts() == counted(pulled=3, started=3, in_flight=1, succeeded=2, delivered=1)
    assert world.room == 0  # it has left, but has not reached the caller
    assert world.locked(world.run.counts).delivered == 0
    assert not world.gate.may_take()
    world.locked(lambda: world.run.note_delivered(0))
    assert world.gate.takeable() == world.room == 1
    assert indexes(take()) == [3]
    assert values(world.results(ALL, 0)) == ["b"]
    assert world.room == 0
    world.locked(lambda: world.run.note_delivered(0))
    (job,) = take()
    assert job.index == 4
    assert not world.exhausted
    first[2].succeed("c")
    world.results()
    world.locked(lambda: world.run.note_delivered(0))
    (last,) = take()
    assert last.index == 5
    assert world.exhausted
    assert not world.may_bring_more
    assert take() == []
    assert world.takeable() == 0
    job.succeed("e")
    last.succeed("f")
    first[2].succeed("c")
    world.results()
    world.locked(lambda: world.run.note_delivered(0))
    assert not world.gate.may_take()


def test_more_jobs_are_taken_than_permits_in_no_case() -> None:
    world = World(9, limit=4)
    assert indexes(world.take(3)) == [0, 1, 2]
    (job,) = world.take(3)
    assert job.index == 3
    assert world.gate.takeable() == 5
    job.succeed("d")
    assert indexes(world.take(3)) == [4]
    assert world.counts() == counted(pulled=5, started=5, in_flight=4, succeeded=1)


def test_what_is_due_again_comes_before_what_is_taken_together() -> None:
    world = World(5, retry=Fixed(0))
    first = world.take(2)
    first[0].fail(ValueError())
    assert world.gate.takeable() == 4
    assert indexes(world.take()) == [0, 2, 3, 4]
    assert world.counts() == counted(pulled=5, started=5, in_flight=5, retries=1)


@in_any_number
def test_a_list_that_has_become_shorter_ends_the_run(most: int) -> None:
    world = World(5)
    first = world.take(2)
    del world.items[3:]
    assert indexes([*world.take(most), *world.take(most)]) == [2]
    assert not world.over
    assert world.exhausted
    for job in first:
        job.succeed("a")
    assert world.error is None


@in_any_number
def test_what_is_no_pair_any_more_ends_the_run_after_those_before_it(most: int) -> None:
    clock = VirtualClock()
    gate = Gate(9, clock=clock)
    pairs: list[Any] = [("q", (number,)) for number in range(5)]
    settings = RunSettings.checked({"buffersize": 9}, retry=None)
    run = Run(gate, Source.of_pairs(pairs), settings)
    with gate.lock:
        gate.enqueue(run)
    gate.take(1)
    pairs[3] = "no pair"
    ticket = run.consumers.ticket()
    jobs = [*gate.take(most), *gate.take(most), *gate.take(most)]
    assert indexes(jobs) == [1, 2]
    error = run.error
    assert isinstance(error, InvalidItemError)
    assert (error.index, error.__traceback__) == (3, None)
    assert run.exhausted
    assert ticket.acquire(blocking=False)  # who waits is told
    assert gate.take(ALL) == []


def test_an_empty_list_is_over_at_the_first_look() -> None:
    world = World(0, watched=True)
    ticket = world.consumers.ticket()
    assert world.take() == []
    assert world.over
    assert ticket.acquire(blocking=False)
    assert world.watch.heard == [("finished", 0, None)]


# --- an iterator, fed ahead -----------------------------------------------------------------


def test_an_iterator_is_fed_as_far_as_the_window_and_rung_for() -> None:
    world = World(20, kind=iter, window=8)
    assert world.at_rest is False
    assert world.feed() == 8
    assert world.demand() == 0
    assert world.at_rest is True
    assert (world.gate.queued(), world.gate.takeable()) == (8, 8)
    jobs = world.take(8)
    assert [(job.index, job.statement, job.parameters) for job in jobs] == [
        (number, "q", (number,)) for number in range(8)
    ]
    assert not world.rung()
    jobs[0].succeed("a")
    assert not world.rung()  # its result is not taken
    world.results()
    assert not world.rung()  # and has not reached the caller
    world.locked(lambda: world.run.note_delivered(0))
    assert world.rung()  # nothing else is ready
    assert not world.at_rest
    assert world.feed() == 1


def test_room_for_one_is_not_worth_a_ring_while_others_are_ready() -> None:
    world = World(20, kind=iter, window=8)
    world.feed()
    assert world.demand() == 0
    jobs = world.take(2)

    def delivered(job: Job) -> None:
        job.succeed("a")
        world.results()
        world.locked(lambda: world.run.note_delivered(0))

    delivered(jobs[0])
    assert not world.rung()
    delivered(jobs[1])  # a quarter of the window
    assert world.rung()
    assert world.demand() == 2


@in_any_number
def test_the_ring_that_was_put_off_comes_when_the_last_ready_one_is_taken(most: int) -> None:
    world = World(20, kind=iter, window=8)
    world.feed()
    assert world.demand() == 0
    (job,) = world.take(1)
    job.succeed("a")
    world.results()
    world.locked(lambda: world.run.note_delivered(0))
    assert not world.rung()
    world.take(6)
    assert not world.rung()
    assert len(world.take(most)) == 1
    assert world.rung()


@pytest.mark.parametrize("window", [1, 2, 3, 7])
def test_a_narrow_window_is_rung_for_at_each_delivery(window: int) -> None:
    world = World(9, kind=iter, window=window)
    world.feed()
    assert world.demand() == 0
    (job,) = world.take(1)
    job.succeed("a")
    world.results()
    world.locked(lambda: world.run.note_delivered(0))
    assert world.rung()
    assert world.demand() == 1
    assert not world.at_rest
    world.locked(lambda: world.run.note_delivered(0))
    assert not world.rung()  # it has been told of the room


def test_who_feeds_as_the_caller_is_woken_where_it_waits() -> None:
    world = World(9, kind=iter, window=1, feeder="caller")
    assert world.at_rest
    world.feed()
    assert world.demand() == 0
    (job,) = world.take(1)
    job.succeed("a")
    world.results()
    ticket = world.consumers.ticket()
    world.locked(lambda: world.run.note_delivered(0))
    assert ticket.acquire(blocking=False)
    assert not world.rung()


def test_a_list_has_no_feeder_though_one_was_asked_for() -> None:
    assert not World(3, feeder="caller").fed_by_caller
    assert World(3, kind=iter, feeder="caller").fed_by_caller
    assert not World(3, kind=iter).fed_by_caller


def test_the_end_of_an_input_is_the_end_of_the_run_once_all_has_settled() -> None:
    world = World(2, kind=iter, watched=True)
    world.gate.lingers = True
    assert world.feed() == 2
    assert world.gate.lingers is False
    assert world.demand() is None
    assert (world.exhausted, world.over, world.at_rest) == (True, False, True)
    first, second = world.take()
    first.succeed("a")
    ticket = world.consumers.ticket()
    assert not world.outcome_known
    world.clock.advance(3)
    second.succeed("b")
    assert ticket.acquire(blocking=False)
    assert world.over
    assert world.outcome_known
    world.clock.advance(4)
    assert world.statistics(()).elapsed == 3
    assert world.watch.heard == [
        ("settled", 0, True, "a"),
        ("settled", 1, True, "b"),
        ("finished", 2, None),
    ]
    assert values(world.results()) == ["a", "b"]


def test_the_end_of_an_input_may_come_after_all_has_settled() -> None:
    world = World(2, kind=iter, watched=True)
    known: list[str] = []
    world.tell_when_known(lambda: known.append("known"))
    for _ in range(2):
        assert pull_one(world.run)
    for job in world.take():
        job.succeed("a")
    assert not world.over
    assert known == []
    told = world.watch.told
    assert not pull_one(world.run)
    assert world.over
    assert known == ["known"]
    assert world.watch.told == told + 1
    assert world.watch.heard[-1] == ("finished", 2, None)


def test_what_the_input_raises_is_known_at_once_and_the_first_error_stays() -> None:
    def source() -> Iterator[tuple[int]]:
        yield (0,)
        raise error

    error = ZeroDivisionError()
    world = World(0)
    world.run.source.items, world.run.source.iterator = None, source()
    ticket = world.consumers.ticket()
    assert world.feed() == 1
    assert world.error is error
    assert world.exhausted
    assert world.outcome_known
    assert not world.over
    assert ticket.acquire(blocking=False)
    world.run.end_of_input(ValueError())
    assert world.error is error
    (job,) = world.take()  # what was pulled is still sent
    job.succeed("a")
    assert world.over
    assert world.take_error() is error
    assert world.take_error() is None


@in_any_number
def test_nothing_is_taken_of_a_closed_run(most: int) -> None:
    world = World(3, kind=iter)
    world.feed()
    world.close()
    assert world.take(most) == []


def test_parameters_may_be_offered_many_at_a_time() -> None:
    world = World(0, kind=iter)
    assert world.offer_all([(5,), (6,)])
    assert world.offer_all([(7,)])
    assert [(job.index, job.statement, job.parameters) for job in world.take()] == [
        (0, "q", (5,)),
        (1, "q", (6,)),
        (2, "q", (7,)),
    ]


# --- results in lists -----------------------------------------------------------------------


def in_lists(**options: Any) -> tuple[World, list[Job]]:
    """One of whose results an eighth of the window, which is 20, is worth a list."""
    world = World(20, window=20, **options)
    world.run.takes_lists = True
    return world, world.take()


@pytest.mark.parametrize("fails", [False, True])
def test_a_list_is_due_when_there_are_many(fails: bool) -> None:
    world, jobs = in_lists()
    ticket = world.consumers.ticket()
    for job, many in zip(jobs[:2], (False, True), strict=True):
        if fails:
            job.fail(ValueError())
        else:
            job.succeed("a")
        assert ticket.acquire(blocking=False) == many
    assert len(world.locked(world.run.take_list)) == 2
    jobs[2].succeed("c")
    assert world.locked(world.run.take_list) == []


def test_a_list_is_due_after_a_moment() -> None:
    world, jobs = in_lists()
    jobs[0].succeed("a")
    assert world.locked(world.run.take_list) == []
    world.clock.advance(A_MOMENT)
    assert len(world.locked(world.run.take_list)) == 1
    assert world.locked(world.run.counts).delivered == 1  # none is held back, as single ones are


def test_a_list_is_due_when_all_others_wait_to_be_sent_again() -> None:
    world, jobs = in_lists(limit=2, retry=Fixed(1.0))
    ticket = world.consumers.ticket()
    jobs[0].succeed("a")
    assert not ticket.acquire(blocking=False)
    jobs[1].fail(ValueError())
    assert ticket.acquire(blocking=False)
    assert len(world.locked(world.run.take_list)) == 1


# --- what comes of statements ---------------------------------------------------------------


@pytest.mark.parametrize("together", [True, False])
def test_results_leave_in_the_order_of_the_input(together: bool) -> None:
    world = World(4, watched=True)
    jobs = world.take()
    ticket = world.consumers.ticket()
    pairs: list[Any] = [(jobs[2], "c"), (jobs[1], "b")]

    def settle() -> None:
        if together:
            succeed_all(pairs)
        for job, value in pairs:
            job.succeed(value)

    settle()
    assert not ticket.acquire(blocking=False)  # nothing may leave yet
    assert world.results() == []
    pairs = [(jobs[0], "a")]
    settle()
    assert ticket.acquire(blocking=False)
    results = world.results(2)
    assert results == [ExecutionResult(True, "a"), ExecutionResult(True, "b")]
    assert values(world.results()) == ["c"]
    assert not world.over
    pairs = [(jobs[3], "d")]
    settle()
    assert world.over
    assert world.counts() == counted(pulled=4, started=4, succeeded=4, delivered=3)


def test_a_failure_tells_of_its_statement() -> None:
    world = World(2)
    first, second = world.take()
    error = ValueError()
    second.fail(error)
    first.succeed("a")
    _, result = world.results()
    assert (result.success, result.result_or_exc, result.index) == (False, error, 1)
    assert result.parameters == (1,)
    assert world.counts() == counted(pulled=2, started=2, succeeded=1, failed=1, delivered=2)
    assert (world.failure, world.stopped, world.over) == (None, False, True)


def test_who_takes_what_comes_first_is_woken_by_each() -> None:
    world = World(3)
    jobs = world.take()
    jobs[2].succeed("c")
    world.run.sink = CompletionSink(cast("OrderedSink[Any]", world.sink))
    for job in jobs[:2]:
        ticket = world.consumers.ticket()
        job.succeed("a")
        assert ticket.acquire(blocking=False)
    assert [index for index, _ in world.results()] == [2, 0, 1]


@pytest.mark.parametrize("together", [True, False])
def test_what_is_collected_makes_room_as_it_comes(together: bool) -> None:
    world = World(9, window=3)
    jobs = world.take()
    world.run.sink = ListSink(cast("OrderedSink[Any]", world.sink))
    if together:
        succeed_all([(jobs[2], "c")])
    else:
        jobs[2].succeed("c")
    assert world.room == 1
    assert indexes(world.take()) == [3]
    assert world.counts() == counted(pulled=4, started=4, in_flight=3, succeeded=1, delivered=1)


def test_only_the_first_outcome_counts() -> None:
    world = World(2)
    first, _ = world.take()
    first.succeed("a")
    first.fail(ValueError())
    succeed_all([(first, "b")])
    assert world.counts() == counted(pulled=2, started=2, in_flight=1, succeeded=1)
    assert world.gate.in_flight == 1


@lists_and_iterators
def test_a_fail_fast_run_stops_at_its_first_failure_in_time(kind: Any) -> None:
    world = World(9, kind=kind, limit=4, raise_on_first_error=True, watched=True)
    world.feed()
    jobs = world.take()
    error = ValueError()
    ticket = world.consumers.ticket()
    jobs[2].fail(error)
    assert world.stopped
    assert world.outcome_known
    assert not world.over
    assert not world.may_bring_more
    assert ticket.acquire(blocking=False)
    assert world.failure.result_or_exc is error
    assert world.failure.index == 2
    jobs[1].fail(KeyError())
    assert world.failure.index == 2
    assert world.take(1) == []
    assert world.take() == []
    assert (world.queued(), world.takeable()) == (0, 0)
    assert world.demand() is None
    assert world.at_rest
    assert not world.offer("q", (9,), None)
    assert not world.offer_all([(9,)])
    jobs[0].succeed("a")
    jobs[3].succeed("d")
    assert world.over
    assert world.watch.heard[-1] == ("finished", 4, error)
    assert [result.success for result in world.results()] == [True, False, False, True]
    assert world.error is None


def test_too_many_failures_stop_a_run_and_say_so_once() -> None:
    world = World(9, limit=4, raise_on_first_error=False, max_errors=1)
    jobs = world.take()
    succeed_all([(jobs[0], "a")])
    jobs[1].fail(ValueError())
    assert not world.stopped
    jobs[2].fail(ValueError())
    assert world.stopped
    error = world.error
    assert isinstance(error, MaxErrorsExceededError)
    assert (error.failed, error.finished) == (2, 3)
    assert [each.index for each in error.examples] == [1, 2]
    jobs[3].fail(ValueError())
    assert world.error is error
    assert world.take() == []
    assert world.over


def test_any_number_may_fail_where_nothing_is_said_of_it() -> None:
    world = World(101, limit=101, window=101)
    for job in world.take():
        job.fail(ValueError())
    assert world.over
    assert world.error is None
    assert world.counts()["failed"] == 101


@pytest.mark.parametrize("together", [True, False])
def test_a_success_may_show_that_too_many_have_failed(together: bool) -> None:
    world = World(101, limit=101, window=101, max_errors="5%")
    jobs = world.take()
    for job in jobs[:6]:
        job.fail(ValueError())
    succeeded = [(job, "a") for job in jobs[6:99]]
    succeed_all(succeeded)
    assert not world.stopped  # a share is not judged before a hundred have finished
    if together:
        succeed_all([(jobs[99], "b")])
    else:
        jobs[99].succeed("b")
    assert world.stopped
    assert (world.error.failed, world.error.finished) == (6, 100)


def test_an_error_of_another_ends_a_run_unless_it_has_ended() -> None:
    world = World(3, watched=True)
    (job,) = world.take(1)
    error = ValueError()
    ticket = world.consumers.ticket()
    known: list[bool] = []
    world.tell_when_known(lambda: known.append(world.gate.lock.locked()))
    world.abort(error)
    assert known == [False]
    assert world.error is error
    assert world.take() == []
    assert ticket.acquire(blocking=False)
    assert world.watch.told >= 1
    world.abort(KeyError())
    assert world.error is error
    job.succeed("a")
    assert world.over
    assert world.watch.heard[-1] == ("finished", 1, error)
    assert known == [False]  # once


# --- sending again --------------------------------------------------------------------------


def test_what_waits_to_be_sent_again_has_neither_settled_nor_started_anew() -> None:
    world = World(2, retry=Fixed(1.0, 0))
    first, second = world.take()
    error = ValueError()
    first.fail(error)
    assert world.counts() == counted(
        pulled=2, started=2, in_flight=1, waiting_for_retry=1, retries=1
    )
    assert world.gate.waiting_for_retry() == 1
    second.succeed("b")
    assert not world.over
    world.clock.advance(1.0)
    assert world.counts() == counted(
        pulled=2, started=2, waiting_for_retry=1, succeeded=1, retries=1
    )
    assert not world.over
    (again,) = world.take()
    again.fail(error)  # and at once again
    assert world.gate.queued() == 1
    (again,) = world.take()
    assert (again.index, again.attempts) == (0, 3)
    again.succeed("a")
    assert world.over
    assert world.counts() == counted(pulled=2, started=2, succeeded=2, retries=2)


@pytest.mark.parametrize("delay", [0, 1.0])
@pytest.mark.parametrize("how", ["stop", "expire"])
def test_what_waits_settles_with_its_last_error_when_nothing_is_sent_any_more(
    delay: float, how: str
) -> None:
    world = World(3, retry=Fixed(delay, 0), deadline=9.0, watched=True)
    first, second, third = world.take()
    error = ValueError()
    first.fail(error)
    assert world.counts()["waiting_for_retry"] == 1
    world.watch.heard.clear()
    if how == "stop":
        world.locked(world.run.stop)
    else:
        world.clock.advance(9.0)
        assert world.launches
        assert world.watch.told
    assert world.watch.heard == [("settled", 0, False, error)]
    assert world.counts() == counted(pulled=3, started=3, in_flight=2, failed=1, retries=1)
    second.fail(KeyError())  # is not sent again
    assert world.take() == []
    third.succeed("c")
    assert world.over
    results = world.results()
    assert [result.success for result in results] == [False, False, True]
    assert results[0].result_or_exc is error
    assert world.gate.waiting_for_retry() == 0


# --- a deadline -----------------------------------------------------------------------------


@lists_and_iterators
def test_at_the_deadline_what_was_not_started_fails_in_its_turn(kind: Any) -> None:
    world = World(4, kind=kind, limit=1, window=3, deadline=5.0)
    world.feed()
    (job,) = world.take()
    known: list[str] = []
    world.tell_when_known(lambda: known.append("known"))
    ticket = world.consumers.ticket()
    world.rung()
    world.clock.advance(4.9)
    assert not world.expired
    world.clock.advance(0.1)
    assert world.expired
    assert ticket.acquire(blocking=False)
    assert world.rung()
    assert world.launches == 1
    assert not world.over
    assert known == ([] if kind is list else ["known"])  # that not all of it was pulled
    job.succeed("a")
    while world.gate.may_take():
        assert world.take() == []
    first, *others = world.results()
    assert first.success
    assert len(others) == 2
    for result in others:
        assert isinstance(result.result_or_exc, DeadlineExceededError)
        assert str(result.result_or_exc).count("5 s") == 1
    if kind is iter:
        assert world.demand() is None
        assert not world.offer("q", (3,), None)
        assert not world.offer_all([(3,)])
        assert isinstance(world.error, DeadlineExceededError)
        assert world.error.pulled == 3
        assert "5 s" in str(world.error)
        assert world.over
    else:
        assert world.error is None
        world.locked(lambda: world.run.note_delivered(0))
        assert world.take() == []
        assert world.over
        assert world.counts()["failed"] == 3


def test_a_deadline_concerns_no_run_that_has_ended_or_been_stopped() -> None:
    for how in ("over", "stopped", "closed"):
        world = World(2, kind=iter, deadline=5.0)
        world.feed()
        if how == "over":
            for job in world.take():
                job.succeed("a")
            world.locked(lambda: world.run.cut_off())  # noqa: B023
        elif how == "stopped":
            world.take(1)
            world.locked(world.run.stop)
        else:
            world.take(1)
            world.run.closed = True
        world.run._expire()
        assert not world.expired
        assert world.error is None


def test_an_input_at_its_end_was_pulled_in_time() -> None:
    world = World(2, kind=iter, limit=1, deadline=5.0)
    world.feed()
    (job,) = world.take()
    world.clock.advance(5.0)
    assert world.error is None
    job.succeed("a")
    world.take()
    assert world.over


def test_the_timer_of_the_deadline_keeps_no_run_and_ends_with_it() -> None:
    world = World(1, deadline=5.0)
    run = weakref.ref(world.run)
    world.take()[0].succeed("a")
    clock, gate = world.clock, world.gate
    world.run = cast(Any, None)
    gate.take(ALL)
    gc.collect()
    assert run() is None
    clock.advance(5.0)
    other = World(1, deadline=5.0)
    other.close()
    other.clock.advance(5.0)
    assert other.launches == 0


# --- recalling what was taken and not sent --------------------------------------------------


def recalled(world: World, job: Job) -> bool:
    was = job.attempts
    done: bool = world.recall(job)
    assert job.attempts == (was - 1 if done else was)
    return done


def test_nothing_is_recalled_while_the_run_goes_on() -> None:
    world = World(3)
    jobs = world.take(2)
    assert not recalled(world, jobs[0])
    assert world.counts() == counted(pulled=2, started=2, in_flight=2)


def test_after_a_failure_what_comes_behind_it_is_recalled_as_if_never_started() -> None:
    world = World(5, raise_on_first_error=True, watched=True)
    jobs = world.take()
    jobs[2].fail(ValueError())
    ticket = world.gate.idle.ticket()
    assert not recalled(world, jobs[1])
    known: list[str] = []
    assert recalled(world, jobs[3])
    assert world.error is None  # its failure says enough
    assert world.counts() == counted(pulled=5, started=4, in_flight=3, failed=1)
    assert world.gate.in_flight == 3
    jobs[0].succeed("a")
    jobs[1].succeed("b")
    world.run.failure, world.run.error = world.failure, None
    world.run.on_known = lambda: known.append("known")
    told = world.watch.told
    assert recalled(world, jobs[4])
    assert known == ["known"]
    assert world.watch.told == told + 1
    assert world.over
    assert ticket.acquire(blocking=False)
    jobs[4].succeed("too late")
    assert world.counts() == counted(pulled=5, started=3, succeeded=2, failed=1)


def test_of_a_closed_run_all_is_recalled() -> None:
    world = World(3, raise_on_first_error=True)
    jobs = world.take()
    jobs[2].fail(ValueError())
    world.close()
    assert recalled(world, jobs[0])
    assert recalled(world, jobs[1])
    assert world.over
    assert world.gate.in_flight == 0


def test_what_is_recalled_after_an_attempt_settles_with_its_last_error() -> None:
    world = World(3, retry=Fixed(0), watched=True)
    jobs = world.take()
    error = ValueError()
    jobs[1].fail(error)
    (again,) = world.take()
    assert again.attempts == 2
    world.locked(world.run.stop)
    world.watch.heard.clear()
    assert recalled(world, again)
    assert world.watch.heard == [("settled", 1, False, error)]
    assert world.counts() == counted(pulled=3, started=3, in_flight=2, failed=1, retries=1)
    assert world.gate.in_flight == 2
    jobs[0].succeed("a")
    _, failed = world.results()
    assert (failed.result_or_exc, failed.attempts) == (error, 1)


def test_what_a_shutdown_recalls_is_told() -> None:
    """Else the results would end before it, as if that had been all."""
    world = World(2)
    jobs = world.take()
    world.locked(world.run.cancel)
    world.locked(world.run.cut_off)
    assert world.run.error is None  # all may have been sent
    assert recalled(world, jobs[1])
    assert isinstance(world.run.error, ExecutorShutdownError)
    assert "before all of the 2 statements that had been pulled" in str(world.run.error)
    jobs[0].succeed("a")
    assert world.over
    assert world.counts() == counted(pulled=2, started=1, succeeded=1)


def test_what_is_recalled_after_an_error_leaves_it_as_it_is() -> None:
    world = World(2)
    jobs = world.take()
    error = ValueError()
    world.abort(error)
    assert recalled(world, jobs[1])
    assert world.error is error


def test_what_the_deadline_overtakes_is_recalled() -> None:
    world = World(1, deadline=5.0)
    (job,) = world.take()
    world.clock.advance(5.0)
    assert recalled(world, job)
    (result,) = world.results()
    assert isinstance(result.result_or_exc, DeadlineExceededError)
    assert result.attempts == 0


# --- keys -----------------------------------------------------------------------------------


def by_third(statement: Any, parameters: Any) -> int:
    return int(parameters[0] % 3)


def test_one_of_a_key_waits_for_another_and_comes_in_the_order_of_the_input() -> None:
    world = World(8, key=by_third)
    assert world.feed() == 8
    assert (world.queued(), world.takeable()) == (8, 3)
    first = world.take()
    assert indexes(first) == [0, 1, 2]
    assert (world.queued(), world.takeable()) == (5, 0)
    first[1].succeed("b")
    first[0].succeed("a")
    assert world.gate.takeable() == 2
    assert not world.over
    second = world.take()
    assert indexes(second) == [3, 4]
    first[2].succeed("c")
    third = world.take()
    assert indexes(third) == [5]
    succeed_all([(job, "d") for job in (*second, *third)])
    assert (world.queued(), world.takeable()) == (2, 2)
    last = world.take()
    assert indexes(last) == [6, 7]
    for job in last:
        job.succeed("e")
    assert world.over
    assert world.counts() == counted(pulled=8, started=8, succeeded=8)


def test_what_a_key_releases_goes_before_what_comes_later_in_the_input() -> None:
    world = World(5, key=lambda _, parameters: [0, 1, 0, 3, 4][parameters[0]])
    world.feed()
    first = world.take(2)
    assert indexes(first) == [0, 1]
    first[0].succeed("a")
    assert indexes(world.take(1)) == [2]
    assert indexes(world.take(1)) == [3]
    assert indexes(world.take(1)) == [4]


def test_a_later_key_that_is_free_goes_before_one_that_is_released_later() -> None:
    world = World(5, key=lambda _, parameters: [0, 1, 2, 3, 0][parameters[0]])
    world.feed()
    (first,) = world.take(1)
    first.succeed("a")
    assert indexes(world.take(1)) == [1]
    assert indexes(world.take()) == [2, 3, 4]


@pytest.mark.parametrize("after_failure", ["continue", "skip"])
def test_what_comes_after_a_failure_of_its_key(after_failure: Any) -> None:
    world = World(7, key=by_third, after_failure=after_failure)
    world.feed()
    first = world.take()
    first[0].fail(ValueError())
    first[1].succeed("b")
    second = world.take()
    assert indexes(second) == ([3, 4] if after_failure == "continue" else [4])
    world.take()
    while world.gate.may_take():
        world.take()
    if after_failure == "skip":
        results = dict(world.sink.pairs())
        skipped = results[3].result_or_exc
        assert isinstance(skipped, SkippedError)
        assert skipped.after == 0
        assert results[6].result_or_exc.after == 0  # not 3, which was not sent


def test_a_key_is_free_once_nothing_of_it_is_on_its_way() -> None:
    world = World(2, kind=iter, key=by_third)
    assert world.run.lanes is not None
    lane = world.run.lanes.lane_of(0, "q", (0,))
    assert world.offer("q", (0,), lane)
    assert lane.busy is True
    (job,) = world.take()
    job.succeed("a")
    assert lane.busy is False
    assert world.offer("q", (3,), lane)
    assert indexes(world.take()) == [1]


def test_a_key_releases_nothing_once_the_run_has_stopped() -> None:
    world = World(6, key=by_third, retry=Fixed(1.0))
    world.feed()
    first = world.take()
    first[2].fail(ValueError())
    world.locked(world.run.stop)
    assert world.queued() == 0
    assert world.take() == []
    first[0].succeed("a")
    assert not world.gate.may_take()
    assert world.counts() == counted(
        pulled=6, started=3, in_flight=1, succeeded=1, failed=1, retries=1
    )


def test_at_the_deadline_the_key_of_what_waited_is_free_for_the_next_to_fail() -> None:
    world = World(6, key=by_third, retry=Fixed(9.0), deadline=5.0)
    world.feed()
    first = world.take()
    first[0].fail(ValueError())
    world.clock.advance(5.0)
    assert world.gate.takeable() == 1
    assert world.take() == []
    assert world.counts()["failed"] == 2


# --- the end --------------------------------------------------------------------------------


@lists_and_iterators
def test_what_was_pulled_is_sent_after_a_shutdown_and_no_more(kind: Any) -> None:
    world = World(5, kind=kind, limit=1, window=3)
    world.feed()
    (job,) = world.take()
    ticket = world.consumers.ticket()
    world.rung()
    told = world.locked(world.run.cut_off)
    assert told is None
    assert ticket.acquire(blocking=False)
    assert world.rung()
    assert world.cut_short
    assert not world.may_bring_more
    assert not world.offer("q", (9,), None)
    assert not world.offer_all([(9,)])
    job.succeed("a")
    assert world.over == (kind is list)
    if kind is list:
        assert world.take(1) == []
    rest = []
    while jobs := world.take():
        rest += indexes(jobs)
        jobs[0].succeed("b")
    assert rest == ([] if kind is list else [1, 2])
    assert world.over
    assert world.cut_short


def test_a_shutdown_tells_who_waits_for_the_end() -> None:
    world = World(5, kind=iter)
    known: list[str] = []
    world.tell_when_known(lambda: known.append("known"))
    assert known == []
    world.gate.telling = 1  # of another
    callback = world.locked(world.run.cut_off)
    assert world.gate.telling == 2  # an executor is not idle before it is called
    callback()
    assert known == ["known"]
    assert world.locked(world.run.cut_off) is None


def test_who_asks_when_it_is_known_is_told_at_once() -> None:
    world = World(1, watched=True)
    world.take()[0].succeed("a")
    known: list[bool] = []
    world.tell_when_known(lambda: known.append(world.gate.lock.locked()))
    assert known == [False]
    assert world.gate.telling == 0


def test_a_shutdown_that_cancels_says_how_much_was_not_sent() -> None:
    world = World(5, kind=iter, limit=1)
    world.feed()
    (job,) = world.take()
    discarded = world.locked(world.run.cancel)
    assert discarded
    assert isinstance(world.error, ExecutorShutdownError)
    text = "^the executor was shut down before 4 of 5 statements that had been pulled were sent$"
    with pytest.raises(ExecutorShutdownError, match=text):
        raise world.error
    job.succeed("a")
    assert world.over
    nothing_left = World(5)
    nothing_left.locked(nothing_left.run.cancel)
    assert nothing_left.error is None
    assert nothing_left.stopped


@pytest.mark.parametrize("watched", [True, False])
def test_a_closed_run_lets_go_of_all_and_counts_it(
    watched: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(9, kind=iter, limit=4, retry=Fixed(1.0, 0, 0), watched=watched, deadline=5.0)
    world.feed()
    first, second, third, fourth = world.take()
    error = ValueError()
    first.succeed("a")
    assert values(world.results()) == ["a"]
    second.fail(error)  # and rests
    third.fail(error)  # and is due
    known: list[str] = []
    world.run.on_known = lambda: known.append("known")
    ticket, idle = world.consumers.ticket(), world.gate.idle.ticket()
    world.rung()
    world.watch.heard.clear()
    world.close()
    assert world.rung()
    assert ticket.acquire(blocking=False)
    assert idle.acquire(blocking=False)
    assert world.watch.heard == (["closed"] if watched else [])
    world.watch.heard.clear()
    assert (world.gate.queued(), world.gate.waiting_for_retry(), world.gate.takeable()) == (0, 0, 0)
    assert not world.may_bring_more
    assert world.at_rest
    assert world.demand() is None
    assert not world.offer("q", (9,), None)
    assert not world.offer_all([(9,)])

    assert world.take() == []  # and what it holds is let go
    assert world.counts() == counted(
        pulled=9, started=4, in_flight=1, succeeded=1, failed=2, delivered=1, retries=2
    )
    assert not world.over
    fourth.fail(error)  # is not sent again
    assert world.over
    assert world.results() == []
    assert world.counts() == counted(
        pulled=9, started=4, succeeded=1, failed=3, delivered=1, retries=2
    )
    if watched:
        assert world.watch.heard == [
            ("settled", 3, False, error),
            ("settled", 1, False, error),
            ("settled", 2, False, error),
            ("finished", 4, None),
        ]
    assert known == []
    assert not caplog.records
    world.clock.advance(9.0)
    assert world.take() == []  # whose time has come
    assert not world.expired


def test_what_a_closed_run_holds_is_given_to_who_drops_it() -> None:
    world = World(5, kind=iter, limit=3, watched=True, raise_on_first_error=True)
    world.feed()
    first, second, _ = world.take()
    first.succeed("a")
    second.fail(ValueError())
    world.close()
    discarded = world.locked(world.run.end_if_over)
    (sink, failure, *_), _ = discarded
    assert len(sink.pairs()) == 2
    assert failure.index == 1
    assert (world.failure, world.error) == (None, None)
    world.take()
    assert not world.over


def test_a_closed_run_may_end_before_anybody_has_it_let_go() -> None:
    world = World(5, kind=iter, watched=True, raise_on_first_error=True)
    world.feed()
    first, second, *others = world.take(3)
    error = ValueError()
    first.succeed("a")
    second.fail(error)
    assert len(world.results(1)) == 1
    world.close()
    for job in others:
        job.succeed("c")
    assert world.watch.heard[-1] == ("finished", 3, error)
    assert world.counts() == counted(pulled=5, started=3, succeeded=2, failed=1, delivered=1)
    sink = world.watch.dropped[0][0][0]  # type: ignore[index]
    assert [index for index, _ in sink.pairs()] == [1]


def test_what_ended_a_closed_run_is_told_though_it_was_let_go() -> None:
    world = World(5, kind=iter, watched=True, raise_on_first_error=True)
    world.feed()
    first, second = world.take(2)
    error = ValueError()
    second.fail(error)
    world.close()
    world.locked(world.run.end_if_over)
    assert world.counts() == counted(pulled=5, started=2, in_flight=1, failed=1)
    first.succeed("a")
    assert world.watch.heard[-1] == ("finished", 2, error)


def test_a_closed_run_with_nothing_on_its_way_ends_when_it_is_told_of() -> None:
    world = World(5, kind=iter, watched=True, retry=Fixed(1.0))
    world.feed()
    (job,) = world.take(1)
    error = ValueError()
    job.fail(error)
    world.close()
    assert world.locked(world.run.end_if_over)
    assert world.watch.heard == [
        ("retried", 0, error),
        "closed",
        ("settled", 0, False, error),
        ("finished", 1, None),
    ]
    given_up = [each for each in world.watch.dropped if isinstance(each, list)]
    assert [indexes(jobs) for jobs in given_up] == [[0]]
    world.close()
    assert world.watch.heard.count("closed") == 1  # it has ended


def test_of_a_closed_run_that_is_let_go_what_was_not_delivered_does_not_count() -> None:
    world = World(5)
    for job in world.take():
        job.succeed("a")
    assert len(world.results(3)) == 3
    assert world.counts()["delivered"] == 3
    world.close()
    world.locked(lambda: world.run.let_go(2))
    assert world.counts()["delivered"] == 1


def test_the_end_is_noted_once() -> None:
    world = World(1, watched=True)
    world.take()[0].succeed("a")
    assert world.watch.heard[-1] == ("finished", 1, None)
    world.close()
    world.take()
    world.locked(world.run.end_if_over)
    assert len(world.watch.heard) == 2
    assert world.counts() == counted(pulled=1, started=1, succeeded=1)


def test_what_its_caller_was_raised_is_what_ended_it() -> None:
    world = World(3, kind=iter, watched=True)
    world.feed()
    first, *others = world.take()
    error = ValueError()
    world.abort(error)
    assert world.take_error() is error
    for job in (first, *others):
        job.succeed("a")
    assert world.watch.heard[-1] == ("finished", 3, error)
