"""What CallbackExecutor and ThreadExecutor do where the session or the system fails them."""

from __future__ import annotations

from typing import Any

import pytest

from concurrent_exec import CallbackExecutor, ThreadExecutor
from concurrent_exec.executors import callback, threads
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


def test_what_the_session_raises_on_its_own_thread_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # On the driver's I/O thread, where the next one is sent when an answer comes.
    def script(statement: Any, parameters: Any) -> None:
        if statement == "second":
            raise SystemExit("raised by the session")

    session = ScriptedSession(script)
    with CallbackExecutor(session, concurrency=1) as executor:
        first, second, third = map(executor.submit, ("first", "second", "third"))
        session.pending[0].succeed()
        first.result(0)
        assert type(second.exception(0)) is SystemExit
        (record,) = caplog.records
        assert record.message == "a statement's callback raised"
        executor.submit("fourth")  # goes on
        while session.pending:
            session.pending[0].succeed()
        third.result(0)


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
