"""Records that failed, read again from the file that was written of them, mended or not."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from concurrent_exec.bulk import ConvertingOptions, FailedSource
from concurrent_exec.bulk.binding import Binding
from concurrent_exec.bulk.failed import failed_line
from concurrent_exec.bulk.records import InputError, NoRecordsError
from tests.bulk.samples import bound, chunk, prepared


def written(folder: Path, *lines: Any) -> FailedSource:
    file = folder / "failed"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_text("".join(f"{text}\n" for text in texts))
    return FailedSource(file)


def failed(record: Any, **other: Any) -> dict[str, Any]:
    return {"source": "x.csv", "place": 7, "record": record, "input": "text", **other}


def test_records_come_as_they_were_with_their_source_and_place(tmp_path: Path) -> None:
    source = written(
        tmp_path,
        failed({"id": "1", "v": "a"}),
        failed({"id": "2", "v": "b"}, place=9),
        failed({"id": 3, "v": 1.25}, source="y.jsonl", input="json"),
    )
    assert source.columns == ["id", "v"]
    first, second = source.chunks()
    assert (first.source, first.first, first.count, first.kind) == ("x.csv", 0, 2, "text")
    assert (list(first.ordinals), list(first.places)) == ([0, 1], [7, 9])
    assert first.columns == {"id": ["1", "2"], "v": ["a", "b"]}
    assert first.named
    assert (second.source, second.first, second.count, second.kind) == ("y.jsonl", 2, 1, "json")
    assert second.columns == {"id": [3], "v": [Decimal("1.25")]}
    assert source.bytes_read == source.total_bytes == source.path.stat().st_size
    assert source.total_records is None


def test_records_without_names_have_places(tmp_path: Path) -> None:
    source = written(tmp_path, failed(["1", "a"]), failed(["2", "b"]))
    assert source.columns == 2
    (chunk,) = source.chunks()
    assert not chunk.named
    assert chunk.columns == {"0": ["1", "2"], "1": ["a", "b"]}


def test_columns_are_those_that_any_record_has(tmp_path: Path) -> None:
    source = written(tmp_path, failed({"id": "1"}), failed({"v": "b", "id": "2"}))
    assert source.columns == ["id", "v"]
    assert [dict(chunk.columns) for chunk in source.chunks()] == [
        {"id": ["1"]},
        {"v": ["b"], "id": ["2"]},
    ]


def test_columns_are_those_that_most_records_have(tmp_path: Path) -> None:
    """Not those of one that failed as it has too few, though it be the first."""
    short, pair, named = failed([1]), failed([2, "b"]), failed({"id": 3, "v": "c"})
    assert written(tmp_path, short, pair, pair, named).columns == 2
    assert written(tmp_path, short, named, named, pair).columns == ["id", "v"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("DateType", datetime(2026, 11, 27, 10, 30)),
        ("DateType", datetime(2026, 11, 27)),
        ("SimpleDateType", datetime(2026, 11, 27)),
        ("MapType(DateType, DurationType)", {datetime(2026, 11, 27): timedelta(microseconds=-5)}),
    ],
)
def test_moments_of_python_come_to_the_same_again(tmp_path: Path, kind: str, value: Any) -> None:
    """In the time zone of those that have none, too."""
    options = ConvertingOptions(time_zone="Asia/Kolkata")
    binding = Binding(prepared(v=kind), ["v"], options=options)
    sent = chunk("python", v=[value])
    file = tmp_path / "failed"
    file.write_bytes(failed_line(sent, 0, ValueError(), 1))
    assert bound(binding, FailedSource(file)) == (binding.bind(sent)[1], [])


def test_a_text_that_was_mended_into_a_number_is_one(tmp_path: Path) -> None:
    (chunk,) = written(tmp_path, failed({"id": 1, "v": "a"})).chunks()
    assert chunk.kind == "json"


def test_it_goes_on_where_it_is_told_to(tmp_path: Path) -> None:
    source = written(tmp_path, *[failed({"id": str(number)}) for number in range(2_500)])
    chunks = list(source.chunks())
    ends = [chunk.first + chunk.count for chunk in chunks]
    assert [chunk.first for chunk in chunks] == [0, *ends[:-1]]
    assert ends[-1] == 2_500
    (rest,) = source.chunks(start=2_499)
    assert (rest.first, rest.columns) == (2_499, {"id": ["2499"]})
    assert list(source.chunks(start=2_500)) == []


def test_a_chunk_is_bounded_by_the_bytes_of_its_lines(tmp_path: Path) -> None:
    """It ends in the same place wherever reading begins, as another process may go on with it."""
    small = [failed({"id": str(number)}) for number in range(1_500)]
    large = [failed({"id": "x" * size}) for size in (30_000, 30_000, 30_000, 200_000, 1)]
    source = written(tmp_path, *small, *large)
    lengths = [len(line) for line in source.path.read_bytes().splitlines(keepends=True)]
    chunks = list(source.chunks())
    for each in chunks:
        assert sum(lengths[each.first : each.first + each.count - 1]) <= 64 * 1024
    assert len(chunks) == 5
    ends = {each.first + each.count for each in chunks}
    for start in (1, 1_400, 1_502):
        assert {each.first + each.count for each in source.chunks(start)} <= ends


def test_what_could_not_be_parsed_is_rejected_again(tmp_path: Path) -> None:
    source = written(
        tmp_path,
        failed(["1", "2", "3"], error="ParseError", message="has 3 fields, not 2"),
        failed("{not JSON", place=8),
        "no JSON at all",
        "[1, 2]",
        {"place": 3},
        failed(None),
        failed(5),
        failed([]),
        failed({}),
        failed({"id": "1"}),
    )
    chunks = list(source.chunks())
    rejected = [each for chunk in chunks for each in chunk.rejected]
    assert [(each.ordinal, each.place, each.record, each.message) for each in rejected] == [
        (0, 7, ["1", "2", "3"], "has 3 fields, not 2"),
        (1, 8, "{not JSON", "is no record"),
        (2, 3, "no JSON at all", "is no line of a failed file"),
        (3, 4, "[1, 2]", "is no line of a failed file"),
        (4, 5, '{"place": 3}', "is no line of a failed file"),
        (5, 7, None, "is no record"),
        (6, 7, 5, "is no record"),
        (7, 7, [], "is no record"),
        (8, 7, {}, "is no record"),
    ]
    assert {each.kind for each in rejected} == {"ParseError"}
    assert [each.source for each in rejected] == [*["x.csv"] * 2, *[""] * 3, *["x.csv"] * 4]
    assert source.columns == ["id"]
    assert sum(chunk.count for chunk in chunks) == 10
    assert chunks[-1].columns == {"id": ["1"]}


def test_a_file_without_a_record_that_can_be_taken_is_refused(tmp_path: Path) -> None:
    for lines in ((), ("no JSON", failed([])), (failed([]), failed({}))):
        source = written(tmp_path, *lines)
        with pytest.raises(NoRecordsError, match="failed: has no records that can be taken again"):
            _ = source.columns


def test_another_file_is_refused(tmp_path: Path) -> None:
    source = written(tmp_path, "id,name", '{"id": 1}', "[1, 2]")
    with pytest.raises(InputError, match="failed: is no failed file: none of its lines has a rec"):
        _ = source.columns


def test_another_content_is_another_input(tmp_path: Path) -> None:
    first = written(tmp_path, failed({"id": "1"})).fingerprint()
    assert first["file"] == str(tmp_path / "failed")
    assert written(tmp_path, failed({"id": "1"})).fingerprint() == first
    assert written(tmp_path, failed({"id": "2"})).fingerprint() != first


def test_a_file_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FailedSource(tmp_path / "none")
