"""Parameters from a file: every type, and every complaint with its place."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from cassandra import cqltypes
from cassandra.util import Date, Time

from concurrent_exec.cli.parameters import ParametersError, read_parameters

UUID_TEXT = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"


def prepared(**types: str) -> Any:
    """A prepared statement with parameters of these names and CQL types."""
    columns = [
        SimpleNamespace(name=name, type=cqltypes.lookup_casstype(kind))
        for name, kind in types.items()
    ]
    return SimpleNamespace(column_metadata=columns, protocol_version=4)


def read(folder: Path, name: str, text: str | bytes, statement: Any) -> list[list[Any]]:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_parameters(path, statement))


PAIR = prepared(id="Int32Type", name="UTF8Type")


def test_csv_is_read_by_its_header(tmp_path: Path) -> None:
    text = '\ufeffname,id\r\n"a, ""b""\nc",1\r\n,-2\r\n'
    assert read(tmp_path, "x.csv", text, PAIR) == [[1, 'a, "b"\nc'], [-2, None]]


def test_json_lines_are_objects_by_name_or_arrays_in_order(tmp_path: Path) -> None:
    text = '{"name": "a", "id": 1}\n[2, null]\n["3", ""]\n'
    assert read(tmp_path, "x.JSONL", text, PAIR) == [[1, "a"], [2, None], [3, ""]]


def test_it_is_read_as_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("id,name\n1,a\nwrong\n")
    assert next(read_parameters(path, PAIR)) == [1, "a"]


VALUES = [
    ("UTF8Type", " é ", " é "),
    ("AsciiType", "a", "a"),
    ("ByteType", "-128", -128),
    ("ShortType", "+5", 5),
    ("Int32Type", "2147483647", 2147483647),
    ("LongType", "-9223372036854775808", -(2**63)),
    ("IntegerType", "9" * 40, int("9" * 40)),
    ("CounterColumnType", "1", 1),
    ("FloatType", "1.5", 1.5),
    ("DoubleType", "-.5e3", -500.0),
    ("DoubleType", "Infinity", inf),
    ("DecimalType", "0.10", Decimal("0.10")),
    ("BooleanType", "TRUE", True),
    ("BooleanType", "false", False),
    ("UUIDType", UUID_TEXT, UUID(UUID_TEXT)),
    ("TimeUUIDType", UUID_TEXT, UUID(UUID_TEXT)),
    ("DateType", "2013-01-01T05:00:00Z", datetime(2013, 1, 1, 5, tzinfo=UTC)),
    ("TimestampType", "2013-01-01 05:00", datetime(2013, 1, 1, 5, tzinfo=UTC)),
    ("TimestampType", "1357016400000", 1357016400000),
    ("SimpleDateType", "2013-01-01", Date(date(2013, 1, 1))),
    ("TimeType", "05:06:07.000000008", Time("05:06:07.000000008")),
    ("InetAddressType", "2001:DB8::1", "2001:db8::1"),
    ("BytesType", "0x00ff", b"\x00\xff"),
]


@pytest.mark.parametrize(("kind", "text", "value"), VALUES)
def test_texts_are_read_as_the_type_has_them(
    tmp_path: Path, kind: str, text: str, value: Any
) -> None:
    statement = prepared(v=kind)
    for (found,) in (
        *read(tmp_path, "x.csv", f"v\n{text}\n", statement),
        *read(tmp_path, "x.jsonl", json.dumps([text]), statement),
    ):
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("AsciiType", "é"),
        ("ByteType", "128"),
        ("Int32Type", "1.0"),
        ("Int32Type", " 1"),
        ("Int32Type", "1_000"),
        ("Int32Type", "٣"),
        ("Int32Type", "2147483648"),
        ("IntegerType", "9" * 5000),
        ("FloatType", "1e39"),
        ("DoubleType", "1e400"),
        ("DoubleType", "1_0"),
        ("DoubleType", "0x1"),
        ("DecimalType", "inf"),
        ("DecimalType", "sNaN"),
        ("BooleanType", "yes"),
        ("UUIDType", "3f2504e0"),
        ("TimestampType", "yesterday"),
        ("TimestampType", "9" * 20),
        ("SimpleDateType", "2013-02-30"),
        ("TimeType", "25"),
        ("InetAddressType", "example.com"),
        ("BytesType", "00ff"),
        ("BytesType", "0x0"),
    ],
)
def test_what_is_no_such_value_is_refused_without_naming_it(
    tmp_path: Path, kind: str, text: str
) -> None:
    statement = prepared(v=kind)
    named = statement.column_metadata[0].type.typename
    for name, content, line in (("x.csv", f"v\n{text}\n", 2), ("x.jsonl", json.dumps([text]), 1)):
        with pytest.raises(ParametersError) as info:
            read(tmp_path, name, content, statement)
        assert str(info.value) == f"{tmp_path / name}, line {line}, v: must be of type {named}"
        assert info.value.__cause__ is None
        assert info.value.__suppress_context__


LIST = "ListType(Int32Type)"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("Int32Type", "5", 5),
        ("DoubleType", "5", 5),
        ("DoubleType", "0.1", 0.1),
        ("DecimalType", "0.10", Decimal("0.10")),
        ("BooleanType", "true", True),
        ("TimestampType", "5", 5),
        (LIST, "[1, 2]", [1, 2]),
        ("MapType(UTF8Type, Int32Type)", '{"a": 1}', {"a": 1}),
        (LIST, "null", None),
    ],
)
def test_json_keeps_its_types(tmp_path: Path, kind: str, text: str, value: Any) -> None:
    ((found,),) = read(tmp_path, "x.jsonl", f'{{"v": {text}}}', prepared(v=kind))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "named"),
    [
        ("Int32Type", "true", "int"),
        ("Int32Type", "1.5", "int"),
        ("UTF8Type", "5", "text"),
        ("UTF8Type", "true", "text"),
        ("BooleanType", "1", "boolean"),
        ("BytesType", "[1]", "blob"),
        ("UUIDType", "5", "uuid"),
        (LIST, '["a"]', "list<int>"),
        (LIST, "5", "list<int>"),
        (LIST, '"[5]"', "list<int>"),
    ],
)
def test_json_of_another_type_is_refused(tmp_path: Path, kind: str, text: str, named: str) -> None:
    with pytest.raises(ParametersError, match=rf"line 2, v: must be of type {named}$"):
        read(tmp_path, "x.jsonl", f"[null]\n[{text}]\n", prepared(v=kind))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.txt", "", r": the name must end in .csv or .jsonl$"),
        ("x.csv", "", ", line 1: must have the names of the statement's parameters: id, name$"),
        ("x.csv", "id\n1\n", ", line 1: must have the names .*: id, name$"),
        ("x.csv", "id,id,name\n", ", line 1: must have the names .*: id, name$"),
        ("x.csv", 'id,name\n1,"a\nb"\n2\n', ", line 4: has 1 values, not 2$"),
        ("x.csv", "id,name\n1,a\n2,b,c\n", ", line 3: has 3 values, not 2$"),
        ("x.csv", 'id,name\n1,"a\nb"\nx,c\n', ", line 4, id: must be of type int$"),
        ("x.csv", 'id,name\n1,"a', ", line 2: is no CSV: "),
        ("x.csv", b"id,name\n1,\xff\n", ": must be text in UTF-8$"),
        ("x.jsonl", "[1, null]\n{", ", line 2: is no JSON$"),
        ("x.jsonl", "[1, null]\n\n", ", line 2: is no JSON$"),
        ("x.jsonl", "[1]", ", line 1: must be an object with just these names, .*: id, name$"),
        ("x.jsonl", '{"id": 1}', ", line 1: must be an object with just these names"),
        ("x.jsonl", '{"id": 1, "name": "", "x": 1}', ", line 1: must be an object with just"),
        ("x.jsonl", "5", ", line 1: must be an object with just these names"),
        ("x.jsonl", "[" * 100_000, ", line 1: is no JSON$"),
        ("x.jsonl", b'[1, "\xff"]', ": must be text in UTF-8$"),
    ],
)
def test_wrong_files_are_refused_with_the_line(
    tmp_path: Path, name: str, text: str | bytes, said: str
) -> None:
    with pytest.raises(ParametersError, match=said) as info:
        read(tmp_path, name, text, PAIR)
    assert str(info.value).startswith(str(tmp_path / name))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ParametersError, match=r"x.csv: No such file or directory$"):
        list(read_parameters(tmp_path / "x.csv", PAIR))


def test_what_csv_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ParametersError, match=r"line 2, v: is of type list<int>, which can't be"):
        read(tmp_path, "x.csv", "v\n[1]\n", prepared(v=LIST))
    twice = SimpleNamespace(
        column_metadata=[*prepared(v="Int32Type").column_metadata] * 2, protocol_version=4
    )
    with pytest.raises(ParametersError, match=r"x.csv: the statement has several parameters 'v'"):
        read(tmp_path, "x.csv", "v,v\n1,2\n", twice)
    assert read(tmp_path, "x.jsonl", "[1, 2]", twice) == [[1, 2]]
