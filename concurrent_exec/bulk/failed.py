"""The file of the records that failed, a line of JSON for each, and how these are taken again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from concurrent_exec.bulk.portable import to_json
from concurrent_exec.bulk.records import Chunk, InputError, Kind, Rejected

_AT_ONCE = 1000
"""The most records of a chunk."""


def rejected_line(rejected: Rejected, kind: Kind) -> bytes:
    """Return the line of a record that never became a statement, of a chunk of that kind."""
    return _line(
        rejected.source,
        rejected.place,
        rejected.record,
        kind,
        rejected.kind,
        rejected.message,
        attempts=0,
    )


def failed_line(chunk: Chunk, row: int, error: BaseException, attempts: int) -> bytes:
    """Return the line of the record at `row` of `chunk`, whose statement failed with `error`."""
    return _line(
        chunk.source,
        chunk.places[row],
        record_of(chunk, row),
        chunk.kind,
        type(error).__name__,
        str(error),
        attempts=attempts,
    )


def not_found_line(chunk: Chunk, row: int) -> bytes:
    """Return the line of the record at `row` of `chunk`, whose statement brought no rows."""
    return _dumped(
        {
            "source": chunk.source,
            "place": chunk.places[row],
            "record": to_json(record_of(chunk, row)),
        }
    )


def record_of(chunk: Chunk, row: int) -> dict[str, Any]:
    """Return the record at `row` of `chunk` as it was, by the names of its columns."""
    return {name: values[row] for name, values in chunk.columns.items()}


def _line(
    source: str,
    place: int,
    record: Any,
    kind: Kind,
    error: str,
    message: str,
    *,
    attempts: int,
) -> bytes:
    return _dumped(
        {
            "source": source,
            "place": place,
            "record": to_json(record),
            # What Python's own values become in JSON is read back as JSON is.
            "input": "json" if kind == "python" else kind,
            "error": error,
            "message": message,
            "attempts": attempts,
        }
    )


def _dumped(line: Mapping[str, Any]) -> bytes:
    # In ASCII: a record may have surrogates, of which UTF-8 can't have any.
    return json.dumps(line).encode() + b"\n"


class FailedSource:
    """The records of a failed file, to be taken again; each as it was, or as it was mended."""

    def __init__(self, path: Path) -> None:
        """Make one of the file at `path`. Raises OSError where it can't be read."""
        self.path = path
        self.total_bytes: int | None = path.stat().st_size
        self._bytes_read = 0

    @property
    def columns(self) -> Sequence[str]:
        """The names of the first record's columns. Raises InputError where no record has names."""
        for chunk in self.chunks():
            if chunk.columns:
                return list(chunk.columns)
        raise InputError(f"{self.path} has no record with names")

    @property
    def total_records(self) -> int | None:
        """Not known without reading."""
        return None

    @property
    def bytes_read(self) -> int:
        """How many bytes have been read."""
        return self._bytes_read

    def fingerprint(self) -> Mapping[str, Any]:
        """Return what tells it from another, as JSON."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return {"file": str(self.path), "sha256": digest.hexdigest()}

    def chunks(self, start: int = 0) -> Iterator[Chunk]:
        """Yield the records from that ordinal, which is the number of their line, on."""
        group: list[tuple[int, dict[str, Any]]] = []
        kind: Any = None
        self._bytes_read = 0
        with self.path.open("rb") as file:
            for ordinal, raw in enumerate(file):
                self._bytes_read += len(raw)
                if ordinal < start:
                    continue
                line = _parsed(raw)
                if group and (_kind(line) != kind or len(group) >= _AT_ONCE):
                    yield _chunk(group)
                    group = []
                kind = _kind(line)
                group.append((ordinal, line))
            if group:
                yield _chunk(group)


def _parsed(raw: bytes) -> dict[str, Any]:
    """Return a line's object; what is no line of a failed file is a record that can't be parsed."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        line = None
    if isinstance(line, dict) and "record" in line:
        return line
    return {"record": raw.decode("utf-8", "replace").rstrip("\r\n"), "message": "is no JSON object"}


def _kind(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """What records of one chunk have in common."""
    record = line["record"]
    names = tuple(record) if isinstance(record, dict) else None
    return line.get("source"), line.get("input"), names


def _chunk(group: Sequence[tuple[int, dict[str, Any]]]) -> Chunk:
    first = group[0][0]
    line = group[0][1]
    source = str(line.get("source", ""))
    ordinals = [ordinal for ordinal, _ in group]
    places = [_place(line, ordinal) for ordinal, line in group]
    if not isinstance(line["record"], dict):
        rejected = [
            Rejected(
                ordinal,
                source,
                place,
                line["record"],
                str(line.get("error", "ParseError")),
                str(line.get("message", "")),
            )
            for place, (ordinal, line) in zip(places, group, strict=True)
        ]
        return Chunk(source, first, len(group), [], [], {}, _input(line), rejected=rejected)
    records = [line["record"] for _, line in group]
    columns = {name: [record[name] for record in records] for name in records[0]}
    kind: Kind = "text" if _input(line) == "text" and _all_text(records) else "json"
    named = not all(name.isdecimal() for name in columns)
    return Chunk(source, first, len(group), ordinals, places, columns, kind, named)


def _input(line: Mapping[str, Any]) -> Kind:
    return "text" if line.get("input") == "text" else "json"


def _place(line: Mapping[str, Any], ordinal: int) -> int:
    place = line.get("place")
    return place if isinstance(place, int) else ordinal + 1


def _all_text(records: Sequence[Mapping[str, Any]]) -> bool:
    return all(isinstance(value, str) for record in records for value in record.values())
