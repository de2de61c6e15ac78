"""A driver's session on a server that does as it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
from cassandra.policies import FallthroughRetryPolicy, RetryPolicy, RoundRobinPolicy

from tests.direct.server import INSERT, Held, ScriptedServer


class Again(RetryPolicy):  # type: ignore[misc]
    """Once more on the same host, whatever it was; it notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any, int]] = []

    def _again(self, what: str, query: Any, retry_num: int) -> Any:
        self.asked.append((what, query, retry_num))
        return (self.RETRY, None) if retry_num == 0 else (self.RETHROW, None)

    def on_write_timeout(self, query: Any, *args: Any, retry_num: int, **named: Any) -> Any:
        return self._again("write timeout", query, retry_num)

    def on_request_error(
        self, query: Any, consistency: Any, error: Any, retry_num: int, **named: Any
    ) -> Any:
        return self._again("request error", query, retry_num)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    made = ScriptedServer("127.79.7.1")
    yield made
    made.close()


@pytest.fixture(params=[4, 5], ids=["v4", "v5"])
def session(server: ScriptedServer, request: pytest.FixtureRequest) -> Iterator[Any]:
    def profile(**options: Any) -> Any:
        return ExecutionProfile(RoundRobinPolicy(), request_timeout=60, **options)

    cluster = server.cluster(
        protocol_version=request.param,
        execution_profiles={
            EXEC_PROFILE_DEFAULT: profile(retry_policy=FallthroughRetryPolicy()),
            "again": profile(retry_policy=Again()),
            "serial": profile(
                consistency_level=ConsistencyLevel.QUORUM,
                serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
            ),
        },
    )
    # There is no ring to learn it from: one node has all partitions.
    cluster.metadata.get_replicas = lambda keyspace, key: ["the only node"]
    yield cluster.connect()
    cluster.shutdown()
    assert not server.held


@pytest.fixture
def insert(session: Any) -> Any:
    return session.prepare(INSERT)


def only_connection(session: Any) -> Any:
    [pool] = session._pools.values()
    [connection] = pool.get_connections()
    return connection


def first_and_second(server: ScriptedServer, frame: Any) -> tuple[Held, Held]:
    """Answer the one statement that waits, and return it and what is sent next."""
    [first] = server.wait_for(1)
    server.answer(first, frame(first))
    [second] = server.wait_for(1)
    server.answer(second)
    return first, second


@pytest.fixture
def futures(session: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The statements for which the driver makes a ResponseFuture."""
    made: list[Any] = []
    make = session._create_response_future

    def record(query: Any, *args: Any, **named: Any) -> Any:
        made.append(query)
        return make(query, *args, **named)

    monkeypatch.setattr(session, "_create_response_future", record)
    return made
