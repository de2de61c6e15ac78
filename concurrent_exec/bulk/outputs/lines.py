"""Outputs of text: what was written stays as it is, so the file itself can be cut."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
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
        self, path: Path, columns: Sequence[Column], appender: Appender, delimiter: str = ","
    ) -> None:
        """Make one that appends to `appender`; the header comes first where that is empty."""
        super().__init__(path, appender)
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, delimiter=delimiter, lineterminator="\n")
        if not appender.length:
            self.add([[column.name for column in columns]])

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Take rows. Raises OSError."""
        self._writer.writerows([to_text(value) for value in row] for row in rows)
        self._file.write(self._text.getvalue().encode())
        self._text.seek(0)
        self._text.truncate()


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
