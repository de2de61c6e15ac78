"""Every type of CQL, null and unset go through `map` and come back as they were."""

from __future__ import annotations

import datetime
import uuid
from collections import OrderedDict, namedtuple
from decimal import Decimal
from typing import Any

import pytest
from cassandra.cqltypes import VectorType
from cassandra.query import UNSET_VALUE
from cassandra.util import Date, Duration, Time, sortedset, uuid_from_time

from tests.executors import any_executor
from tests.integration.support import MakeExecutor, Rows

pytestmark = pytest.mark.cluster

Address = namedtuple("Address", ["street", "number"])

SOME_UUIDS = [uuid.UUID(int=1), uuid.uuid4()]
SOME_TEXTS = ["", "plain", "it's 'quoted' %s {}"]

SAMPLES: dict[str, list[Any]] = {
    "ascii": SOME_TEXTS,
    "bigint": [-(2**63), 0, 2**63 - 1],
    "blob": [b"", b"\x00\xff", bytes(range(256))],
    "boolean": [True, False],
    "date": [Date(0), Date("2024-02-29"), Date("1969-12-31")],
    "decimal": [Decimal("0"), Decimal("-1.50"), Decimal("1E-30"), Decimal(10**40)],
    "double": [0.0, -1.1, 1e300, float("inf")],
    "duration": [Duration(0, 0, 0), Duration(13, 2, 3_000_000_007), Duration(-1, -2, -3)],
    "float": [0.0, -1.5, 2.0**100, float("-inf")],
    "inet": ["127.0.0.1", "::1", "2001:db8::ff00:42:8329"],
    "int": [-(2**31), 0, 2**31 - 1],
    "smallint": [-(2**15), 0, 2**15 - 1],
    "text": [*SOME_TEXTS, "Grüße, 世界 \U0001f600"],
    "time": [Time(0), Time("23:59:59.999999999")],
    "timestamp": [
        datetime.datetime(1970, 1, 1),
        datetime.datetime(1969, 12, 31, 23, 59, 59, 999_000),
        datetime.datetime(2024, 2, 29, 12, 30, 15, 123_000),
    ],
    "timeuuid": [uuid_from_time(1e9), uuid.uuid1()],
    "tinyint": [-128, 0, 127],
    "uuid": SOME_UUIDS,
    "varchar": [*SOME_TEXTS, "Grüße"],
    "varint": [0, -(2**200), 2**200],
    "list<int>": [[1], [3, 1, 3]],
    "set<text>": [{"a"}, {"b", "a", "c"}],
    "map<text, int>": [{"a": 1}, {"b": 2, "a": 1}],
    "frozen<list<int>>": [[], [1, 2]],
    "frozen<map<text, frozen<list<frozen<set<int>>>>>>": [{"a": [{1, 2}, {3}], "b": []}],
    "list<frozen<tuple<int, text>>>": [[(1, "a"), (2, None)]],
    "tuple<int, text, frozen<list<float>>>": [(1, "a", [0.5, 1.5]), (None, "b", None)],
    "frozen<address>": [Address("Elm Street", 1), Address(None, 2)],
    "map<int, frozen<address>>": [{1: Address("Elm Street", 1), 2: Address("Main", None)}],
    "vector<float, 3>": [[0.0, 1.5, -2.5], [1.0, 2.0, 3.0]],
    "vector<text, 2>": [["a", "a longer one"]],
}
if not hasattr(VectorType, "serial_size"):  # 3.29.0 encodes only vectors of a fixed size right
    del SAMPLES["vector<text, 2>"]


def plain(value: Any) -> Any:
    """Return `value` with the drivers' containers as Python's own, so that they compare."""
    if isinstance(value, tuple):
        return tuple(plain(each) for each in value)
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, set | sortedset):
        return frozenset(plain(each) for each in value)
    if hasattr(value, "items"):
        return {plain(key): plain(each) for key, each in value.items()}
    return value


@pytest.fixture(scope="module")
def columns(session: Any) -> dict[str, str]:
    """The table "typed", with a column for each type; the name of each one's column."""
    names = {kind: f"c{number}" for number, kind in enumerate(SAMPLES)}
    defined = ", ".join(f"{name} {kind}" for kind, name in names.items())
    session.execute("CREATE TYPE IF NOT EXISTS address (street text, number int)")
    session.execute(f"CREATE TABLE typed (run uuid, key int, {defined}, PRIMARY KEY (run, key))")
    return names


@any_executor
@pytest.mark.parametrize("kind", SAMPLES)
def test_round_trip(
    make_executor: MakeExecutor, kind: str, session: Any, columns: dict[str, str]
) -> None:
    column = columns[kind]
    insert = session.prepare(f"INSERT INTO typed (run, key, {column}) VALUES (?, ?, ?)")
    select = session.prepare(f"SELECT {column} FROM typed WHERE run = ? AND key = ?")
    run = uuid.uuid4()
    samples = [*SAMPLES[kind], None]
    keys = [(run, key) for key in range(len(samples))]
    with make_executor(session) as executor:
        parameters = [(*key, sample) for key, sample in zip(keys, samples, strict=True)]
        assert all(result.success for result in executor.map(insert, parameters))
        read = [result.unwrap().one()[0] for result in executor.map(select, keys)]
        assert [plain(value) for value in read] == [plain(sample) for sample in samples]
        assert [type(value) for value in read] == [
            type(session.execute(select, key).one()[0]) for key in keys
        ]
        assert read[-1] is None


@any_executor
def test_unset_keeps_and_null_removes(
    make_executor: MakeExecutor, session: Any, rows: Rows
) -> None:
    count = 30
    rows.fill(count)

    def value(key: int) -> Any:
        return [None, UNSET_VALUE, f"new {key}"][key % 3]

    parameters = [(rows.run, key, value(key)) for key in range(count)]
    # One that is left out at the end of a sequence, or out of a mapping, is unset as well.
    parameters[4:5] = [(rows.run, 4)]  # type: ignore[list-item]
    parameters[7:8] = [{"run": rows.run, "key": 7}]  # type: ignore[list-item]
    with make_executor(session) as executor:
        executor.map(rows.insert, parameters).all()
    kept = [None, "value {}", "new {}"]
    assert rows.written() == {
        key: None if (text := kept[key % 3]) is None else text.format(key) for key in range(count)
    }


@any_executor
def test_whole_rows_of_every_type(
    make_executor: MakeExecutor, session: Any, columns: dict[str, str]
) -> None:
    """All types in one statement, its parameters as mappings, each row another mixture."""
    names = list(columns.values())
    places = ", ".join("?" * len(names))
    insert = session.prepare(
        f"INSERT INTO typed (run, key, {', '.join(names)}) VALUES (?, ?, {places})"
    )
    select = session.prepare(f"SELECT {', '.join(names)} FROM typed WHERE run = ? AND key = ?")
    run = uuid.uuid4()
    count = 60

    def row(key: int) -> OrderedDict[str, Any]:
        chosen = [samples[key % len(samples)] for samples in SAMPLES.values()]
        return OrderedDict(zip(names, chosen, strict=True))

    with make_executor(session) as executor:
        executor.map(insert, ({"run": run, "key": key, **row(key)} for key in range(count))).all()
        results = executor.map(select, ((run, key) for key in range(count)))
        for key, result in enumerate(results):
            assert plain(tuple(result.unwrap().one())) == plain(tuple(row(key).values()))


@any_executor
def test_counters(make_executor: MakeExecutor, session: Any) -> None:
    session.execute(
        "CREATE TABLE IF NOT EXISTS counted (run uuid, key int, total counter, "
        "PRIMARY KEY (run, key))"
    )
    update = session.prepare("UPDATE counted SET total = total + ? WHERE run = ? AND key = ?")
    run = uuid.uuid4()
    with make_executor(session) as executor:
        executor.map(update, [(number, run, number % 7) for number in range(-50, 350)]).all()
    found = session.execute("SELECT key, total FROM counted WHERE run = %s", (run,))
    assert {row.key: row.total for row in found} == {
        key: sum(number for number in range(-50, 350) if number % 7 == key) for key in range(7)
    }
