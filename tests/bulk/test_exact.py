"""A record that failed is the same again, whatever its values are and however texts are read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy
import pyarrow as pa
import pytest
from cassandra import cqltypes
from cassandra.util import Date, Duration, OrderedMap, SortedSet, Time
from hypothesis import given
from hypothesis import strategies as st

from concurrent_exec.bulk import ConvertingOptions, FailedSource
from concurrent_exec.bulk.binding import Binding
from concurrent_exec.bulk.converting import is_hashable
from concurrent_exec.bulk.exact import Unknown, keep, restore
from concurrent_exec.bulk.failed import failed_line, not_found_line, rejected_line
from concurrent_exec.bulk.records import Chunk, Kind, Rejected
from concurrent_exec.bulk.types import conversion_of
from tests.bulk.samples import bound, chunk, prepared
from tests.bulk.test_converting import ADDRESS, same

ID = UUID("3f2504e0-4f89-11d3-9a0c-0305e82c3301")
TYPES = [
    *("AsciiType", "BooleanType", "BytesType", "DateType", "DecimalType", "DoubleType"),
    *("DurationType", "FloatType", "InetAddressType", "Int32Type", "IntegerType", "LongType"),
    *("SimpleDateType", "TimeType", "TimeUUIDType", "UTF8Type", "UUIDType"),
    *("ListType(BytesType)", "ListType(DateType)", "SetType(UTF8Type)", "SetType(BytesType)"),
    *("SetType(FrozenType(ListType(Int32Type)))", "MapType(BytesType, DateType)"),
    *("MapType(UTF8Type, DoubleType)", "MapType(FrozenType(ListType(UUIDType)), UTF8Type)"),
    *("TupleType(UTF8Type, BytesType)", "VectorType(FloatType, 2)"),
]
OPTIONS = st.builds(
    ConvertingOptions,
    nulls=st.sampled_from([[""], ["NULL", "0x00"], []]),
    true=st.sampled_from([["true"], ["1", "0x01"]]),
    timestamp_unit=st.sampled_from(["s", "ms", "us", "ns"]),
    timestamp_format=st.sampled_from([None, "%d.%m.%Y"]),
    date_format=st.sampled_from([None, "%d.%m.%Y"]),
    time_format=st.sampled_from([None, "%I:%M %p"]),
    time_zone=st.sampled_from(["UTC", "Europe/Berlin"]),
    blob=st.sampled_from(["hex", "base64"]),
)
TEXTS = st.one_of(
    st.sampled_from(
        ["", "NULL", "true", "0x00", "AAAA", "1", "NaN", "$bytes", "[1]", "31.12.1999"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
)
# What Berlin goes through twice, with and without a word on which time it is.
TWICE = datetime(2026, 10, 25, 2, 30)
SCALARS = st.one_of(
    TEXTS,
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.binary(max_size=4),
    st.builds(bytearray, st.binary(max_size=4)),
    st.datetimes(),
    st.datetimes(timezones=st.sampled_from([UTC, ZoneInfo("Europe/Berlin")])),
    st.sampled_from([TWICE, TWICE.replace(fold=1)]),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.sampled_from([ID, ip_address("127.0.0.1"), ip_address("::1"), Fraction(1, 3)]),
    st.builds(Date, st.integers(-(2**31), 2**31 - 1)),
    st.builds(Time, st.integers(0, 86_399_999_999_999)),
    st.builds(Duration, *[st.integers(-9, 9)] * 3),
    st.builds(numpy.bool_, st.booleans()),
    st.builds(numpy.int64, st.integers(-5, 5)),
    st.builds(numpy.float32, st.integers(-5, 5)),
    st.builds(numpy.datetime64, st.datetimes()),
    st.sampled_from([numpy.datetime64("NaT"), numpy.timedelta64(1, "M"), object()]),
)
KEYS = SCALARS.filter(is_hashable)
NATIVE = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.tuples(inner, inner),
        st.frozensets(KEYS, max_size=2),
        st.builds(SortedSet, st.lists(st.lists(st.integers(), max_size=2), max_size=2)),
        st.dictionaries(KEYS, inner, max_size=2),
        st.dictionaries(st.sampled_from(["$bytes", "$object", "a"]), inner, max_size=2),
        st.builds(numpy.array, st.lists(st.floats(width=32), max_size=2)),
    ),
    max_leaves=4,
)
JSON = st.recursive(
    st.one_of(
        TEXTS,
        st.booleans(),
        st.integers(),
        st.floats().map(lambda number: Decimal(repr(number)) if math.isfinite(number) else number),
        st.from_regex(r"-?[1-9][0-9]{0,20}\.[0-9]{1,20}(e[0-9]{1,3})?", fullmatch=True).map(
            Decimal
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["$bytes", "$map", "a", "1"]), inner, max_size=2),
    ),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exact") / "failed.jsonl"


def sent(value: Any, kind: Kind, cql: Any, options: ConvertingOptions) -> Any:
    """What is sent for `value`, as it can be compared; None where it is refused."""
    looked_up = cqltypes.lookup_casstype(cql) if isinstance(cql, str) else cql
    conversion = conversion_of(looked_up, options)
    try:
        return shown(conversion.text(value) if kind == "text" else conversion.value(value))
    except Exception:  # whatever a value does
        return None


def shown(value: Any) -> Any:
    if isinstance(value, AbstractSet):
        return "set", sorted(map(repr, map(shown, value)))
    if isinstance(value, Mapping):
        return "map", [(shown(key), shown(each)) for key, each in value.items()]
    if isinstance(value, list | tuple):
        return type(value), list(map(shown, value))
    if isinstance(value, int):
        return type(value), hex(value)
    # Not as a subclass, such as one of numpy's, shows itself.
    for kind in (str, bytes, float):
        if isinstance(value, kind):
            return kind, kind.__repr__(value)
    return type(value), repr(value)


def failed_twice(file: Path, values: Chunk) -> Chunk:
    """The chunk that a record is in when it is taken for the third time."""
    for _ in range(2):
        file.write_bytes(failed_line(values, 0, ValueError(), 1))
        (values,) = FailedSource(file).chunks()
    return values


@pytest.mark.parametrize(
    ("kind", "values"),
    [("text", TEXTS), ("json", JSON), ("python", NATIVE)],
    ids=["text", "json", "python"],
)
def test_what_is_taken_again_is_sent_as_at_first(file: Path, kind: Kind, values: Any) -> None:
    """To a column of any type, however texts are read: or it is refused as it was."""

    @given(value=values, options=OPTIONS)
    def check(value: Any, options: ConvertingOptions) -> None:
        taken = failed_twice(file, chunk(kind, v=[value]))
        assert (taken.kind, list(taken.rejected)) == (kind, [])
        (again,) = taken.columns["v"]
        for cql in (*TYPES, ADDRESS):
            assert sent(again, kind, cql, options) == sent(value, kind, cql, options), cql

    check()


WRITTEN: list[tuple[Any, Any]] = [
    ("0x00", "0x00"),
    (1.5, 1.5),
    (b"\x00\xff", {"$bytes": "0x00ff"}),
    (math.nan, {"$float": "nan"}),
    (Decimal("1.5"), {"$decimal": "1.5"}),
    (
        datetime(2026, 11, 27, tzinfo=timezone(timedelta(hours=1))),
        {"$datetime": "2026-11-27T00:00:00+01:00"},
    ),
    (TWICE.replace(fold=1), {"$datetime": ["2026-10-25T02:30:00", 1]}),
    (date(2026, 11, 27), {"$date": "2026-11-27"}),
    (time(5, 6), {"$time": "05:06:00"}),
    (timedelta(seconds=-1), {"$microseconds": -1_000_000}),
    (Duration(1, -2, 3), {"$duration": [1, -2, 3]}),
    (pa.scalar((1, 2, 3), pa.month_day_nano_interval()).as_py(), {"$duration": [1, 2, 3]}),
    (ID, {"$uuid": str(ID)}),
    (ip_address("::1"), {"$inet": "::1"}),
    (Date(5), {"$days": 5}),
    (Time(5), {"$nanoseconds": 5}),
    ({b"a"}, {"$set": [{"$bytes": "0x61"}]}),
    ({"a": b"a"}, {"a": {"$bytes": "0x61"}}),
    ({1: "a"}, {"$map": [[1, "a"]]}),
    ({"$bytes": "0x61"}, {"$map": [["$bytes", "0x61"]]}),
    (OrderedMap([([1], "a")]), {"$map": [[[1], "a"]]}),
]


@pytest.mark.parametrize(("value", "written"), WRITTEN)
def test_what_is_written_can_be_read_by_people(value: Any, written: Any) -> None:
    assert keep(value, "python") == written
    assert keep(restore(written, "python"), "python") == written


def test_an_integer_that_python_writes_in_no_decimals() -> None:
    for number in (1 << 20_000, -1 << 20_000):
        assert keep(number, "json") == {"$int": hex(number)}
        assert restore(keep(number, "json"), "json") == number


@pytest.mark.parametrize("digits", ["1e9", "12", "-12", "0x1_0", "0X10", " 0x10", "0x", "+0x1", 12])
def test_an_integer_with_other_digits_is_not_read_as_another(digits: Any, file: Path) -> None:
    """Decimal digits are hexadecimal ones, too: what somebody meant by them is not known."""
    file.write_text(json.dumps({"record": {"v": {"$int": digits}}, "input": "json"}))
    binding = Binding(prepared(v="IntegerType"), ["v"])
    assert bound(binding, FailedSource(file)) == ([], ["record 1, v: must be of type varint"])


class Spiteful:
    """What a caller's own object may do."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError

    def __repr__(self) -> str:
        raise RuntimeError


def test_what_no_column_takes_is_refused_again(file: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    for value, told in ((Spiteful(), "Spiteful"), (endless, "[[...]]"), (1j, "1j")):
        assert keep(value, "python") == {"$object": told}
        taken = failed_twice(file, chunk("python", v=[value]))
        assert taken.columns["v"] == [Unknown(told)]
        for cql in TYPES:
            assert sent(Unknown(told), "python", cql, ConvertingOptions()) is None


def test_what_was_mended_into_nothing_is_refused() -> None:
    every: list[Any] = [{"$bytes": "xyz"}, {"$date": 5}, {"$map": [1]}, {"$datetime": []}]
    for mended in every:
        assert isinstance(restore(mended, "json"), Unknown)
    assert restore({"$other": "0x61"}, "json") == {"$other": "0x61"}


def test_a_number_that_was_mended_keeps_all_its_digits() -> None:
    for text, value in (
        ("1.5", 1.5),
        ("1.50", Decimal("1.50")),
        ("0." + "1" * 30, Decimal("0." + "1" * 30)),
    ):
        assert same(restore(json.loads(text, parse_float=Decimal), "python"), value)


@pytest.mark.parametrize("record", [b"ab", {1, 2}, numpy.array([1, 2]), 1.5, {}.items()], ids=repr)
def test_what_was_no_record_is_none_again(file: Path, record: Any) -> None:
    rejected = Rejected(0, "", 1, record, "ParseError", "record 1: must be a mapping")
    file.write_bytes(rejected_line(rejected, "python"))
    (taken,) = FailedSource(file).chunks()
    (again,) = taken.rejected
    assert (again.kind, again.message) == (rejected.kind, rejected.message)


def test_records_that_found_nothing_are_taken_as_they_were(file: Path) -> None:
    file.write_bytes(not_found_line(chunk("python", v=[b"a"]), 0))
    assert json.loads(file.read_text())["record"] == {"v": {"$bytes": "0x61"}}
    (taken,) = FailedSource(file).chunks()
    assert taken.columns == {"v": [b"a"]}
