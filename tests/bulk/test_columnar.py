"""Parquet, Arrow, frames and iterables as records."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
from cassandra.util import Date, Duration, OrderedMap, Time

from concurrent_exec.bulk.binding import Binding
from concurrent_exec.bulk.records import InputError, NoRecordsError
from concurrent_exec.bulk.sizes import mean_size, size_of
from concurrent_exec.bulk.sources import open_source, source_of
from tests.bulk.samples import UNSET, bound, prepared, records, rejected

TABLE = pa.table({"id": range(10_000), "name": [f"n{number}" for number in range(10_000)]})
EXPECTED = [(number, number + 1, number, f"n{number}") for number in range(10_000)]


def parquet(path: Path, table: Any = TABLE) -> None:
    pyarrow.parquet.write_table(table, path, row_group_size=3000)


def arrow_file(path: Path, table: Any = TABLE) -> None:
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=1500)


def arrow_stream(path: Path, table: Any = TABLE) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


def compressed(path: Path, table: Any = TABLE) -> None:
    file = pa.CompressedOutputStream(str(path), "zstd")
    with file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


FILES: list[tuple[str, Callable[..., None]]] = [
    ("x.parquet", parquet),
    ("x.arrow", arrow_file),
    ("x.feather", arrow_file),
    ("x.arrow", arrow_stream),
    ("x.arrow.zst", compressed),
]


@pytest.mark.parametrize(("name", "write"), FILES)
def test_files_are_read_in_chunks(tmp_path: Path, name: str, write: Any) -> None:
    write(tmp_path / name)
    found = open_source([str(tmp_path / name)])
    assert found.columns == ["id", "name"]
    assert records(found) == EXPECTED
    assert max(chunk.count for chunk in found.chunks()) <= 4096
    assert records(found, 9_998) == EXPECTED[9_998:]
    assert found.bytes_read == found.total_bytes


@pytest.mark.parametrize(("name", "write"), FILES)
def test_files_without_rows_have_columns(tmp_path: Path, name: str, write: Any) -> None:
    write(tmp_path / name, TABLE.slice(0, 0))
    found = open_source([str(tmp_path / name)])
    assert found.columns == ["id", "name"]
    assert records(found) == []


@pytest.mark.parametrize(("name", "write"), FILES)
def test_files_that_are_cut_are_told(tmp_path: Path, name: str, write: Any) -> None:
    path = tmp_path / name
    write(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    with pytest.raises(InputError, match=rf"{name}: is no whole (Parquet|Arrow) file: |Truncated"):
        list(open_source([str(path)]).chunks())


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow"])
@pytest.mark.parametrize("data", [b"", b"a,b\n1,2\n", b"PAR1", b"ARROW1\0\0"])
def test_files_that_are_something_else(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"{name}: is no whole (Parquet|Arrow) file: "):
        _ = open_source([str(path)]).columns


def test_a_row_that_is_long_makes_a_chunk_short(tmp_path: Path) -> None:
    long = pa.table({"v": ["x" * 2_000_000] * 6})
    for name, write in FILES:
        write(tmp_path / name, long)
        counts = [chunk.count for chunk in open_source([str(tmp_path / name)]).chunks()]
        assert sum(counts) == 6
        assert max(counts) <= 2


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    arrow_file(tmp_path / "x.arrow", table)
    with pytest.raises(InputError, match=r"x.arrow: two columns are called 'a'$"):
        _ = open_source([str(tmp_path / "x.arrow")]).columns
    with pytest.raises(InputError, match=r"^the table: two columns are called 'a'$"):
        _ = source_of(table).columns


class ArrowStream:
    """What offers nothing but Arrow's protocol for streams, as frames of all kinds do."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def test_frames_and_tables(tmp_path: Path) -> None:
    parquet(tmp_path / "x.parquet")
    offered: list[Any] = [
        TABLE,
        TABLE.to_pandas(),
        ArrowStream(TABLE),
        pa.dataset.dataset(tmp_path / "x.parquet"),
        tmp_path / "x.parquet",
        TABLE.to_pylist(),
        open_source([str(tmp_path / "x.parquet")]),
    ]
    for each in offered:
        found = source_of(each)
        assert found.columns == ["id", "name"]
        assert records(found) == EXPECTED
        assert records(found, 5_000) == EXPECTED[5_000:]
        assert found.fingerprint()
    assert source_of(TABLE).total_records == 10_000


def test_sequences_have_places() -> None:
    found = source_of([(1, "a"), [2, "b"]])
    assert found.columns == 2
    assert records(found) == [(0, 1, 1, "a"), (1, 2, 2, "b")]


def test_mappings_have_the_names_that_any_of_them_has() -> None:
    found = source_of([{"a": 1}, {"b": 2}])
    assert found.columns == ["a", "b"]
    assert records(found) == [(0, 1, 1, None), (1, 2, None, 2)]


def test_what_is_no_record_is_told_apart() -> None:
    found = source_of([{"a": 1}, "x", 5, {"a": 2}])
    assert records(found) == [(0, 1, 1), (3, 4, 2)]
    assert [(each.ordinal, each.record, each.message) for each in rejected(found)] == [
        (1, "x", "record 2: must be a mapping or a sequence of values"),
        (2, 5, "record 3: must be a mapping or a sequence of values"),
    ]
    with pytest.raises(InputError, match="none of the records can be read: record 1: must be"):
        _ = source_of([5]).columns


@pytest.mark.parametrize("once", [iter([{"a": 1}]), TABLE.to_reader()])
def test_what_can_be_read_once_is_read_once(once: Iterable[Any]) -> None:
    found = source_of(once)
    assert found.columns
    assert records(found)
    with pytest.raises(InputError, match=r"^the \w+ can be read only once$"):
        list(found.chunks())


def test_an_iterable_without_end_is_read_as_far_as_it_is_asked_for() -> None:
    def endless() -> Iterable[Any]:
        while True:
            yield {"a": 1}

    found = source_of(endless())
    assert found.columns == ["a"]
    assert found.total_records is None
    assert next(iter(found.chunks())).count > 0


def test_small_records_come_a_thousand_at_a_time() -> None:
    drawn = [chunk.count for chunk in source_of({"a": n} for n in range(2_500)).chunks()]
    assert drawn == [1_024, 1_024, 452]


def test_large_records_come_a_megabyte_at_a_time() -> None:
    """And no more than a few of them where small ones were before."""
    sizes = [*[10] * 2_048, *[1 << 18] * 160, *[10] * 2_000]
    taken, first = [], 0
    for chunk in source_of({"a": bytes(size)} for size in sizes).chunks():
        assert chunk.first == first
        first += chunk.count
        taken.append(sum(map(len, chunk.columns["a"])))
    assert first == len(sizes)
    *others, most = sorted(taken)
    assert most == 128 << 18
    assert others[-1] <= 5 << 18  # a megabyte, and one record more


def test_records_have_the_size_of_what_they_have() -> None:
    text = "x" * 10_000
    for value in (
        text,
        text.encode(),
        [text],
        (text,),
        {text},
        frozenset([text]),
        {text: 1},
        {"a": [{"b": (1, text)}]},
        OrderedMap([(text, 1)]),
    ):
        assert 10_000 < size_of(value) < 11_500, type(value)
    assert 10_000_000 < size_of({"a": [text] * 1_000}) < 10_500_000
    assert size_of(1) == sys.getsizeof(1)
    itself: list[Any] = []
    itself.append(itself)
    assert size_of(itself) < 1_000


def test_a_text_that_was_encoded_once_has_the_size_that_it_had() -> None:
    text = "".join(["\u20ac"] * 100)
    before, shown = size_of(text), sys.getsizeof(text)
    pa.array([text])  # asks for its UTF-8, which it keeps
    assert sys.getsizeof(text) > shown
    assert size_of(text) == before


def test_some_records_stand_for_all() -> None:
    assert mean_size([]) == 0
    assert mean_size([1, 1, 1]) == sys.getsizeof(1)
    assert mean_size([b""] * 500 + [bytes(10_000)] * 500) == pytest.approx(5_000, rel=0.02)


def test_a_record_that_has_no_size_is_a_record() -> None:
    class Odd(dict[str, Any]):
        def __sizeof__(self) -> int:
            raise RuntimeError("the caller's own")

    assert records(source_of([Odd(a=1)])) == [(0, 1, 1)]


def test_what_the_iterable_raises_reaches_the_caller() -> None:
    def broken() -> Iterable[Any]:
        yield {"a": 1}
        raise RuntimeError("the caller's own")

    with pytest.raises(RuntimeError, match="the caller's own"):
        list(source_of(broken()).chunks())


@pytest.mark.parametrize("make", [list, pandas.DataFrame, lambda: pa.table({}), lambda: iter([])])
def test_no_records(make: Callable[[], Any]) -> None:
    """It may be asked for what they have more often than they can be read."""
    found = source_of(make())
    for _ in range(2):
        with pytest.raises(NoRecordsError, match=r"^the \w+: there are no records$"):
            _ = found.columns
    assert found.fingerprint()["columns"] is None
    assert records(found) == []


@pytest.mark.parametrize("given", [5, None, {"a": 1}, b"a"])
def test_what_is_no_input_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="the records must be an iterable of mappings"):
        source_of(given)


MOMENT = datetime(2013, 1, 1, 5, tzinfo=UTC)
NEW_YEAR = 1357016400000
VALUES: list[tuple[Any, Any, str, Any]] = [
    (pa.int8(), 5, "Int32Type", 5),
    (pa.uint64(), 5, "LongType", 5),
    (pa.float32(), 0.5, "DoubleType", 0.5),
    (pa.float64(), 5.0, "Int32Type", 5),
    (pa.bool_(), True, "BooleanType", True),
    (pa.string(), "a", "UTF8Type", "a"),
    (pa.string(), "5", "Int32Type", 5),
    (pa.large_string(), "a", "UTF8Type", "a"),
    (pa.string_view(), "a", "UTF8Type", "a"),
    (pa.dictionary(pa.int8(), pa.string()), "a", "UTF8Type", "a"),
    (pa.dictionary(pa.int8(), pa.string()), "5", "Int32Type", 5),
    (pa.binary(), b"a", "BytesType", b"a"),
    (pa.decimal128(10, 2), Decimal("0.10"), "DecimalType", Decimal("0.10")),
    (pa.date32(), date(2013, 1, 1), "SimpleDateType", Date(date(2013, 1, 1))),
    (pa.date64(), date(2013, 1, 1), "SimpleDateType", Date(date(2013, 1, 1))),
    (pa.timestamp("s"), MOMENT.replace(tzinfo=None), "TimestampType", NEW_YEAR),
    (pa.timestamp("ms", "America/New_York"), MOMENT, "TimestampType", NEW_YEAR),
    (pa.timestamp("ns", "UTC"), NEW_YEAR * 1_000_000 + 1, "TimestampType", NEW_YEAR),
    (pa.timestamp("ns"), MOMENT.replace(tzinfo=None), "SimpleDateType", None),
    (pa.timestamp("ns"), datetime(2013, 1, 1), "SimpleDateType", Date(date(2013, 1, 1))),
    (pa.time32("s"), time(5, 6), "TimeType", Time("05:06:00")),
    (pa.time64("ns"), 8, "TimeType", Time(8)),
    (pa.duration("ns"), 3_000_000, "DurationType", Duration(0, 0, 3_000_000)),
    (pa.duration("us"), timedelta(1), "DurationType", Duration(0, 0, 86400 * 10**9)),
    (pa.month_day_nano_interval(), (1, 2, 3), "DurationType", Duration(1, 2, 3)),
    (pa.list_(pa.int32()), [1, 2], "ListType(Int32Type)", [1, 2]),
    (pa.list_(pa.float32(), 2), [1, 2], "VectorType(FloatType, 2)", [1.0, 2.0]),
    (pa.list_(pa.timestamp("ns")), [MOMENT.replace(tzinfo=None)], "ListType(DateType)", [NEW_YEAR]),
    (pa.map_(pa.string(), pa.int32()), [("a", 1)], "MapType(UTF8Type, Int32Type)", {"a": 1}),
    (
        pa.struct([("0", pa.int32()), ("1", pa.string())]),
        {"0": 1, "1": None},
        "TupleType(Int32Type, UTF8Type)",
        (1, None),
    ),
    (pa.timestamp("s"), 10**12, "TimestampType", None),
]


@pytest.mark.parametrize(("arrow", "given", "kind", "value"), VALUES)
def test_values_of_arrow(arrow: Any, given: Any, kind: str, value: Any) -> None:
    """None where the value is none of the type's."""
    table = pa.table({"v": pa.array([given, None], arrow)})
    for frame in (table, ArrowStream(table)):
        found = source_of(frame)
        parameters, messages = bound(Binding(prepared(v=kind), found.columns), found)
        if value is None:
            assert parameters == [(UNSET,)]
            assert messages[0].startswith("record 1, v: must be of type ")
        else:
            assert parameters == [(value,), (UNSET,)]
            assert type(parameters[0][0]) is type(value)


def test_the_gaps_of_a_frame_of_pandas_are_missing() -> None:
    frame = pandas.DataFrame(
        {
            "i": [1.0, float("nan")],
            "s": ["a", None],
            "t": pandas.to_datetime(["2013-01-01 05:00", None]),
            "n": pandas.array([5, None], dtype="Int64"),
            "c": pandas.Categorical(["x", None]),
        }
    )
    kinds = prepared(i="Int32Type", s="UTF8Type", t="DateType", n="LongType", c="AsciiType")
    found = source_of(frame)
    assert bound(Binding(kinds, found.columns), found) == (
        [(1, "a", NEW_YEAR, 5, "x"), (UNSET,) * 5],
        [],
    )


WITHOUT_PYARROW = """
import sys
sys.modules["pyarrow"] = sys.modules["pyarrow.parquet"] = None
from concurrent_exec.bulk.sizes import mean_size, size_of
from concurrent_exec.bulk.sources import open_source, source_of
print([chunk.columns for chunk in source_of([{"a": 1}]).chunks()])
open_source([sys.argv[1]]).columns
"""


def test_only_what_needs_pyarrow_asks_for_it(tmp_path: Path) -> None:
    parquet(tmp_path / "x.parquet")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYARROW, str(tmp_path / "x.parquet")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "[{'a': [1]}]\n"
    assert "reading Parquet needs the package pyarrow" in done.stderr
    assert "pip install 'concurrent-exec[bulk]'" in done.stderr
