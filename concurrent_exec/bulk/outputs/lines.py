"""Outputs of text: what was written stays as it is, so the file itself can be cut."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from concurrent_exec.bulk.appending import Appender
from concurrent_exec.bulk.outputs.columns import Column
from concurrent_exec.bulk.portable import to_json, to_text


class _TextOutput:
    """What both have in common."""

    def __init__(self, path: Path, appender: Appender) -> None:
        self.path = path
        self._file = appender

    @property
    def length(self) -> int:
        """The bytes of all rows taken so far."""
        return self._file.length

    def flush(self) -> None:
        """Hand all to the system. Raises OSError."""
        self._file.flush()

    def sync(self) -> None:
        """Have what was flushed brought to the disk. Raises OSError."""
        self._file.sync()

    def finish(self) -> None:
        """Nothing is left to be done."""

    def clean_up(self) -> None:
        """Nothing is left to be removed."""

    def close(self) -> None:
        """Close the file; what was not flushed is let go."""
        self._file.close()


class CsvOutput(_TextOutput):
    """CSV in UTF-8 with a header; null is empty, a collection is JSON."""

    def __init__(
        self,
        path: Path,
        columns: Sequence[Column],
        appender: Appender,
        *,
        delimiter: str = ",",
        guard_formulas: bool = False,
    ) -> None:
        """Make one that appends to `appender`; the header comes first where that is empty.

        guard_formulas: whether a text that a spreadsheet would take for a formula has a ' put
            before it.
        """
        super().__init__(path, appender)
        self._field = _guarded if guard_formulas else to_text
        self._lines = _Lines()
        # What is in a line's end is quoted within a field: so a carriage return must be in it.
        self._writer = csv.writer(self._lines, delimiter=delimiter, lineterminator="\r\n")
        if not appender.length:
            self.add([[column.name for column in columns]])

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Take rows. Raises OSError."""
        self._writer.writerows(map(self._field, row) for row in rows)
        self._file.write("".join(self._lines).encode())
        self._lines.clear()


class _Lines(list[str]):
    """Lines as they are written, each ended by a line feed alone, as tools of Unix want it."""

    def write(self, line: str) -> None:
        self.append(f"{line[:-2]}\n")


_BEGINS_FORMULA = tuple("=+-@\t\r")
# From https://owasp.org/www-community/attacks/CSV_Injection, as is what is put before it.


def _guarded(value: Any) -> str:
    text = to_text(value)
    # A number of Python's is none, with a minus before it or not.
    if text.startswith(_BEGINS_FORMULA) and not isinstance(value, int | float | Decimal):
        return f"'{text}"
    return text


class JsonLinesOutput(_TextOutput):
    """An object for each row, by the names of the columns."""

    def __init__(self, path: Path, columns: Sequence[Column], appender: Appender) -> None:
        """Make one that appends to `appender`."""
        super().__init__(path, appender)
        self._names = [column.name for column in columns]

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Take rows. Raises OSError."""
        names = self._names
        lines = [
            json.dumps(dict(zip(names, map(to_json, row), strict=True)), ensure_ascii=False)
            for row in rows
        ]
        self._file.write("".join(f"{line}\n" for line in lines).encode())
