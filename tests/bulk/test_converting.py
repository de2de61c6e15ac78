"""Texts, JSON and objects of Python as the values of every CQL type."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import numpy
import pytest
from cassandra import cqltypes
from cassandra.util import Date, Duration, OrderedMap, SortedSet, Time
from hypothesis import given
from hypothesis import strategies as st

from concurrent_exec.bulk.converting import Conversion
from concurrent_exec.bulk.options import ConvertingOptions
from concurrent_exec.bulk.types import conversion_of

UUID_TEXT = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
NEW_YEAR = 1357016400000
ADDRESS = cqltypes.UserType.make_udt_class(
    "ks", "address", ("street", "number"), (cqltypes.UTF8Type, cqltypes.Int32Type)
)


def conversion(kind: Any, **options: Any) -> Conversion:
    looked_up = cqltypes.lookup_casstype(kind) if isinstance(kind, str) else kind
    return conversion_of(looked_up, ConvertingOptions(**options))


def same(found: Any, value: Any) -> bool:
    return type(found) is type(value) and (found == value or (found != found and value != value))


TEXTS: list[tuple[Any, str, Any]] = [
    ("UTF8Type", " é\0 ", " é\0 "),
    ("AsciiType", "a", "a"),
    ("ByteType", "-128", -128),
    ("ShortType", "+5", 5),
    ("Int32Type", "2147483647", 2147483647),
    ("LongType", "-9223372036854775808", -(2**63)),
    ("IntegerType", "9" * 40, int("9" * 40)),
    ("CounterColumnType", "007", 7),
    ("FloatType", "1.5", 1.5),
    ("FloatType", "3.4028234e38", 3.4028234e38),
    ("DoubleType", "-.5e3", -500.0),
    ("DoubleType", "-Infinity", -math.inf),
    ("DoubleType", "NaN", math.nan),
    ("DecimalType", "-0.10", Decimal("-0.10")),
    ("DecimalType", "1e-1000", Decimal("1e-1000")),
    ("BooleanType", "TRUE", True),
    ("BooleanType", "False", False),
    ("BooleanType", "tRuE", True),
    ("UUIDType", UUID_TEXT, UUID(UUID_TEXT)),
    ("TimeUUIDType", UUID_TEXT, UUID(UUID_TEXT)),
    ("TimestampType", "2013-01-01T05:00:00Z", NEW_YEAR),
    ("TimestampType", "2013-01-01 05:00", NEW_YEAR),
    ("TimestampType", "2013-01-01 06:00:00.000999+0100", NEW_YEAR),
    ("TimestampType", "2013-01-01T00:00:00.001-05:00", NEW_YEAR + 1),
    ("TimestampType", "2013-01-01", NEW_YEAR - 5 * 3_600_000),
    ("TimestampType", "0001-01-01", -62135596800000),
    ("TimestampType", "1969-12-31T23:59:59.9999Z", -1),
    ("TimestampType", "-1", -1),
    ("SimpleDateType", "2013-01-01", Date(date(2013, 1, 1))),
    ("SimpleDateType", "0001-01-01", Date(date(1, 1, 1))),
    ("TimeType", "05:06:07.000000008", Time("05:06:07.000000008")),
    ("TimeType", "23:59", Time("23:59:00")),
    ("DurationType", "1y2mo3w4d5h6m7s8ms9us10ns", Duration(14, 25, 18367_008009010)),
    ("DurationType", "-P1Y2M3DT4H5M6S", Duration(-14, -3, -14706_000000000)),
    ("DurationType", "P3W", Duration(0, 21, 0)),
    ("DurationType", "P0001-02-03T04:05:06", Duration(14, 3, 14706_000000000)),
    ("DurationType", "PT1H", Duration(0, 0, 3600_000000000)),
    ("DurationType", "0s", Duration(0, 0, 0)),
    ("InetAddressType", "2001:DB8::1", "2001:db8::1"),
    ("InetAddressType", "127.0.0.1", "127.0.0.1"),
    ("BytesType", "0x00ff", b"\x00\xff"),
    ("BytesType", "0x", b""),
    ("ListType(Int32Type)", "[1, 2]", [1, 2]),
    ("SetType(UTF8Type)", '["b", "a", "b"]', {"a", "b"}),
    ("SetType(FrozenType(ListType(Int32Type)))", "[[1], [2]]", [[1], [2]]),
    ("MapType(Int32Type, DecimalType)", '{"1": 0.10}', {1: Decimal("0.10")}),
    ("MapType(UUIDType, BooleanType)", f'{{"{UUID_TEXT}": false}}', {UUID(UUID_TEXT): False}),
    ("TupleType(Int32Type, UTF8Type)", "[1, null]", (1, None)),
    (ADDRESS, '{"number": 5}', (None, 5)),
    (ADDRESS, '["Elm", 5]', ("Elm", 5)),
    ("ListType(TimestampType)", '["2013-01-01T05:00:00Z", 5]', [NEW_YEAR, 5]),
    ("VectorType(FloatType, 3)", "[1, 2.5, 3]", [1.0, 2.5, 3.0]),
]


@pytest.mark.parametrize(("kind", "text", "value"), TEXTS)
def test_texts_are_read_as_the_type_has_them(kind: Any, text: str, value: Any) -> None:
    """One by one, all at once, and as a string of JSON; and the driver takes the values."""
    found = conversion(kind)
    looked_up = cqltypes.lookup_casstype(kind) if isinstance(kind, str) else kind
    assert same(found.text(text), value)
    try:
        several = found.texts([text, text, text])
    except (ValueError, KeyError):  # all at once may be stricter: then it is done one by one
        assert text in ("NaN", "-Infinity", "tRuE")
    else:
        assert len(several) == 3
        assert all(same(each, value) for each in several)
    if not text.startswith(("[", "{")):
        assert same(found.value(text), value)
    assert isinstance(looked_up.serialize(value, 4), bytes)


def test_a_map_whose_keys_can_not_be_hashed() -> None:
    kind = "MapType(FrozenType(ListType(Int32Type)), Int32Type)"
    found = conversion(kind).text('{"[1, 2]": 3}')
    assert isinstance(found, OrderedMap)
    assert list(found.items()) == [([1, 2], 3)]
    assert cqltypes.lookup_casstype(kind).serialize(found, 4)


WRONG_TEXTS: list[tuple[Any, str, str]] = [
    ("AsciiType", "é", ""),
    ("UTF8Type", "\udcff", ""),
    ("ByteType", "128", ", from -128 to 127"),
    ("ShortType", "-32769", ", from -32768 to 32767"),
    ("Int32Type", "2147483648", ", from -2147483648 to 2147483647"),
    ("LongType", "9223372036854775808", ", from -9223372036854775808 to 9223372036854775807"),
    ("CounterColumnType", str(2**63), ", from -9223372036854775808 to 9223372036854775807"),
    ("Int32Type", "1.0", ""),
    ("Int32Type", " 1", ""),
    ("Int32Type", "1-", ""),
    ("Int32Type", "--1", ""),
    ("Int32Type", "1_000", ""),
    ("Int32Type", "٣", ""),
    ("Int32Type", "1\0", ""),
    ("Int32Type", "", ""),
    ("IntegerType", "9" * 5000, ""),
    ("FloatType", "1e39", ", from -3.4e38 to 3.4e38"),
    ("FloatType", "-1e39", ", from -3.4e38 to 3.4e38"),
    ("DoubleType", "1e400", ", from -1.8e308 to 1.8e308"),
    ("DoubleType", "1_0", ""),
    ("DoubleType", "0x1", ""),
    ("DoubleType", "1 ", ""),
    ("DoubleType", "\t1", ""),
    ("DoubleType", "٣", ""),
    ("DecimalType", "inf", ""),
    ("DecimalType", "sNaN", ""),
    ("DecimalType", "1e-9999999999", ", whose scale is from -2147483648 to 2147483647"),
    ("BooleanType", "yes", ""),
    ("BooleanType", "1", ""),
    ("UUIDType", "3f2504e0", ""),
    ("TimeUUIDType", "3f2504e0-4f89-41d3-9a0c-0305e82c3301", ", a UUID of version 1"),
    ("TimestampType", "yesterday", ", in the form of ISO 8601"),
    ("TimestampType", "9" * 20, ", from -9223372036854775808 to 9223372036854775807"),
    ("TimestampType", "2013-02-30", ", in the form of ISO 8601"),
    ("SimpleDateType", "2013-02-30", ", in the form YYYY-MM-DD"),
    ("SimpleDateType", "10000-01-01", ", in the form YYYY-MM-DD"),
    ("TimeType", "25", ""),
    ("TimeType", "24:00:00", ", from 00:00 to 23:59:59.999999999"),
    ("TimeType", "01:00:00.0000000001", ""),
    ("DurationType", "", ""),
    ("DurationType", "P", ""),
    ("DurationType", "PT", ""),
    ("DurationType", "1h2d", ""),
    ("DurationType", "2147483648d", ", of less than 2^31 months and days and 2^63 nanoseconds"),
    ("InetAddressType", "example.com", ""),
    ("InetAddressType", "1.2.3", ""),
    ("InetAddressType", "fe80::1%eth0", ""),
    ("BytesType", "00ff", ", 0x and hexadecimal digits"),
    ("BytesType", "0x0", ""),
    ("BytesType", "0x0 0", ""),
    ("ListType(Int32Type)", "1", ""),
    ("ListType(Int32Type)", "[1", ""),
    ("ListType(Int32Type)", '{"1": 1}', ""),
    ("ListType(Int32Type)", "[1, null]", ", without null in it"),
    ("ListType(ByteType)", "[128]", ", from -128 to 127"),
    ("ListType(Int32Type)", "[" * 100_000, ""),
    ("SetType(UTF8Type)", "[1]", ": what is in it must be of type text"),
    ("MapType(UTF8Type, Int32Type)", '{"a": null}', ", without null in it"),
    ("MapType(UTF8Type, Int32Type)", "[1]", ""),
    ("TupleType(Int32Type, UTF8Type)", "[1]", ", with 2 fields"),
    (ADDRESS, '{"street": "Elm", "town": "x"}', ", with no other fields than street, number"),
    ("VectorType(FloatType, 3)", "[1, 2]", ", with 3 elements"),
    ("VectorType(FloatType, 3)", '"[1, 2, 3]"', ""),
]


@pytest.mark.parametrize(("kind", "text", "detail"), WRONG_TEXTS)
def test_what_is_no_such_value_is_refused_without_naming_it(
    kind: Any, text: str, detail: str
) -> None:
    found = conversion(kind)
    with pytest.raises(Exception) as info:
        found.text(text)
    said = found.refusal(info.value)
    named = said.removeprefix("must be of type ")
    assert named.endswith(detail)
    assert detail or named == found.cql
    with pytest.raises(Exception):  # noqa: B017
        found.texts([text, text])


def test_types_are_called_as_cql_calls_them() -> None:
    names = {
        "VectorType(FloatType, 3)": "vector<float, 3>",
        "MapType(UTF8Type, FrozenType(ListType(Int32Type)))": "map<text, frozen<list<int>>>",
        "TupleType(Int32Type, UTF8Type)": "frozen<tuple<int, text>>",
    }
    assert {kind: conversion(kind).cql for kind in names} == names
    assert conversion(ADDRESS).cql == "frozen<address>"


OPTIONS: list[tuple[str, str, Any, Any]] = [
    ("BooleanType", "Ja", {"true": ["ja", "j"], "false": ["nein"]}, True),
    ("BooleanType", "NEIN", {"true": ["ja", "j"], "false": ["nein"]}, False),
    ("BooleanType", "0", {"true": ["1"], "false": ["0"]}, False),
    ("TimestampType", "1357016400", {"timestamp_unit": "s"}, NEW_YEAR),
    ("TimestampType", "1357016400000999", {"timestamp_unit": "us"}, NEW_YEAR),
    ("TimestampType", "1357016400000999999", {"timestamp_unit": "ns"}, NEW_YEAR),
    ("TimestampType", "-1", {"timestamp_unit": "ns"}, -1),
    ("TimestampType", "01.01.2013 05h", {"timestamp_format": "%d.%m.%Y %Hh"}, NEW_YEAR),
    (
        "TimestampType",
        "01/01/2013 06 +0100",
        {"timestamp_format": "%m/%d/%Y %H %z", "time_zone": "America/New_York"},
        NEW_YEAR,
    ),
    ("TimestampType", "2013-01-01 00:00", {"time_zone": "America/New_York"}, NEW_YEAR),
    ("TimestampType", "2013-07-01 01:00Z", {"time_zone": "America/New_York"}, 1372640400000),
    ("SimpleDateType", "1.2.2013", {"date_format": "%d.%m.%Y"}, Date(date(2013, 2, 1))),
    ("TimeType", "5:06 PM", {"time_format": "%I:%M %p"}, Time("17:06:00")),
    ("BytesType", "AP8=", {"blob": "base64"}, b"\x00\xff"),
    ("BytesType", "", {"blob": "base64"}, b""),
]


@pytest.mark.parametrize(("kind", "text", "options", "value"), OPTIONS)
def test_options(kind: str, text: str, options: Any, value: Any) -> None:
    assert same(conversion(kind, **options).text(text), value)
    assert list(conversion(kind, **options).values([text])) == [value]


@pytest.mark.parametrize(
    ("kind", "text", "options"),
    [
        ("BooleanType", "true", {"true": ["ja"], "false": ["nein"]}),
        ("TimestampType", "2013-01-01", {"timestamp_format": "%d.%m.%Y"}),
        ("TimestampType", str(2**62), {"timestamp_unit": "s"}),
        ("SimpleDateType", "2013-01-01", {"date_format": "%d.%m.%Y"}),
        ("TimeType", "05:06", {"time_format": "%I:%M %p"}),
        ("BytesType", "0x0!", {"blob": "base64"}),
        ("BytesType", "AP8", {"blob": "base64"}),
    ],
)
def test_what_options_exclude(kind: str, text: str, options: Any) -> None:
    with pytest.raises((ValueError, KeyError)):
        conversion(kind, **options).text(text)


VALUES: list[tuple[Any, Any, Any]] = [
    ("Int32Type", 5, 5),
    ("Int32Type", 5.0, 5),
    ("Int32Type", Decimal("5.0"), 5),
    ("Int32Type", numpy.int16(5), 5),
    ("Int32Type", numpy.float32(5), 5),
    ("DoubleType", 5, 5.0),
    ("DoubleType", Decimal("0.1"), 0.1),
    ("DoubleType", numpy.float32(0.5), 0.5),
    ("DoubleType", Decimal("Infinity"), math.inf),
    ("DecimalType", 0.1, Decimal("0.1")),
    ("DecimalType", 5, Decimal(5)),
    ("DecimalType", Decimal("0.10"), Decimal("0.10")),
    ("BooleanType", True, True),
    ("BooleanType", numpy.bool_(False), False),
    ("ListType(BooleanType)", [numpy.bool_(True), True], [True, True]),
    ("DecimalType", numpy.int64(5), Decimal(5)),
    ("DecimalType", numpy.float64("0.1"), Decimal("0.1")),
    ("BytesType", numpy.bytes_(b"a"), b"a"),
    ("BytesType", bytearray(b"a"), b"a"),
    ("BytesType", memoryview(b"a"), b"a"),
    ("UUIDType", UUID(UUID_TEXT), UUID(UUID_TEXT)),
    ("InetAddressType", ip_address("::1"), "::1"),
    ("TimestampType", datetime(2013, 1, 1, 5), NEW_YEAR),
    ("TimestampType", datetime(2013, 1, 1, 6, tzinfo=timezone(timedelta(hours=1))), NEW_YEAR),
    ("TimestampType", datetime(9999, 12, 31, tzinfo=UTC), 253402214400000),
    ("TimestampType", date(1970, 1, 2), 86_400_000),
    ("TimestampType", 5, 5),
    ("TimestampType", numpy.datetime64("2013-01-01T05:00:00.000999999"), NEW_YEAR),
    ("TimestampType", numpy.datetime64("2013-01-01T05"), NEW_YEAR),
    ("ListType(DateType)", numpy.array(["2013-01-01T05"], "M8[ns]"), [NEW_YEAR]),
    ("SimpleDateType", numpy.datetime64("2013-01-01"), Date(date(2013, 1, 1))),
    ("DurationType", numpy.timedelta64(5, "ms"), Duration(0, 0, 5_000_000)),
    ("TimeType", numpy.int64(8), Time(8)),
    ("SimpleDateType", date(2013, 1, 1), Date(date(2013, 1, 1))),
    ("SimpleDateType", datetime(2013, 1, 1), Date(date(2013, 1, 1))),
    ("SimpleDateType", Date(10**6), Date(10**6)),
    ("TimeType", time(5, 6), Time("05:06:00")),
    ("TimeType", 8, Time(8)),
    ("TimeType", Time(8), Time(8)),
    ("DurationType", timedelta(days=1, microseconds=1), Duration(0, 0, 86400_000001000)),
    ("DurationType", Duration(1, 2, 3), Duration(1, 2, 3)),
    ("ListType(Int32Type)", (1, 2), [1, 2]),
    ("ListType(Int32Type)", numpy.array([1, 2]), [1, 2]),
    ("SetType(Int32Type)", frozenset({1}), {1}),
    ("SetType(Int32Type)", SortedSet([2, 1]), {1, 2}),  # as a row of the drivers has it
    ("MapType(UTF8Type, Int32Type)", [("a", 1)], {"a": 1}),
    ("TupleType(Int32Type, UTF8Type)", {"0": 1, "1": "a"}, (1, "a")),
    ("VectorType(FloatType, 2)", numpy.array([1, 2], dtype="float32"), [1.0, 2.0]),
    ("EmptyType", b"x", b"x"),
]


@pytest.mark.parametrize(("kind", "given", "value"), VALUES)
def test_values_of_json_and_python(kind: Any, given: Any, value: Any) -> None:
    found = conversion(kind)
    assert same(found.value(given), value)
    assert all(same(each, value) for each in found.values([given, given]))
    assert isinstance(cqltypes.lookup_casstype(kind).serialize(value, 4), bytes)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("Int32Type", True),
        ("Int32Type", 1.5),
        ("Int32Type", math.nan),
        ("Int32Type", math.inf),
        ("Int32Type", 2**31),
        ("Int32Type", Decimal("1e99999999")),
        ("IntegerType", Decimal("1e4300")),
        ("TimestampType", Decimal("1e99999999")),
        ("Int32Type", [1]),
        ("Int32Type", datetime(2013, 1, 1)),
        ("DoubleType", True),
        ("DoubleType", Decimal("1e400")),
        ("DoubleType", 10**400),
        ("FloatType", 1e39),
        ("DoubleType", [1]),
        ("DecimalType", True),
        ("DecimalType", math.nan),
        ("UTF8Type", 5),
        ("UTF8Type", True),
        ("UTF8Type", b"a"),
        ("UTF8Type", "\ud800"),
        ("BooleanType", 1),
        ("BytesType", [1]),
        ("BytesType", 5),
        ("UUIDType", 5),
        ("TimestampType", True),
        ("TimestampType", 1.5),
        ("TimestampType", numpy.datetime64("NaT")),
        ("TimestampType", numpy.datetime64("20130-01-01")),
        ("DurationType", numpy.timedelta64(5, "ns")),
        ("DurationType", numpy.timedelta64(1, "M")),
        ("BooleanType", numpy.int64(1)),
        ("Int32Type", numpy.bool_(True)),
        ("DoubleType", numpy.bool_(True)),
        ("DoubleType", numpy.complex64(1)),
        ("DoubleType", numpy.timedelta64(1, "M")),
        ("DecimalType", numpy.timedelta64(1, "s")),
        ("UTF8Type", numpy.bytes_(b"a")),
        ("SimpleDateType", 5),
        ("SimpleDateType", datetime(2013, 1, 1, 5)),
        ("TimeType", True),
        ("TimeType", -1),
        ("TimeType", time(5, tzinfo=UTC)),
        ("DurationType", 5),
        ("InetAddressType", 5),
        ("ListType(Int32Type)", "[5]"),
        ("ListType(Int32Type)", {1: 2}),
        ("ListType(Int32Type)", b"a"),
        ("SetType(Int32Type)", 5),
        ("MapType(UTF8Type, Int32Type)", {"a": "b"}),
        ("TupleType(Int32Type, UTF8Type)", {"a": 1}),
        ("VectorType(FloatType, 2)", [1]),
        ("EmptyType", "x"),
    ],
)
def test_values_of_another_type_are_refused(kind: Any, given: Any) -> None:
    found = conversion(kind)
    for refuse in (lambda: found.value(given), lambda: list(found.values([given, given]))):
        with pytest.raises(Exception) as info:
            refuse()
        assert found.refusal(info.value).startswith("must be of type ")
        assert "2013" not in found.refusal(info.value)


@given(st.lists(st.integers(-(2**70), 2**70)))
def test_whole_columns_of_integers_are_as_one_by_one(numbers: list[int]) -> None:
    found = conversion("IntegerType")
    assert found.texts(list(map(str, numbers))) == numbers
    assert found.values(numbers) == numbers


@given(st.lists(st.floats()))
def test_whole_columns_of_floats_are_as_one_by_one(numbers: list[float]) -> None:
    found = conversion("DoubleType")
    texts = list(map(repr, numbers))
    one_by_one = [found.text(text) for text in texts]
    assert list(map(repr, one_by_one)) == texts
    try:
        at_once = found.texts(texts)
    except ValueError:
        assert not math.isfinite(sum(numbers))
    else:
        assert list(map(repr, at_once)) == texts


DIGITS = st.text(alphabet="0123456789+-_. eE\u0663\u00b2", max_size=5)


@given(st.lists(DIGITS, min_size=1, max_size=3))
def test_all_at_once_takes_nothing_that_one_by_one_refuses(texts: list[str]) -> None:
    for kind in ("Int32Type", "DoubleType", "FloatType", "DecimalType"):
        found = conversion(kind)
        try:
            at_once = found.texts(texts)
        except Exception:
            continue
        assert list(at_once) == [found.text(text) for text in texts]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"nulls": "NULL"}, "nulls must be a list of words, not str"),
        ({"true": [1]}, "true must be a list of words, not of int"),
        ({"true": ["Y"], "false": ["y"]}, "true and false must be different words, not both 'y'"),
        ({"timestamp_unit": "m"}, "timestamp_unit must be one of 's'"),
        ({"blob": "utf"}, "blob must be one of 'hex'"),
        ({"time_zone": "Mars/Olympus"}, "time_zone must be a name of the IANA"),
        ({"time_zone": "../etc/passwd"}, "time_zone must be a name of the IANA"),
        ({"date_format": 5}, "date_format must be a format of strptime"),
        ({"date_format": "%Q"}, "date_format must be a format of strptime: 'Q' is a bad directive"),
        ({"time_format": "%"}, "time_format must be a format of strptime: stray %"),
        ({"timestamp_format": "%d %d"}, "timestamp_format must be a format of strptime: redef"),
    ],
)
def test_options_that_are_wrong(options: Any, error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        ConvertingOptions(**options)
