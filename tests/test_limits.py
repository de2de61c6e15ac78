"""What bounds a run: a rate, a limiter, a number of errors, a deadline."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cassandra import OperationTimedOut, Unauthorized, Unavailable

from concurrent_exec import (
    AdaptiveConcurrency,
    DeadlineExceededError,
    Executor,
    MaxErrorsExceededError,
    Outcome,
    RunStatistics,
)
from concurrent_exec.testing import (
    Reply,
    ScriptedInput,
    ScriptedSession,
    VirtualClock,
    wait_until_quiet,
)
from tests.executors import any_executor
from tests.test_retrying import Fixed, Stage, fail

MakeExecutor = Callable[..., Executor[Any]]


def numbered(count: int) -> list[tuple[int]]:
    return [(index,) for index in range(count)]


# ---- max_per_second ----


def times_of_sending(
    make_executor: MakeExecutor, rate: float, seconds: float, start: Callable[[Executor[Any]], Any]
) -> list[float]:
    clock = VirtualClock()
    times: list[float] = []

    def script(*_: Any) -> Reply:
        times.append(clock.monotonic())
        return Reply(at_once=True)

    session = ScriptedSession(script, clock=clock)
    executor = make_executor(session, concurrency=8, max_per_second=rate, clock=clock)
    kept = start(executor)
    wait_until_quiet(executor, session)
    clock.advance(seconds, settle=lambda: wait_until_quiet(executor, session))
    del kept
    return times


@any_executor
@pytest.mark.parametrize(("rate", "seconds"), [(0.5, 20.0), (10, 20.0), (1000.0, 4.0)])
def test_a_rate_holds_and_is_used(make_executor: MakeExecutor, rate: float, seconds: float) -> None:
    count = int(rate * seconds)
    times = times_of_sending(
        make_executor,
        rate,
        seconds,
        lambda executor: executor.map("q", numbered(2 * count), buffersize=2 * count),
    )
    assert abs(len(times) - count) <= 1 + rate * 0.06
    burst = 1 + rate * 0.05
    for first in range(0, len(times), 7):
        for last in range(first, len(times), 13):
            sent = last - first + 1
            assert sent <= burst + rate * (times[last] - times[first]) + 1e-6


@any_executor
def test_a_rate_is_shared_by_all_runs_and_submits(make_executor: MakeExecutor) -> None:
    def start(executor: Executor[Any]) -> Any:
        return (
            [executor.map("q", numbered(50), buffersize=50) for _ in range(3)],
            [executor.submit("q") for _ in range(30)],
        )

    assert len(times_of_sending(make_executor, 2.0, 10.1, start)) == 21


@any_executor
def test_a_rate_lets_a_run_end_by_itself(make_executor: MakeExecutor) -> None:
    session = ScriptedSession(lambda *_: Reply(at_once=True))
    with make_executor(session, max_per_second=500) as executor:  # on the system's clock
        assert len(executor.map("q", numbered(40)).all()) == 40


# ---- a limiter ----


class Steps:
    """A limiter that goes through the limits it is given, one an outcome."""

    def __init__(self, *limits: Any) -> None:
        self.max_limit = 10
        self.limit = limits[0]
        self._limits = list(limits[1:])
        self.told: list[tuple[float, int, Outcome]] = []

    def settled(self, *, seconds: float, in_flight: int, outcome: Outcome) -> None:
        self.told.append((seconds, in_flight, outcome))
        if self._limits:
            self.limit = self._limits.pop(0)
        if self.limit in ("raise", "exit"):
            error = ZeroDivisionError if self.limit == "raise" else SystemExit
            raise error("the limiter's own fault")


@any_executor
def test_a_limiter_sets_how_many_are_in_flight(make_executor: MakeExecutor) -> None:
    limiter = Steps(2, 4, 1)
    stage = Stage(make_executor, concurrency=limiter)
    results = stage.executor.map("q", numbered(12))
    assert len(stage.pending) == 2
    stage.pending[0].succeed()
    assert len(stage.pending) == 4 == stage.executor.concurrency
    stage.pending[0].succeed()
    assert len(stage.pending) == 3
    for expected in (2, 1, 1):
        stage.pending[0].succeed()
        assert len(stage.pending) == expected
    results.close()


@any_executor
def test_what_a_limiter_is_told(make_executor: MakeExecutor) -> None:
    limiter = Steps(2)
    stage = Stage(make_executor, concurrency=limiter)
    results = stage.executor.map("q", numbered(3), retry=Fixed(1.0), raise_on_first_error=False)
    first, second = stage.pending
    stage.clock.advance(0.25)
    first.fail(OperationTimedOut())
    third = stage.pending[1]
    third.fail(ValueError("bad"))
    second.succeed()
    assert len(stage.pending) == 0
    outcomes = [(seconds, outcome) for seconds, _, outcome in limiter.told]
    assert sorted(outcomes) == [(0.0, "ignored"), (0.25, "overload"), (0.25, "success")]
    assert all(1 <= in_flight <= 2 for _, in_flight, _ in limiter.told)
    stage.pass_time(1.0)
    stage.pending[0].succeed()
    assert len(list(results)) == 3
    assert len(limiter.told) == 4  # one an attempt


@any_executor
@pytest.mark.parametrize("wrong", [0, -1, 2.5, float("nan"), None, True, "raise", "exit"])
def test_a_limiter_at_fault_ends_the_run(make_executor: MakeExecutor, wrong: Any) -> None:
    stage = Stage(make_executor, concurrency=Steps(2, wrong))
    results = stage.executor.map("q", numbered(9))
    first, second = stage.pending
    first.succeed()
    second.succeed()
    assert len(stage.pending) <= 1
    for request in stage.pending:
        request.succeed()
    with pytest.raises((TypeError, ValueError, ZeroDivisionError, SystemExit), match="limit"):
        list(results)
    assert stage.pending == []
    assert stage.executor.concurrency == 2


@any_executor
def test_a_limiter_at_fault_leaves_a_submit_its_result(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor, concurrency=Steps(2, "raise"))
    future = stage.executor.submit("q")
    stage.pending[0].succeed(["row"])
    assert future.result(timeout=5).current_rows == ["row"]


# ---- a limiter that only counts ----


class Counting:
    """A limiter that is told how many settled, and goes through the limits it is given."""

    def __init__(self, *limits: int | str) -> None:
        self.max_limit = 10
        self.limit: Any = limits[0]
        self._limits = list(limits[1:])
        self.successes = self.overloads = 0
        self.times: list[float] = []

    def settled(self, **attempt: Any) -> None:
        raise AssertionError("it is told of many at a time")

    def settled_many(self, *, successes: int, overloads: int, now: float) -> None:
        self.successes += successes
        self.overloads += overloads
        self.times.append(now)
        if self._limits:
            self.limit = self._limits.pop(0)
        if self.limit == "raise":
            raise ZeroDivisionError("the limiter's own fault")


@any_executor
def test_what_a_limiter_is_told_that_only_counts(make_executor: MakeExecutor) -> None:
    limiter = Counting(2, 3, 3, 3, 3)
    stage = Stage(make_executor, concurrency=limiter)
    results = stage.executor.map("q", numbered(5), retry=Fixed(1.0), raise_on_first_error=False)
    first, _ = stage.pending
    stage.clock.advance(0.25)
    first.fail(OperationTimedOut())
    assert len(stage.pending) == 3 == stage.executor.concurrency
    stage.pending[0].fail(ValueError("bad"))
    while stage.pending:
        stage.pending[0].succeed()
    stage.pass_time(1.0)
    stage.pending[0].succeed()
    assert [result.success for result in results] == [True, False, True, True, True]
    assert (limiter.successes, limiter.overloads) == (4, 1)
    assert limiter.times[0] == 0.25 == limiter.times[-1] - 1.0


@any_executor
def test_a_limiter_that_only_counts_and_is_at_fault(make_executor: MakeExecutor) -> None:
    for limit, error in (("raise", ZeroDivisionError), (0, ValueError)):
        stage = Stage(make_executor, concurrency=Counting(1, limit))
        results = stage.executor.map("q", numbered(9))
        stage.pending[0].succeed()
        for request in stage.pending:
            request.succeed()
        with pytest.raises(error, match="limit"):
            list(results)
        assert stage.pending == []
        assert stage.executor.concurrency == 1


@any_executor
def test_what_is_pulled_ahead_goes_with_the_highest_limit(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor, concurrency=Counting(1, 3, 2))
    pulled = 0

    def rows() -> Iterator[tuple[int]]:
        nonlocal pulled
        for number in range(100):
            pulled += 1
            yield (number,)

    results = stage.executor.map("q", rows())
    assert len(stage.pending) == 1
    assert pulled == 4
    stage.pending[0].succeed()
    next(results)
    assert len(stage.pending) == 3
    # The first is delivered, and twelve more may be pulled and not delivered.
    assert 4 < pulled <= 13
    for _ in range(3):  # the limit is lower, and the window as it was
        stage.pending[0].succeed()
        next(results)
        assert len(stage.pending) == 2
    assert 13 < pulled <= 16
    results.close()


@any_executor
@pytest.mark.parametrize("wrong", [0, -3, 1.5, "9", None, True, AdaptiveConcurrency, Steps(0)])
def test_a_wrong_concurrency_is_refused(make_executor: MakeExecutor, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^concurrency(\.limit)? must be "):
        make_executor(ScriptedSession(), concurrency=wrong)


@any_executor
@pytest.mark.parametrize("wrong", [0, -3, "9", float("nan"), float("inf"), True])
def test_a_wrong_rate_is_refused(make_executor: MakeExecutor, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="max_per_second must be"):
        make_executor(ScriptedSession(), max_per_second=wrong)


# ---- max_errors ----


def failing(*indexes: int, error: BaseException | None = None) -> ScriptedSession:
    def script(statement: Any, parameters: Any) -> Reply:
        bad = parameters[0] in indexes
        return Reply(at_once=True, error=(error or OperationTimedOut()) if bad else None)

    return ScriptedSession(script)


@any_executor
def test_a_run_ends_when_more_have_failed_than_it_may(make_executor: MakeExecutor) -> None:
    session = failing(3, 5, 8, 9)
    with make_executor(session, concurrency=1) as executor:
        results = executor.map("q", numbered(50), max_errors=2)
        got = [next(results).success for _ in range(9)]
        assert got == [index not in (3, 5, 8) for index in range(9)]
        with pytest.raises(MaxErrorsExceededError) as caught:
            next(results)
    error = caught.value
    assert (error.failed, error.finished) == (3, 9)
    assert error.kinds == {"OperationTimedOut": 3}
    assert [each.index for each in error.examples] == [3, 5, 8]
    assert session.sent == 9
    assert "3 of 9 finished statements have failed, which is more than max_errors=2" in str(error)
    assert "3 OperationTimedOut (the first is statement 3)" in str(error)
    assert pickle.loads(pickle.dumps(error)).kinds == error.kinds


@any_executor
def test_as_many_as_are_allowed_may_fail(make_executor: MakeExecutor) -> None:
    with make_executor(failing(3, 5)) as executor:
        results = executor.map("q", numbered(50), max_errors=2).all()
    assert [result.index for result in results if not result.success] == [3, 5]


@any_executor
def test_failures_are_summed_up_by_kind_and_without_the_servers_words(
    make_executor: MakeExecutor,
) -> None:
    def script(statement: Any, parameters: Any) -> Reply:
        kind = (Unavailable, Unauthorized)[parameters[0] % 3 == 0]
        return Reply(at_once=True, error=kind("the value is 4711"))

    executor = make_executor(ScriptedSession(script), concurrency=1)
    with executor, pytest.raises(MaxErrorsExceededError) as caught:
        executor.map("q", numbered(50), max_errors=9).all()
    error = caught.value
    assert list(error.kinds.items()) == [("Unavailable", 6), ("Unauthorized", 4)]
    assert len(error.examples) == 6
    assert "4711" not in str(error)


@any_executor
@pytest.mark.parametrize(("bad", "ends"), [(5, False), (6, True)])
def test_a_share_is_of_those_finished(make_executor: MakeExecutor, bad: int, ends: bool) -> None:
    with make_executor(failing(*range(bad)), concurrency=1) as executor:
        results = executor.map("q", numbered(100), max_errors="5%")
        if ends:
            with pytest.raises(MaxErrorsExceededError, match=r"6 of 100 .* max_errors=5%"):
                results.all()
        else:
            assert len(results.all()) == 100


@any_executor
def test_a_share_is_not_judged_before_a_hundred_have_finished(make_executor: MakeExecutor) -> None:
    with make_executor(failing(*range(99)), concurrency=1) as executor:
        assert len(executor.map("q", numbered(99), max_errors="1%").all()) == 99


@any_executor
def test_what_is_tried_again_has_not_failed_yet(make_executor: MakeExecutor) -> None:
    session = ScriptedSession(lambda *_: Reply(at_once=True, error=OperationTimedOut()))
    executor = make_executor(session, concurrency=1)
    with executor, pytest.raises(MaxErrorsExceededError):
        executor.map("q", numbered(9), max_errors=1, retry=Fixed(0, None, 0, 0, None)).all()
    assert session.sent == 5


@any_executor
@pytest.mark.parametrize(
    "wrong", [0, -1, 1.5, True, "5", "0%", "100%", "-5%", "five%", "1e1%", float("nan"), b"5%"]
)
def test_a_wrong_max_errors_is_refused(make_executor: MakeExecutor, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="max_errors must be"):
        make_executor(ScriptedSession()).map("q", [], max_errors=wrong)


@any_executor
def test_max_errors_contradicts_raise_on_first_error(make_executor: MakeExecutor) -> None:
    executor = make_executor(ScriptedSession())
    with pytest.raises(ValueError, match="max_errors lets some statements fail"):
        executor.map("q", [], max_errors=3, raise_on_first_error=True)
    assert list(executor.map("q", [], max_errors=3, raise_on_first_error=False)) == []


# ---- deadline ----


def counts(statistics: RunStatistics) -> tuple[int, int]:
    return statistics.succeeded, statistics.failed


@any_executor
def test_what_of_a_list_was_not_started_by_the_deadline_fails(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor, concurrency=2)
    results = stage.executor.map("q", numbered(30), deadline=5.0, raise_on_first_error=False)
    stage.pending[0].succeed()
    stage.pass_time(5.0)
    for request in stage.pending:
        request.succeed()
    outcome = list(results)
    assert [result.success for result in outcome] == [index < 3 for index in range(30)]
    for result in outcome[3:]:
        assert isinstance(result.result_or_exc, DeadlineExceededError)
        assert isinstance(result.result_or_exc, TimeoutError)
        assert result.attempts == 0
    assert "deadline of 5 s" in str(outcome[-1].result_or_exc)
    assert stage.session.sent == 3
    assert counts(results.statistics()) == (3, 27)


@any_executor
def test_a_deadline_ends_a_fail_fast_run_with_what_was_not_started(
    make_executor: MakeExecutor,
) -> None:
    stage = Stage(make_executor, concurrency=1)
    results = stage.executor.map("q", numbered(3), deadline=5.0)
    stage.pass_time(5.0)
    stage.pending[0].succeed()
    assert next(results).success
    with pytest.raises(DeadlineExceededError) as caught:
        next(results)
    assert caught.value.failure.index == 1  # type: ignore[attr-defined]


@any_executor
def test_no_more_of_an_iterator_is_pulled_after_the_deadline(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor, concurrency=1)
    source = ScriptedInput()
    results = stage.executor.map("q", source, deadline=5.0, raise_on_first_error=False)
    for index in range(3):
        source.give((index,))
    wait_until_quiet(stage.executor, stage.session)
    stage.pass_time(5.0)
    stage.pending[0].succeed()
    assert next(results).success
    for _ in range(2):
        assert isinstance(next(results).result_or_exc, DeadlineExceededError)
    with pytest.raises(DeadlineExceededError, match="statement 3 on was not pulled") as caught:
        next(results)
    assert caught.value.pulled == 3
    source.end()


@any_executor
def test_a_run_that_ends_in_time_knows_nothing_of_its_deadline(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor)
    results = stage.executor.map("q", iter(numbered(3)), deadline=5.0)
    for request in stage.pending:
        request.succeed()
    wait_until_quiet(stage.executor, stage.session)
    stage.pass_time(50.0)
    assert len(list(results)) == 3


@any_executor
def test_what_is_in_flight_at_the_deadline_may_succeed_but_is_not_sent_again(
    make_executor: MakeExecutor,
) -> None:
    stage = Stage(make_executor)
    results = stage.executor.map(
        "q", numbered(2), deadline=5.0, retry=Fixed(0, 0), raise_on_first_error=False
    )
    stage.pass_time(5.0)
    stage.pending[0].succeed()
    fail(stage.pending[0])
    first, second = results
    assert first.success
    assert (second.success, second.attempts) == (False, 1)


@any_executor
def test_a_deadline_is_not_held_up_by_a_rate(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor, max_per_second=0.01)
    results = stage.executor.map("q", numbered(50), deadline=5.0, raise_on_first_error=False)
    stage.pending[0].succeed()
    stage.pass_time(5.0)
    assert [result.success for result in results].count(True) == 1
    assert stage.session.sent == 1


@any_executor
@pytest.mark.parametrize("wrong", [0, -1, "5", True, float("nan"), float("inf")])
def test_a_wrong_deadline_is_refused(make_executor: MakeExecutor, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="deadline must be"):
        make_executor(ScriptedSession()).map("q", [], deadline=wrong)


@any_executor
def test_the_timer_ends_with_the_run(make_executor: MakeExecutor) -> None:
    session = ScriptedSession(lambda *_: Reply(at_once=True))
    with make_executor(session) as executor:  # on the system's clock
        assert len(executor.map("q", numbered(3), deadline=3600).all()) == 3
        executor.map("q", numbered(3), deadline=3600).close()
        clock: Any = executor._gate.clock
        for _ in range(1000):
            if not clock._running:
                break
            time.sleep(0.01)
        assert not clock._running
