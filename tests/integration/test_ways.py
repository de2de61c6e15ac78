"""DirectExecutor on a real Cassandra, whatever way the driver talks to it.

The other files run it with what the drivers choose: v5 with lz4, and no TLS. Here it is once
through what these show, compactly, with each other way.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from cassandra import InvalidRequest

from concurrent_exec import DirectExecutor
from concurrent_exec.connect import ConnectionOptions, connect
from tests.conftest import REQUEST_TIMEOUT
from tests.integration import test_errors, test_order, test_results, test_timeouts, test_types
from tests.integration.proxy import Proxy
from tests.integration.support import Rows, session_through, values
from tests.integration.test_errors import scattered
from tests.integration.test_results import paged, partition
from tests.integration.test_types import columns
from tests.tls import Certificate
from tests.ways import WAYS, Way, session_by

__all__ = ["columns", "paged", "partition", "scattered"]
pytestmark = pytest.mark.cluster


COUNT = 330
LARGE = 300_000


@pytest.fixture(
    scope="module",
    params=list(WAYS.values()),
    ids=list(WAYS),
)
def way(request: pytest.FixtureRequest) -> Way:
    made: Way = request.param
    return made


@pytest.fixture(scope="module")
def keyspace(cassandra: ConnectionOptions, way: Way) -> Iterator[str]:
    name = f"concurrent_exec_test_{uuid.uuid4().hex[:12]}"
    with connect(cassandra) as session:
        session.execute(
            f"CREATE KEYSPACE {name} WITH replication = "
            "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        yield name
        session.execute(f"DROP KEYSPACE {name}", timeout=REQUEST_TIMEOUT)


@pytest.fixture(scope="module")
def session(
    cassandra: ConnectionOptions, keyspace: str, way: Way, certificate: Certificate
) -> Iterator[Any]:
    with session_by(way, cassandra, keyspace, certificate) as connected:
        yield connected


def test_nothing_needs_the_driver(
    session: Any, way: Way, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pool in session._pools.values():
        for connection in pool.get_connections():
            assert connection.protocol_version == way.protocol_version
            assert bool(connection.compressor) == way.compressed
            assert bool(connection.ssl_context) == way.tls
    monkeypatch.setattr(session, "_create_response_future", None)
    with DirectExecutor(session) as executor:
        executor.map(rows.insert, rows.parameters(COUNT)).all()
        read = executor.map(rows.select, rows.keys(COUNT)).all()
    assert values(read) == [f"value {key}" for key in range(COUNT)]


def test_every_type(session: Any, columns: dict[str, str], rows: Rows) -> None:
    test_types.test_whole_rows_of_every_type(DirectExecutor, session, columns)
    test_types.test_unset_keeps_and_null_removes(DirectExecutor, session, rows)
    test_types.test_counters(DirectExecutor, session)


def test_pages_and_all_else_of_a_result(
    session: Any, partition: uuid.UUID, paged: Any, rows: Rows
) -> None:
    test_results.test_all_pages(DirectExecutor, iter, session, partition, paged)
    test_results.test_a_result_is_as_the_drivers_own(
        DirectExecutor, session, partition, paged, rows
    )


def test_every_kind_of_statement(session: Any, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_order, "COUNT", COUNT)
    test_order.test_every_kind_of_statement_and_parameters(DirectExecutor, session, rows)


@pytest.mark.parametrize(
    "problem",
    [
        test_errors.missing_table,
        test_errors.unavailable,
        test_errors.wrong_type,
        test_errors.wrong_type_for_the_server,
    ],
)
def test_failures(problem: Any, session: Any, rows: Rows, scattered: str) -> None:
    test_errors.test_a_failure_has_its_place_and_its_statement(
        DirectExecutor, "all", problem, session, rows, scattered
    )


def test_an_error_of_the_server(session: Any, keyspace: str) -> None:
    """To prepared statements, among others that succeed."""
    for name in ("kept", "dropped"):
        session.execute(f"CREATE TABLE {name} (key int PRIMARY KEY)")
    kept, dropped = (
        session.prepare(f"INSERT INTO {name} (key) VALUES (?)") for name in ("kept", "dropped")
    )
    session.execute("DROP TABLE dropped")
    with DirectExecutor(session) as executor:
        pairs = [((kept, dropped)[key % 7 == 3], (key,)) for key in range(COUNT)]
        results = executor.execute(pairs, raise_on_first_error=False).all()
    for key, (success, found) in enumerate(results):
        assert success == (key % 7 != 3)
        assert success or isinstance(found, InvalidRequest)


def test_large_values(session: Any, rows: Rows) -> None:
    """Longer than a segment of v5, some worth compressing and some not."""

    def text(key: int) -> str:
        size = LARGE * (key % 5) // 4
        return "a" * size if key % 2 else Random(key).randbytes(size // 2).hex()

    with DirectExecutor(session) as executor:
        executor.map(rows.insert, [(rows.run, key, text(key)) for key in range(20)]).all()
        assert values(executor.map(rows.select, rows.keys(20))) == [text(key) for key in range(20)]


def test_late_answers(
    cassandra: ConnectionOptions,
    keyspace: str,
    way: Way,
    certificate: Certificate,
    proxy: Proxy,
    rows: Rows,
) -> None:
    with session_through(proxy, cassandra, keyspace, **way.arguments(certificate)) as own:
        test_timeouts.test_a_timeout(DirectExecutor, "all", own, proxy, rows)
