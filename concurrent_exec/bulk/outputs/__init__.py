"""Where rows go: CSV, JSON Lines or Parquet, in the order of the input."""

from concurrent_exec.bulk.outputs.columns import Column, key_columns, row_columns
from concurrent_exec.bulk.outputs.output import (
    DELIMITED,
    FORMATS,
    STANDARD_OUTPUT,
    Output,
    format_of,
    growing_file,
    make_output,
)

__all__ = [
    "DELIMITED",
    "FORMATS",
    "STANDARD_OUTPUT",
    "Column",
    "Output",
    "format_of",
    "growing_file",
    "key_columns",
    "make_output",
    "row_columns",
]
