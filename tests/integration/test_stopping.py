"""Stopped in mid-run: nothing hangs, nothing more is sent, and what is told of is in the table."""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest
from cassandra import DriverException, OperationTimedOut
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException

from concurrent_exec import ExecutorShutdownError, RunClosedError
from concurrent_exec.connect import ConnectionOptions
from tests.executors import any_executor, in_one_process
from tests.integration.proxy import Proxy
from tests.integration.support import (
    MakeExecutor,
    Rows,
    our_threads,
    session_through,
    wait_for,
)

pytestmark = pytest.mark.cluster

COUNT = 2_000
READ = 100
"""How many results are read before the stop."""


def parameters(rows: Rows) -> Iterator[Any]:
    """Without an end, so that only a stop ends the run."""
    return ((rows.run, key, f"value {key}") for key in itertools.count())


def read(results: Any, count: int = READ) -> None:
    for result in itertools.islice(results, count):
        assert result.success


# ---- shutdown of the executor ----


@any_executor
@pytest.mark.parametrize("source", ["list", "iterator"])
def test_shutdown_sends_what_was_taken(
    make_executor: MakeExecutor, source: str, session: Any, rows: Rows
) -> None:
    executor = make_executor(session, concurrency=8)
    given: Any = rows.parameters(COUNT) if source == "list" else parameters(rows)
    results = executor.map(rows.insert, given)
    read(results)
    executor.shutdown()
    told = results.statistics()
    assert told.in_flight == executor.statistics().queued == 0
    assert READ <= told.pulled == told.started == told.succeeded < COUNT
    assert sorted(rows.written()) == list(range(told.succeeded))
    rest = []
    with pytest.raises(ExecutorShutdownError, match=str(told.started)):
        for result in results:
            rest.append(result.success)
    assert rest == [True] * (told.succeeded - READ)
    with pytest.raises(ExecutorShutdownError):
        executor.submit(rows.select, (rows.run, 1))
    assert len(rows.written()) == told.succeeded


@any_executor
@pytest.mark.parametrize("source", ["list", "iterator"])
def test_shutdown_that_cancels_sends_nothing_more(
    make_executor: MakeExecutor, source: str, session: Any, rows: Rows
) -> None:
    executor = make_executor(session, concurrency=8)
    given: Any = rows.parameters(COUNT) if source == "list" else parameters(rows)
    # With a large buffer there is much that was pulled and that waits to be sent.
    results = executor.map(rows.insert, given, buffersize=COUNT - READ)
    read(results)
    executor.shutdown(wait=False, cancel_futures=True)
    started = results.statistics().started
    executor.shutdown()
    told = results.statistics()
    rest = []
    with pytest.raises(ExecutorShutdownError):
        for result in results:
            rest.append(result.success)
    assert told.in_flight == 0
    assert told.started == told.succeeded == started < COUNT
    assert rest == [True] * (told.succeeded - READ)
    assert sorted(rows.written()) == list(range(told.succeeded))


@any_executor
def test_shutdown_and_submitted_statements(
    make_executor: MakeExecutor, session: Any, rows: Rows
) -> None:
    executor = make_executor(session, concurrency=4)
    futures = [executor.submit(rows.insert, each) for each in rows.parameters(1_000)]
    executor.shutdown()
    assert all(future.result(0) is not None for future in futures)
    assert len(rows.written()) == 1_000

    rows = Rows(session, rows.table)
    executor = make_executor(session, concurrency=4)
    futures = [executor.submit(rows.insert, each) for each in rows.parameters(1_000)]
    executor.shutdown(cancel_futures=True)
    assert all(future.done() for future in futures)
    written = {key for key, future in enumerate(futures) if not future.cancelled()}
    assert set(rows.written()) == written
    with pytest.raises(CancelledError):
        futures[-1].result(0)


@any_executor
def test_shutdown_in_the_middle_of_a_list(
    make_executor: MakeExecutor, session: Any, rows: Rows
) -> None:
    """Those who wait for the whole are told that it will not be whole."""
    executor = make_executor(session, concurrency=4)
    results = executor.map(rows.insert, parameters(rows))
    future = executor.map(rows.insert, parameters(rows)).future()
    raised: list[BaseException] = []

    def caller() -> None:
        try:
            results.all()
        except BaseException as exc:
            raised.append(exc)

    thread = threading.Thread(target=caller)
    thread.start()
    wait_for(lambda: results.statistics().succeeded > READ)
    executor.shutdown(cancel_futures=True)
    thread.join(20)
    assert isinstance(raised.pop(), ExecutorShutdownError)
    with pytest.raises(ExecutorShutdownError):
        future.result(20)


# ---- the end of a run ----


@any_executor
@pytest.mark.parametrize("how", ["close", "with", "collect", "break out of a with"])
@pytest.mark.parametrize("source", ["list", "iterator"])
def test_a_run_that_is_let_go_sends_nothing_more(
    make_executor: MakeExecutor, source: str, how: str, session: Any, rows: Rows
) -> None:
    executor = make_executor(session, concurrency=8)
    given: Any = rows.parameters(COUNT) if source == "list" else parameters(rows)
    results = executor.map(rows.insert, given, buffersize=COUNT - READ)
    run = results._run  # it outlives its Results, to be asked afterwards
    if how == "close":
        read(results)
        results.close()
        assert list(results) == []
    elif how == "with":
        with results:
            read(results)
    elif how == "break out of a with":
        with pytest.raises(KeyError), results:
            read(results)
            raise KeyError
    else:
        read(results)
    del results
    gc.collect()
    started = run.statistics(()).started
    executor.shutdown()
    told = run.statistics(())
    assert told.in_flight == 0
    assert READ <= told.started == told.succeeded == started < COUNT
    assert sorted(rows.written()) == list(range(told.started))


@any_executor
def test_a_list_of_a_run_that_is_closed_meanwhile(
    make_executor: MakeExecutor, session: Any, rows: Rows
) -> None:
    with make_executor(session, concurrency=8) as executor:
        results = executor.map(rows.insert, parameters(rows))
        raised: list[BaseException] = []

        def caller() -> None:
            try:
                results.all()
            except BaseException as exc:
                raised.append(exc)

        thread = threading.Thread(target=caller)
        thread.start()
        wait_for(lambda: results.statistics().succeeded > READ)
        results.close()
        thread.join(20)
        assert isinstance(raised.pop(), RunClosedError)
        executor.shutdown()
        told = results.statistics()
        assert len(rows.written()) == told.succeeded == told.started


@any_executor
def test_a_cancelled_future_stops_its_run(
    make_executor: MakeExecutor, session: Any, rows: Rows
) -> None:
    with make_executor(session, concurrency=8) as executor:
        results = executor.map(rows.insert, parameters(rows))
        future = results.future()
        wait_for(lambda: results.statistics().succeeded > READ)
        assert future.cancel()
        executor.shutdown()
        told = results.statistics()
        assert len(rows.written()) == told.succeeded == told.started


@in_one_process
def test_threads_end(make_executor: MakeExecutor, session: Any, rows: Rows) -> None:
    """Those of an executor that is shut down, and those of one that is merely dropped."""
    before = our_threads()
    for shut_down in (True, False):
        executor: Any = make_executor(session, concurrency=8)
        finished = executor.map(rows.insert, iter(rows.parameters(READ)))
        read(finished)
        unfinished = executor.map(rows.insert, parameters(rows))
        read(unfinished)
        assert our_threads() > before
        if shut_down:
            executor.shutdown()
        del executor, finished, unfinished
        wait_for(lambda: our_threads() <= before)


# ---- the session goes away ----


def check(outcomes: list[Any], count: int, rows: Rows, kinds: tuple[type, ...]) -> None:
    """Each statement has an outcome; what succeeded is in the table, and the table has no more
    than what may have been sent.
    """
    assert len(outcomes) == count
    succeeded = {index for index, result in enumerate(outcomes) if result.success}
    failed = [(index, result) for index, result in enumerate(outcomes) if not result.success]
    assert failed
    for index, result in failed:
        assert isinstance(result.result_or_exc, kinds), repr(result.result_or_exc)
        assert result.index == index
        assert result.parameters == (rows.run, index, f"value {index}")
    written = rows.written()
    assert succeeded <= set(written) <= set(range(count))
    assert all(value == f"value {key}" for key, value in written.items())


GONE = (DriverException, ConnectionException, NoHostAvailable)
FORGOTTEN = 2.0
"""Seconds until a statement fails whose request a driver forgets as its session is shut down."""


@any_executor
@pytest.mark.parametrize("what", ["session", "cluster"])
def test_the_session_is_shut_down(
    make_executor: MakeExecutor,
    what: str,
    cassandra: ConnectionOptions,
    proxy: Proxy,
    keyspace: str,
    rows: Rows,
) -> None:
    with session_through(proxy, cassandra, keyspace, timeout=FORGOTTEN) as own:
        insert = own.prepare(rows.insert.query_string)
        executor = make_executor(own, concurrency=8)
        results = executor.map(insert, iter(rows.parameters(COUNT)), raise_on_first_error=False)
        outcomes = list(itertools.islice(results, READ))
        (own if what == "session" else own.cluster).shutdown()
        outcomes += results
        check(outcomes, COUNT, rows, GONE)
        executor.shutdown()
        told = results.statistics()
        assert told.settled == told.started == COUNT


@any_executor
def test_the_session_is_shut_down_in_a_fail_fast_run(
    make_executor: MakeExecutor,
    cassandra: ConnectionOptions,
    proxy: Proxy,
    keyspace: str,
    rows: Rows,
) -> None:
    with session_through(proxy, cassandra, keyspace, timeout=FORGOTTEN) as own:
        insert = own.prepare(rows.insert.query_string)
        executor = make_executor(own, concurrency=8)
        results = executor.map(insert, parameters(rows))
        read(results)
        own.shutdown()
        delivered = READ
        with pytest.raises(GONE) as caught:
            for result in results:
                assert result.success
                delivered += 1
        failure: Any = caught.value
        assert failure.failure.index == delivered
        executor.shutdown()
        assert set(range(delivered)) <= set(rows.written())


@any_executor
def test_the_connection_breaks(
    make_executor: MakeExecutor,
    cassandra: ConnectionOptions,
    proxy: Proxy,
    keyspace: str,
    rows: Rows,
) -> None:
    """What was on its way fails, and so does what comes before the driver has another one."""

    def given() -> Iterator[Any]:
        each = iter(rows.parameters(COUNT))
        yield from itertools.islice(each, READ)
        # By the source: a run that is not read from goes on until its buffer is full, and by then
        # nothing would be left to go on its way.
        proxy.hold()
        yield from each

    with session_through(proxy, cassandra, keyspace) as own:
        insert = own.prepare(rows.insert.query_string)
        with make_executor(own, concurrency=20) as executor:
            results = executor.map(
                insert, given(), raise_on_first_error=False, buffersize=COUNT - READ
            )
            wait_for(lambda: executor.statistics().in_flight == 20)
            proxy.cut()
            proxy.release()
            outcomes = list(results)
        check(outcomes, COUNT, rows, GONE)
        wait_for(lambda: _answers(own))  # it has come back
        with make_executor(own) as executor:
            assert len(executor.map(insert, rows.parameters(COUNT)).all()) == COUNT
        assert len(rows.written()) == COUNT


def _answers(session: Any) -> bool:
    try:
        session.execute("SELECT key FROM system.local")
    except (NoHostAvailable, OperationTimedOut):
        return False
    return True
