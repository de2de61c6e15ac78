"""Shards, as scylla-driver sees them: a Cassandra behind a proxy that says it had some.

cassandra-driver knows of none, so these tests are scylla-driver's alone (conftest.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from cassandra.metadata import Murmur3Token

from concurrent_exec import CoalescingConnection, DirectExecutor
from concurrent_exec.connect import ConnectionOptions
from tests.integration.sharded_proxy import Link, ShardedProxy
from tests.integration.support import session_through, values, wait_for

pytestmark = pytest.mark.cluster

SHARDS = 5
COUNT = 200

Connect = Callable[..., AbstractContextManager[tuple[ShardedProxy, Any]]]


@pytest.fixture(scope="module")
def keyed(session: Any, keyspace: str) -> str:
    """The name of a table (key, value)."""
    name = f"{keyspace}.sharded"
    session.execute(f"CREATE TABLE {name} (key int PRIMARY KEY, value text)")
    return name


@pytest.fixture
def connected(cassandra: ConnectionOptions, keyspace: str, keyed: str) -> Connect:
    @contextmanager
    def connect(tells_port: bool = True, **options: Any) -> Iterator[tuple[ShardedProxy, Any]]:
        host, port = cassandra.contact_points[0], cassandra.port
        with (
            ShardedProxy(host, port, shards=SHARDS, tells_port=tells_port) as proxy,
            session_through(
                proxy,
                cassandra,
                keyspace,
                protocol_version=4,
                compression=False,
                metadata_request_timeout=0,  # Cassandra knows no USING TIMEOUT
                **options,
            ) as own,
        ):
            wait_for(lambda: set(connections(own)) == set(range(SHARDS)))
            yield proxy, own

    return connect


def connections(session: Any) -> dict[int, Any]:
    """The connections of the only host's pool, by the driver's idea of their shard."""
    (pool,) = session._pools.values()
    return dict(pool._connections)


def link_of(proxy: ShardedProxy, connection: Any) -> Link:
    port = connection._socket.getsockname()[1]
    (link,) = (link for link in proxy.open_links() if link.port == port)
    return link


def owner(session: Any, key: int) -> int:
    """The shard that a key belongs to, by the formula of the driver's sharding information."""
    (host,) = session.cluster.metadata.all_hosts()
    token = Murmur3Token.from_key(key.to_bytes(4))
    return int(host.sharding_info.shard_id_from_token(token.value))


def statements(session: Any, table: str) -> tuple[Any, Any]:
    insert = session.prepare(f"INSERT INTO {table} (key, value) VALUES (?, ?)")
    return insert, session.prepare(f"SELECT value FROM {table} WHERE key = ?")


def rows() -> list[tuple[int, str]]:
    return [(key, f"value {key}") for key in range(COUNT)]


def keys() -> list[tuple[int]]:
    return [(key,) for key in range(COUNT)]


@pytest.mark.parametrize("tells_port", [True, False], ids=["by port", "by chance"])
def test_there_is_a_connection_for_each_shard(connected: Connect, tells_port: bool) -> None:
    with connected(tells_port) as (proxy, own):
        links = {shard: link_of(proxy, each) for shard, each in connections(own).items()}
        assert {shard: link.shard for shard, link in links.items()} == {
            shard: shard for shard in range(SHARDS)
        }
        by_port = [link for link in links.values() if link.by_port]
        assert all(link.port % SHARDS == link.shard for link in by_port)
        # The first comes over the usual port, and tells of the other.
        assert len(by_port) == (SHARDS - 1 if tells_port else 0)


@pytest.mark.parametrize("connection_class", [None, CoalescingConnection])
def test_statements_go_to_the_shard_of_their_token_as_the_drivers_do(
    connected: Connect, keyed: str, connection_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(connection_class=connection_class) as (proxy, own):
        insert, select = statements(own, keyed)
        expected = {key: owner(own, key) for key in range(COUNT)}
        assert set(expected.values()) == set(range(SHARDS))

        for future in [own.execute_async(insert, row) for row in rows()]:
            future.result()
        assert proxy.shards_of_keys() == expected
        monkeypatch.setattr(own, "_create_response_future", None)  # nothing goes through the driver
        with DirectExecutor(own) as executor:
            executor.map(insert, rows()).all()
            assert proxy.shards_of_keys() == expected
            found = executor.map(select, keys()).all()
            assert proxy.shards_of_keys() == expected
            bound = [(insert.bind((key, f"bound {key}")), None) for key in range(COUNT)]
            executor.execute(bound).all()
            assert proxy.shards_of_keys() == expected
        assert values(found) == [value for _, value in rows()]


def test_without_a_connection_to_the_shard_another_is_taken_as_the_driver_does(
    connected: Connect, keyed: str
) -> None:
    with connected() as (proxy, own):
        insert, select = statements(own, keyed)
        lost = 3
        connection = connections(own)[lost]
        proxy.refuses = True
        link_of(proxy, connection).cut()
        wait_for(lambda: connection.is_closed)
        of_lost = [key for key in range(COUNT) if owner(own, key) == lost]

        for key in of_lost:
            own.execute(insert, (key, f"the driver's {key}"))
        theirs = proxy.shards_of_keys()
        with DirectExecutor(own) as executor:
            executor.map(insert, rows()).all()
            ours = proxy.shards_of_keys()
            found = values(executor.map(select, keys()).all())
        assert found == [value for _, value in rows()]
        assert set(theirs) == set(of_lost)
        assert lost not in theirs.values()
        assert {key: shard for key, shard in ours.items() if key not in of_lost} == {
            key: owner(own, key) for key in range(COUNT) if key not in of_lost
        }
        assert lost not in {ours[key] for key in of_lost}


def test_a_shard_whose_connection_dies_loses_no_statement_and_gets_another(
    connected: Connect, keyed: str
) -> None:
    with connected() as (proxy, own):
        insert, select = statements(own, keyed)
        with DirectExecutor(own, concurrency=50) as executor:
            results = executor.map(insert, rows(), raise_on_first_error=False)
            first = next(results)
            link_of(proxy, connections(own)[2]).cut()
            outcomes = [first, *results]
            assert len(outcomes) == COUNT
            assert all(each.success or each.index == index for index, each in enumerate(outcomes))
            wait_for(lambda: own._pools and len(connections(own)) == SHARDS)
            proxy.shards_of_keys()
            executor.map(insert, rows()).all()
            assert proxy.shards_of_keys() == {key: owner(own, key) for key in range(COUNT)}
            assert values(executor.map(select, keys()).all()) == [value for _, value in rows()]
