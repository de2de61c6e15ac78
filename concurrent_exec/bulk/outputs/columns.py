"""The columns of an output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Column(NamedTuple):
    """A column by its name and CQL type."""

    name: str
    type: Any
    """The driver's class of the type."""


def row_columns(prepared: Any) -> list[Column]:
    """Return the columns of the rows that a prepared statement brings; none where it is no read."""
    return [Column(each[2], each[3]) for each in prepared.result_metadata or ()]


def key_columns(prepared: Any, rows: Sequence[Column]) -> dict[int, Column]:
    """Return the statement's markers that the rows have no column for, by their position."""
    there = {column.name for column in rows}
    found: dict[int, Column] = {}
    for position, marker in enumerate(prepared.column_metadata or ()):
        if marker.name not in there:
            there.add(marker.name)
            found[position] = Column(marker.name, marker.type)
    return found
