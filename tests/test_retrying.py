"""Sending again what failed: when, how often, and what is told of it."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import pytest
from cassandra import OperationTimedOut, Unavailable
from cassandra.query import SimpleStatement

from concurrent_exec import (
    BatchExecutor,
    CallbackExecutor,
    Executor,
    FailedAttempt,
    Results,
    Retry,
    ThreadExecutor,
)
from concurrent_exec.testing import (
    Reply,
    Request,
    ScriptedInput,
    ScriptedSession,
    VirtualClock,
    wait_until_quiet,
)
from tests.executors import any_executor, in_one_process
from tests.integration.support import wait_for

MakeExecutor = Callable[..., Executor[Any]]

SAFE = SimpleStatement("INSERT", is_idempotent=True)


class Fixed:
    """A policy that says what the test says."""

    def __init__(self, *delays: float | None) -> None:
        self.delays = list(delays)
        self.asked: list[FailedAttempt] = []

    def delay(self, failed: FailedAttempt) -> float | None:
        self.asked.append(failed)
        return self.delays.pop(0) if self.delays else None


class Broken:
    """A policy that raises."""

    def __init__(self, error: type[BaseException] = ZeroDivisionError) -> None:
        self._error = error

    def delay(self, failed: FailedAttempt) -> float | None:
        raise self._error("the policy's own fault")


class Stage:
    """An executor over a session whose answers the test gives."""

    def __init__(self, make_executor: MakeExecutor, **options: Any) -> None:
        self.clock = VirtualClock()
        self.session = ScriptedSession(clock=self.clock, timeout=None)
        self.executor = make_executor(self.session, clock=self.clock, **options)

    @property
    def pending(self) -> list[Request]:
        """What waits for an answer, in the order of the input."""
        wait_until_quiet(self.executor, self.session)
        return sorted(self.session.pending, key=lambda request: request.parameters or ())

    def pass_time(self, seconds: float) -> None:
        wait_until_quiet(self.executor, self.session)
        self.clock.advance(seconds, settle=lambda: self.pending)


def fail(request: Request) -> BaseException:
    error: BaseException = OperationTimedOut()
    request.fail(error)
    return error


@any_executor
def test_a_statement_is_sent_again_when_its_time_has_come(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor, concurrency=1)
    policy = Fixed(2.0, 3.0)
    results = stage.executor.execute([("q", (1,))], retry=policy)
    for wait in (2.0, 3.0):
        fail(stage.pending[0])
        stage.pass_time(wait - 0.1)
        assert stage.pending == []
        assert results.statistics().waiting_for_retry == 1
        assert stage.executor.statistics().waiting_for_retry == 1
        stage.pass_time(0.1)
        assert results.statistics().waiting_for_retry == 0
    stage.pending[0].succeed(["done"])
    result = next(results)
    assert result.success
    assert results.statistics().retries == 2
    assert [each.attempts for each in policy.asked] == [1, 2]


@in_one_process
def test_what_a_policy_is_told(make_executor: MakeExecutor) -> None:
    refusal = OSError("no")
    session = ScriptedSession(lambda *_: Reply(error=refusal, refuse=True))
    policy = Fixed()
    with make_executor(session) as executor:
        list(
            executor.execute(
                [("q", {"secret": 4711})],
                retry=policy,
                assume_idempotent=True,
                raise_on_first_error=False,
            )
        )
    (asked,) = policy.asked
    assert (asked.statement, asked.parameters, asked.error) == ("q", {"secret": 4711}, refusal)
    assert (asked.attempts, asked.sent, asked.assume_idempotent) == (1, False, True)
    assert "4711" not in repr(asked)


@any_executor
def test_a_retry_that_waits_gives_its_permit_back(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor, concurrency=1)
    results = stage.executor.execute([("q", (1,)), ("q", (2,))], retry=Fixed(5.0))
    fail(stage.pending[0])
    assert [each.parameters for each in stage.pending] == [(2,)]
    assert results.statistics().waiting_for_retry == 1


@any_executor
def test_a_retry_is_not_held_up_by_a_blocked_input(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor, concurrency=4)
    blocked = ScriptedInput()
    results = stage.executor.execute(blocked, retry=Fixed(1.0))
    blocked.give(("q", (1,)))
    fail(stage.pending[0])
    stage.pass_time(1.0)
    assert blocked.waiting
    stage.pending[0].succeed()
    assert next(results).success
    blocked.end()
    assert list(results) == []


@any_executor
def test_a_retry_comes_before_what_is_new(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor, concurrency=1)
    results = stage.executor.map("q", [(index,) for index in range(9)], retry=Fixed(1.0))
    fail(stage.pending[0])
    held = stage.pending[0]
    stage.pass_time(1.0)
    held.succeed()
    assert [each.parameters for each in stage.pending] == [(0,)]
    results.close()


@in_one_process
def test_a_failure_knows_its_attempts_and_earlier_errors(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor)
    results = stage.executor.execute([("q", (1,))], retry=Fixed(0, 0), raise_on_first_error=False)
    errors = [fail(stage.pending[0]) for _ in range(3)]
    result = next(results)
    assert (result.success, result.attempts) == (False, 3)
    assert result.result_or_exc is errors[2]
    assert result.errors == tuple(errors[:2])
    again = pickle.loads(pickle.dumps(result))
    assert [type(each) for each in again.errors] == [OperationTimedOut] * 2
    with pytest.raises(OperationTimedOut) as caught:
        result.unwrap()
    assert "after 3 attempts" in caught.value.__notes__[0]


@any_executor
def test_late_answers_of_earlier_attempts_settle_nothing(make_executor: MakeExecutor) -> None:
    clock = VirtualClock()
    session = ScriptedSession(clock=clock, timeout=None, heard_twice=True)
    executor = make_executor(session, clock=clock)
    results = executor.execute([("q", (1,))], retry=Fixed(0))
    wait_until_quiet(executor, session)
    first = session.pending[0]
    fail(first)
    wait_until_quiet(executor, session)
    first.succeed(["late"])
    assert results.statistics().settled == 0
    session.pending[0].succeed(["right"])
    assert next(results).unwrap().current_rows == ["right"]


@in_one_process
@pytest.mark.parametrize("how", ["stop", "shutdown", "deadline"])
def test_what_waits_settles_with_its_last_error_when_the_run_ends(
    make_executor: MakeExecutor, how: str
) -> None:
    stage = Stage(make_executor, concurrency=3)
    options: dict[str, Any] = {"deadline": 3.0} if how == "deadline" else {}
    results = stage.executor.execute(
        [("q", (1,)), ("q", (2,))],
        retry=Fixed(60.0),
        raise_on_first_error=how == "stop",
        **options,
    )
    first, second = stage.pending
    error = fail(first)
    last = error
    if how == "stop":
        last = fail(second)
    elif how == "shutdown":
        second.succeed()
        stage.executor.shutdown(cancel_futures=True)
    else:
        second.succeed()
        stage.pass_time(3.0)
    if how == "stop":
        with pytest.raises(OperationTimedOut) as caught:
            next(results)
        assert caught.value in (error, last)
    else:
        result = next(results)
        assert (result.success, result.result_or_exc, result.attempts) == (False, error, 1)
        assert next(results).success
    assert stage.executor.statistics().waiting_for_retry == 0


@any_executor
def test_shutdown_waits_for_what_waits_to_be_sent_again(make_executor: MakeExecutor) -> None:
    session = ScriptedSession(lambda *_: Reply(at_once=True, error=OperationTimedOut()))
    policy = Fixed(0.05, 0.05)
    with make_executor(session) as executor:  # on the system's clock
        future = executor.submit("q", retry=policy)
    assert isinstance(future.exception(timeout=0), OperationTimedOut)
    assert session.sent == 3


@any_executor
def test_a_submitted_statement_is_sent_again(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor, retry=Fixed(1.0))
    future = stage.executor.submit("q", (1,))
    fail(stage.pending[0])
    assert not future.done()
    stage.pass_time(1.0)
    stage.pending[0].succeed(["done"])
    wait_until_quiet(stage.executor, stage.session)
    assert future.result(timeout=5).current_rows == ["done"]


@in_one_process
def test_a_submitted_statement_is_given_up_by_a_shutdown(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor, concurrency=1, retry=Fixed(60.0))
    waits, queued = stage.executor.submit("q"), stage.executor.submit("q")
    other = stage.executor.submit("q")
    error = fail(stage.pending[0])
    assert len(stage.pending) == 1
    stage.executor.shutdown(wait=False, cancel_futures=True)
    assert waits.exception(timeout=5) is error
    with pytest.raises(CancelledError):
        other.result(timeout=5)
    stage.session.pending[0].succeed()
    assert queued.result(timeout=5) is not None


@any_executor
def test_a_run_may_have_a_policy_of_its_own_or_none(make_executor: MakeExecutor) -> None:
    answers = ScriptedSession(lambda *_: Reply(at_once=True, error=OperationTimedOut()))
    with make_executor(answers, retry=Fixed(0, 0, 0)) as executor:
        (result,) = executor.map("q", [(1,)], retry=None, raise_on_first_error=False)
        assert result.attempts == 1
        (result,) = executor.map("q", [(1,)], retry=Fixed(0), raise_on_first_error=False)
        assert result.attempts == 2
        (result,) = executor.map("q", [(1,)], raise_on_first_error=False)
        assert result.attempts == 4


@any_executor
@pytest.mark.parametrize(
    ("delay", "error"),
    [
        (None, ZeroDivisionError),
        (None, SystemExit),
        (-1.0, ValueError),
        (float("nan"), ValueError),
        ("soon", TypeError),
        (True, TypeError),
    ],
)
def test_a_policy_at_fault_ends_the_run(
    make_executor: MakeExecutor, delay: Any, error: type[BaseException]
) -> None:
    policy = Broken(error) if delay is None else Fixed(delay)
    stage = Stage(make_executor, concurrency=2)
    results = stage.executor.map(
        "q", [(index,) for index in range(5)], retry=policy, raise_on_first_error=False
    )
    first, second = stage.pending
    first.succeed()
    second = stage.pending[0]
    fail(second)
    for request in stage.pending:
        request.succeed()
    assert next(results).success
    with pytest.raises(error):
        list(results)
    assert stage.pending == []
    assert stage.session.sent == 3


@in_one_process
def test_a_policy_at_fault_leaves_a_submit_its_own_error(
    make_executor: MakeExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(make_executor)
    future = stage.executor.submit("q", retry=Broken())
    error = fail(stage.pending[0])
    assert future.exception(timeout=5) is error
    wait_until_quiet(stage.executor, stage.session)
    assert "the policy's own fault" in caplog.text


@any_executor
@pytest.mark.parametrize("wrong", [3, "5", Retry, object(), True])
def test_a_retry_that_is_no_policy_is_refused(make_executor: MakeExecutor, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^retry must be a policy"):
        make_executor(ScriptedSession(), retry=wrong)
    executor = make_executor(ScriptedSession())
    for start in (
        lambda: executor.map("q", [], retry=wrong),
        lambda: executor.execute([], retry=wrong),
        lambda: executor.submit("q", retry=wrong),
    ):
        with pytest.raises(TypeError, match=r"^retry must be a policy"):
            start()


@any_executor
def test_unknown_options_are_refused(make_executor: MakeExecutor) -> None:
    executor: Any = make_executor(ScriptedSession())
    with pytest.raises(TypeError, match="unexpected keyword argument 'retries'"):
        executor.execute([], retries=3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'deadline'"):
        executor.submit("q", deadline=3)


# ---- with the policy that ships ----


@any_executor
def test_what_may_have_been_applied_is_sent_again_only_if_that_is_safe(
    make_executor: MakeExecutor,
) -> None:
    session = ScriptedSession(lambda *_: Reply(at_once=True, error=OperationTimedOut()))
    retry = Retry(max_attempts=3, initial_backoff=0.001)

    def attempts(statement: Any, **options: Any) -> int | None:
        results: Results[Any] = executor.execute(
            [(statement, None)], raise_on_first_error=False, **options
        )
        return next(results).attempts

    with make_executor(session, retry=retry) as executor:
        assert attempts("INSERT") == 1
        assert attempts(SAFE) == 3
        assert attempts("INSERT", assume_idempotent=True) == 3
        assert attempts("UPDATE t SET a = 1 WHERE k = 2 IF a = 3", assume_idempotent=True) == 1
        assert attempts("SELECT a FROM t") == 3


@any_executor
def test_what_was_not_applied_is_sent_again(make_executor: MakeExecutor) -> None:
    session = ScriptedSession(lambda *_: Reply(at_once=True, error=Unavailable("no")))
    with make_executor(session, retry=Retry(max_attempts=2, initial_backoff=0.001)) as executor:
        (result,) = executor.map("INSERT", [None], raise_on_first_error=False)
    assert result.attempts == 2


# ---- timestamps ----


@in_one_process
def test_the_first_timestamp_is_kept(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor)
    results = stage.executor.execute([("old", (1,))], retry=Fixed(1.0))
    first = stage.pending[0]
    assert first.message.timestamp is not None
    fail(first)
    newer = stage.session.execute_async("new")
    newer.succeed()
    stage.pass_time(1.0)
    (again,) = stage.pending
    assert again is not first
    assert again.message.timestamp == first.message.timestamp
    assert newer.message.timestamp is not None
    assert newer.message.timestamp > first.message.timestamp
    results.close()


@in_one_process
def test_statements_may_be_given_their_timestamps(make_executor: MakeExecutor) -> None:
    stage = Stage(make_executor)
    stage.executor._stamp_by(lambda job: 1_000 + job.index)
    results = stage.executor.map("q", [(1,), (2,)], retry=Fixed(1.0))
    first, second = stage.pending
    assert [each.message.timestamp for each in (first, second)] == [1_000, 1_001]
    stage.executor._stamp_by(lambda job: 2_000)
    fail(first)
    stage.pass_time(1.0)
    again, _ = stage.pending
    assert again is not first
    assert again.message.timestamp == 1_000
    results.close()


@any_executor
def test_requests_of_others_keep_their_own_timestamps(make_executor: MakeExecutor) -> None:
    """Also one that a callback sends while ours is being sent, on the same thread."""
    others: list[Request] = []

    def script(statement: Any, parameters: Any) -> Reply | None:
        if statement == "ours":
            others.append(session.execute_async("another's"))
            return Reply(at_once=True, error=OperationTimedOut())
        return None

    session = ScriptedSession(script)
    with make_executor(session, retry=Fixed(0, 0)) as executor:
        (result,) = executor.map("ours", [None], raise_on_first_error=False)
    assert result.attempts == 3
    stamps = [request.message.timestamp for request in others]
    assert len(set(stamps)) == 3


@in_one_process
def test_a_statement_that_could_not_be_sent_leaves_nothing_for_the_next(
    make_executor: MakeExecutor,
) -> None:
    class Refusing(ScriptedSession):
        def execute_async(self, query: Any, parameters: Any = None, **options: Any) -> Request:
            if query == "ours":
                raise ValueError("bind")
            return super().execute_async(query, parameters, **options)

    session = Refusing(plain=lambda statement, parameters: False)  # all go this way
    with make_executor(session, retry=Fixed()) as executor:
        list(executor.map("ours", [None], raise_on_first_error=False))
        assert executor._timestamps is not None
        assert executor._timestamps._expected.message is None


@in_one_process
@pytest.mark.parametrize("wait", [True, False])
def test_the_session_is_left_as_it_was(make_executor: MakeExecutor, wait: bool) -> None:
    stage = Stage(make_executor)
    stage.executor.execute([("q", None)])
    if not stage.executor._resends:
        assert stage.session._listeners == []  # nothing is listened to for nothing
    results = stage.executor.execute([("q", None)], retry=Fixed(5.0))
    assert len(stage.session._listeners) == 1
    for request in stage.pending:
        request.succeed() if request.options else fail(request)
    while not wait and stage.session.pending:
        stage.session.pending[0].succeed()
    if wait:
        stage.pass_time(5.0)
        for request in stage.pending:
            request.succeed()
    wait_until_quiet(stage.executor, stage.session)
    results.close()
    stage.executor.shutdown(wait=wait)
    assert stage.session._listeners == []


@in_one_process
def test_the_session_is_left_as_it_was_by_a_shutdown_that_a_close_brings_to_its_end(
    make_executor: MakeExecutor,
) -> None:
    stage = Stage(make_executor)
    results = stage.executor.execute([("q", None)], retry=Fixed(5.0))
    fail(stage.pending[0])
    wait_until_quiet(stage.executor, stage.session)
    stopping = threading.Thread(target=stage.executor.shutdown)
    stopping.start()
    wait_for(lambda: stage.executor._gate.idle.tickets)  # for what waits to be sent again
    results.close()
    stopping.join(20)
    assert not stopping.is_alive()
    assert stage.session._listeners == []


@pytest.mark.parametrize("make_executor", [CallbackExecutor, ThreadExecutor, BatchExecutor])
def test_a_session_without_listeners_is_refused(make_executor: MakeExecutor) -> None:
    class Bare:
        cluster = ScriptedSession().cluster

        def execute_async(self, *args: Any, **options: Any) -> Any: ...

    executor: Any = make_executor(Bare())
    with pytest.raises(TypeError, match="add_request_init_listener"):
        executor.submit("q", retry=Retry())
