"""What is told of a prepared write from its text and its table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from cassandra.cqltypes import (
    CounterColumnType,
    DecimalType,
    Int32Type,
    ListType,
    UTF8Type,
)
from cassandra.metadata import ColumnMetadata, TableMetadata
from cassandra.protocol import ColumnMetadata as Marker
from cassandra.query import PreparedStatement

from concurrent_exec.drivers.shapes import CELL_BYTES, ROW_BYTES, Shape

TYPES: dict[str, Any] = {
    "k": Int32Type,
    "c": Int32Type,
    "D": DecimalType,
    "s": UTF8Type,
    "v": UTF8Type,
    "w": UTF8Type,
    "l": ListType.apply_parameters([Int32Type]),
    "n": CounterColumnType,
}


def prepared(text: str, *columns: str) -> PreparedStatement:
    """What a node makes of `text`; the markers' names are those that it would give them."""
    markers = [Marker("ks", "t", name, TYPES[name.lstrip(":")]) for name in columns]
    keys = [number for number, name in enumerate(columns) if name in ("k", ":k")]
    return PreparedStatement(markers, b"id", keys, text, "ks", 4, None, None)


def shape(text: str, *columns: str, key: tuple[str, ...] = ("c",)) -> Shape | None:
    table = TableMetadata("ks", "t")
    for name, kind in TYPES.items():
        column = ColumnMetadata(table, name, kind.typename, is_static=name == "s")
        table.columns[name] = column
    table.partition_key = [table.columns["k"]]
    table.clustering_key = [table.columns[name] for name in key]
    return Shape.of(prepared(text, *columns), {"t": table})


ROWS = {
    "INSERT INTO t (k, c, v) VALUES (?, ?, ?)": ("k c v", (1,)),
    "INSERT INTO ks.t (v, c, k) VALUES (?, ?, ?) USING TTL 5;": ("v c k", (1,)),
    'insert into "t" ("k", "c", "v") values (?, ?, ?)': ("k c v", (1,)),
    "INSERT INTO t (k, l, c) VALUES (?, [1, 2, ?], ?)": ("k v c", (2,)),
    "INSERT INTO t (k, c, v) VALUES (:a, :b, :c)": ("k c v", (1,)),
    "INSERT INTO t (k, c, v) VALUES (:k, :v, :c)": ("k c v", (1,)),
    "INSERT INTO t (k, v, c) VALUES (?, 'a, b ? (', ?)": ("k c", (1,)),
    "UPDATE t SET v = ? WHERE k = ? AND c = ?": ("v k c", (2,)),
    "UPDATE t USING TTL ? SET v = ?, w = ? WHERE c = ? AND k = ?": ("c v w c k", (3,)),
    "UPDATE t SET l[?] = ? WHERE k = ? AND c = ?": ("c c k c", (3,)),
    "DELETE FROM t WHERE k = ? AND c = ? /* the row */": ("k c", (1,)),
    "DELETE v, w FROM t WHERE k = ? AND c = ?": ("k c", (1,)),
}
ANY_ROW = {
    "a literal": ("UPDATE t SET v = ? WHERE k = ? AND c = 0", "v k"),
    "a function": ("INSERT INTO t (k, c, v) VALUES (?, abs(?), ?)", "k c v"),
    "a range": ("DELETE FROM t WHERE k = ? AND c > ?", "k c"),
    "a range that looks like a row": ("DELETE FROM t WHERE k = ? AND c >= ?", "k c"),
    "the partition": ("DELETE FROM t WHERE k = ?", "k"),
    "a static column": ("UPDATE t SET s = ? WHERE k = ?", "s k"),
    "a static column with a row": ("INSERT INTO t (k, c, s) VALUES (?, ?, ?)", "k c s"),
    "columns in brackets": ("DELETE FROM t WHERE k = ? AND (c) = (?)", "k c"),
    "JSON": ("INSERT INTO t JSON ?", "k"),
    "markers that can't be told": ("UPDATE t SET v = {a: b} WHERE k = ? AND c = ?", "k c"),
}
ALONE = {
    "a read": ("SELECT v FROM t WHERE k = ?", "k"),
    "a conditional write": ("INSERT INTO t (k, c) VALUES (?, ?) IF NOT EXISTS", "k c"),
    "a counter": ("UPDATE t SET n = n + ? WHERE k = ? AND c = ?", "n k c"),
    "several rows": ("DELETE FROM t WHERE k = ? AND c IN (?, ?)", "k c c"),
    "a key that is not all markers": ("INSERT INTO t (k, c) VALUES (0, ?)", "c"),
    "nothing to bind": ("INSERT INTO t (k, c) VALUES (0, 0)", ""),
}


def _names(cases: Iterable[str]) -> list[str]:
    return [case.replace(" ", "-") for case in cases]


@pytest.mark.parametrize("text", ROWS, ids=range(len(ROWS)))
def test_the_row_is_told_by_its_markers(text: str) -> None:
    columns, row = ROWS[text]
    found = shape(text, *columns.split())
    assert found is not None
    assert (found.table, found.row) == (("ks", "t"), row)


@pytest.mark.parametrize("what", ANY_ROW, ids=_names(ANY_ROW))
def test_what_may_touch_any_row(what: str) -> None:
    text, columns = ANY_ROW[what]
    found = shape(text, *columns.split())
    assert found is not None
    assert found.row is None


@pytest.mark.parametrize("what", ALONE, ids=_names(ALONE))
def test_what_goes_alone(what: str) -> None:
    text, columns = ALONE[what]
    assert shape(text, *columns.split()) is None


def test_values_that_are_equal_with_other_bytes_tell_no_row() -> None:
    found = shape('INSERT INTO t (k, "D") VALUES (?, ?)', "k", "D", key=("D",))
    assert found is not None
    assert found.row is None


def test_a_table_without_clustering_key_has_one_row() -> None:
    found = shape("INSERT INTO t (k, v) VALUES (?, ?)", "k", "v", key=())
    assert found is not None
    assert found.row == ()


def test_an_unknown_table_tells_no_row() -> None:
    found = Shape.of(prepared("INSERT INTO t (k, c) VALUES (?, ?)", "k", "c"), None)
    assert found is not None
    assert found.row is None


def test_the_weight() -> None:
    found = shape("INSERT INTO t (k, c, l, v) VALUES (?, ?, ?, 'abc')", "k", "c", "l")
    assert found is not None
    assert found.bytes == ROW_BYTES + 4 * CELL_BYTES + len("'abc'")
    assert (found.times, found.collections) == (1, (2,))
    found = shape("DELETE v, w FROM t WHERE k = ? AND c = ?", "k", "c")
    assert found is not None
    assert (found.bytes, found.times) == (ROW_BYTES + 2 * CELL_BYTES, 2)
