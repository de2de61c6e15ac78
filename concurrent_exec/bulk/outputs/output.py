"""What a run needs of an output, and which there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from concurrent_exec.bulk.appending import Appender
from concurrent_exec.bulk.arrow import arrow
from concurrent_exec.bulk.errors import BulkError
from concurrent_exec.bulk.outputs.columns import Column
from concurrent_exec.bulk.outputs.lines import CsvOutput, JsonLinesOutput
from concurrent_exec.model.options import one_of


class Output(Protocol):
    """Takes rows. What was flushed is a whole number of them, and can be cut to."""

    path: Path
    """Where the rows are in the end."""

    @property
    def length(self) -> int:
        """The bytes that all rows taken so far will have when flushed."""

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Take rows, each with a value for every column. Raises OSError."""

    def flush(self) -> None:
        """Hand all to the system. Raises OSError."""

    def sync(self) -> None:
        """Have what was flushed brought to the disk. Raises OSError."""

    def finish(self) -> None:
        """Make of it what it is to be in the end. Raises OSError."""

    def clean_up(self) -> None:
        """Remove what is needed no more, once the journal says that all is finished."""

    def close(self) -> None:
        """Close the file; what was not flushed is let go."""


FORMATS = ("csv", "tsv", "jsonl", "parquet")
DELIMITED = {"csv": ",", "tsv": "\t"}
"""What is between the fields, by the formats that have fields."""
STANDARD_OUTPUT = "-"
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


def format_of(path: Path, given: str | None = None) -> str:
    """Return the format of the output at `path`: what is `given`, else what its name says, and CSV
    on standard output.

    Raises ValueError where there is no such format, BulkError where the name says nothing.
    """
    if given is not None:
        return one_of("output_format", given, FORMATS)
    if str(path) == STANDARD_OUTPUT:
        return "csv"
    found = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise BulkError(
            f"the format of the output {path} is not clear: let the name end in "
            f"{', '.join(sorted(_SUFFIXES))}, or say the format"
        )
    return found


def growing_file(path: Path, output_format: str) -> Path:
    """Return the file that grows while the run goes on."""
    return path.with_name(path.name + ".part") if output_format == "parquet" else path


def make_output(
    path: Path,
    columns: Sequence[Column],
    output_format: str,
    appender: Appender,
    *,
    guard_formulas: bool = False,
) -> Output:
    """Return the output to `path`, which grows in `appender`.

    guard_formulas: of CSV and TSV, see `CsvOutput`.

    Raises MissingPackageError, which says what to install.
    """
    if output_format in DELIMITED:
        delimiter = DELIMITED[output_format]
        return CsvOutput(
            path, columns, appender, delimiter=delimiter, guard_formulas=guard_formulas
        )
    if output_format == "jsonl":
        return JsonLinesOutput(path, columns, appender)
    arrow("an output of Parquet")
    from concurrent_exec.bulk.outputs.parquet import ParquetOutput

    return ParquetOutput(path, columns, appender)
