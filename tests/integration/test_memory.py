"""What a list of results holds: their own few bytes, not the requests that brought them."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import cassandra.concurrent
import pytest

from concurrent_exec import execute_concurrent_with_args
from tests.conftest import PROOF
from tests.executors import any_executor
from tests.integration.support import MakeExecutor, our_threads, wait_for_end_of_threads

pytestmark = pytest.mark.cluster

COUNT = 100_000 if PROOF else 1_500
MOST_BYTES = 40_000_000 / 100_000
"""A result's share of the 40 MB that a hundred thousand may cost; `make proof` has so many."""


@pytest.fixture(scope="module")
def insert(session: Any, keyspace: str) -> Any:
    name = f"{keyspace}.small"
    session.execute(f"CREATE TABLE {name} (key int PRIMARY KEY, value int)")
    return session.prepare(f"INSERT INTO {name} (key, value) VALUES (?, ?)")


def bytes_a_result(make: Callable[[Any], Any], count: int, *, success: bool = True) -> float:
    """Return how much more memory there is for each of `count` results while they are held."""
    parameters = [(key, key) for key in range(count)]
    make(parameters[:200])  # what is made once, and kept by driver or library, is no result's
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        results = make(parameters)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        assert len(results) == count
        assert {result.success for result in results} == {success}
        return (after - before) / count
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def of_the_driver(session: Any, insert: Any) -> float:
    """Bytes that a result of the driver's own helper holds."""
    return bytes_a_result(
        lambda parameters: cassandra.concurrent.execute_concurrent_with_args(
            session, insert, parameters
        ),
        1_000,
    )


@any_executor
def test_a_list_of_inserts(make_executor: MakeExecutor, session: Any, insert: Any) -> None:
    with make_executor(session) as executor:
        cost = bytes_a_result(lambda parameters: executor.map(insert, parameters).all(), COUNT)
    assert cost < MOST_BYTES


@any_executor
def test_a_list_of_failures(make_executor: MakeExecutor, session: Any, insert: Any) -> None:
    """A failure holds its statement, its parameters and an exception, but no request either."""

    def make(parameters: Any) -> Any:
        wrong = [("SELECT key FROM missing", None)] * len(parameters)
        return executor.execute(wrong, raise_on_first_error=False).all()

    with make_executor(session) as executor:
        assert bytes_a_result(make, 500, success=False) < 4 * MOST_BYTES


@pytest.mark.parametrize("strategy", ["callback", "thread"])
def test_the_drivers_function_name(
    strategy: Any, session: Any, insert: Any, of_the_driver: float
) -> None:
    def make(parameters: Any) -> Any:
        threads = our_threads()
        results = execute_concurrent_with_args(session, insert, parameters, executor=strategy)
        wait_for_end_of_threads(threads)  # those that sent them hold memory while they end
        return results

    ours = bytes_a_result(make, 1_000)
    assert ours < MOST_BYTES
    assert ours * 5 < of_the_driver
