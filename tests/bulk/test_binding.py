"""Columns to markers, and records to parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from concurrent_exec.bulk.binding import Binding
from concurrent_exec.bulk.converting import ConversionError
from concurrent_exec.bulk.mapping import MappingError
from concurrent_exec.bulk.options import ConvertingOptions
from concurrent_exec.bulk.records import Chunk
from tests.bulk.samples import UNSET, bound, chunk, prepared, source

PAIR = prepared(id="Int32Type", name="UTF8Type")


def test_columns_meet_markers_by_name_and_others_are_left_alone(tmp_path: Path) -> None:
    found = source(tmp_path, "x.csv", "name,extra,id\na,x,1\nb,y,2\n")
    binding = Binding(PAIR, found.columns)
    assert binding.columns == ["id", "name"]
    assert bound(binding, found) == ([(1, "a"), (2, "b")], [])


def test_columns_without_names_meet_markers_in_order(tmp_path: Path) -> None:
    found = source(tmp_path, "x.csv", "1,a\n2,b\n", header=False)
    assert bound(Binding(PAIR, found.columns), found) == ([(1, "a"), (2, "b")], [])


@pytest.mark.parametrize(
    ("header", "text", "map"),
    [
        (True, "id,title\n1,a\n", {"title": "name"}),
        (True, "name,id\n1,a\n", {"name": "id", "id": "name"}),
        (True, "0,1\n1,a\n", {"0": "id", "1": "name"}),
        (False, "a,x,1\n", {"2": "id", "0": "name"}),
    ],
)
def test_columns_meet_the_markers_they_are_mapped_to(
    tmp_path: Path, header: bool, text: str, map: dict[str, str]
) -> None:
    found = source(tmp_path, "x.csv", text, header=header)
    assert bound(Binding(PAIR, found.columns, map=map), found) == ([(1, "a")], [])


def test_a_marker_that_is_named_twice_is_given_its_column_twice() -> None:
    twice = prepared(text="UPDATE t SET a = :v WHERE id = :id IF a = :v")
    twice.column_metadata = [*prepared(v="Int32Type", id="Int32Type").column_metadata]
    twice.column_metadata.append(twice.column_metadata[0])
    _, parameters, _ = Binding(twice, ["id", "v"]).bind(chunk("json", id=[1], v=[2]))
    assert parameters == [(2, 1, 2)]
    twice.query_string = "UPDATE t SET v = ? WHERE id = ? IF v = ? // :v"
    with pytest.raises(MappingError, match=r"several markers 'v', which names can't tell apart"):
        Binding(twice, ["id", "v"])
    assert Binding(twice, 3).columns == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("columns", "map", "said"),
    [
        (["id", "nme"], {}, r"for the marker 'name' \(is it 'nme'\?\): there are id, nme; map "),
        (
            ["id"],
            {},
            r"; map a column to it \(--map COLUMN=name, in Python map={'COLUMN': 'name'}\) if ",
        ),
        (["Id", "NAME"], {}, r"markers 'id' \(is it 'Id'\?\), 'name' \(is it 'NAME'\?\): there "),
        ([], {}, "no column for the markers 'id', 'name': there are none; "),
        (["7", "Ann"], {}, "'id', 'name': the first record looks like no header; if it is none"),
        (["7"], {}, r"say so \(--no-header\), else map a column to them \(--map COLUMN=id, in "),
        (
            ["id;name"],
            {},
            r"there are id;name; map a column to them \(.*\), or name .* \(is it ';'\?\)",
        ),
        (["id"], {"id": "name"}, "no column for the marker 'id': there are id; "),
        (["id", "name"], {"nam": "name"}, r"no column is called 'nam' \(is it 'name'\?\): there"),
        (["id", "name"], {"name": "nam"}, r"no marker is called 'nam' \(is it 'name'\?\): there"),
        (["a", "b"], {"a": "id", "b": "id"}, "two columns are mapped to the marker 'id': a and b"),
        (3, {}, "the records have 3 columns and no names, the statement has 2 markers: id, name"),
        (3, {}, r": map columns to markers \(--map 0=id, in Python map={'0': 'id'}\)$"),
        (2, {"0": "id"}, "no column is mapped to the marker 'name'"),
        (2, {"0": "id", "2": "name"}, "no column is called '2': there are 0, 1"),
    ],
)
def test_columns_that_do_not_fit_are_refused_with_what_would(
    columns: Any, map: dict[str, str], said: str
) -> None:
    with pytest.raises(MappingError, match=said):
        Binding(PAIR, columns, map=map)


def test_a_statement_without_markers_is_refused() -> None:
    with pytest.raises(MappingError, match="the statement has no markers"):
        Binding(prepared(), ["id"])


def test_what_is_missing_is_unset_or_null(tmp_path: Path) -> None:
    found = source(tmp_path, "x.csv", "id,name\n1,\n2,b\n,\n")
    expected: list[tuple[Any, ...]] = [(1, UNSET), (2, "b"), (UNSET, UNSET)]
    assert bound(Binding(PAIR, found.columns), found) == (expected, [])
    expected = [(1, None), (2, "b"), (None, None)]
    assert bound(Binding(PAIR, found.columns, missing="null"), found) == (expected, [])


def test_the_words_for_null_are_an_option(tmp_path: Path) -> None:
    options = ConvertingOptions(nulls=["NULL", r"\N"])
    found = source(tmp_path, "x.csv", "id,name\nNULL,\n\\N,NULL\n2,null\n")
    binding = Binding(PAIR, found.columns, missing="null", options=options)
    assert bound(binding, found) == ([(None, ""), (None, None), (2, "null")], [])


def test_of_json_only_null_is_missing(tmp_path: Path) -> None:
    found = source(tmp_path, "x.jsonl", '{"id": 1, "name": ""}\n{"id": "2"}\n{"name": null}\n')
    expected = [(1, ""), (2, UNSET), (UNSET, UNSET)]
    assert bound(Binding(PAIR, found.columns), found) == (expected, [])


def test_json_may_have_a_column_in_later_records_only() -> None:
    binding = Binding(PAIR, ["id", "name"])
    assert binding.bind(chunk("json", id=[1, 2]))[1] == [(1, UNSET), (2, UNSET)]


def test_lines_of_json_may_be_arrays_and_objects_by_turns(tmp_path: Path) -> None:
    for text in ('{"name": "a", "id": 1}\n[2, null]\n[3]\n', '[1, "a"]\n{"id": 2}\n[3]\n'):
        found = source(tmp_path, "x.jsonl", text)
        parameters, messages = bound(Binding(PAIR, found.columns), found)
        assert parameters == [(1, "a"), (2, UNSET)]
        assert messages == [f"{tmp_path / 'x.jsonl'}, line 3, has 1 values, not 2"]


def test_a_key_that_is_missing_rejects_its_record(tmp_path: Path) -> None:
    found = source(tmp_path, "x.csv", "id,name\n,a\n2,\n3,c\n")
    keyed = prepared(key=(0,), id="Int32Type", name="UTF8Type")
    path = tmp_path / "x.csv"
    for missing in ("unset", "null"):
        binding = Binding(keyed, found.columns, missing=missing, required=["name"])
        assert bound(binding, found) == (
            [(3, "c")],
            [
                f"{path}, line 2, id: must not be missing: it is part of the key",
                f"{path}, line 3, name: must not be missing: it is part of the key",
            ],
        )


def test_records_that_can_not_be_converted_are_told_apart(tmp_path: Path) -> None:
    found = source(tmp_path, "x.csv", "id,name\n1,a\nx,b\n3000000000,c\n,d\n5,e\n")
    (read,) = found.chunks()
    ordinals, parameters, rejected = Binding(PAIR, found.columns).bind(read)
    assert list(ordinals) == [0, 3, 4]
    assert parameters == [(1, "a"), (UNSET, "d"), (5, "e")]
    assert [(each.ordinal, each.place, each.record) for each in rejected] == [
        (1, 3, {"id": "x", "name": "b"}),
        (2, 4, {"id": "3000000000", "name": "c"}),
    ]
    path = str(tmp_path / "x.csv")
    assert [each.message for each in rejected] == [
        f"{path}, line 3, id: must be of type int",
        f"{path}, line 4, id: must be of type int, from -2147483648 to 2147483647",
    ]
    assert {(each.source, each.kind) for each in rejected} == {(path, "ConversionError")}


def test_the_first_thing_that_is_wrong_with_a_record_is_told() -> None:
    binding = Binding(PAIR, 2)
    wrong = Chunk("", 7, 1, [7], [8], {"0": ["x"], "1": [5]}, "json", named=False)
    _, parameters, rejected = binding.bind(wrong)
    assert parameters == []
    assert [(each.message, each.record) for each in rejected] == [
        ("record 8, id: must be of type int", ["x", 5])
    ]


class Spiteful:
    """What a caller's own object may do."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("secret")

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        raise RuntimeError("secret")


def test_objects_that_raise_are_refused_like_any_others() -> None:
    binding = Binding(PAIR, ["id", "name"])
    _, parameters, rejected = binding.bind(chunk("python", id=[1, Spiteful()], name=["a", "b"]))
    assert parameters == [(1, "a")]
    assert [each.message for each in rejected] == ["x, row 2, id: must be of type int"]


def test_columns_that_repeat_themselves_are_as_one_by_one() -> None:
    texts = [str(number % 7) if number % 5 else "" for number in range(1000)]
    expected = [(int(text) if text else UNSET, text or UNSET) for text in texts]
    repeating = chunk("text", id=texts, name=texts)
    assert Binding(PAIR, ["id", "name"]).bind(repeating)[1:] == (expected, [])
    texts[900] = "x"
    _, parameters, rejected = Binding(PAIR, ["id", "name"]).bind(repeating)
    assert parameters == expected[:900] + expected[901:]
    assert [each.ordinal for each in rejected] == [900]


def test_an_empty_chunk_gives_nothing(tmp_path: Path) -> None:
    found = source(tmp_path, "x.csv", "id,name\n")
    assert bound(Binding(PAIR, found.columns), found) == ([], [])


def test_it_explains_what_it_would_do(tmp_path: Path) -> None:
    kinds = prepared(at="TimestampType", id="Int32Type")
    found = source(tmp_path, "x.csv", "id,time\n1,2013-01-01\nx,\n3,5\n")
    (read,) = found.chunks()
    at, id = Binding(kinds, found.columns, map={"time": "at"}).explain(read, 2)
    assert (at.marker, at.cql, at.column) == ("at", "timestamp", "time")
    assert [(value, str(stored)) for value, stored in at.samples] == [
        ("2013-01-01", "2013-01-01 00:00:00"),
        ("", str(UNSET)),
    ]
    assert (id.marker, id.cql, id.column) == ("id", "int", "id")
    assert id.samples[0] == ("1", 1)
    assert isinstance(id.samples[1][1], ConversionError)
    assert str(id.samples[1][1]) == "must be of type int"


@pytest.mark.parametrize(
    ("version", "missing", "said"),
    [
        (3, "unset", "missing must be 'null' with version 3 of the native protocol"),
        (4, "skip", "missing must be one of 'unset', 'null', not 'skip'"),
    ],
)
def test_options_that_are_wrong(version: int, missing: Any, said: str) -> None:
    statement = prepared(protocol_version=version, id="Int32Type")
    with pytest.raises(ValueError, match=said):
        Binding(statement, ["id"], missing=missing)
