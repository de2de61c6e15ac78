"""What the strategies do where the session or the system fails them."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from functools import partial
from typing import Any

import pytest
from cassandra.cqltypes import Int32Type

from concurrent_exec import BatchExecutor, CallbackExecutor, DirectExecutor, ThreadExecutor
from concurrent_exec.executors import callback, threads
from concurrent_exec.executors.opening import open_session
from concurrent_exec.testing import ScriptedSession, wait_until_quiet


def no_thread(**options: Any) -> None:
    raise RuntimeError("no more threads")


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
    session = ScriptedSession()
    with ThreadExecutor(session, concurrency=2) as executor:
        first = executor.submit("first")
        wait_until_quiet(executor, session)
        with monkeypatch.context() as patched:
            patched.setattr(threads, "Thread", no_thread)
            second = executor.submit("second")
        session.pending[0].succeed()
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
    assert not lent.ended


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
