"""What an output of text has is read back as it was."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from cassandra.cqltypes import UTF8Type
from hypothesis import given, settings
from hypothesis import strategies as st

from concurrent_exec.bulk import open_source
from concurrent_exec.bulk.appending import Appender
from concurrent_exec.bulk.outputs import Column, make_output

# What a database can't have: half of a character.
TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\r\n\t,;\"'\\\0 "))


@given(
    rows=st.lists(st.tuples(TEXT, TEXT), max_size=20),
    form=st.sampled_from(["csv", "tsv", "jsonl"]),
)
@settings(max_examples=200)
def test_any_texts_are_read_back(rows: list[tuple[str, str]], form: str) -> None:
    columns = [Column("a", UTF8Type), Column("b", UTF8Type)]
    with TemporaryDirectory() as folder:
        path = Path(folder, f"rows.{form}")
        output = make_output(path, columns, form, Appender(path))
        for row in rows:
            output.add([row])
        output.flush()
        output.close()
        read = [
            row
            for chunk in open_source([str(path)]).chunks()
            for row in zip(chunk.columns.get("a", ()), chunk.columns.get("b", ()), strict=True)
        ]
    assert read == rows
