"""What the driver goes on with, and that it is the statement which was sent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from cassandra import ConsistencyLevel, OperationTimedOut
from cassandra.cluster import EXEC_PROFILE_DEFAULT, ResponseFuture

from concurrent_exec import DirectExecutor, Retry
from concurrent_exec.drivers.direct.wire import SessionWire
from tests.direct.conftest import first_and_second, only_connection
from tests.direct.server import (
    INSERT,
    OVERLOADED,
    RESULT,
    SELECT,
    ScriptedServer,
    echo,
    text_of,
)


@pytest.fixture
def executor(session: Any) -> Iterator[DirectExecutor[Any]]:
    made: DirectExecutor[Any] = DirectExecutor(session)
    yield made
    made.shutdown(wait=False)  # a test that has failed may have left something without an answer


CHANGES: dict[str, dict[str, Any]] = {
    "unchanged": {},
    "consistency": {"consistency_level": ConsistencyLevel.TWO},
    "serial": {"serial_consistency_level": ConsistencyLevel.SERIAL},
    "pages": {"fetch_size": 17},
    "unpaged": {"fetch_size": None},
}


@pytest.mark.parametrize("profile", [EXEC_PROFILE_DEFAULT, "serial"], ids=["default", "serial"])
@pytest.mark.parametrize("text", [INSERT, SELECT])
@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_the_server_gets_what_the_driver_would_send(
    changes: dict[str, Any],
    text: str,
    profile: Any,
    server: ScriptedServer,
    session: Any,
    executor: DirectExecutor[Any],
) -> None:
    statement = session.prepare(text)
    for name, value in changes.items():
        setattr(statement, name, value)
    parameters = (5, "a")[: 2 if text == INSERT else 1]
    sent = []
    for send in (session.execute_async, executor.submit):
        future = send(statement, parameters, execution_profile=profile)
        [held] = server.wait_for(1)
        sent.append(held.body[:-8])  # without the timestamp
        server.answer(held)
        future.result()
    assert sent[0] == sent[1]


def test_what_our_retry_sends_again_has_the_first_timestamp(
    server: ScriptedServer, insert: Any, executor: DirectExecutor[Any]
) -> None:
    retry = Retry(initial_backoff=0.001)
    future = executor.submit(insert, (7, "a"), retry=retry, assume_idempotent=True)
    first, second = first_and_second(server, lambda held: held.error(OVERLOADED))
    assert not list(future.result(30))
    assert first.body == second.body


def test_a_further_page_is_told_of(
    server: ScriptedServer, session: Any, executor: DirectExecutor[Any]
) -> None:
    future = executor.submit(session.prepare(SELECT), (7,))
    [held] = server.wait_for(1)
    server.answer(held, held.frame(RESULT, echo(7, more=b"state")))
    result = future.result(30)
    assert result.has_more_pages
    assert result.paging_state == b"state"
    rows = iter(result)
    assert next(rows).value == text_of(7)


def test_what_times_out_as_the_driver_goes_on_with_it_takes_no_other_ones_stream(
    server: ScriptedServer,
    session: Any,
    insert: Any,
    executor: DirectExecutor[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = only_connection(session)
    with monkeypatch.context() as patch:
        patch.setattr(ResponseFuture, "_retry_task", lambda *args: None)  # never sent again
        first = executor.submit(insert, (1, "a"), timeout=0.3, execution_profile="again")
        [held] = server.wait_for(1)
        server.answer(held, held.error(OVERLOADED))
        while not connection.request_ids.count(held.stream):
            pass
        with connection.lock:
            connection.request_ids.remove(held.stream)
            connection.request_ids.appendleft(held.stream)
        second = executor.submit(insert, (2, "a"))
        [other] = server.wait_for(1)
        assert other.stream == held.stream
        assert isinstance(first.exception(30), OperationTimedOut)
    server.answer(other)
    assert not list(second.result(5))
    assert not connection.orphaned_request_ids


def test_no_timer_is_left_where_the_end_comes_before_the_sending_is_done(
    server: ScriptedServer,
    session: Any,
    insert: Any,
    executor: DirectExecutor[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = only_connection(session)
    push, wire = connection.push, executor._wire

    def answered_at_once(data: bytes) -> None:
        push(data)
        [held] = server.wait_for(1)
        server.answer(held)
        while connection.in_flight:
            pass
        wire.close()

    monkeypatch.setattr(connection, "push", answered_at_once)
    assert not list(executor.submit(insert, (1, "a")).result(30))
    assert isinstance(wire, SessionWire)
    assert wire._sweeper._at == math.inf


def test_a_late_answer_is_not_the_next_statements(
    server: ScriptedServer, session: Any, executor: DirectExecutor[Any]
) -> None:
    """Even where the driver has its stream among the free ones, after an answer too many."""
    connection, select = only_connection(session), session.prepare(SELECT)
    first = executor.submit(select, (1,))
    [held] = server.wait_for(1)
    server.answer(held, held.success() * 2)
    first.result(30)
    while connection.request_ids.count(held.stream) < 2:
        pass
    with connection.lock:
        for _ in range(2):
            connection.request_ids.remove(held.stream)
        connection.request_ids.extendleft([held.stream] * 2)
    second = executor.submit(select, (2,), timeout=0.05)
    [late] = server.wait_for(1)
    assert late.stream == held.stream
    assert isinstance(second.exception(30), OperationTimedOut)
    third = executor.submit(select, (3,))
    _, other = server.wait_for(2)
    server.answer(late)
    server.answer(other)
    assert third.result(30).one().value == text_of(3)


def test_without_a_free_stream_it_is_the_drivers_to_wait(
    server: ScriptedServer,
    session: Any,
    insert: Any,
    executor: DirectExecutor[Any],
    futures: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = only_connection(session)
    with connection.lock:
        taken = connection.max_request_id - connection.in_flight
        connection.in_flight += taken
    create = session._create_response_future

    def others_have_ended(*args: Any, **named: Any) -> Any:
        with connection.lock:
            connection.in_flight -= taken
        return create(*args, **named)

    monkeypatch.setattr(session, "_create_response_future", others_have_ended)
    future = executor.submit(insert, (1, "a"))
    [held] = server.wait_for(1)
    server.answer(held)
    assert not list(future.result(30))
    assert len(futures) == 1
    assert connection.in_flight == 0


def test_a_connection_that_has_lost_too_many_streams_is_the_drivers_to_replace(
    server: ScriptedServer,
    session: Any,
    insert: Any,
    executor: DirectExecutor[Any],
    futures: list[Any],
) -> None:
    connection = only_connection(session)
    connection.orphaned_threshold_reached = True
    future = executor.submit(insert, (1, "a"))
    [held] = server.wait_for(1)
    server.answer(held)
    assert not list(future.result(30))
    assert len(futures) == 1


def test_what_was_sent_before_the_connection_broke_is_not_sent_again(
    server: ScriptedServer,
    session: Any,
    insert: Any,
    executor: DirectExecutor[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the rest goes through the driver."""
    connection = only_connection(session)
    push, pushed = connection.push, []

    def breaks_once(data: bytes) -> None:
        pushed.append(data)
        if len(pushed) == 3:
            raise OSError("broken")
        push(data)

    monkeypatch.setattr(connection, "push", breaks_once)
    count = 40
    results = executor.map(insert, [(key, "x" * 400) for key in range(count)])
    held = server.wait_for(count)
    assert len(pushed) > 3
    assert sorted(each.key for each in held) == list(range(count))
    assert len({each.stream for each in held}) == count
    for each in held:
        server.answer(each)
    assert len(results.all()) == count
    assert connection.in_flight == 0
