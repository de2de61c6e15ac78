"""What users test against: the scripted session, its clock and its input."""

from __future__ import annotations

from typing import Any

import pytest
from cassandra import OperationTimedOut
from cassandra.query import BatchStatement

from concurrent_exec import CallbackExecutor
from concurrent_exec.testing import (
    Reply,
    ScriptedInput,
    ScriptedSession,
    VirtualClock,
    wait_until_quiet,
)


class Wrong(Exception):
    """What a script has a statement fail with."""


def test_an_answer_comes_when_the_clock_says_so() -> None:
    clock = VirtualClock()
    session = ScriptedSession(lambda *_: Reply(rows=[("there",)], after=2.0), clock=clock)
    request = session.execute_async("s", timeout=None)
    clock.advance(1.9)
    assert session.pending == [request]
    clock.advance(0.1)
    assert session.pending == []
    assert request.result().one() == ("there",)


@pytest.mark.parametrize("timeout", [3.0, None])
def test_what_nobody_answers_times_out(timeout: float | None) -> None:
    clock = VirtualClock()
    session = ScriptedSession(clock=clock, timeout=timeout)
    waiting, own = session.execute_async("s"), session.execute_async("s", timeout=1.0)
    clock.advance(2.0)
    assert session.pending == [waiting]
    with pytest.raises(OperationTimedOut, match="no answer"):
        own.result()
    clock.advance(2.0)
    assert session.pending == ([] if timeout else [waiting])


def test_what_was_answered_is_not_answered_again_by_the_clock() -> None:
    clock = VirtualClock()
    session = ScriptedSession(lambda *_: Reply(rows=[("late",)], after=2.0), clock=clock, timeout=3)
    heard: list[Any] = []
    kept, dropped = session.execute_async("s"), session.execute_async("s")
    for request in (kept, dropped):
        request.add_callbacks(heard.append, heard.append)
        request.succeed([("early",)])
    del request, dropped
    clock.advance(5.0)
    assert kept.result().one() == ("early",)
    assert heard == [[("early",)]] * 2


def test_a_statement_that_is_waited_for() -> None:
    session = ScriptedSession(
        lambda statement, _: Reply(
            rows=[("x",)], error=Wrong() if statement == "wrong" else None, at_once=True
        )
    )
    assert session.execute("right").one() == ("x",)
    with pytest.raises(Wrong):
        session.execute("wrong")


def test_a_batch_is_one_request_of_its_statements() -> None:
    session = ScriptedSession()
    batch = BatchStatement()
    batch.add("INSERT INTO t (k) VALUES (1)")
    batch.add("INSERT INTO t (k) VALUES (2)")
    request = session.execute_async(batch)
    assert request.size == session.sent == 2
    assert request.parameters == [
        ("INSERT INTO t (k) VALUES (1)", None),
        ("INSERT INTO t (k) VALUES (2)", None),
    ]


def test_an_input_that_fails_when_it_is_told_to() -> None:
    session, given = ScriptedSession(lambda *_: Reply(at_once=True)), ScriptedInput()
    with CallbackExecutor(session) as executor:
        results = executor.map("s", given)
        given.give((1,))
        assert next(results).success
        wait_until_quiet(executor, session)
        assert given.waiting
        given.fail(Wrong())
        with pytest.raises(Wrong):
            next(results)


def test_what_does_not_come_to_rest_is_told() -> None:
    """Such as an executor on a session which somebody else uses."""
    session = ScriptedSession()
    with CallbackExecutor(session) as executor:
        wait_until_quiet(executor, session)
        session.execute_async("of somebody else")
        with pytest.raises(TimeoutError, match=r"not quiet after 0 s: .*in_flight=0"):
            wait_until_quiet(executor, session, seconds=0)
