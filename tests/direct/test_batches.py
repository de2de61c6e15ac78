"""Batches over the session's own connections: that they are what the driver would have sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cassandra import ConsistencyLevel, WriteTimeout
from cassandra.cluster import EXEC_PROFILE_DEFAULT, ResponseFuture
from cassandra.query import UNSET_VALUE, BatchStatement, BatchType

from concurrent_exec import BatchExecutor
from concurrent_exec.drivers.direct.batches import BatchPlan
from concurrent_exec.drivers.direct.wire import SessionWire
from concurrent_exec.model import Sending
from concurrent_exec.run import Job
from tests.direct.conftest import only_connection
from tests.direct.server import (
    ECHO,
    INVALID,
    SELECT,
    WRITE_TIMEOUT,
    Batch,
    Held,
    ScriptedServer,
)


@pytest.fixture
def executor(session: Any) -> Iterator[BatchExecutor[Any]]:
    made: BatchExecutor[Any] = BatchExecutor(session, batch_mode="replica_set")
    yield made
    made.shutdown(wait=False)  # a test that has failed may have left something without an answer


ROWS = [(1, "a"), (2, None), (3, UNSET_VALUE), (4,), {"value": "e", "key": 5}]


def parsed(held: Held) -> Batch:
    return Batch.parsed(held.body, held.peer.version)


CHANGES: dict[str, dict[str, Any]] = {
    "unchanged": {},
    "consistency": {"consistency_level": ConsistencyLevel.TWO},
    "serial": {"serial_consistency_level": ConsistencyLevel.SERIAL},
}


@pytest.mark.parametrize("profile", [EXEC_PROFILE_DEFAULT, "serial"], ids=["default", "serial"])
@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("bound", [False, True], ids=["prepared", "bound"])
def test_the_server_gets_what_the_driver_would_send(
    bound: bool,
    changes: dict[str, Any],
    profile: Any,
    server: ScriptedServer,
    session: Any,
    insert: Any,
    executor: BatchExecutor[Any],
    futures: list[Any],
) -> None:
    for name, value in changes.items():
        setattr(insert, name, value)
    batch = BatchStatement(BatchType.UNLOGGED, **changes)
    for row in ROWS:
        batch.add(insert, row)
    future = session.execute_async(batch, execution_profile=profile)
    [theirs] = server.wait_for(1)
    server.answer(theirs)
    future.result()
    del futures[:]

    pairs = [(insert.bind(row), None) if bound else (insert, row) for row in ROWS]
    results = executor.execute(pairs, execution_profile=profile)
    [ours] = server.wait_for(1)
    server.answer(ours)
    assert [result.success for result in results] == [True] * len(ROWS)
    assert not futures, "none was the driver's to send"
    sent, expected = parsed(ours), parsed(theirs)
    assert expected.timestamp is not None
    assert sent.timestamp is not None
    assert sent.timestamp > expected.timestamp
    at = theirs.body.index(expected.timestamp.to_bytes(8))
    assert ours.body[:at] == theirs.body[:at]
    assert ours.body[at + 8 :] == theirs.body[at + 8 :]


def test_where_the_server_makes_the_timestamp_there_is_none(
    server: ScriptedServer,
    session: Any,
    insert: Any,
    executor: BatchExecutor[Any],
    futures: list[Any],
) -> None:
    session.use_client_timestamp = False
    batch = BatchStatement(BatchType.UNLOGGED)
    for row in ROWS:
        batch.add(insert, row)
    for send in (lambda: session.execute_async(batch), lambda: executor.map(insert, ROWS)):
        results = send()
        [held] = server.wait_for(1)
        server.answer(held)
        if isinstance(results, ResponseFuture):
            theirs = held.body
            results.result()
        else:
            assert held.body == theirs
            assert len(results.all()) == len(ROWS)
    assert len(futures) == 1


def test_where_somebody_listens_all_is_the_drivers(
    server: ScriptedServer,
    session: Any,
    insert: Any,
    executor: BatchExecutor[Any],
    futures: list[Any],
) -> None:
    heard: list[Any] = []
    session.add_request_init_listener(heard.append)
    results = executor.map(insert, ROWS)
    [held] = server.wait_for(1)
    server.answer(held)
    assert len(results.all()) == len(ROWS)
    assert (len(heard), [len(batch) for batch in futures]) == (1, [len(ROWS)])


def test_what_has_no_key_that_we_know_goes_alone(
    server: ScriptedServer, insert: Any, executor: BatchExecutor[Any], futures: list[Any]
) -> None:
    insert.routing_key_indexes = None
    results = executor.map(insert, ROWS)
    for held in server.wait_for(len(ROWS)):
        assert not held.is_batch
        server.answer(held)
    assert len(results.all()) == len(ROWS)
    assert not futures


def test_a_batch_that_the_driver_would_encode_otherwise_is_the_drivers(
    server: ScriptedServer,
    insert: Any,
    executor: BatchExecutor[Any],
    futures: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sample = BatchPlan._sample

    def differs(self: Any, driver: Any) -> tuple[bytes, Any]:
        body, message = sample(self, driver)
        return body + b"\0", message

    monkeypatch.setattr(BatchPlan, "_sample", differs)
    results = executor.map(insert, ROWS)
    [held] = server.wait_for(1)
    server.answer(held)
    assert len(results.all()) == len(ROWS)
    assert [len(batch) for batch in futures] == [len(ROWS)]


def test_a_warning_reaches_each_result(
    server: ScriptedServer, insert: Any, executor: BatchExecutor[Any], futures: list[Any]
) -> None:
    results = executor.map(insert, ROWS)
    [held] = server.wait_for(1)
    server.answer(held, held.warned())
    warnings = [result.unwrap().response_future.warnings for result in results]
    assert warnings == [["beware of 1"]] * len(ROWS)
    assert not futures


def test_an_error_is_the_one_that_the_driver_makes(
    server: ScriptedServer, insert: Any, executor: BatchExecutor[Any]
) -> None:
    results = executor.map(insert, ROWS, raise_on_first_error=False)
    [held] = server.wait_for(1)
    server.answer(held, held.error(WRITE_TIMEOUT))
    found = results.all()
    assert {type(result.result_or_exc) for result in found} == {WriteTimeout}
    assert {result.batch_size for result in found} == {len(ROWS)}


def test_a_failed_batch_is_laid_bare_with_its_timestamp(
    server: ScriptedServer, insert: Any, executor: BatchExecutor[Any]
) -> None:
    results = executor.map(insert, ROWS, assume_idempotent=True, raise_on_first_error=False)
    [batch] = server.wait_for(1)
    server.answer(batch, batch.error())
    alone = server.wait_for(len(ROWS))
    assert [held.key for held in alone] == batch.keys
    assert {held.timestamp for held in alone} == {batch.timestamp}
    for held in alone:
        server.answer(held, held.error(INVALID) if held.key == 3 else None)
    assert [result.success for result in results] == [True, True, False, True, True]


def test_what_the_driver_sends_stands_in_its_place(
    server: ScriptedServer, session: Any, insert: Any, executor: BatchExecutor[Any]
) -> None:
    """A string may touch anything: what comes before it has earlier timestamps, and is sent."""
    select = session.prepare(SELECT)
    pairs = [
        (insert, (1, "a")),
        (insert, (2, "a")),
        (f"{ECHO}3", None),
        (insert, (4, "a")),
        (insert, (5, "a")),
        (select, (6,)),
        (f"{ECHO}7", None),
        (insert, (8, "x" * 5000)),
    ]
    results = executor.execute(pairs)
    held = server.wait_for(6)
    assert sorted(each.keys for each in held) == [[1, 2], [3], [4, 5], [6], [7], [8]]
    stamps = {each.key: each.timestamp or 0 for each in held}
    # What goes alone is sent before what waits for company, which has other partitions.
    assert sorted(stamps, key=lambda key: stamps[key]) == [1, 3, 6, 4, 7, 8]
    for each in held:
        server.answer(each)
    assert len(results.all()) == len(pairs)


def test_a_batch_that_finds_no_stream_is_the_drivers_and_keeps_its_timestamp(
    server: ScriptedServer,
    session: Any,
    insert: Any,
    executor: BatchExecutor[Any],
    futures: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else it would have a later one than what was sent after it."""
    connection = only_connection(session)
    push = connection.push
    broken: list[bytes] = []

    def breaks_once(data: bytes) -> None:
        if not broken:
            broken.append(data)
            raise OSError("broken")
        push(data)

    monkeypatch.setattr(connection, "push", breaks_once)
    results = executor.map(insert, ROWS)
    [held] = server.wait_for(1)
    server.answer(held)
    assert len(results.all()) == len(ROWS)
    assert len(futures) == 1
    assert held.timestamp is not None
    assert held.timestamp.to_bytes(8) in broken[0]


def test_what_is_sent_again_goes_alone_and_what_is_new_together(
    session: Any, insert: Any, executor: BatchExecutor[Any]
) -> None:
    """And of a statement that can't be looked at, no other is taken for another."""
    work: Any = None
    pairs: Any = [(insert, (1, "a")), (insert, (2, "a")), (insert, (3, "a")), (None, (4, "a"))]
    pairs += [(None, (5, "a")), (insert, ("none", "a")), (insert, (7, "a"))]
    sending = Sending({}, None, assume_idempotent=False)
    jobs = [Job(work, index, each[0], each[1], sending) for index, each in enumerate(pairs)]
    jobs[0].errors = (ValueError(),)
    assert isinstance(executor._wire, SessionWire)
    outgoing = executor._wire.begin(executor._writes, executor._on_answers)
    writes = list(outgoing.look(jobs))
    assert [write.job for write in writes] == jobs
    assert [write.way is not None for write in writes] == [True] * 3 + [False] * 3 + [True]
    companies = [write.company for write in writes]
    assert companies == [None, companies[1], companies[1], None, None, None, companies[1]]
    assert companies[1] is not None
    partitions = [write.partition for write in writes]
    assert partitions[0] == (("scripted", "rows"), (1).to_bytes(4))
    assert partitions[3:5] == [None, None]
