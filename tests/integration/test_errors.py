"""What goes wrong is told of the right statement, and in a fail-fast run stops the rest."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cassandra import ConsistencyLevel, InvalidRequest, Unavailable
from cassandra.cluster import NoHostAvailable
from cassandra.policies import FallthroughRetryPolicy, RetryPolicy
from cassandra.protocol import SyntaxException
from cassandra.query import SimpleStatement

from concurrent_exec import Failure
from tests.executors import any_executor
from tests.integration.support import FORMS, MakeExecutor, Rows

pytestmark = pytest.mark.cluster

SECRET = "a value that is private"
COUNT = 150
PLACE = 50
"""Which statement of the input is the wrong one."""


@pytest.fixture(scope="module")
def scattered(session: Any, keyspace: str) -> Iterator[str]:
    """A table that wants one replica more than there are nodes."""
    name = f"{keyspace}_scattered"
    replicas = len(session.cluster.metadata.all_hosts()) + 1
    session.execute(
        f"CREATE KEYSPACE {name} WITH replication = "
        f"{{'class': 'SimpleStrategy', 'replication_factor': {replicas}}}"
    )
    session.execute(f"CREATE TABLE {name}.t (key int PRIMARY KEY, value text)")
    yield f"{name}.t"
    session.execute(f"DROP KEYSPACE {name}")


def syntax_error(rows: Rows, scattered: str) -> tuple[Any, Any, Any]:
    return f"INSERT INTO INTO {rows.table} (run) VALUES (%s)", (SECRET,), SyntaxException


def missing_table(rows: Rows, scattered: str) -> tuple[Any, Any, Any]:
    return "INSERT INTO missing (value) VALUES (%s)", (SECRET,), InvalidRequest


def unavailable(rows: Rows, scattered: str) -> tuple[Any, Any, Any]:
    return _to_all_replicas(scattered, FallthroughRetryPolicy()), (SECRET,), Unavailable


def unavailable_on_every_host(rows: Rows, scattered: str) -> tuple[Any, Any, Any]:
    # What the driver's own policy makes of it; the exception holds the hosts that were asked.
    return _to_all_replicas(scattered, RetryPolicy()), (SECRET,), NoHostAvailable


def _to_all_replicas(scattered: str, policy: RetryPolicy) -> SimpleStatement:
    return SimpleStatement(
        f"INSERT INTO {scattered} (key, value) VALUES (1, %s)",
        consistency_level=ConsistencyLevel.ALL,
        retry_policy=policy,
    )


def wrong_type(rows: Rows, scattered: str) -> tuple[Any, Any, Any]:
    return rows.insert, (rows.run, SECRET, "value"), TypeError


def wrong_type_for_the_server(rows: Rows, scattered: str) -> tuple[Any, Any, Any]:
    return f"INSERT INTO {rows.table} (run, key) VALUES (%s, 1)", (SECRET,), InvalidRequest


def too_many_values(rows: Rows, scattered: str) -> tuple[Any, Any, Any]:
    return rows.insert, (rows.run, 1, SECRET, 2), ValueError


def too_few_values(rows: Rows, scattered: str) -> tuple[Any, Any, Any]:
    statement = f"INSERT INTO {rows.table} (run, key, value) VALUES (%s, %s, %s)"
    return statement, (rows.run, SECRET), TypeError


Problem = Callable[[Rows, str], tuple[Any, Any, Any]]

any_problem = pytest.mark.parametrize(
    "problem",
    [
        syntax_error,
        missing_table,
        unavailable,
        unavailable_on_every_host,
        wrong_type,
        wrong_type_for_the_server,
        too_many_values,
        too_few_values,
    ],
)


@any_executor
@any_problem
@pytest.mark.parametrize("form", ["stream", "all", "as_completed"])
def test_a_failure_has_its_place_and_its_statement(
    make_executor: MakeExecutor,
    form: str,
    problem: Problem,
    session: Any,
    rows: Rows,
    scattered: str,
) -> None:
    statement, parameters, kind = problem(rows, scattered)
    pairs: list[Any] = [(rows.insert, each) for each in rows.parameters(COUNT)]
    pairs[PLACE] = (statement, parameters)
    with make_executor(session) as executor:
        results = FORMS[form](executor, pairs, raise_on_first_error=False)
    assert [result.success for result in results].count(False) == 1
    failed = results[PLACE]
    success, exc = failed
    assert not success
    assert isinstance(exc, kind)
    assert (failed.index, failed.attempts) == (PLACE, 1)
    assert failed.statement is statement
    assert failed.parameters is parameters
    assert failed.failure == Failure(PLACE, statement, parameters, 1)
    assert not hasattr(exc, "failure")  # not before it is raised
    text = statement if isinstance(statement, str) else statement.query_string
    thawed = pickle.loads(pickle.dumps(failed))
    assert type(thawed.result_or_exc) is type(exc)
    if isinstance(exc, NoHostAvailable):  # it holds hosts, which don't pickle but as their text
        assert thawed.result_or_exc.args[0] == exc.args[0]
        [error] = thawed.result_or_exc.errors.values()
        assert isinstance(error, Unavailable)
    else:
        assert str(thawed.result_or_exc) == str(exc)
    assert (thawed.index, thawed.statement, thawed.parameters) == (PLACE, text, parameters)
    expected = {key: value for _, key, value in rows.parameters(COUNT) if key != PLACE}
    assert rows.written() == expected


@any_executor
@any_problem
@pytest.mark.parametrize("form", ["stream", "all", "future", "as_completed"])
def test_a_raised_failure_tells_of_its_statement(
    make_executor: MakeExecutor,
    form: str,
    problem: Problem,
    session: Any,
    rows: Rows,
    scattered: str,
) -> None:
    statement, parameters, kind = problem(rows, scattered)
    pairs: list[Any] = [(rows.insert, each) for each in rows.parameters(COUNT)]
    pairs[PLACE] = (statement, parameters)
    with make_executor(session) as executor, pytest.raises(kind) as caught:
        FORMS[form](executor, pairs)
    exc: Any = caught.value
    assert exc.failure == Failure(PLACE, statement, parameters, 1)
    [note] = exc.__notes__
    text = statement if isinstance(statement, str) else statement.query_string
    assert f"statement {PLACE} of the input" in note
    assert text in note
    assert SECRET not in note
    assert SECRET not in repr(exc.failure)


@any_executor
@any_problem
def test_after_a_failure_nothing_more_is_written(
    make_executor: MakeExecutor, problem: Problem, session: Any, rows: Rows, scattered: str
) -> None:
    statement, parameters, kind = problem(rows, scattered)
    window = 16
    count = 5_000

    def pairs() -> list[Any]:
        made: list[Any] = [(rows.insert, each) for each in rows.parameters(count)]
        made[PLACE] = (statement, parameters)
        return made

    with make_executor(session, concurrency=4) as executor:
        results = executor.execute(pairs(), buffersize=window)
        delivered = []
        with pytest.raises(kind):
            for result in results:
                delivered.append(result)
        assert [result.success for result in delivered] == [True] * PLACE
        executor.shutdown()
        told = results.statistics()
        written = rows.written()
        assert len(written) == told.succeeded
        assert told.started == told.settled <= PLACE + window
        assert max(written) < PLACE + window

    rows.run = uuid.uuid4()
    with make_executor(session, concurrency=4) as executor:
        results = executor.execute(pairs())
        with pytest.raises(kind):
            results.all()
        executor.shutdown()
        told = results.statistics()
        assert len(rows.written()) == told.succeeded
        assert told.started == told.settled < count


@any_executor
def test_many_failures_each_its_own(make_executor: MakeExecutor, session: Any, rows: Rows) -> None:
    """Every third is refused by the driver, every third by the server."""
    count = 900
    pairs: list[Any] = []
    for key in range(count):
        pairs.append(
            [
                (rows.insert, (rows.run, key, f"value {key}")),
                (rows.insert, (rows.run, f"key {key}", "value")),
                (f"INSERT INTO missing_{key} (key) VALUES (1)", None),
            ][key % 3]
        )
    with make_executor(session) as executor:
        results = executor.execute(pairs, raise_on_first_error=False).all()
    assert [result.success for result in results] == [True, False, False] * (count // 3)
    for index, result in enumerate(results):
        if not result.success:
            assert result.index == index
            assert result.statement is pairs[index][0]
            assert result.parameters is pairs[index][1]
        if index % 3 == 2:
            assert f"missing_{index}" in str(result.result_or_exc)
    assert rows.written() == {key: f"value {key}" for key in range(0, count, 3)}


@any_executor
def test_submit_fails_by_its_future(make_executor: MakeExecutor, session: Any) -> None:
    with make_executor(session) as executor:
        wrong = executor.submit("INSERT INTO missing (key) VALUES (1)")
        right = executor.submit("SELECT key FROM system.local")
        with pytest.raises(InvalidRequest, match="missing"):
            wrong.result(60)
        assert right.result(60).one().key == "local"
