"""A CoalescingConnection on the real Cassandra: whatever a session does, and large values too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cassandra.query import SimpleStatement

from concurrent_exec import CallbackExecutor, CoalescingConnection, DirectExecutor, Retry
from concurrent_exec.connect import ConnectionOptions
from tests.integration.support import MakeExecutor, Rows, values
from tests.tls import Certificate
from tests.ways import WAYS, session_by

pytestmark = pytest.mark.cluster

COUNT = 300
MEGABYTES = 3
"""Of a large value: many times what a socket takes or gives at once, and many segments of v5."""

both = pytest.mark.parametrize("make_executor", [CallbackExecutor, DirectExecutor])


@pytest.fixture(scope="module", params=list(WAYS))
def own(
    request: pytest.FixtureRequest,
    cassandra: ConnectionOptions,
    keyspace: str,
    certificate: Certificate,
) -> Iterator[Any]:
    """A session whose connections coalesce, the control connection among them."""
    with session_by(
        WAYS[request.param],
        cassandra,
        keyspace,
        certificate,
        connection_class=CoalescingConnection,
        idle_heartbeat_interval=1,
    ) as session:
        yield session


@pytest.fixture
def rows(own: Any, table: str) -> Rows:
    return Rows(own, table)


def test_what_the_driver_itself_does(own: Any, rows: Rows) -> None:
    rows.fill(COUNT)
    assert len(rows.written()) == COUNT
    paged = SimpleStatement(f"SELECT key FROM {rows.table} WHERE run = %s", fetch_size=50)
    assert [row.key for row in own.execute(paged, (rows.run,))] == list(range(COUNT))
    (connection, *_) = own.cluster.get_connection_holders()[0].get_connections()
    assert type(connection) is CoalescingConnection


@both
def test_writes_and_reads_through_an_executor(
    make_executor: MakeExecutor, own: Any, rows: Rows
) -> None:
    with make_executor(own) as executor:
        assert all(result.success for result in executor.map(rows.insert, rows.parameters(COUNT)))
        assert values(executor.map(rows.select, rows.keys(COUNT)).all()) == [
            f"value {key}" for key in range(COUNT)
        ]


@both
def test_large_values_both_ways(make_executor: MakeExecutor, own: Any, rows: Rows) -> None:
    large = ["abc"[key] * (MEGABYTES * 1_000_000 + key) for key in range(3)]
    small = rows.parameters(100)[3:]
    # While a large one fills the socket a driver calls the connection overloaded.
    with make_executor(own, retry=Retry(max_attempts=100, max_backoff=0.1)) as executor:
        parameters = [*((rows.run, key, value) for key, value in enumerate(large)), *small]
        assert all(result.success for result in executor.map(rows.insert, parameters))
        found = values(executor.map(rows.select, rows.keys(100)).all())
    assert found[:3] == large
    assert found[3:] == [value for _, _, value in small]
