"""The options of the strategies, the threads of one, and what they do where others fail them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from cassandra.cqltypes import Int32Type
from cassandra.query import named_tuple_factory

from concurrent_exec import (
    BatchExecutor,
    CallbackExecutor,
    DirectExecutor,
    Executor,
    FailedAttempt,
    Observer,
    RunStarted,
    StatementSettled,
    ThreadExecutor,
)
from concurrent_exec.drivers.requests import named_tuples
from concurrent_exec.executors import callback, threads
from concurrent_exec.executors.opening import open_session
from concurrent_exec.testing import (
    Reply,
    Request,
    ScriptedSession,
    VirtualClock,
    wait_until_quiet,
)
from concurrent_exec.testing.session import ScriptedWire
from tests.executors import any_executor
from tests.integration.support import wait_for
from tests.test_results_of_drivers import answer as complete
from tests.test_results_of_drivers import future_of
from tests.test_retrying import Fixed


def no_thread(**options: Any) -> None:
    raise RuntimeError("no more threads")


MakeExecutor = Callable[..., Executor[Any]]


class Plain(Executor[Any]):
    """As short as one can be."""

    def _launch(self) -> None:
        while (job := self._take()) is not None:
            self._execute_async(job).add_callbacks(job.succeed, job.fail)


class Once:
    """A retry policy: one more attempt, at once; it notes whether the first was sent."""

    def __init__(self) -> None:
        self.sent: list[bool] = []

    def delay(self, failed: FailedAttempt) -> float | None:
        self.sent.append(failed.sent)
        return 0.0 if failed.attempts == 1 else None


def workers() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name == "concurrent_exec-worker"}


@pytest.mark.parametrize(
    ("make_executor", "concurrency"),
    [
        (Plain, 100),
        (CallbackExecutor, 100),
        (DirectExecutor, 100),
        (ThreadExecutor, 32),
        (BatchExecutor, 1000),
    ],
)
def test_what_may_be_in_flight_by_default(make_executor: MakeExecutor, concurrency: int) -> None:
    assert make_executor(ScriptedSession()).concurrency == concurrency


@any_executor
def test_the_options_that_all_have(make_executor: MakeExecutor) -> None:
    class Hears(Observer):
        def on_run_started(self, details: RunStarted) -> None:
            heard.append((details.concurrency, details.max_per_second))

        def on_settled(self, details: StatementSettled) -> None:
            heard.append(details.attempts)

    heard: list[Any] = []
    session = ScriptedSession(lambda *_: Reply(at_once=True, error=ValueError()))
    executor = make_executor(
        session,
        concurrency=3,
        max_per_second=1,
        retry=Once(),
        clock=session.clock,
        observers=[Hears()],
    )
    assert executor.session is session
    assert executor.concurrency == 3
    results = executor.map("s", [None], raise_on_first_error=False)
    wait_until_quiet(executor, session)
    assert session.sent == 1
    session.clock.advance(1.5, settle=lambda: wait_until_quiet(executor, session))
    assert session.sent == 2
    assert isinstance(next(results).result_or_exc, ValueError)
    executor.shutdown()
    assert heard == [(3, 1), 2]


@any_executor
def test_the_options_of_a_statement_reach_the_session(make_executor: MakeExecutor) -> None:
    session = ScriptedSession()
    executor = make_executor(session)
    executor.submit("s", (1,), timeout=3.0, trace=True)
    wait_until_quiet(executor, session)
    (request,) = session.pending
    assert (request.statement, request.parameters) == ("s", (1,))
    assert request.options == {"timeout": 3.0, "trace": True}


def test_what_is_no_session_or_clock_is_refused() -> None:
    wrong: Any = object()
    with pytest.raises(
        TypeError,
        match=r"^session must be a driver's session, not object: it has no execute_async$",
    ):
        Plain(wrong)
    for name, missing in (("monotonic", "call_later"), ("call_later", "monotonic")):
        clock: Any = type("Half", (), {name: lambda *_: 0.0})()
        message = rf"^clock must have a method {missing}\(\), which Half has not$"
        with pytest.raises(TypeError, match=message):
            Plain(ScriptedSession(), clock=clock)


@any_executor
def test_four_times_as_many_as_may_be_in_flight_are_pulled(make_executor: MakeExecutor) -> None:
    class Limiter:
        limit, max_limit = 2, 10

        def settled(self, **how: Any) -> None:
            pass

    for concurrency, pulled in ((3, 12), (Limiter(), 8)):
        session = ScriptedSession(lambda *_: Reply(at_once=True))
        executor = make_executor(session, concurrency=concurrency)
        results = executor.map("s", [None] * 100)
        wait_until_quiet(executor, session)
        assert results.statistics().pulled == pulled


@any_executor
def test_what_somebody_else_has_resolved_is_not_sent(make_executor: MakeExecutor) -> None:
    session = ScriptedSession()
    executor = make_executor(session, concurrency=1)
    first, second, third = map(executor.submit, ("first", "second", "third"))
    wait_until_quiet(executor, session)
    second.set_result("of another")
    session.pending[0].succeed()
    wait_until_quiet(executor, session)
    (request,) = session.pending
    assert request.statement == "third"
    request.succeed()
    executor.shutdown()
    assert first.done()
    assert second.result(0) == "of another"
    assert third.done()


@any_executor
def test_what_is_not_sent_is_no_matter_of_the_retry_policy(make_executor: MakeExecutor) -> None:
    policy = Once()
    session = ScriptedSession()
    executor = make_executor(session, concurrency=1, clock=session.clock, retry=policy)
    results = executor.map("s", [None] * 3, deadline=5.0, raise_on_first_error=False)
    wait_until_quiet(executor, session)
    session.clock.advance(5.0)
    session.pending[0].succeed()
    assert [result.success for result in results] == [True, False, False]
    assert policy.sent == []


@any_executor
@pytest.mark.parametrize("raises", [False, True])
def test_the_end_of_a_block_cancels_what_is_queued_if_it_raises(
    make_executor: MakeExecutor, raises: bool
) -> None:
    session = ScriptedSession(lambda *_: None)
    with contextlib.suppress(ZeroDivisionError), make_executor(session, concurrency=1) as executor:
        executor.submit("first")
        wait_until_quiet(executor, session)
        second = executor.submit("second")
        if raises:
            # The end waits for the answer to the first.
            second.add_done_callback(lambda _: session.pending[0].succeed())
            raise ZeroDivisionError
        answering = threading.Thread(target=answer, args=(session, 2))
        answering.start()
    assert second.cancelled() == raises
    assert session.sent == (1 if raises else 2)


def answer(session: ScriptedSession, count: int) -> None:
    """Answer so many as they come."""
    while count:
        for request in session.pending:
            request.succeed()
            count -= 1


@pytest.mark.parametrize("make_executor", [CallbackExecutor, ThreadExecutor])
@pytest.mark.parametrize("fails", [False, True])
def test_a_drivers_request_is_made_cheap_and_left_as_it_was(
    make_executor: MakeExecutor, fails: bool
) -> None:
    class Own(ScriptedSession):
        def execute_async(self, query: Any, parameters: Any = None, **options: Any) -> Any:
            requests.append(future_of(query))
            return requests[-1]

    requests: list[Any] = []
    executor = make_executor(Own())
    future = executor.submit("s")
    wait_for(lambda: requests)
    (request,) = requests
    wait_for(lambda: request.row_factory is named_tuples)
    if fails:
        request._set_final_exception(ValueError())
        assert isinstance(future.exception(20), ValueError)
    else:
        complete(request, [(1, "a")])
        assert future.result(20).one().v == "a"
    if make_executor is CallbackExecutor:
        assert request.row_factory is named_tuple_factory
    executor.shutdown()


@pytest.mark.parametrize("make_executor", [CallbackExecutor, ThreadExecutor])
def test_what_the_session_did_not_take_was_not_sent(
    make_executor: MakeExecutor,
) -> None:
    class Unheard(ScriptedSession):
        """Its requests fail when they are asked to call back, or waited for."""

        def execute_async(self, query: Any, parameters: Any = None, **options: Any) -> Request:
            request = super().execute_async(query, parameters, **options)
            request.add_callbacks = request.result = raises  # type: ignore[method-assign]
            return request

    def raises(*args: Any, **options: Any) -> Any:
        raise error

    error = ValueError("no answer can be had")
    refusing = ScriptedSession(lambda *_: Reply(error=error, refuse=True))
    for session, sent in ((refusing, False), (Unheard(), True)):
        policy = Once()
        with make_executor(session, retry=policy) as executor:
            assert executor.submit("s").exception(20) is error
        assert policy.sent == [sent, sent]


def test_there_are_no_more_threads_than_permits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "LINGER", 0.01)
    others = workers()
    session = ScriptedSession()
    executor = ThreadExecutor(session, concurrency=2)
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="no more threads"):
        patched.setattr(threads, "Thread", no_thread)
        executor.submit("first")
    found: list[Any] = []

    def submit_another(done: Future[Any]) -> None:
        # On a worker's thread, which has given its permit back and is still busy.
        before = workers() - others
        executor.submit("third")
        found.append((threading.current_thread(), before, workers() - others))

    for others_there in ([], ["second"]):  # the first is queued; when all have gone, others come
        future = executor.submit("answered")
        future.add_done_callback(submit_another)
        for statement in others_there:
            executor.submit(statement)
        wait_until_quiet(executor, session)
        assert len(session.pending) == 2
        next(each for each in session.pending if each.statement == "answered").succeed()
        wait_until_quiet(executor, session)
        worker, before, after = found.pop()
        assert before == after
        assert len(after) == 2
        assert worker in after
        assert all(each.daemon for each in after)
        for request in session.pending:
            request.succeed()
        wait_for(lambda: not (workers() - others))
    executor.shutdown()


def test_what_comes_while_a_worker_is_about_to_rest_is_sent() -> None:
    session = ScriptedSession(lambda *_: Reply(at_once=True))
    executor = ThreadExecutor(session, concurrency=1)
    take = executor._take
    late: list[Future[Any]] = []

    def take_and_another_comes() -> Any:
        job = take()
        if job is None and not late:
            late.append(executor.submit("late"))  # which starts no other thread
        return job

    executor._take = take_and_another_comes  # type: ignore[method-assign]
    executor.submit("first").result(20)
    wait_for(lambda: late)
    late[0].result(20)
    executor.shutdown()


def test_what_is_due_after_the_workers_have_gone_finds_another() -> None:
    others = workers()
    session = ScriptedSession()
    executor = ThreadExecutor(session, concurrency=1, clock=session.clock)
    future = executor.submit("s", retry=Fixed(1.0))
    wait_until_quiet(executor, session)
    session.pending[0].fail(ValueError())
    wait_until_quiet(executor, session)
    executor.shutdown(wait=False)
    wait_for(lambda: not (workers() - others))
    session.clock.advance(1.0)
    wait_until_quiet(executor, session)
    session.pending[0].succeed()
    assert future.result(20) is not None
    executor.shutdown()


def test_who_can_have_no_thread_at_all_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    session = ScriptedSession()
    with ThreadExecutor(session, concurrency=2) as executor:
        with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="no more threads"):
            patched.setattr(threads, "Thread", no_thread)
            executor.submit("first")
        # It is queued all the same, and goes with the next for which there is a thread.
        future = executor.submit("second")
        wait_until_quiet(executor, session)
        assert {request.statement for request in session.pending} == {"first", "second"}
        for request in list(session.pending):
            request.succeed()
        future.result(30)


def test_the_threads_that_there_are_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "LINGER", 0.01)
    others = workers()
    session = ScriptedSession()
    with ThreadExecutor(session, concurrency=2) as executor:
        first = executor.submit("first")
        wait_until_quiet(executor, session)
        wait_for(lambda: len(workers() - others) == 1)  # that no other looks for work
        with monkeypatch.context() as patched:
            patched.setattr(threads, "Thread", no_thread)
            second = executor.submit("second")
        (request,) = session.pending
        request.succeed()
        first.result(30)
        wait_until_quiet(executor, session)
        (request,) = session.pending
        assert request.statement == "second"
        request.succeed()
        second.result(30)


def insert_into(session: ScriptedSession) -> Any:
    return session.as_prepared(
        "INSERT INTO t (id) VALUES (?)", {"id": Int32Type}, partition_key=["id"]
    )


def exits_at_2(statement: Any, parameters: Any) -> None:
    if parameters[0] == 2:
        raise SystemExit("raised by the session")


SENDING_HERE: dict[str, Any] = {
    "callback": CallbackExecutor,
    "direct": DirectExecutor,
    "batch": partial(BatchExecutor, linger=0),
}
"""Those that send on whatever thread has brought a statement or an answer."""
sending_here = pytest.mark.parametrize("make", SENDING_HERE.values(), ids=SENDING_HERE)


@sending_here
def test_what_the_session_raises_on_its_own_thread_is_logged(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """On the driver's I/O thread, where the next one is sent when an answer comes."""
    session = ScriptedSession(exits_at_2)
    insert = insert_into(session)
    with make(session, concurrency=1) as executor:
        first, second, third = (executor.submit(insert, (n,)) for n in (1, 2, 3))
        session.pending[0].succeed()
        first.result(0)
        assert type(second.exception(0)) is SystemExit
        (record,) = caplog.records
        assert record.message in (
            "a statement's callback raised",
            "answers could not be passed on",
        )
        executor.submit(insert, (4,))  # goes on
        while session.pending:
            session.pending[0].succeed()
        third.result(0)


@sending_here
def test_what_the_session_raises_reaches_whose_statement_it_is(make: Any) -> None:
    session = ScriptedSession(exits_at_2)
    insert = insert_into(session)
    with make(session) as executor:
        with pytest.raises(SystemExit, match="raised by the session"):
            executor.submit(insert, (2,))
        assert executor.statistics().in_flight == 0
        future = executor.submit(insert, (3,))
        session.pending[0].succeed()
        future.result(0)


def test_a_wire_gets_many_at_once_but_no_more_than_there_were_permits() -> None:
    """Though each is answered before the next are sent. And it goes by the executor's clock."""
    sizes: list[int] = []
    clocks: list[Any] = []

    class Wire(ScriptedWire):
        def send(self, jobs: Any, on_answers: Any) -> Any:
            sizes.append(len(jobs))
            return super().send(jobs, on_answers)

    class Wired(ScriptedSession):
        def open_wire(self, clock: Any) -> ScriptedWire:
            clocks.append(clock)
            return Wire(self)

    session = Wired(lambda statement, parameters: Reply(at_once=True), clock=VirtualClock())
    executor = DirectExecutor(session, concurrency=300, clock=session.clock)
    insert = insert_into(session)
    results = executor.map(insert, [(number,) for number in range(600)], buffersize=600)
    assert sizes == [128, 128, 44]  # by this thread
    session.clock.advance(0)
    assert sizes == [128, 128, 44] * 2
    assert len(results.all()) == 600
    assert clocks == [session.clock]


class Wrapped:
    """A session of somebody's own around another, as far as a batch must know it."""

    def __init__(self, inner: ScriptedSession) -> None:
        self.cluster = inner.cluster
        self.execute_async = inner.execute_async
        self.add_request_init_listener = inner.add_request_init_listener
        self.remove_request_init_listener = inner.remove_request_init_listener


def test_batches_over_a_session_that_is_not_known_go_by_its_own_ways() -> None:
    session = ScriptedSession()
    insert = insert_into(session)
    wrapped: Any = Wrapped(session)
    executor = BatchExecutor[Any](wrapped, batch_mode="replica_set", linger=0)
    results = executor.map(insert, [(1,), (2,), (3,)])
    [batch] = session.pending
    assert batch.size == 3
    batch.succeed()
    assert len(results.all()) == 3
    executor.shutdown()


def test_a_clock_that_is_none() -> None:
    with pytest.raises(TypeError, match=r"clock must have a method monotonic\(\), which object"):
        CallbackExecutor(ScriptedSession(), clock=object())  # type: ignore[arg-type]


class Driven:
    """A session with a cluster of its own, that knows whether it was shut down."""

    def __init__(self) -> None:
        self.cluster = self
        self.ended = False

    def execute(self) -> None: ...

    def shutdown(self) -> None:
        self.ended = True


def test_a_worker_lets_the_session_go_that_it_was_given() -> None:
    with ExitStack() as cleanups:
        driven = open_session(Driven, cleanups)
        assert not driven.ended
    assert driven.ended
    lent = Driven()
    with ExitStack() as cleanups:
        assert open_session(lambda: nullcontext(lent.cluster), cleanups) is lent
        del lent.cluster
        assert open_session(lambda: lent, cleanups) is lent
        bare = SimpleNamespace(execute_async=None)
        assert open_session(lambda: bare, cleanups) is bare
    assert not lent.ended


@pytest.mark.parametrize(
    ("made", "kind"), [(None, "NoneType"), ("a session", "str"), (nullcontext(3), "int")]
)
def test_what_connect_returns_that_is_no_session_is_refused(made: Any, kind: str) -> None:
    said = (
        f"^connect must return a driver's session, or a context manager that gives one, not {kind}$"
    )
    with ExitStack() as cleanups, pytest.raises(TypeError, match=said):
        open_session(lambda: made, cleanups)


def test_a_session_for_tests_has_no_cluster_to_shut_down() -> None:
    session = ScriptedSession()
    with ExitStack() as cleanups:
        assert open_session(lambda: session, cleanups) is session


@pytest.mark.parametrize("make_executor", [CallbackExecutor, BatchExecutor, DirectExecutor])
def test_an_interrupt_ends_the_sending_after_the_statement_under_way(
    make_executor: MakeExecutor,
) -> None:
    def script(statement: Any, parameters: Any) -> Reply:
        if parameters == (5,):
            signal.raise_signal(signal.SIGINT)
        return Reply(at_once=True)

    session = ScriptedSession(script)
    executor = make_executor(session, concurrency=1, clock=session.clock)
    with pytest.raises(KeyboardInterrupt):
        executor.map("q", [(number,) for number in range(100)], buffersize=100)
    assert session.sent == 6
    assert executor.statistics().in_flight == 0
    assert executor.submit("goes on").result(20) is not None


def test_an_answer_that_can_not_be_made_a_result_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = ValueError("as of rows that the row factory does not take")

    def result_set(future: Any, rows: Any) -> Any:
        raise error

    monkeypatch.setattr(callback, "result_set", result_set)
    session = ScriptedSession()
    with CallbackExecutor(session) as executor:
        future = executor.submit("statement")
        session.pending[0].succeed()
        assert future.exception(0) is error
        assert executor.statistics().in_flight == 0
