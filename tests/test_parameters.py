"""Parameters from a file, for `compare`: those of all records up to the first that is wrong.

What files may be and how values are read is the bulk room's, and tested there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from concurrent_exec.bulk.records import InputError
from concurrent_exec.cli.parameters import read_parameters
from tests.bulk.samples import prepared


def read(folder: Path, name: str, text: str | bytes, statement: Any) -> list[tuple[Any, ...]]:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_parameters(path, statement))


PAIR = prepared(id="Int32Type", name="UTF8Type")


def test_csv_is_read_by_its_header(tmp_path: Path) -> None:
    text = '\ufeffname,id\r\n"a, ""b""\nc",1\r\n,-2\r\n'
    assert read(tmp_path, "x.csv", text, PAIR) == [(1, 'a, "b"\nc'), (-2, None)]


def test_json_lines_are_objects_by_name_or_arrays_in_order(tmp_path: Path) -> None:
    text = '{"name": "a", "id": 1}\n[2, null]\n["3", ""]\n'
    assert read(tmp_path, "x.JSONL", text, PAIR) == [(1, "a"), (2, None), (3, "")]


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])
def test_it_is_read_as_it_is_asked_for(tmp_path: Path, name: str) -> None:
    text = {"x.csv": "id,name\n1,a\nx,b\n2,c\nwrong\n", "x.jsonl": '[1, "a"]\n["x", "b"]\n5\n'}
    (tmp_path / name).write_text(text[name])
    parameters = read_parameters(tmp_path / name, PAIR)
    assert next(parameters) == (1, "a")
    with pytest.raises(InputError, match=r"line [23], (id|0): must be of type int$"):
        next(parameters)


LIST = "ListType(Int32Type)"


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
        (LIST, '["a"]', "list<int>: what is in it must be of type int"),
        (LIST, "5", "list<int>"),
        (LIST, '"[5]"', "list<int>"),
    ],
)
def test_json_of_another_type_is_refused(tmp_path: Path, kind: str, text: str, named: str) -> None:
    with pytest.raises(InputError, match=rf"line 2, v: must be of type {named}$") as info:
        read(tmp_path, "x.jsonl", f"[null]\n[{text}]\n", prepared(v=kind))
    assert info.value.__cause__ is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.txt", "", ": the name's end does not say what it is: "),
        ("x.csv", "", ": is empty, and should begin with a header$"),
        ("x.csv", "id\n1\n", ": no column for the marker 'name': there are id"),
        ("x.csv", "id,id,name\n", ", line 1: two columns are called 'id'$"),
        ("x.csv", 'id,name\n1,"a\nb"\n2\n', ", line 4: has 1 fields, not 2$"),
        ("x.csv", "id,name\n1,a\n2,b,c\n", ", line 3: has 3 fields, not 2$"),
        ("x.csv", 'id,name\n1,"a\nb"\nx,c\n', ", line 4, id: must be of type int$"),
        ("x.csv", 'id,name\n1,"a', ", line 2: is no CSV: "),
        ("x.csv", b"id,name\n1,\xff\n", ", line 2: can't be decoded as utf-8$"),
        ("x.jsonl", "[1, null]\n{", ", line 2: is no JSON$"),
        ("x.jsonl", "[1, null]\n5", ", line 2: must be an object or an array$"),
        ("x.jsonl", "[1]", ": the records have 1 columns and no names, the statement has 2 "),
        ("x.jsonl", '{"id": 1}', ": no column for the marker 'name': there are id"),
        ("x.jsonl", b'[1, null]\n[1, "\xff"]', ", line 2: can't be decoded as utf-8$"),
    ],
)
def test_wrong_files_are_refused_with_the_place(
    tmp_path: Path, name: str, text: str | bytes, said: str
) -> None:
    with pytest.raises(InputError, match=said) as info:
        read(tmp_path, name, text, PAIR)
    assert str(info.value).startswith(str(tmp_path / name))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x.csv: No such file or directory$"):
        list(read_parameters(tmp_path / "x.csv", PAIR))


def test_parameters_that_names_can_not_tell_apart(tmp_path: Path) -> None:
    twice = prepared(v="Int32Type")
    twice.column_metadata *= 2
    with pytest.raises(InputError, match=r"x.csv: the statement has several markers 'v'"):
        read(tmp_path, "x.csv", "v\n1\n", twice)
    assert read(tmp_path, "x.jsonl", "[1, 2]", twice) == [(1, 2)]
