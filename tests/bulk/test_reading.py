"""Files of text as records: each form, each place, and everything that is wrong with a file."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurrent_exec.bulk import lines
from concurrent_exec.bulk.options import ReadingOptions
from concurrent_exec.bulk.records import InputError, NoRecordsError
from concurrent_exec.bulk.sources import open_source
from tests.bulk.samples import records, rejected, source

# --- CSV ------------------------------------------------------------------------------------


def test_csv_has_its_columns_by_the_header_and_its_lines(tmp_path: Path) -> None:
    text = '\ufeffid,name\r\n1,"a, ""b""\r\nc"\r\n\r\n2,\r\n'
    found = source(tmp_path, "x.csv", text)
    assert found.columns == ["id", "name"]
    assert records(found) == [(0, 2, "1", 'a, "b"\r\nc'), (1, 5, "2", "")]


def test_without_a_header_columns_have_places(tmp_path: Path) -> None:
    found = source(tmp_path, "x.csv", "1,a\n2,b", header=False)
    assert found.columns == 2
    (first, *_) = found.chunks()
    assert first.named is False
    assert list(first.columns) == ["0", "1"]
    assert records(found) == [(0, 1, "1", "a"), (1, 2, "2", "b")]


def test_what_is_no_record_says_nothing_of_the_columns(tmp_path: Path) -> None:
    """Though nothing else has yet, or ever does in one of several files."""
    texts = ["\n", '1,a\n"2', "\r\r", '"3"b\n']
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.csv").write_text(text)
    found = open_source([str(tmp_path / "*.csv")], ReadingOptions(header=False))
    assert found.columns == 2
    assert records(found) == [(0, 1, "1", "a")]
    refused = [(each.ordinal, each.place, each.record) for each in rejected(found)]
    assert refused == [(1, 2, '"2'), (2, 1, '"3"b\n')]
    with pytest.raises(NoRecordsError, match="there are no records"):
        _ = source(tmp_path, "x.csv", "\n\n", header=False).columns
    with pytest.raises(InputError, match=r"can be read: .*line 1: is no CSV"):
        _ = source(tmp_path, "x.csv", '"3"b\n', header=False).columns


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("x.tsv", "id\tname\n1\ta,b\n", {}),
        ("x.csv", "id;name\n1;a,b\n", {"delimiter": ";"}),
        ("x.csv", "id,name\n1,'a,b'\n", {"quote": "'"}),
        ("x.csv", "id,name\n1,a\\,b\n", {"escape": "\\"}),
        ("x.csv", "id,name\n1,a\\,b\n", {"escape": "\\", "quote": None}),
        ("x.txt", "id,name\n1,'a,b'\n", {"quote": "'", "format": "csv"}),
        ("x.csv", 'id,name\r1,"a,b"\r', {}),
        ("x.csv", '\n"id","name"\n\n1,"a,b"', {}),
    ],
)
def test_forms_of_csv(tmp_path: Path, name: str, text: str, options: Any) -> None:
    found = source(tmp_path, name, text, **options)
    assert found.columns == ["id", "name"]
    assert [values for _, _, *values in records(found)] == [["1", "a,b"]]


def test_quotes_that_are_none_stay(tmp_path: Path) -> None:
    found = source(tmp_path, "x.csv", 'a,b\n"1","2\n', quote=None)
    assert records(found) == [(0, 2, '"1"', '"2')]


@pytest.mark.parametrize(
    ("encoding", "text"), [("latin-1", "id\né\n"), ("utf-16", "id\né\n"), ("cp1252", "id\n€\n")]
)
def test_encodings(tmp_path: Path, encoding: str, text: str) -> None:
    found = source(tmp_path, "x.csv", text.encode(encoding), encoding=encoding)
    assert records(found) == [(0, 2, text[3])]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "UTF8", "utf-16", "utf-32", "utf-16-be"]
)
@pytest.mark.parametrize("text", ["id\né\n", "\n", "", "\x00\x00\n"])
def test_a_byte_order_mark_is_none_of_the_data(tmp_path: Path, encoding: str, text: str) -> None:
    """Whether the encoding writes it, or it must be put there."""
    data = f"\ufeff{text}".encode("utf-8" if encoding == "utf-8-sig" else encoding)
    found = source(tmp_path, "x.csv", data, encoding=encoding, header=False)
    assert [value for _, _, value in records(found)] == text.split()


@pytest.mark.parametrize(
    ("data", "encoding", "family"),
    [
        ("id\n1\n".encode("utf-8-sig"), "latin-1", "utf-8"),
        ("id\n1\n".encode("utf-8-sig"), "utf-16", "utf-8"),
        ("id\n1\n".encode("utf-16"), "utf-8", "utf-16"),
        ("id\n1\n".encode("utf-16"), "cp1252", "utf-16"),
        ("id\n1\n".encode("utf-32"), "utf-16", "utf-32"),
    ],
)
@pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])
def test_a_byte_order_mark_of_another_encoding(
    tmp_path: Path, name: str, data: bytes, encoding: str, family: str
) -> None:
    found = source(tmp_path, name, data, encoding=encoding)
    with pytest.raises(InputError, match=rf"{name}: begins with the byte order mark of {family}"):
        _ = found.columns


FIELDS = st.text(alphabet='a,"\n\r é\x00\x85\u2028', max_size=4)
ROWS = st.lists(st.tuples(FIELDS, FIELDS), max_size=12)


@given(ROWS, st.booleans(), st.sampled_from(["\n", "\r\n", "\r"]), st.integers(1, 9))
def test_csv_is_read_as_the_csv_module_reads_it(
    tmp_path_factory: pytest.TempPathFactory, rows: Any, quote: bool, end: str, block: int
) -> None:
    """Whatever the quoting, and wherever a block of bytes ends."""
    text = io.StringIO()
    writer = csv.writer(
        text, lineterminator=end, quoting=csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL
    )
    writer.writerows([("h", "i"), *rows])
    expected = {}
    reader = csv.reader(io.StringIO(text.getvalue(), newline=""), strict=True)
    begin = 1
    for row in reader:
        if row:
            expected[begin] = row
        begin = reader.line_num + 1
    folder = tmp_path_factory.getbasetemp()
    with blocks_of(block):
        opened = source(folder, "drawn.csv", text.getvalue())
        found: dict[int, Any] = {}
        for chunk in opened.chunks():
            values = zip(*chunk.columns.values(), strict=True)
            found |= dict(zip(chunk.places, map(list, values), strict=True))
            found |= {each.place: each.record for each in chunk.rejected}
    del expected[1]
    assert found == expected


@contextmanager
def blocks_of(size: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK", size)
        yield


def test_records_that_are_none_are_told_apart_and_the_others_go_on(tmp_path: Path) -> None:
    text = b'a,b\n1,2\n3\n4,"x"y\n5,6,7\n8,\xff\n9,"two\nlines"\n10,11\n'
    found = source(tmp_path, "x.csv", text)
    path = str(tmp_path / "x.csv")
    assert records(found) == [
        (0, 2, "1", "2"),
        (5, 7, "9", "two\nlines"),
        (6, 9, "10", "11"),
    ]
    assert [(each.ordinal, each.place, each.record) for each in rejected(found)] == [
        (1, 3, ["3"]),
        (2, 4, '4,"x"y\n'),
        (3, 5, ["5", "6", "7"]),
        (4, 6, ["8", "\udcff"]),
    ]
    assert [each.message for each in rejected(found)] == [
        f"{path}, line 3: has 1 fields, not 2",
        f"{path}, line 4: is no CSV: ',' expected after '\"'",
        f"{path}, line 5: has 3 fields, not 2",
        f"{path}, line 6: can't be decoded as utf-8",
    ]
    assert {(each.source, each.kind) for each in rejected(found)} == {(path, "ParseError")}


@pytest.mark.parametrize("quoted", [False, True])
def test_ragged_records_without_quotes_and_with(tmp_path: Path, quoted: bool) -> None:
    more = '"x"' if quoted else "x"
    found = source(tmp_path, "x.csv", f"a,b\n{more},1\n\n2\n3,4\n")
    assert records(found) == [(0, 2, "x", "1"), (2, 5, "3", "4")]
    assert [(each.ordinal, each.place) for each in rejected(found)] == [(1, 4)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_no_quote_is_in_is_read_the_short_way(tmp_path: Path, end: str) -> None:
    """That way begins with a block of lines, behind a header or where there is none."""
    found = source(tmp_path, "x.csv", end.join(["1", "", "2", ""]), header=False)
    assert records(found) == [(0, 1, "1"), (1, 3, "2")]
    text = end.join(["1,2", "", "3", "4,", "\udcff,5", "6,7,8"])
    found = source(tmp_path, "x.csv", text.encode("utf-8", "surrogateescape"), header=False)
    assert records(found) == [(0, 1, "1", "2"), (2, 4, "4", "")]
    assert [(each.ordinal, each.place, each.record) for each in rejected(found)] == [
        (1, 3, ["3"]),
        (3, 5, ["\udcff", "5"]),
        (4, 6, ["6", "7", "8"]),
    ]


def test_a_quote_that_is_not_closed_costs_only_its_record(tmp_path: Path) -> None:
    found = source(tmp_path, "x.csv", 'a,b\n1,2\n3,"4\n5,6\n7,"8"\n9,10\n')
    assert records(found) == [(0, 2, "1", "2"), (2, 6, "9", "10")]
    assert [(each.place, each.record) for each in rejected(found)] == [(3, '3,"4\n5,6\n7,"8"\n')]
    found = source(tmp_path, "x.csv", 'a,b\n1,2\n3,"4\n5,6\n')
    assert records(found) == [(0, 2, "1", "2")]
    assert [each.message for each in rejected(found)] == [
        f"{tmp_path / 'x.csv'}, line 3: is no CSV: unexpected end of data"
    ]


def test_nul_is_a_character_like_others(tmp_path: Path) -> None:
    assert records(source(tmp_path, "x.csv", "a,b\n1,x\0y\n")) == [(0, 2, "1", "x\0y")]
    assert records(source(tmp_path, "x.csv", 'a,b\n1,"x\0y"\n')) == [(0, 2, "1", "x\0y")]


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_field_of_50_megabytes(tmp_path: Path, quote: str) -> None:
    field = "0123456789" * 5_000_000
    found = source(tmp_path, "x.csv", f"a,b\n1,{quote}{field}{quote}\n2,b\n")
    assert records(found) == [(0, 2, "1", field), (1, 3, "2", "b")]


def test_a_line_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST", 100)
    monkeypatch.setattr(lines, "BLOCK", 10)
    for name in ("x.csv", "x.jsonl"):
        found = source(tmp_path, name, "a\n" + "x" * 200)
        with pytest.raises(InputError, match=rf"{name}, line \d: has more than 100 characters$"):
            list(found.chunks())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", ": is empty, and should begin with a header$"),
        ("\n\n", ": is empty, and should begin with a header$"),
        ("a,b,a\n1,2,3\n", ", line 1: two columns are called 'a'$"),
        ('a,"b"c\n', ", line 1: is no header: "),
        (b"a,\xff\n", ", line 1: the header can't be decoded as utf-8$"),
    ],
)
def test_headers_that_are_none(tmp_path: Path, data: str | bytes, said: str) -> None:
    found = source(tmp_path, "x.csv", data)
    with pytest.raises(InputError, match=said) as info:
        _ = found.columns
    assert str(info.value).startswith(str(tmp_path / "x.csv"))


def test_a_header_alone_has_columns_and_no_records(tmp_path: Path) -> None:
    for text in ("a,b", "a,b\n", "a,b\n\n"):
        found = source(tmp_path, "x.csv", text)
        assert found.columns == ["a", "b"]
        assert records(found) == []


def test_an_encoding_that_breaks_off_says_where(tmp_path: Path) -> None:
    data = "a\nx\n".encode("utf-16") + b"\x00"
    found = source(tmp_path, "x.csv", data, encoding="utf-16")
    with pytest.raises(InputError, match=r"x.csv, line \d or later: can't be decoded as utf-16: "):
        list(found.chunks())


# --- JSON Lines -----------------------------------------------------------------------------


def test_json_lines_are_objects_with_the_names_of_any(tmp_path: Path) -> None:
    found = source(tmp_path, "x.jsonl", '{"a": 1}\r\n\n{"b": [2.50], "a": null}\n')
    assert found.columns == ["a", "b"]
    ((_, _, *first), (_, _, *second)) = records(found)
    assert (first, repr(second)) == ([1, None], "[None, [Decimal('2.50')]]")
    assert [each[:2] for each in records(found)] == [(0, 1), (1, 3)]


def test_json_lines_are_arrays_by_their_places(tmp_path: Path) -> None:
    found = source(tmp_path, "x.ndjson", '[1, "a"]\n[2, "b"]\n')
    assert found.columns == 2
    assert records(found) == [(0, 1, 1, "a"), (1, 2, 2, "b")]


def test_shapes_of_json_lines_by_turns_come_in_chunks_of_one(tmp_path: Path) -> None:
    found = source(tmp_path, "x.jsonl", '{"a": 1}\n[2]\nx\n[3]\n[4, 5]\n{"a": 6}\n')
    shapes = [(chunk.named, list(chunk.columns), chunk.count) for chunk in found.chunks()]
    assert shapes == [(True, ["a"], 1), (False, ["0"], 3), (False, ["0", "1"], 1), (True, ["a"], 1)]
    assert records(found)[-1] == (5, 6, 6)


def test_lines_that_are_no_json_are_told_apart(tmp_path: Path) -> None:
    deep = "[" * 100_000
    text = b'{"a": 1}\n{"a": \n5\n"x"\n{"a": "\xff"}\n' + deep.encode() + b'\n  {"a": 2}\n'
    found = source(tmp_path, "x.jsonl", text)
    assert records(found) == [(0, 1, 1), (6, 7, 2)]
    path = tmp_path / "x.jsonl"
    assert [each.message for each in rejected(found)] == [
        f"{path}, line 2: is no JSON",
        f"{path}, line 3: must be an object or an array",
        f"{path}, line 4: must be an object or an array",
        f"{path}, line 5: can't be decoded as utf-8",
        f"{path}, line 6: is no JSON",
    ]
    assert rejected(found)[0].record == '{"a": '


def test_what_looks_like_records_over_several_lines_is_none(tmp_path: Path) -> None:
    found = source(tmp_path, "x.jsonl", '{"a": [1\n2]}\n{"a": 1}, {"a": 2}\n[1][2]\n{"a": 3}\n')
    assert records(found) == [(4, 5, 3)]
    assert [each.place for each in rejected(found)] == [1, 2, 3, 4]


def test_what_stands_behind_a_record_is_not_left_out(tmp_path: Path) -> None:
    found = source(tmp_path, "x.jsonl", '{"a": 1}\n{"a": 2}{"a": 3}\n')
    assert records(found) == [(0, 1, 1)]
    assert [each.place for each in rejected(found)] == [2]


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_no_lines_of_json_are_no_records(tmp_path: Path, text: str) -> None:
    found = source(tmp_path, "x.jsonl", text)
    with pytest.raises(NoRecordsError, match=r"x.jsonl: there are no records$"):
        _ = found.columns


def test_lines_of_which_none_is_json(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"^none of the records can be read: .*x.jsonl, line 1: is no JSON$"
    ):
        _ = source(tmp_path, "x.jsonl", "a,b\n1,2\n").columns


# --- files ----------------------------------------------------------------------------------


def compressed(data: bytes, how: str) -> bytes:
    if how == "gzip":
        return gzip.compress(data)
    stream = pa.BufferOutputStream()
    with pa.CompressedOutputStream(stream, "zstd") as file:
        file.write(data)
    return bytes(stream.getvalue())


COMPRESSED = [("gzip", "x.csv.gz"), ("zstd", "x.csv.zst"), ("gzip", "x.csv"), ("zstd", "x.csv")]


def numbered(count: int) -> str:
    draw = random.Random(1)
    return "id,v\n" + "".join(f"{number},{draw.random()}\n" for number in range(count))


@pytest.mark.parametrize(("how", "name"), COMPRESSED)
def test_compressed_files(tmp_path: Path, how: str, name: str) -> None:
    data = compressed(numbered(50_000).encode(), how)
    found = source(tmp_path, name, data)
    assert [ordinal for ordinal, *_ in records(found)] == list(range(50_000))
    assert found.bytes_read == found.total_bytes == len(data)
    # Several members on end, as parallel tools write them.
    found = source(tmp_path, name, data + compressed(b"x,y\n", how))
    assert records(found)[-1] == (50_000, 50_002, "x", "y")


@pytest.mark.parametrize(("how", "name"), COMPRESSED)
def test_files_that_are_cut_give_what_is_there_and_say_so(
    tmp_path: Path, how: str, name: str
) -> None:
    data = compressed(numbered(50_000).encode(), how)
    found = source(tmp_path, name, data[: len(data) // 2])
    count = 0
    with pytest.raises(InputError, match=rf"{name}, line \d+ or later: .*(ended|Truncated)"):
        for chunk in found.chunks():
            count += chunk.count
    assert 1000 < count < 50_000


@pytest.mark.parametrize("name", ["x.csv.gz", "x.csv.zst"])
def test_files_that_are_not_compressed_at_all(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"{name}: is no (gzip|zstd) file$"):
        _ = source(tmp_path, name, "a,b\n").columns


def test_several_files_are_one_input(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("v,id\nb,2\n")
    (tmp_path / "a.csv").write_text("id,v\n1,a\nx\n")
    (tmp_path / "c.jsonl").write_text('{"id": 3, "v": "c"}\n')
    found = open_source([str(tmp_path / "*.csv"), str(tmp_path / "c.jsonl")])
    assert found.columns == ["id", "v"]
    assert [
        (Path(each.source).name, {name: list(values) for name, values in each.columns.items()})
        for each in found.chunks()
    ] == [
        ("a.csv", {"id": ["1"], "v": ["a"]}),
        ("b.csv", {"v": ["b"], "id": ["2"]}),
        ("c.jsonl", {"id": [3], "v": ["c"]}),
    ]
    assert [each.ordinal for each in rejected(found)] == [1]
    assert [ordinal for ordinal, *_ in records(found, 2)] == [2, 3]
    assert found.bytes_read == found.total_bytes == 40


def test_other_columns_in_another_file_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,v\n1,a\n")
    (tmp_path / "b.csv").write_text("id,w\n1,a\n")
    found = open_source([str(tmp_path / "*.csv")])
    with pytest.raises(InputError, match=r"b.csv: has other columns than .*a.csv: id, w$"):
        _ = found.columns


def test_it_begins_where_it_is_asked_to(tmp_path: Path) -> None:
    text = "a\n" + "".join('"x\ny"\n' if number % 7 else "x,y\n" for number in range(300))
    found = source(tmp_path, "x.csv", text)
    with blocks_of(50):
        whole = records(found)
        for start in (0, 1, 7, 150, 299, 300):
            assert records(found, start) == [each for each in whole if each[0] >= start]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("none.csv", "none.csv: No such file or directory$"),
        ("none*.csv", r"none\*.csv: no file is named like that$"),
        ("folder", r"folder: is a folder; give its files, such as .*folder/\*.csv$"),
        ("broken.csv", "broken.csv: No such file or directory$"),
        ("x.txt", "x.txt: the name's end does not say what it is: give the format, "),
    ],
)
def test_files_that_can_not_be_read(tmp_path: Path, path: str, said: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.txt").write_text("a\n")
    (tmp_path / "broken.csv").symlink_to("nowhere")
    with pytest.raises(InputError, match=said):
        open_source([str(tmp_path / path)])


def test_a_file_that_nobody_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a\n")
    path.chmod(0)
    if os.geteuid() == 0:  # who may read everything; the system's answer is played

        def refuse(name: str, mode: str) -> Any:
            raise PermissionError(13, "Permission denied", name)

        monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InputError, match=r"x.csv: Permission denied$"):
        open_source([str(path)])


READ_STANDARD_INPUT = """
import sys
from concurrent_exec.bulk.sources import open_source
found = open_source(sys.argv[1:])
values = [[list(column) for column in chunk.columns.values()] for chunk in found.chunks()]
print(found.columns, values, found.total_bytes)
"""


@pytest.mark.parametrize(
    "data",
    [b"a\n1\n", b'{"a": "1"}\n', gzip.compress(b"a\n1\n"), compressed(b'{"a": "1"}', "zstd")],
)
def test_standard_input_is_looked_into(data: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", READ_STANDARD_INPUT, "-"],
        input=data,
        capture_output=True,
        timeout=60,
    )
    assert done.stdout.decode() == "['a'] [[['1']]] None\n", done.stderr


def test_a_path_may_be_an_object(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    assert open_source([tmp_path / "a.csv"]).columns == ["a"]


@pytest.mark.parametrize("path", ["a.csv", Path("a.csv")])
def test_a_single_path_is_no_list_of_them(path: Any) -> None:
    with pytest.raises(TypeError, match=r"paths must be a list, such as \['a.csv'\]"):
        open_source(path)


@pytest.mark.parametrize("path", [b"a.csv", 5, None])
def test_what_is_no_path_is_refused_by_its_type(path: Any) -> None:
    with pytest.raises(TypeError, match=r"^paths must be a list of str or Path, not of \w+$"):
        open_source(["a.csv", path])
    if isinstance(path, bytes):
        with pytest.raises(TypeError, match=r"^paths must be a list, such as \[b'a.csv'\], not"):
            open_source(path)  # type: ignore[arg-type]


def test_no_paths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^paths must name a file, and the list is empty$"):
        open_source([])


def test_standard_input_twice_is_refused() -> None:
    with pytest.raises(InputError, match="standard input can be read only once"):
        open_source(["-", "-"])


@pytest.mark.parametrize("options", [ReadingOptions(format="csv"), None])
def test_a_pipe_is_read_once(options: ReadingOptions | None) -> None:
    """Whether it is said what is in it, or to be seen."""
    reader, writer = os.pipe()
    os.write(writer, b"a\n1\n2\n")
    os.close(writer)
    try:
        found = open_source([f"/dev/fd/{reader}"], options)
        assert found.columns == ["a"]
        assert records(found) == [(0, 2, "1"), (1, 3, "2")]
        with pytest.raises(InputError, match="can be read only once"):
            list(found.chunks())
    finally:
        os.close(reader)


def test_of_files_that_wait_nothing_was_read(tmp_path: Path) -> None:
    """Though it was looked at their headers."""
    paths = [tmp_path / f"{number}.csv" for number in range(3)]
    for path in paths:
        path.write_text("a\n1\n")
    found = open_source(paths)
    assert found.columns == ["a"]
    assert found.bytes_read == 4
    assert [found.bytes_read for _ in found.chunks()] == [4, 8, 12]


def test_fingerprints_tell_changes(tmp_path: Path) -> None:
    def taken(text: str, **options: Any) -> str:
        return json.dumps(source(tmp_path, "x.csv", text, **options).fingerprint())

    first = taken("a\n1\n")
    assert taken("a\n1\n") == first
    others = [taken("a\n2\n"), taken("a\n1\n\n"), taken("a\n1\n", header=False)]
    end = taken("a\n" + "x" * 200_000 + "y"), taken("a\n" + "x" * 200_000 + "z")
    assert len({first, *others, *end}) == 6


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"format": "xls"}, "format must be one of 'csv'"),
        ({"delimiter": ""}, "delimiter must be one character"),
        ({"quote": "\n"}, "quote must be one character"),
        ({"escape": "ab"}, "escape must be one character"),
        ({"escape": '"'}, "must be different characters"),
        ({"encoding": "utf-9"}, "encoding must be one that Python knows"),
        ({"encoding": "hex"}, "encoding must be one that Python knows"),
        ({"encoding": "idna"}, "encoding must be one that Python knows"),
        ({"encoding": "punycode"}, "encoding must be one that Python knows"),
        ({"header": "id"}, "header must be True or False"),
    ],
)
def test_options_that_are_wrong(options: Any, error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        ReadingOptions(**options)
