"""What changes under DirectExecutor while it sends: keyspace, columns, the session's end."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from concurrent_exec import DirectExecutor
from concurrent_exec.connect import ConnectionOptions
from tests.conftest import REQUEST_TIMEOUT
from tests.integration.proxy import Proxy
from tests.integration.support import Rows, session_through, values, wait_for
from tests.integration.test_stopping import GONE
from tests.tls import Certificate
from tests.ways import NEWEST_WAY, Way, session_by

pytestmark = pytest.mark.cluster

COUNT = 300
KEYS = 10

any_way = pytest.mark.parametrize("way", list(NEWEST_WAY.values()), ids=list(NEWEST_WAY))


@pytest.fixture
def own(
    way: Way, cassandra: ConnectionOptions, keyspace: str, certificate: Certificate
) -> Iterator[Any]:
    """A session that the test may change."""
    with session_by(way, cassandra, keyspace, certificate) as session:
        yield session


@pytest.fixture
def other_keyspace(session: Any) -> Iterator[str]:
    name = f"concurrent_exec_test_{uuid.uuid4().hex[:12]}"
    session.execute(
        f"CREATE KEYSPACE {name} WITH replication = "
        "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    yield name
    session.execute(f"DROP KEYSPACE {name}", timeout=REQUEST_TIMEOUT)


@any_way
def test_another_keyspace_is_used(
    way: Way, own: Any, keyspace: str, other_keyspace: str, session: Any
) -> None:
    """What was prepared before stays with its keyspace; what is prepared later has the new one."""
    table = f"where_am_i_{uuid.uuid4().hex[:8]}"
    for name in (keyspace, other_keyspace):
        session.execute(f"CREATE TABLE {name}.{table} (key int PRIMARY KEY, value text)")
    select = f"SELECT value FROM {table} WHERE key = ?"
    insert = f"INSERT INTO {table} (key, value) VALUES (?, ?)"
    with DirectExecutor(own, concurrency=20) as executor:
        before = own.prepare(insert), own.prepare(select)
        executor.map(before[0], [(key, "first") for key in range(KEYS)]).all()

        def keys() -> Iterator[tuple[Any, tuple[int]]]:
            """Use the other one in the midst of reads."""
            for number in range(COUNT):
                if number == COUNT // 3:
                    own.execute(f"USE {other_keyspace}")
                yield before[1], (number % KEYS,)

        assert values(executor.execute(keys())) == ["first"] * COUNT
        after = own.prepare(insert), own.prepare(select)
        executor.map(after[0], [(key, "second") for key in range(KEYS)]).all()
        pairs = [((before[1], after[1])[n % 2], (n % KEYS,)) for n in range(COUNT)]
        assert values(executor.execute(pairs)) == ["first", "second"] * (COUNT // 2)
        plain = f"SELECT value FROM {table} WHERE key = 1"
        assert values(executor.map(plain, [None] * 5)) == ["second"] * 5
    for name, value in ((keyspace, "first"), (other_keyspace, "second")):
        written = session.execute(f"SELECT key, value FROM {name}.{table}")
        assert {row.key: row.value for row in written} == dict.fromkeys(range(KEYS), value)


@any_way
def test_columns_are_added_and_dropped(way: Way, own: Any) -> None:
    """Under a prepared SELECT * that is in use: its rows have the columns that there are.

    With v5 the server tells of new columns by the id of the result's metadata (section 4.2.5.2 of
    the specification). With v4 there is no such id, and the drivers decode by what they were told
    when they prepared it; ours must then do as they do.
    """
    table = f"changing_{uuid.uuid4().hex[:8]}"
    own.execute(f"CREATE TABLE {table} (key int PRIMARY KEY, first text, second text)")
    insert = own.prepare(f"INSERT INTO {table} (key, first, second) VALUES (?, ?, ?)")
    select = own.prepare(f"SELECT * FROM {table} WHERE key = ?")
    third, half = COUNT // 3, COUNT // 2

    def keys() -> Iterator[tuple[int]]:
        for number in range(COUNT):
            if number == third:
                own.execute(f"ALTER TABLE {table} ADD added int")
                for key in range(KEYS):
                    own.execute(f"UPDATE {table} SET added = {key} WHERE key = {key}")
            elif number == 2 * third:
                own.execute(f"ALTER TABLE {table} DROP first")
            yield (number % KEYS,)

    with DirectExecutor(own, concurrency=20) as executor:
        executor.map(insert, [(key, f"first {key}", f"second {key}") for key in range(KEYS)]).all()
        rows = [result.unwrap().one() for result in executor.map(select, keys(), buffersize=half)]
        last = [result.unwrap().one() for result in executor.map(select, [(1,)] * 5)]
    assert [row.key for row in rows] == [number % KEYS for number in range(COUNT)]
    if way.protocol_version < 5:
        assert last == [own.execute(select, (1,)).one()] * 5
        return
    for number, row in enumerate(rows):
        key = number % KEYS
        there = row._asdict()
        assert there.pop("second") == f"second {key}"
        assert ("added" in there) or number < third
        assert there.pop("added", None) in (key, None if number < third else key)
        assert ("first" in there) or number >= third
        assert there.pop("first", f"first {key}") in (f"first {key}", None)
        assert there == {"key": key}
    assert [row._asdict() for row in last] == [{"key": 1, "added": 1, "second": "second 1"}] * 5


@any_way
@pytest.mark.parametrize("what", ["session", "cluster"])
def test_the_session_is_shut_down_while_nothing_is_answered(
    what: str,
    way: Way,
    cassandra: ConnectionOptions,
    keyspace: str,
    certificate: Certificate,
    proxy: Proxy,
    rows: Rows,
) -> None:
    """Every statement ends all the same, and none by its timeout: there is none."""
    arguments = way.arguments(certificate)
    with session_through(proxy, cassandra, keyspace, **arguments) as own:
        insert = own.prepare(rows.insert.query_string)
        with DirectExecutor(own, concurrency=50) as executor:
            proxy.hold()
            results = executor.map(
                insert, rows.parameters(COUNT), raise_on_first_error=False, timeout=None
            )
            future = executor.submit(insert, (rows.run, COUNT, "submitted"), timeout=None)
            wait_for(lambda: executor.statistics().in_flight == 50)
            (own if what == "session" else own.cluster).shutdown()
            outcomes = results.all()
            assert isinstance(future.exception(), GONE)
        proxy.release()
    assert [result.index for result in outcomes] == list(range(COUNT))
    assert [type(result.result_or_exc) for result in outcomes if result.success] == []
    assert all(isinstance(result.result_or_exc, GONE) for result in outcomes)
    told = results.statistics()
    assert (told.started, told.settled, told.in_flight) == (COUNT, COUNT, 0)
