"""The permits of an executor: how many, whose turn it is, what holds them back, who waits."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any, cast

import pytest
from cassandra import OperationTimedOut

from concurrent_exec.model import Sending
from concurrent_exec.pacing import Rate
from concurrent_exec.run import Gate, Job, Submissions
from concurrent_exec.testing import VirtualClock


class Put(Submissions):
    """A queue with so many statements, which are numbered; some may have expired."""

    def __init__(self, gate: Gate, name: str, count: int, *, weight: int = 1) -> None:
        super().__init__(gate)
        with gate.lock:
            for number in range(count):
                sending = Sending({}, None, False, weight=weight)
                self.add(f"{name}{number}", None, sending)


def taken(gate: Gate, most: int = 100) -> list[Any]:
    return [job.statement for job in gate.take(most)]


def give_back(gate: Gate, permits: int = 1) -> None:
    with gate.lock:
        gate.give_back(permits)


# --- how many -------------------------------------------------------------------------------


def test_no_more_are_in_flight_than_the_limit() -> None:
    gate = Gate(3, clock=VirtualClock())
    assert not gate.may_take()
    assert taken(gate) == []
    queue = Put(gate, "a", 5)
    assert gate.may_take()
    assert (gate.free_permits(), gate.queued(), gate.takeable()) == (3, 5, 5)
    assert taken(gate, 2) == ["a0", "a1"]
    assert (gate.free_permits(), gate.in_flight, gate.queued()) == (1, 2, 3)
    assert gate.may_take()
    assert taken(gate) == ["a2"]
    assert not gate.may_take()
    assert taken(gate) == []
    give_back(gate, 2)
    assert gate.may_take()
    assert taken(gate, 1) == ["a3"]
    assert taken(gate, 1) == ["a4"]
    give_back(gate)
    assert queue.has_turn  # it may have more
    assert taken(gate) == []
    assert not queue.has_turn
    assert not gate.may_take()
    assert (gate.in_flight, gate.queued()) == (2, 0)
    assert gate.limit == 3


def test_one_that_lingers_is_not_asked() -> None:
    gate = Gate(3, clock=VirtualClock())
    Put(gate, "a", 1)
    gate.lingers = True
    assert not gate.may_take()
    gate.lingers = False
    assert gate.may_take()


# --- whose turn -----------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 100])
def test_two_take_turns(most: int) -> None:
    gate = Gate(100, clock=VirtualClock())
    Put(gate, "a", 3)
    Put(gate, "b", 5)
    order: list[Any] = []
    while some := taken(gate, most):
        assert len(some) <= most
        order += some
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2", "b3", "b4"]


def test_a_weight_is_so_many_at_each_turn() -> None:
    gate = Gate(100, clock=VirtualClock())
    Put(gate, "a", 5, weight=2)
    Put(gate, "b", 9, weight=3)
    order = taken(gate)
    assert order[:10] == ["a0", "a1", "b0", "b1", "b2", "a2", "a3", "b3", "b4", "b5"]
    assert order[10:] == ["a4", "b6", "b7", "b8"]


def test_three_take_turns() -> None:
    gate = Gate(100, clock=VirtualClock())
    for name in "abc":
        Put(gate, name, 2)
    assert taken(gate) == ["a0", "b0", "c0", "a1", "b1", "c1"]


def test_who_comes_again_begins_a_turn_anew() -> None:
    gate = Gate(100, clock=VirtualClock())
    first = Put(gate, "a", 1, weight=2)
    Put(gate, "b", 5, weight=2)
    assert taken(gate, 3) == ["a0", "b0", "b1"]
    with gate.lock:
        for number in range(3):
            first.add(f"A{number}", None, Sending({}, None, False, weight=2))
    assert taken(gate) == ["b2", "b3", "A0", "A1", "b4", "A2"]


def test_what_was_sent_while_alone_is_not_counted() -> None:
    gate = Gate(100, clock=VirtualClock())
    Put(gate, "a", 4, weight=2)
    assert taken(gate, 1) == ["a0"]
    Put(gate, "b", 2, weight=2)
    assert taken(gate) == ["a1", "a2", "b0", "b1", "a3"]


def test_what_nobody_wants_any_more_is_dropped_without_the_lock() -> None:
    # It is the user's, and its finaliser may use the executor.
    gate = Gate(100, clock=VirtualClock())
    held: list[bool] = []

    class Dropped:
        def __del__(self) -> None:
            held.append(gate.lock.locked())

    class Finished(Put):
        def unwanted(self) -> object:
            return Dropped()

    Finished(gate, "a", 1)
    assert taken(gate) == ["a0"]
    assert held == [False]


def test_nobody_stands_in_the_queue_twice() -> None:
    gate = Gate(100, clock=VirtualClock())
    queue = Put(gate, "a", 3)
    with gate.lock:
        gate.enqueue(queue)
    assert list(gate.turns) == [queue]


# --- the rate -------------------------------------------------------------------------------


def test_a_rate_holds_back_until_its_time() -> None:
    clock = VirtualClock()
    launches: list[Any] = []
    gate = Gate(
        100,
        clock=clock,
        rate=Rate(10, burst=2),
        find_launch=lambda: lambda: launches.append(clock.monotonic()),
    )
    Put(gate, "a", 4)
    gate.telling = 1  # something else is being told of
    assert taken(gate) == ["a0", "a1"]
    assert gate.queued() == 2
    assert not gate.may_take()  # before its time nothing is worth a look
    assert gate.telling == 1
    clock.advance(0.0999)
    assert launches == []
    clock.advance(0.001)
    assert launches == [pytest.approx(0.1)]
    assert gate.may_take()
    assert taken(gate) == ["a2"]
    clock.advance(0.1)
    assert len(launches) == 2
    assert taken(gate) == ["a3"]
    clock.advance(10)
    assert len(launches) == 3
    assert taken(gate) == []
    clock.advance(10)
    assert len(launches) == 3  # nothing is left to look for


def test_a_fast_rate_is_looked_at_every_two_milliseconds() -> None:
    clock = VirtualClock()
    launches: list[Any] = []
    gate = Gate(
        100,
        clock=clock,
        rate=Rate(10_000, burst=1),
        find_launch=lambda: lambda: launches.append(clock.monotonic()),
    )
    Put(gate, "a", 4)
    assert taken(gate) == ["a0"]
    assert taken(gate) == []  # who looks all the same sets no second timer
    clock.advance(1)
    assert launches == [0.002]


def test_where_the_limit_holds_back_the_rate_sets_no_timer() -> None:
    clock = VirtualClock()
    launches: list[Any] = []
    gate = Gate(1, clock=clock, rate=Rate(10, 1), find_launch=lambda: lambda: launches.append(None))
    Put(gate, "a", 2)
    assert taken(gate) == ["a0"]
    clock.advance(1)
    assert launches == []
    give_back(gate)
    assert gate.may_take()
    assert taken(gate) == ["a1"]


def test_what_has_expired_needs_no_rate_and_goes_first() -> None:
    clock = VirtualClock()
    gate = Gate(100, clock=clock, rate=Rate(10, burst=1))
    Put(gate, "a", 3)
    expired = Put(gate, "b", 2)
    Put(gate, "c", 3)
    assert taken(gate, 1) == ["a0"]
    assert taken(gate) == []
    assert gate.turns[0] is expired
    gate.turns.rotate(1)  # in the midst
    expired.expired = True
    assert taken(gate) == ["b0", "b1"]
    clock.advance(0.11)
    assert taken(gate) == ["c0"]


def test_what_has_expired_may_take_the_last_permit() -> None:
    clock = VirtualClock()
    launches: list[None] = []
    gate = Gate(2, clock=clock, rate=Rate(10, 1), find_launch=lambda: lambda: launches.append(None))
    Put(gate, "a", 3)
    assert taken(gate, 1) == ["a0"]
    Put(gate, "b", 1).expired = True
    assert taken(gate) == ["b0"]
    clock.advance(1)
    assert launches == []  # it is the limit that holds back


# --- later ----------------------------------------------------------------------------------


def test_what_is_called_later_is_followed_by_a_launch() -> None:
    clock = VirtualClock()
    steps: list[str] = []
    gate = Gate(1, clock=clock, find_launch=lambda: lambda: steps.append("launch"))
    gate.call_later(0.5, lambda: steps.append("step"))
    cancel = gate.call_later(0.5, lambda: steps.append("cancelled"))
    cancel()
    clock.advance(0.4)
    assert steps == []
    clock.advance(0.2)
    assert steps == ["step", "launch"]
    gate.launch_elsewhere()
    assert steps == ["step", "launch"]  # not by this thread
    clock.advance(0)
    assert steps == ["step", "launch", "launch"]


def test_an_executor_that_has_gone_launches_nothing() -> None:
    clock = VirtualClock()
    steps: list[str] = []
    gate = Gate(1, clock=clock)
    gate.call_later(0.5, lambda: steps.append("step"))
    clock.advance(1)
    assert steps == ["step"]


# --- who waits ------------------------------------------------------------------------------


def test_who_waits_is_let_go_when_nothing_is_on_its_way() -> None:
    gate = Gate(2, clock=VirtualClock())
    assert gate.is_idle()
    queue = Put(gate, "a", 3)
    assert not gate.is_idle()
    ticket = gate.idle.ticket()
    first, second = gate.take(2)
    assert not gate.is_idle()
    first.succeed(None)
    second.succeed(None)
    assert (gate.in_flight, gate.telling) == (0, 0)
    assert not gate.is_idle()  # one is queued
    assert not ticket.acquire(blocking=False)
    (third,) = gate.take(2)
    assert not gate.is_idle()  # it is in flight, and nothing else is on its way
    assert not ticket.acquire(blocking=False)
    third.succeed(None)
    assert queue.queued() == 0
    assert gate.is_idle()
    assert ticket.acquire(blocking=False)


def test_what_is_still_to_be_told_or_rests_keeps_them_waiting() -> None:
    gate = Gate(2, clock=VirtualClock())
    queue = Put(gate, "a", 1)
    (job,) = gate.take(1)
    ticket = gate.idle.ticket()
    with gate.lock:
        gate.telling += 2
        queue._resting[job] = None
        gate.rests(queue)
        gate.give_back()
    assert gate.waiting_for_retry() == 1
    gate.told()
    gate.told()
    assert gate.telling == 0
    assert not gate.is_idle()
    assert not ticket.acquire(blocking=False)
    with gate.lock:
        assert queue.take_resting() == [job]
    assert gate.waiting_for_retry() == 0
    assert gate.is_idle()
    assert ticket.acquire(blocking=False)
    assert taken(gate) == []
    kept = weakref.ref(queue)
    del queue, job
    gc.collect()
    assert kept() is None


def test_what_is_still_to_be_told_keeps_them_waiting() -> None:
    gate = Gate(2, clock=VirtualClock())
    ticket = gate.idle.ticket()
    gate.telling = 2
    for _ in range(2):
        assert not gate.is_idle()
        assert not ticket.acquire(blocking=False)
        gate.told()
    assert ticket.acquire(blocking=False)


def test_what_observers_are_still_to_hear_keeps_them_waiting() -> None:
    class Heard:
        def call(self, event: str, details: Any) -> None:
            assert not gate.is_idle()
            heard.append((event, details))

    gate = Gate(2, clock=VirtualClock())
    heard: list[tuple[str, Any]] = []
    news = gate.has_observers()
    assert gate.has_observers() is news
    assert gate.is_idle()
    ticket = gate.idle.ticket()
    news.add(cast(Any, Heard()), "on_started", 7)
    assert not gate.is_idle()
    news.tell()
    assert heard == [("on_started", 7)]
    assert gate.is_idle()
    assert ticket.acquire(blocking=False)


def test_who_finds_nothing_to_take_lets_them_go_too() -> None:
    gate = Gate(2, clock=VirtualClock())
    queue = Put(gate, "a", 2)
    ticket = gate.idle.ticket()
    queue._ready.clear()  # it was stopped meanwhile
    assert not ticket.acquire(blocking=False)
    assert taken(gate) == []
    assert ticket.acquire(blocking=False)


# --- the limiter ----------------------------------------------------------------------------


class Told:
    """A limiter that notes what it is told."""

    max_limit = 9

    def __init__(self, limit: Any = 2) -> None:
        self.limit = limit
        self.told: list[tuple[float, int, str]] = []
        self.then: Any = None

    def settled(self, *, seconds: float, in_flight: int, outcome: str) -> None:
        self.told.append((seconds, in_flight, outcome))
        self._go_on()

    def _go_on(self) -> None:
        if isinstance(self.then, BaseException):
            raise self.then
        if self.then is not None:
            self.limit = self.then


def sent(gate: Gate, count: int) -> list[Job]:
    jobs = gate.take(count)
    for job in jobs:
        gate.sends(job)
    return jobs


@pytest.mark.parametrize(
    ("settle", "outcome"),
    [
        (lambda job: job.succeed("rows"), "success"),
        (lambda job: job.fail(OperationTimedOut()), "overload"),
        (lambda job: job.fail(ValueError()), "ignored"),
    ],
    ids=["success", "overload", "ignored"],
)
def test_a_limiter_is_told_of_each_attempt(settle: Callable[[Job], None], outcome: str) -> None:
    clock, limiter = VirtualClock(), Told()
    gate = Gate(limiter, clock=clock)
    assert gate.limit == 2
    Put(gate, "a", 3)
    clock.advance(8)
    first, _ = sent(gate, 5)
    clock.advance(0.25)
    limiter.then = 7
    settle(first)
    assert limiter.told == [(0.25, 2, outcome)]
    assert gate.limit == 7
    assert (gate.in_flight, gate.telling) == (1, 0)


def test_a_limiter_is_not_told_of_what_was_not_sent() -> None:
    limiter = Told()
    gate = Gate(limiter, clock=VirtualClock())
    Put(gate, "a", 1)
    (job,) = gate.take(1)
    job.fail(ValueError(), sent=False)
    assert limiter.told == []


@pytest.mark.parametrize("then", [0, 1.5, "3", RuntimeError("wrong")], ids=repr)
def test_a_limiter_at_fault_leaves_the_limit_and_is_logged(
    then: Any, caplog: pytest.LogCaptureFixture
) -> None:
    limiter = Told()
    gate = Gate(limiter, clock=VirtualClock())
    Put(gate, "a", 1)
    (job,) = sent(gate, 1)
    limiter.then = then
    job.succeed("rows")
    assert gate.limit == 2
    assert (gate.in_flight, gate.telling) == (0, 0)
    (record,) = caplog.records
    assert record.exc_info is not None
    error = record.exc_info[1]
    assert error is not None
    assert error.__traceback__ is None  # it would keep the statement
    assert error is then or "the limiter's limit must be" in str(error)


class Counts(Told):
    """One that only wants to know how many there were."""

    def __init__(self, limit: Any = 2) -> None:
        super().__init__(limit)
        self.counted: list[tuple[int, int, float]] = []

    def settled_many(self, *, successes: int, overloads: int, now: float) -> None:
        self.counted.append((successes, overloads, now))
        self._go_on()


@pytest.mark.parametrize(
    ("settle", "counted"),
    [
        (lambda job: job.succeed("rows"), (1, 0, 8.25)),
        (lambda job: job.fail(OperationTimedOut()), (0, 1, 8.25)),
        (lambda job: job.fail(ValueError()), (0, 0, 8.25)),
        (lambda job: job.succeed(OperationTimedOut()), (1, 0, 8.25)),
    ],
    ids=["success", "overload", "ignored", "an error as a result"],
)
def test_a_limiter_may_be_told_how_many_there_were(
    settle: Callable[[Job], None], counted: tuple[int, int, float]
) -> None:
    clock, limiter = VirtualClock(), Counts()
    gate = Gate(limiter, clock=clock)
    assert gate.counts_only
    assert not gate.notes_sending
    Put(gate, "a", 3)
    clock.advance(8)
    first, _ = sent(gate, 5)
    clock.advance(0.25)
    limiter.then = 7
    settle(first)
    assert limiter.counted == [counted]
    assert limiter.told == []
    assert gate.limit == 7
    assert (gate.in_flight, gate.telling) == (1, 0)
    assert gate.learn_many(5) is None
    assert limiter.counted[1:] == [(5, 0, 8.25)]


def test_the_highest_limit_so_far_is_kept() -> None:
    assert Gate(3, clock=VirtualClock()).highest == 3
    limiter = Told()
    gate = Gate(limiter, clock=VirtualClock())
    Put(gate, "a", 3)
    for limit, highest in ((5, 5), (1, 5), (6, 6)):
        (job,) = sent(gate, 1)
        limiter.then = limit
        job.succeed("rows")
        assert (gate.limit, gate.highest) == (limit, highest)


def test_nobody_wants_to_know_when_there_is_no_limiter() -> None:
    clock = VirtualClock()
    gate = Gate(2, clock=clock)
    Put(gate, "a", 2)
    clock.advance(3)
    (job,) = sent(gate, 1)
    assert job.sent_at is None
    gate.has_observers()
    (job,) = sent(gate, 1)
    assert (job.sent_at, job.in_flight) == (3, 2)


# --- what was submitted ---------------------------------------------------------------------


def test_a_future_has_what_became_of_its_statement() -> None:
    gate = Gate(9, clock=VirtualClock())
    queue = Submissions(gate)
    with gate.lock:
        jobs = [queue.add("s", number, Sending({}, None, False)) for number in range(4)]
    assert [job.index for job in jobs] == [0, 1, 2, 3]
    assert [job.parameters for job in gate.take(3)] == [0, 1, 2]
    assert jobs[0].future.cancel()
    for job in jobs[:3]:
        assert queue.refusal(job) is None or job is jobs[0]
    error = ValueError("wrong")
    jobs[1].succeed("rows")
    jobs[1].succeed("late")
    jobs[2].fail(error)
    assert jobs[1].future.result(0) == "rows"
    assert jobs[2].future.exception(0) is error
    assert jobs[0].future.cancelled()
    assert not jobs[3].future.done()
    jobs[0].succeed("of what was cancelled")
    assert (gate.in_flight, gate.queued(), gate.telling) == (0, 1, 0)
    assert queue.may_bring_more
