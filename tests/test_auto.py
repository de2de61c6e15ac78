"""Which strategy "auto" takes, and that a session which only blocks is served."""

from __future__ import annotations

import threading
from typing import Any

import cassandra
import pytest
from cassandra.cluster import Session
from cassandra.query import BatchStatement, SimpleStatement

from concurrent_exec import (
    CallbackExecutor,
    Retry,
    ThreadExecutor,
    compat,
    execute_concurrent,
    execute_concurrent_async,
    execute_concurrent_with_args,
)
from concurrent_exec.comparing.measuring import Timing
from concurrent_exec.executors import STRATEGIES, choose, fitting
from concurrent_exec.testing import Reply, ScriptedSession
from tests.direct.server import INSERT, ScriptedServer


class Blocking:
    """A session, or what somebody has wrapped around one, that can only wait."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, dict[str, Any]]] = []
        self.threads: set[int] = set()

    def execute(self, query: Any, parameters: Any = None, **options: Any) -> Any:
        self.calls.append((query, parameters, options))
        self.threads.add(threading.get_ident())
        if parameters == (3,):
            raise RuntimeError("three")
        return [query, parameters]


def test_a_session_that_calls_back_is_sent_to_by_callbacks() -> None:
    for session in (ScriptedSession(), Session.__new__(Session)):
        assert choose(session).name == choose(session, "INSERT").name == "callback"
        assert [choice.name for choice in fitting(session)] == ["callback", "thread"]


def test_a_session_of_a_known_driver_is_sent_to_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ScriptedServer("127.79.41.1")
    cluster = server.cluster(protocol_version=4)
    try:
        session = cluster.connect()
        insert = session.prepare(INSERT)
        for statement in (None, insert, insert.bind((1, "one"))):
            assert choose(session, statement).name == "direct"
        choices = fitting(session)
        assert [choice.name for choice in choices] == ["direct", "callback", "thread"]
        assert all(choice.reason for choice in choices)
        for statement in ("INSERT", SimpleStatement("INSERT"), BatchStatement()):
            assert choose(session, statement).name == "callback"
        for version in ("3.99.0", "?"):
            with monkeypatch.context() as patch:
                patch.setattr(cassandra, "__version__", version)
                assert choose(session, insert).name == "callback"
        monkeypatch.setattr(session, "_protocol_version", 3)
        assert choose(session, insert).name == "callback"
    finally:
        cluster.shutdown()
        server.close()


def test_a_session_that_only_blocks_gets_threads() -> None:
    (choice,) = fitting(Blocking())
    assert choice.name == "thread"
    assert choose(Blocking()) == choice


def test_the_drop_in_functions_ask_with_the_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, Any]] = []
    made: list[str] = []

    def ask(session: Any, statement: Any = None) -> Any:
        asked.append((session, statement))
        return choose(session, statement)

    class Made(CallbackExecutor[Any]):
        def __init__(self, session: Any, **options: Any) -> None:
            super().__init__(session, **options)
            made.append("callback")

    monkeypatch.setattr(compat, "choose", ask)
    monkeypatch.setitem(STRATEGIES, "callback", Made)
    session = ScriptedSession(lambda statement, parameters: Reply(at_once=True))
    execute_concurrent_with_args(session, "INSERT", [(1,)])
    execute_concurrent(session, [("INSERT", (1,))])
    execute_concurrent_async(session, [("INSERT", (1,))]).result(30)
    assert asked == [(session, "INSERT"), (session, None), (session, None)]
    assert made == ["callback"] * 3


def test_the_drop_in_functions_serve_a_session_that_only_blocks() -> None:
    session: Any = Blocking()
    results = execute_concurrent_with_args(
        session, "q", [(n,) for n in range(6)], concurrency=2, raise_on_first_error=False
    )
    assert [result.success for result in results] == [True, True, True, False, True, True]
    assert results[5] == (True, ["q", (5,)])
    assert str(results[3].result_or_exc) == "three"
    assert results[3].failure is not None
    assert results[3].failure.attempts == 1
    assert threading.get_ident() not in session.threads
    assert len(session.threads) <= 2


def test_a_session_that_only_blocks_gets_the_options_and_tells_the_limiter() -> None:
    session: Any = Blocking()
    times: list[float] = []
    with ThreadExecutor(session, concurrency=Timing(2, times.append)) as executor:
        executor.map("q", [(1,)], timeout=5.0, trace=True).all()
        with pytest.raises(RuntimeError, match="three"):
            executor.submit("q", (3,)).result(30)
    assert session.calls == [("q", (1,), {"timeout": 5.0, "trace": True}), ("q", (3,), {})]
    assert len(times) == 2


def test_a_session_that_only_blocks_is_no_session_for_callbacks_and_retries() -> None:
    session: Any = Blocking()
    with pytest.raises(TypeError, match=r"it has no execute_async$"):
        CallbackExecutor(session)
    with pytest.raises(TypeError, match="needs a session whose requests"):
        ThreadExecutor(session).map("q", [(1,)], retry=Retry())
    nothing: Any = object()
    with pytest.raises(TypeError, match=r"it has no execute_async and no execute$"):
        ThreadExecutor(nothing)
