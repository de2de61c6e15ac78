"""Every type of CQL from CSV, JSON Lines, Arrow and Parquet, by a Binding and an executor."""

from __future__ import annotations

import csv
import json
import uuid
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet
import pytest
from cassandra.cqltypes import VectorType
from cassandra.util import Date, Duration, Time

from concurrent_exec import BatchExecutor, CallbackExecutor, DirectExecutor
from concurrent_exec.bulk.binding import Binding
from concurrent_exec.bulk.options import ConvertingOptions
from concurrent_exec.bulk.records import Source
from concurrent_exec.bulk.sources import open_source, source_of
from tests.integration.test_types import plain

pytestmark = pytest.mark.cluster

ID = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
MOMENT = datetime(2013, 1, 1, 5, 0, 0, 123_000)
BEFORE = datetime(1969, 12, 31, 23, 59, 59, 999_000)
PLACE = pa.struct([("street", pa.string()), ("number", pa.int32())])
PAIR = pa.struct([("0", pa.int32()), ("1", pa.string())])


class Case(NamedTuple):
    """A value in each form of input."""

    text: str
    """Of CSV; of JSON as well, where it is JSON, else a string of JSON."""
    stored: Any
    """What comes back from the table."""
    arrow: Any = None
    """The type in Arrow; a string if None."""
    given: Any = None
    """The value in Arrow, if it is not what is stored."""


CASES: dict[str, list[Case]] = {
    "ascii": [Case("a b", "a b")],
    "bigint": [
        Case(str(-(2**63)), -(2**63), pa.int64()),
        Case(str(2**63 - 1), 2**63 - 1, pa.int64()),
    ],
    "blob": [Case("0x00ff", b"\x00\xff", pa.binary()), Case("0x", b"", pa.binary())],
    "boolean": [Case("true", True, pa.bool_()), Case("FALSE", False, pa.bool_())],
    "date": [
        Case("2024-02-29", Date("2024-02-29"), pa.date32(), date(2024, 2, 29)),
        Case("1969-12-31", Date(-1), pa.date64(), date(1969, 12, 31)),
    ],
    "decimal": [
        Case("-1.50", Decimal("-1.50"), pa.decimal128(9, 2)),
        Case("0.123456789012345678901", Decimal("0.123456789012345678901"), pa.decimal128(30, 21)),
        Case("1E+40", Decimal("1E+40")),
    ],
    "double": [Case("-1.1", -1.1, pa.float64()), Case("inf", float("inf"), pa.float64())],
    "duration": [
        Case("1y1mo2d3s7ns", Duration(13, 2, 3_000_000_007)),
        Case("-P1M2DT3S", Duration(-1, -2, -3_000_000_000)),
        Case("1mo2d3ns", Duration(1, 2, 3), pa.month_day_nano_interval(), (1, 2, 3)),
    ],
    "float": [Case("-1.5", -1.5, pa.float32())],
    "inet": [Case("127.0.0.1", "127.0.0.1"), Case("2001:DB8::1", "2001:db8::1")],
    "int": [Case(str(-(2**31)), -(2**31), pa.int32())],
    "smallint": [Case("-32768", -32768, pa.int16())],
    "text": [
        Case('Grüße, "世界"\r\n\U0001f600', 'Grüße, "世界"\r\n\U0001f600'),
        Case("a\0b", "a\0b", pa.dictionary(pa.int8(), pa.string())),
    ],
    "time": [Case("23:59:59.999999999", Time(86399_999999999), pa.time64("ns"), 86399_999999999)],
    "timestamp": [
        Case("2013-01-01T05:00:00.123Z", MOMENT, pa.timestamp("ms", "UTC")),
        Case("2013-01-01 06:00:00.123+01:00", MOMENT, pa.timestamp("us")),
        Case("1357016400123", MOMENT, pa.timestamp("ns", "America/New_York")),
        Case("1969-12-31T23:59:59.999Z", BEFORE, pa.timestamp("ns")),
    ],
    "timeuuid": [Case(ID, uuid.UUID(ID))],
    "tinyint": [Case("-128", -128, pa.int8())],
    "uuid": [Case(ID, uuid.UUID(ID), pa.uuid(), uuid.UUID(ID).bytes)],
    "varint": [Case(str(-(2**200)), -(2**200))],
    "list<int>": [Case("[3, 1, 3]", [3, 1, 3], pa.list_(pa.int32()))],
    "set<text>": [Case('["b", "a", "b"]', {"a", "b"}, pa.list_(pa.string()), ["b", "a", "b"])],
    "map<text, int>": [Case('{"a": 1}', {"a": 1}, pa.map_(pa.string(), pa.int32()), [("a", 1)])],
    "map<timestamp, boolean>": [
        Case(
            '{"2013-01-01T05:00:00.123Z": true}',
            {MOMENT: True},
            pa.map_(pa.timestamp("ms"), pa.bool_()),
            [(MOMENT, True)],
        ),
    ],
    "frozen<map<text, frozen<list<frozen<set<int>>>>>>": [
        Case(
            '{"a": [[2, 1], [3]], "b": []}',
            {"a": [{1, 2}, {3}], "b": []},
            pa.map_(pa.string(), pa.list_(pa.list_(pa.int32()))),
            [("a", [[2, 1], [3]]), ("b", [])],
        ),
    ],
    "set<frozen<map<text, int>>>": [
        Case(
            '[{"a": 1}]',
            [{"a": 1}],
            pa.list_(pa.map_(pa.string(), pa.int8())),
            [[("a", 1)]],
        ),
    ],
    "map<frozen<tuple<int, text>>, int>": [
        Case(
            '{"[1, \\"a\\"]": 3}',
            {(1, "a"): 3},
            pa.map_(PAIR, pa.int8()),
            [({"0": 1, "1": "a"}, 3)],
        ),
    ],
    "map<frozen<list<int>>, int>": [
        Case('{"[1, 2]": 3}', [([1, 2], 3)], pa.map_(pa.list_(pa.int8()), pa.int8())),
    ],
    "tuple<int, text>": [Case('[1, "a"]', (1, "a"), PAIR, {"0": 1, "1": "a"})],
    "list<frozen<tuple<int, text>>>": [
        Case(
            '[[1, "a"], [2, null]]',
            [(1, "a"), (2, None)],
            pa.list_(PAIR),
            [{"0": 1, "1": "a"}, {"0": 2, "1": None}],
        ),
    ],
    "frozen<place>": [
        Case('{"number": 1, "street": "Elm"}', ("Elm", 1), PLACE, {"street": "Elm", "number": 1}),
        Case('{"number": 1}', (None, 1), pa.struct([("number", pa.int8())]), {"number": 1}),
        Case('["Elm", null]', ("Elm", None), PLACE, {"street": "Elm", "number": None}),
    ],
    "map<int, frozen<place>>": [
        Case(
            '{"1": {"street": "Elm"}}',
            {1: ("Elm", None)},
            pa.map_(pa.int32(), PLACE),
            [(1, {"street": "Elm"})],
        ),
    ],
    "vector<float, 3>": [
        Case("[0, 1.5, -2.5]", [0.0, 1.5, -2.5], pa.list_(pa.float32(), 3)),
    ],
    "vector<text, 2>": [
        Case('["a", "a longer one"]', ["a", "a longer one"], pa.list_(pa.string())),
    ],
}
if not hasattr(VectorType, "serial_size"):  # 3.29.0 encodes only vectors of a fixed size right
    del CASES["vector<text, 2>"]


def comparable(value: Any) -> Any:
    """Like `plain`, but a map as its pairs where keys can't be hashed, and a set of maps a list."""
    if isinstance(value, list):
        return [comparable(each) for each in value]
    try:
        return plain(value)
    except TypeError:
        items = value.items() if hasattr(value, "items") else value
        return [comparable(each) for each in items]


@pytest.fixture(scope="module")
def columns(session: Any) -> dict[str, str]:
    """The tables "bulk_typed", with a column for each type, and "bulk_counted"."""
    names = {kind: f"c{number}" for number, kind in enumerate(CASES)}
    defined = ", ".join(f"{name} {kind}" for kind, name in names.items())
    session.execute("CREATE TYPE IF NOT EXISTS place (street text, number int)")
    session.execute(
        f"CREATE TABLE bulk_typed (run uuid, key int, {defined}, PRIMARY KEY (run, key))"
    )
    session.execute(
        "CREATE TABLE bulk_counted (run uuid, key int, total counter, PRIMARY KEY (run, key))"
    )
    return names


def from_csv(folder: Path, kind: str, run: uuid.UUID, cases: list[Case]) -> Source:
    with (folder / "x.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["value", "key", "run"])
        writer.writerows([case.text, key, run] for key, case in enumerate(cases))
        writer.writerow(["", len(cases), run])
    return open_source([str(folder / "x.csv")])


def from_json(folder: Path, kind: str, run: uuid.UUID, cases: list[Case]) -> Source:
    lines = []
    for key, case in enumerate(cases):
        value = case.text
        try:
            json.loads(value)
        except ValueError:
            value = json.dumps(value)
        lines.append(f'{{"key": {key}, "value": {value}, "run": "{run}"}}\n')
    lines.append(f'{{"key": {len(cases)}, "value": null, "run": "{run}"}}\n')
    (folder / "x.jsonl").write_text("".join(lines))
    return open_source([str(folder / "x.jsonl")])


def tables(run: uuid.UUID, cases: list[Case]) -> list[Any]:
    """A table for each case, as each may have its own type, and the last one for null."""
    made = []
    for key, case in enumerate([*cases, Case("", None, pa.null())]):
        given = case.stored if case.given is None else case.given
        value = pa.array([case.text if case.arrow is None else given], case.arrow)
        made.append(pa.table({"value": value, "key": [key], "run": [str(run)]}))
    return made


def from_arrow(folder: Path, kind: str, run: uuid.UUID, cases: list[Case]) -> list[Source]:
    return [source_of(table) for table in tables(run, cases)]


def from_parquet(folder: Path, kind: str, run: uuid.UUID, cases: list[Case]) -> list[Source]:
    opened = []
    for number, table in enumerate(tables(run, cases)):
        path = folder / f"{number}.parquet"
        try:
            pa.parquet.write_table(table, path)
        except pa.ArrowNotImplementedError:  # of an interval: Parquet has none
            assert kind == "duration"
            opened.append(source_of(table))
        else:
            opened.append(open_source([str(path)]))
    return opened


# That every executor sends values of every type is another test's; here each has a form of input.
WAYS: dict[str, tuple[Any, Callable[..., Any]]] = {
    "csv": (from_csv, CallbackExecutor),
    "json": (from_json, DirectExecutor),
    "arrow": (from_arrow, partial(BatchExecutor, batch_mode="replica_set", linger=0)),
    "parquet": (from_parquet, CallbackExecutor),
}


@pytest.mark.parametrize(("read", "make_executor"), WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("kind", CASES)
def test_every_type_comes_back_as_it_was_written(
    make_executor: Callable[..., Any],
    kind: str,
    read: Any,
    session: Any,
    columns: dict[str, str],
    tmp_path: Path,
) -> None:
    cases = CASES[kind]
    run = uuid.uuid4()
    column = columns[kind]
    insert = session.prepare(f"INSERT INTO bulk_typed (run, key, {column}) VALUES (?, ?, ?)")
    opened = read(tmp_path, kind, run, cases)
    with make_executor(session) as executor:
        for source in opened if isinstance(opened, list) else [opened]:
            binding = Binding(insert, source.columns, map={"value": column}, missing="null")
            for chunk in source.chunks():
                _, parameters, rejected = binding.bind(chunk)
                assert rejected == []
                executor.map(insert, parameters).all()
    rows = session.execute(f"SELECT key, {column} FROM bulk_typed WHERE run = %s", (run,))
    stored = [comparable(value) for _, value in sorted(rows, key=lambda row: row.key)]
    assert stored == [*(comparable(case.stored) for case in cases), None]


def test_counters(session: Any, columns: dict[str, str], tmp_path: Path) -> None:
    update = session.prepare(
        "UPDATE bulk_counted SET total = total + :more WHERE run = :run AND key = :key"
    )
    run = uuid.uuid4()
    (tmp_path / "x.csv").write_text(f"key,more,run\n1,5,{run}\n1,-2,{run}\n2,7,{run}\n")
    source = open_source([str(tmp_path / "x.csv")])
    binding = Binding(update, source.columns)
    with DirectExecutor(session) as executor:
        for chunk in source.chunks():
            executor.map(update, binding.bind(chunk)[1]).all()
    found = session.execute("SELECT key, total FROM bulk_counted WHERE run = %s", (run,))
    assert {row.key: row.total for row in found} == {1: 3, 2: 7}


def test_a_name_that_two_markers_have_is_one_column(session: Any, columns: dict[str, str]) -> None:
    column = columns["int"]
    insert = session.prepare(f"INSERT INTO bulk_typed (run, key, {column}) VALUES (:r, :n, :n)")
    run = uuid.uuid4()
    source = source_of([{"r": run, "n": 5}])
    (chunk,) = source.chunks()
    _, (parameters,), _ = Binding(insert, source.columns).bind(chunk)
    session.execute(insert, parameters)
    (row,) = session.execute(f"SELECT key, {column} FROM bulk_typed WHERE run = %s", (run,))
    assert tuple(row) == (5, 5)


def test_unset_keeps_what_null_removes(session: Any, columns: dict[str, str]) -> None:
    column = columns["int"]
    insert = session.prepare(f"INSERT INTO bulk_typed (run, key, {column}) VALUES (?, ?, ?)")
    run = uuid.uuid4()
    source = source_of([{"run": run, "key": key, column: None} for key in range(2)])
    for key in range(2):
        session.execute(insert, (run, key, 5))
    (chunk,) = source.chunks()
    for key, missing in enumerate(("unset", "null")):
        binding = Binding(insert, source.columns, missing=missing)  # type: ignore[arg-type]
        session.execute(insert, binding.bind(chunk)[1][key])
    rows = session.execute(f"SELECT key, {column} FROM bulk_typed WHERE run = %s", (run,))
    assert sorted(map(tuple, rows)) == [(0, 5), (1, None)]


def test_what_is_missing_in_the_partition_key_is_never_sent(
    session: Any, columns: dict[str, str]
) -> None:
    insert = session.prepare("INSERT INTO bulk_typed (run, key) VALUES (?, ?)")
    source = source_of([{"run": None, "key": 1}])
    (chunk,) = source.chunks()
    _, parameters, rejected = Binding(insert, source.columns).bind(chunk)
    assert parameters == []
    assert [each.message for each in rejected] == [
        "record 1, run: must not be missing: it is part of the key"
    ]


def test_samples_are_what_the_node_will_have(session: Any, columns: dict[str, str]) -> None:
    column = columns["frozen<place>"]
    insert = session.prepare(f"INSERT INTO bulk_typed (run, key, {column}) VALUES (?, ?, ?)")
    source = source_of([{"run": ID, "key": "5", column: {"number": 1}}])
    options = ConvertingOptions()
    (chunk,) = source.chunks()
    *_, place = Binding(insert, source.columns, options=options).explain(chunk)
    assert (place.marker, place.cql) == (column, "frozen<place>")
    ((_, stored),) = place.samples
    assert tuple(stored) == (None, 1)
