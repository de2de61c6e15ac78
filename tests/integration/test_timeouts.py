"""A node that does not answer: a statement then fails, and a late answer changes nothing."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from cassandra import OperationTimedOut
from cassandra.cluster import EXEC_PROFILE_DEFAULT

from concurrent_exec import ExecutionResult
from concurrent_exec.connect import ConnectionOptions
from tests.executors import in_one_process
from tests.integration.proxy import Proxy
from tests.integration.support import FORMS, MakeExecutor, Rows, session_through, values, wait_for

pytestmark = pytest.mark.cluster

COUNT = 30
ROWS = 10_000
"""So many take a server many times a millisecond to add up."""


@pytest.fixture
def own(cassandra: ConnectionOptions, keyspace: str, proxy: Proxy) -> Iterator[Any]:
    """A session whose way to the node can be held up."""
    with session_through(proxy, cassandra, keyspace) as session:
        yield session
        proxy.release()


def timed_out(results: list[ExecutionResult[Any]]) -> list[bool]:
    return [
        not result.success and isinstance(result.result_or_exc, OperationTimedOut)
        for result in results
    ]


@in_one_process  # a worker would have to prepare while nothing is answered
@pytest.mark.parametrize("form", ["stream", "all", "future", "as_completed"])
def test_a_timeout(
    make_executor: MakeExecutor, form: str, own: Any, proxy: Proxy, rows: Rows
) -> None:
    insert = own.prepare(rows.insert.query_string)
    select = own.prepare(rows.select.query_string)
    with make_executor(own, concurrency=10) as executor:
        proxy.hold()
        pairs = [(insert, each) for each in rows.parameters(COUNT)]
        options: dict[str, Any] = {"timeout": 0.05, "raise_on_first_error": False}
        results = FORMS[form](executor, pairs, **options)
        assert timed_out(results) == [True] * COUNT
        assert [result.index for result in results] == list(range(COUNT))
        # Only the answers were held up: now they come, each too late.
        proxy.release()
        wait_for(lambda: len(rows.written()) == COUNT)
        read = executor.map(select, rows.keys(COUNT)).all()
        assert values(read) == [f"value {key}" for key in range(COUNT)]
        assert timed_out(results) == [True] * COUNT
        assert executor.statistics().in_flight == 0


@in_one_process  # a worker would have to prepare while nothing is answered
def test_the_timeout_of_the_execution_profile(
    make_executor: MakeExecutor, own: Any, proxy: Proxy, rows: Rows
) -> None:
    insert = own.prepare(rows.insert.query_string)
    default = own.get_execution_profile(EXEC_PROFILE_DEFAULT)
    with make_executor(own) as executor:
        proxy.hold()
        default.request_timeout = 0.05
        results = executor.map(insert, rows.parameters(COUNT), raise_on_first_error=False)
        assert timed_out(list(results)) == [True] * COUNT
        with pytest.raises(OperationTimedOut) as caught:
            executor.map(insert, rows.parameters(COUNT)).all()
        failure: Any = caught.value
        assert failure.failure.parameters[0] == rows.run
        future = executor.submit(insert, rows.parameters(1)[0])
        assert isinstance(future.exception(20), OperationTimedOut)


@in_one_process  # a worker would have to prepare while nothing is answered
def test_no_timeout(make_executor: MakeExecutor, own: Any, proxy: Proxy, rows: Rows) -> None:
    insert = own.prepare(rows.insert.query_string)
    own.get_execution_profile(EXEC_PROFILE_DEFAULT).request_timeout = 0.05
    with make_executor(own) as executor:
        proxy.hold()
        patient = executor.map(insert, rows.parameters(COUNT), timeout=None)
        wait_for(lambda: patient.statistics().started == COUNT)
        time.sleep(0.5)  # many times what the profile says
        assert patient.statistics().settled == 0
        proxy.release()
        assert [result.success for result in patient] == [True] * COUNT


@pytest.fixture(scope="module")
def large(session: Any) -> Any:
    """A statement that keeps the server busy for many milliseconds, and its parameters."""
    session.execute("CREATE TABLE large (run uuid, key int, value text, PRIMARY KEY (run, key))")
    insert = session.prepare("INSERT INTO large (run, key, value) VALUES (?, ?, ?)")
    run = uuid.uuid4()
    for first in range(0, ROWS, 1_000):
        pending = [
            session.execute_async(insert, (run, key, "x" * 100))
            for key in range(first, first + 1_000)
        ]
        for future in pending:
            future.result()
    return session.prepare("SELECT sum(key) FROM large WHERE run = ?"), (run,)


@in_one_process  # a worker would have to prepare while nothing is answered
def test_a_slow_statement(make_executor: MakeExecutor, session: Any, large: Any) -> None:
    statement, parameters = large
    with make_executor(session, concurrency=5) as executor:
        results = executor.map(
            statement, [parameters] * 10, timeout=0.001, raise_on_first_error=False
        ).all()
        assert timed_out(results) == [True] * 10
        slow = executor.submit(statement, parameters).result(60)
        assert slow.one()[0] == sum(range(ROWS))
