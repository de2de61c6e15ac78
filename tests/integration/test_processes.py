"""Worker processes on the real Cassandra: one that is killed, pages, and conditional writes."""

from __future__ import annotations

import os
import signal
from functools import partial
from multiprocessing import active_children
from typing import Any

import pytest

from concurrent_exec import ExecutionResult, ProcessExecutor, Retry, WorkerLostError
from concurrent_exec.connect import ConnectionOptions, connect
from tests.conftest import PROOF
from tests.integration.support import Rows

pytestmark = pytest.mark.cluster

COUNT = 50_000 if PROOF else 3_000


@pytest.fixture
def executor(cassandra: ConnectionOptions, keyspace: str) -> Any:
    there = partial(connect, cassandra, keyspace=keyspace)
    with ProcessExecutor(there, processes=2, chunksize=50, concurrency=400) as made:
        yield made


def run_and_kill(executor: Any, statement: Any, parameters: Any, **options: Any) -> Any:
    """Run it, and kill a worker when a third has been delivered; return all results."""
    results: list[ExecutionResult[Any]] = []
    for result in executor.map(statement, parameters, raise_on_first_error=False, **options):
        results.append(result)
        if len(results) == len(parameters) // 3:
            killed = active_children()[0].pid
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
    assert len(results) == len(parameters)
    return results


def test_idempotent_statements_of_a_killed_worker_are_sent_again(executor: Any, rows: Rows) -> None:
    rows.insert.is_idempotent = True
    retries = Retry(max_attempts=10, initial_backoff=0.01)
    results = run_and_kill(executor, rows.insert, rows.parameters(COUNT), retry=retries)
    assert all(result.success for result in results)
    assert rows.written() == {key: value for _, key, value in rows.parameters(COUNT)}


def test_what_is_not_idempotent_fails_and_is_not_done_twice(
    executor: Any, session: Any, keyspace: str, rows: Rows
) -> None:
    table = f"{keyspace}.appended"
    session.execute(
        f"CREATE TABLE {table} (run uuid, key int, value list<int>, PRIMARY KEY (run, key))"
    )
    append = session.prepare(f"UPDATE {table} SET value = value + ? WHERE run = ? AND key = ?")
    parameters = [([key], rows.run, key) for key in range(COUNT)]
    results = run_and_kill(executor, append, parameters, retry=Retry())
    written = {
        row.key: row.value
        for row in session.execute(f"SELECT key, value FROM {table} WHERE run = %s", (rows.run,))
    }
    lost = [result for result in results if not result.success]
    assert lost, "the killed worker had nothing to do"
    assert {type(result.result_or_exc) for result in lost} == {WorkerLostError}
    assert {result.attempts for result in lost} == {1}
    assert len(lost) < 300, "what the other process had is lost as well"
    for key, result in enumerate(results):
        assert written.get(key) == [key] or (not result.success and key not in written)


def test_a_result_of_several_pages_comes_whole(executor: Any, session: Any, rows: Rows) -> None:
    rows.fill(35)
    select = session.prepare(f"SELECT key, value FROM {rows.table} WHERE run = ?")
    select.fetch_size = 10
    result = executor.submit(select, (rows.run,)).result(60)
    assert [(row.key, row.value) for row in result] == sorted(rows.written().items())
    assert not result.has_more_pages
    assert result.column_names == ["key", "value"]


def test_a_conditional_write_says_whether_it_was_applied(
    executor: Any, session: Any, rows: Rows
) -> None:
    insert = session.prepare(
        f"INSERT INTO {rows.table} (run, key, value) VALUES (?, ?, ?) IF NOT EXISTS"
    )
    applied = [
        executor.submit(insert, (rows.run, 1, value)).result(60).was_applied for value in "ab"
    ]
    assert applied == [True, False]
    assert rows.written() == {1: "a"}
