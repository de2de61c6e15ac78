"""How a statement settles, and how it is sent again; with what was submitted as the example."""

from __future__ import annotations

import gc
import math
import weakref
from dataclasses import fields
from typing import Any, cast

import pytest
from cassandra import OperationTimedOut

from concurrent_exec.model import FailedAttempt, Sending
from concurrent_exec.run import Gate, Job, Submissions
from concurrent_exec.run.lane import Lane
from concurrent_exec.run.submissions import SubmittedJob
from concurrent_exec.run.work import succeed_all
from concurrent_exec.testing import VirtualClock
from tests.test_gate import Counts, Told


class Scripted:
    """A retry policy that says what it was told to say, one after the other, then never."""

    def __init__(self, gate: Gate, *delays: Any) -> None:
        self.gate = gate
        self.delays = list(delays)
        self.asked: list[FailedAttempt] = []

    def delay(self, failed: FailedAttempt) -> Any:
        assert not self.gate.lock.locked()
        assert not self.gate.is_idle()
        assert self.gate.in_flight == 1
        self.asked.append(failed)
        delay = self.delays.pop(0) if self.delays else None
        if isinstance(delay, BaseException):
            raise delay
        return delay


class Noted:
    """A watch that notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def started(self, job: Job) -> None:
        self.heard.append(("started", job.attempts))

    def retried(self, job: Job, error: BaseException, delay: float) -> None:
        self.heard.append(("retried", job.attempts, error, delay))

    def settled(self, job: Job, success: bool, value: Any) -> None:
        self.heard.append(("settled", job.attempts, success, value, job.errors))

    def tell(self, *, wait: bool = False) -> None:
        self.heard.append(("told", wait))


class Queue(Submissions):
    """Notes what was asked of it, and may have come to its end."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self.waits: list[tuple[Job, float]] = []
        self.end: BaseException | None = None

    def may_wait(self, job: Job, delay: float) -> bool:
        self.waits.append((job, delay))
        return super().may_wait(job, delay)

    def refusal(self, job: Job) -> BaseException | None:
        return self.end or super().refusal(job)


class World:
    """A gate with a queue, whose clock stands still."""

    def __init__(self, *delays: Any, limit: Any = 9) -> None:
        self.clock = VirtualClock()
        self.launches: list[float] = []
        self.gate = Gate(limit, clock=self.clock, find_launch=lambda: self.launch)
        self.queue = Queue(self.gate)
        self.policy = Scripted(self.gate, *delays)
        self.watch = Noted()

    def launch(self) -> None:
        self.launches.append(self.clock.monotonic())

    def submit(self, statement: str = "s", *, retry: bool = True, watched: bool = False) -> Any:
        sending = Sending(
            {},
            cast(Any, self.policy) if retry else None,
            True,
            watch=self.watch if watched else None,
        )
        with self.gate.lock:
            return self.queue.add(statement, ("secret",), sending)

    def send(self) -> Job:
        """Take the next one, as an executor does."""
        (job,) = self.gate.take(1)
        assert self.queue.refusal(job) is None
        job.attempts += 1
        self.gate.sends(job)
        return job

    def is_idle(self) -> bool:
        return self.gate.is_idle() and self.gate.telling == self.gate.in_flight == 0


def test_the_first_answer_counts() -> None:
    world = World(0, 0)
    future = world.submit().future
    job = world.send()
    job.succeed("rows")
    job.fail(ValueError())
    job.fail(ValueError(), again=True)
    job.succeed("late")
    succeed_all([(job, "later")])
    assert future.result(0) == "rows"
    assert world.policy.asked == []
    assert world.is_idle()
    assert world.gate.errors.counts(0) == ()


def test_without_a_policy_the_first_error_is_the_outcome() -> None:
    world = World(0)
    future = world.submit(retry=False).future
    error = ValueError()
    world.clock.advance(3)
    world.send().fail(error)
    assert future.exception(0) is error
    assert world.is_idle()
    (counted,) = world.gate.errors.counts(5)
    assert (counted.kind, counted.count, counted.seconds_ago) == ("ValueError", 1, 2)


@pytest.mark.parametrize("sent", [True, False])
def test_a_policy_is_told_what_happened(sent: bool) -> None:
    world = World(None)
    future = world.submit().future
    job = world.send()
    job.batch_size = 4
    error = ValueError()
    job.fail(error, sent=sent)
    (failed,) = world.policy.asked
    assert {each.name: getattr(failed, each.name) for each in fields(failed)} == {
        "statement": "s",
        "parameters": ("secret",),
        "error": error,
        "attempts": 1,
        "sent": sent,
        "assume_idempotent": True,
        "batch_size": 4,
    }
    assert future.exception(0) is error
    assert world.is_idle()


def test_what_is_sent_again_at_once_comes_before_what_is_new() -> None:
    world = World(0)
    future = world.submit("first").future
    job = world.send()
    other = world.submit("other").future
    error = ValueError()
    job.fail(error)
    assert not future.done()
    assert (world.gate.in_flight, world.queue.queued(), world.queue.waiting()) == (0, 2, 0)
    again = world.send()
    assert again is not job
    assert (again.statement, again.attempts, again.errors) == ("first", 2, (error,))
    job.succeed("late")  # of the first attempt
    assert not future.done()
    again.succeed("rows")
    assert future.result(0) == "rows"
    world.send().succeed("others")
    assert other.result(0) == "others"
    assert world.is_idle()


def test_what_rests_comes_back_at_its_time(caplog: pytest.LogCaptureFixture) -> None:
    world = World(0.5, 2)
    future = world.submit().future
    errors = [ValueError(), KeyError()]
    job = world.send()
    job.fail(errors[0])
    assert world.policy.asked[0].sent
    assert world.queue.waits == [(job, 0.5)]
    del job
    world.queue.waits.clear()
    assert (world.gate.in_flight, world.gate.telling) == (0, 0)
    assert (world.queue.queued(), world.queue.waiting()) == (0, 1)
    assert world.gate.waiting_for_retry() == 1
    assert world.gate.take(1) == []
    assert not world.gate.is_idle()
    world.clock.advance(0.4)
    assert world.launches == []
    world.clock.advance(0.1)
    assert world.launches == [0.5]
    assert (world.queue.queued(), world.gate.waiting_for_retry()) == (1, 0)
    world.send().fail(errors[1])
    world.clock.advance(2)
    last = world.send()
    assert last.errors == tuple(errors)
    assert last.attempts == 3
    last.batch_size = 4
    failure = last.failure()
    assert (failure.attempts, failure.errors, failure.batch_size) == (3, tuple(errors), 4)
    last.succeed("rows")
    assert future.result(0) == "rows"
    assert world.is_idle()
    assert not caplog.records
    world.queue.waits.clear()
    kept = weakref.ref(world.queue)
    del last, future
    assert world.gate.take(1) == []
    world.queue = Queue(world.gate)
    gc.collect()
    assert kept() is None


def test_what_the_strategy_sends_again_asks_no_policy() -> None:
    world = World(None)
    future = world.submit(watched=True).future
    job = world.send()
    error = ValueError()
    world.watch.heard.clear()
    job.fail(error, again=True)
    assert world.policy.asked == []
    assert world.watch.heard == [("retried", 1, error, 0), ("told", True)]
    assert world.queue.waits == [(job, 0)]
    again = world.send()
    assert again.errors == (error,)
    again.succeed("rows")
    assert future.result(0) == "rows"
    assert world.is_idle()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ("1", "a retry policy's delay must be seconds or None, not str$"),
        (True, "a retry policy's delay must be seconds or None, not bool$"),
        (-0.5, "a retry policy's delay must be finite seconds, at least 0, not -0.5"),
        (math.nan, "at least 0, not nan"),
        (math.inf, "at least 0, not inf"),
        (RuntimeError("wrong"), "^wrong$"),
        (SystemExit("wrong"), "^wrong$"),
    ],
    ids=repr,
)
def test_a_policy_at_fault_is_logged_and_the_statement_fails(
    wrong: Any, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(wrong)
    future = world.submit().future
    error = ValueError()
    world.send().fail(error)
    assert future.exception(0) is error
    assert world.is_idle()
    (record,) = caplog.records
    assert record.message == "a retry policy or limiter raised"
    assert record.exc_info is not None
    trouble = record.exc_info[1]
    assert trouble is not None
    assert trouble.__traceback__ is None  # it would keep the statement
    with pytest.raises(type(trouble), match=text):
        raise trouble


def test_a_whole_number_of_seconds_will_do() -> None:
    world = World(1)
    world.submit()
    world.send().fail(ValueError())
    world.clock.advance(1)
    assert world.queue.queued() == 1


@pytest.mark.parametrize("rests", [True, False])
def test_what_waits_is_given_up_with_its_last_error(rests: bool) -> None:
    world = World(0, 0.5 if rests else 0)
    future = world.submit(watched=True).future
    new = world.submit("new")
    errors = [ValueError(), KeyError()]
    for error in errors:
        world.send().fail(error)
    world.watch.heard.clear()
    with world.gate.lock:
        removed, told = world.queue.remove_all()
    assert removed == [new]
    assert not world.gate.is_idle()
    assert world.watch.heard == [("settled", 2, False, errors[1], (errors[0],))]
    (callback,) = told
    assert callback is not None
    callback()
    world.gate.told()
    assert future.exception(0) is errors[1]
    assert world.is_idle()
    world.clock.advance(1)  # its time has come, and nothing comes of it
    assert world.gate.take(1) == []
    assert world.is_idle()


def test_nothing_is_sent_again_after_that() -> None:
    world = World(0, 0)
    future = world.submit().future
    job = world.send()
    with world.gate.lock:
        world.queue.remove_all()
    error = ValueError()
    job.fail(error)
    assert future.exception(0) is error
    assert world.is_idle()


def test_a_limiter_is_told_of_an_attempt_that_is_sent_again() -> None:
    limiter = Told()
    world = World(0, limit=limiter)
    future = world.submit().future
    world.send().fail(OperationTimedOut())
    assert limiter.told == [(0, 1, "overload")]
    jobs = [(world.send(), "rows")]
    succeed_all(jobs)
    assert limiter.told == [(0, 1, "overload"), (0, 1, "success")]
    assert future.result(0) == "rows"
    assert world.is_idle()


def test_a_limiter_is_told_once_of_what_succeeds_together() -> None:
    idle: list[bool] = []

    class Asking(Counts):
        def settled_many(self, **counted: Any) -> None:
            idle.append(world.gate.is_idle())
            assert not world.gate.lock.locked()
            super().settled_many(**counted)

    limiter = Asking(3)
    world = World(limit=limiter)
    futures = [world.submit().future for _ in range(3)]
    jobs = [world.send() for _ in futures]
    jobs[0].succeed("rows")
    succeed_all([(job, "rows") for job in jobs])
    succeed_all([(job, "late") for job in jobs])
    assert limiter.counted == [(1, 0, 0), (2, 0, 0)]
    assert idle == [False, False]
    assert [future.result(0) for future in futures] == ["rows"] * 3
    assert world.is_idle()


def test_a_limiter_at_fault_that_is_told_of_many(caplog: pytest.LogCaptureFixture) -> None:
    limiter = Counts(3)
    world = World(limit=limiter)
    futures = [world.submit().future for _ in range(2)]
    jobs = [world.send() for _ in futures]
    limiter.then = ZeroDivisionError()
    succeed_all([(job, "rows") for job in jobs])
    assert [future.result(0) for future in futures] == ["rows"] * 2
    assert world.gate.limit == 3
    assert world.is_idle()
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is limiter.then


def test_nothing_is_idle_while_a_limiter_is_told() -> None:
    class Asking(Told):
        def settled(self, **told: Any) -> None:
            idle.append(world.gate.is_idle())

    idle: list[bool] = []
    world = World(limit=Asking())
    for retry in (False, True):
        world.submit(retry=retry)
        job = world.send()
        world.gate.telling = 1  # as of another
        job.succeed("rows")
        assert world.gate.telling == 1
        world.gate.told()
    assert idle == [False, False]
    assert world.is_idle()


def test_a_watch_is_told_of_each_step() -> None:
    world = World(0.5)
    world.gate.notes_sending = True
    world.submit(watched=True)
    error = ValueError()
    world.send().fail(error)
    world.clock.advance(0.5)
    job = world.send()
    world.gate.sends(job)  # by a way of its own after all
    job.succeed("rows")
    assert world.watch.heard == [
        ("started", 1),
        ("retried", 1, error, 0.5),
        ("told", True),
        ("started", 2),
        ("settled", 2, True, "rows", (error,)),
        ("told", True),
    ]


def test_a_watch_is_told_of_a_failure() -> None:
    world = World(None)
    world.submit(watched=True)
    error = ValueError()
    world.send().fail(error)
    assert world.watch.heard == [("settled", 1, False, error, ()), ("told", True)]


def test_what_was_submitted_is_not_recalled_once_it_runs() -> None:
    world = World()
    future = world.submit().future
    job = world.send()
    assert not future.cancel()
    assert not world.queue.recall(job)
    assert job.attempts == 1
    job.succeed("rows")
    assert future.result(0) == "rows"


def test_what_was_taken_is_recalled_when_it_is_not_wanted_any_more() -> None:
    world = World(0)
    future = world.submit().future
    job = world.send()
    job.attempts = 3
    world.queue.end = KeyError()
    assert world.queue.recall(job)
    assert job.attempts == 2  # as if it had never been started
    assert future.exception(0) is world.queue.end
    assert world.policy.asked == []
    assert world.gate.errors.counts(0) == ()  # nothing went wrong
    assert world.is_idle()


def test_of_a_new_one_nothing_is_known() -> None:
    world = World()
    lane = Lane()
    job = Job(world.queue, 7, "s", (1,), Sending({}, None, False), lane)
    assert (job.index, job.statement, job.parameters, job.lane) == (7, "s", (1,), lane)
    assert (job.attempts, job.in_flight, job.errors, job.batch_size) == (0, 0, (), 1)
    assert job.timestamp is None
    assert job.sent_at is None


def test_several_succeed_at_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    other = Submissions(world.gate)
    futures = [world.submit(retry=False, watched=True).future for _ in range(2)]
    with world.gate.lock:
        futures.append(other.add("other", None, Sending({}, None, False)).future)
    jobs = world.gate.take(1) + world.gate.take(1) + world.gate.take(1)
    for job in jobs:
        assert job.work.refusal(job) is None
        job.attempts += 1
    gone = jobs[2]
    gone.fail(ValueError())
    world.watch.heard.clear()
    ticket = world.gate.idle.ticket()
    succeed_all([])
    succeed_all([(job, number) for number, job in enumerate(jobs)] + [(jobs[0], "late")])
    succeed_all([(jobs[0], "later")])
    values = {job: number for number, job in enumerate(jobs)}
    for job in jobs:
        future = cast(SubmittedJob, job).future
        if job is gone:
            assert type(future.exception(0)) is ValueError
        else:
            assert future.result(0) == values[job]
    assert world.is_idle()
    assert ticket.acquire(blocking=False)
    assert all(future.done() for future in futures)
    assert not caplog.records
    assert world.watch.heard == [("settled", 1, True, 0, ()), ("told", True)]


def test_what_a_callback_of_a_future_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    future = world.submit().future

    def no_callback(done: Any) -> None:
        raise SystemError("not an Exception that futures log themselves")

    future.add_done_callback(no_callback)
    world.send().succeed("rows")
    assert future.result(0) == "rows"
    assert world.is_idle()
    assert caplog.records


def test_somebody_else_may_have_resolved_the_future(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    future = world.submit().future
    job = world.send()
    future.set_result("from elsewhere")
    job.succeed("rows")
    assert future.result(0) == "from elsewhere"
    assert world.is_idle()
    (record,) = caplog.records
    assert record.message == "a callback of a future raised"


def test_a_failure_keeps_no_frame_of_what_was_handled_meanwhile() -> None:
    world = World()
    world.submit(retry=False)
    job = world.send()
    error: BaseException = ValueError()
    try:
        try:
            raise KeyError
        except KeyError as cause:
            raise error from cause
    except ValueError:
        assert error.__context__ is not None
    job.fail(error)
    assert error.__traceback__ is None
    assert error.__context__ is None
    assert error.__cause__ is not None
    assert error.__cause__.__traceback__ is None
    failure = job.failure()
    assert (failure.index, failure.statement, failure.parameters) == (0, "s", ("secret",))
    assert (failure.attempts, failure.batch_size) == (1, 1)
