"""What holds of a statement that goes alone, and of a batch, over the session's own connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cassandra import OperationTimedOut
from cassandra.query import BatchStatement

from concurrent_exec import BatchExecutor, DirectExecutor, Executor
from concurrent_exec.run import Results
from tests.direct.conftest import first_and_second, only_connection
from tests.direct.server import INSERT, OVERLOADED, UNPREPARED, WRITE_TIMEOUT, ScriptedServer


@dataclass(frozen=True)
class Way:
    """An executor that sends these rows in one frame."""

    executor: Executor[Any]
    rows: list[tuple[int, str]]

    def send(self, insert: Any, **options: Any) -> Results[Any]:
        return self.executor.map(insert, self.rows, **options)

    def is_of(self, query: Any) -> bool:
        """Say whether the driver's object is of what was sent."""
        if len(self.rows) > 1:
            return isinstance(query, BatchStatement) and len(query) == len(self.rows)
        [(key, value)] = self.rows
        return [*query.values] == [key.to_bytes(4), value.encode()]


MAKE: dict[str, Callable[[Any], Way]] = {
    "alone": lambda session: Way(DirectExecutor(session), [(7, "a")]),
    "in a batch": lambda session: Way(
        BatchExecutor(session, batch_mode="replica_set"), [(key, "a") for key in range(5)]
    ),
}


@pytest.fixture(params=MAKE)
def way(session: Any, request: pytest.FixtureRequest) -> Iterator[Way]:
    made = MAKE[request.param](session)
    yield made
    made.executor.shutdown(wait=False)  # a failed test may have left something without an answer


@pytest.mark.parametrize(
    ("code", "asked"),
    [(WRITE_TIMEOUT, "write timeout"), (OVERLOADED, "request error")],
    ids=["timeout", "overload"],
)
def test_what_the_retry_policy_sends_again_is_the_same(
    code: int, asked: str, server: ScriptedServer, session: Any, insert: Any, way: Way
) -> None:
    policy = session.get_execution_profile("again").retry_policy
    results = way.send(insert, execution_profile="again")
    first, second = first_and_second(server, lambda held: held.error(code))
    assert len(results.all()) == len(way.rows)
    assert first.body == second.body
    [(what, query, number)] = policy.asked
    assert (what, number) == (asked, 0)
    assert way.is_of(query)


def test_what_is_unknown_to_the_server_is_prepared_anew(
    server: ScriptedServer, insert: Any, way: Way
) -> None:
    results = way.send(insert)
    prepared = len(server.prepared)
    first, second = first_and_second(server, lambda held: held.error(UNPREPARED))
    assert len(results.all()) == len(way.rows)
    assert server.prepared[prepared:] == [INSERT]
    assert first.body == second.body


def test_what_is_never_answered_times_out_and_keeps_its_stream(
    server: ScriptedServer, session: Any, insert: Any, way: Way
) -> None:
    results = way.send(insert, timeout=0.05, raise_on_first_error=False)
    [held] = server.wait_for(1)
    assert {type(result.result_or_exc) for result in results} == {OperationTimedOut}
    connection = only_connection(session)
    assert held.stream in connection.orphaned_request_ids
    assert held.stream not in connection.request_ids
    server.answer(held)
