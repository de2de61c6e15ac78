"""The file of the records that failed, a line of JSON for each, and how these are taken again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

from concurrent_exec.bulk.exact import keep, restore
from concurrent_exec.bulk.lines import BLOCK
from concurrent_exec.bulk.records import (
    Chunk,
    InputError,
    Kind,
    NoRecordsError,
    Rejected,
    record_at,
)

PARSE_ERROR = "ParseError"
_NO_LINE = "is no line of a failed file"


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
        record_at(chunk, row),
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
            "record": _as_read(record_at(chunk, row), chunk.kind),
            "input": chunk.kind,
        }
    )


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
            "record": _as_read(record, kind),
            "input": kind,
            "error": error,
            "message": message,
            "attempts": attempts,
        }
    )


def _as_read(record: Any, kind: Kind) -> Any:
    """Return `record` as JSON has it, from which its values come as they were."""
    if isinstance(record, Mapping):
        return {str(name): keep(value, kind) for name, value in record.items()}
    if isinstance(record, list | tuple):
        return [keep(value, kind) for value in record]
    # It is none, and must not look like one.
    return record if record is None or isinstance(record, str | int) else repr(keep(record, kind))


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
    def paths(self) -> Sequence[str]:
        """Of its file."""
        return [str(self.path)]

    @property
    def columns(self) -> Sequence[str] | int:
        """The names that any record has, or how many columns they have where most have no names.

        One that failed as it has too many or too few columns says nothing of the others. Raises
        NoRecordsError where no record has columns, InputError where there is another file.
        """
        names: dict[str, None] = {}
        widths: Counter[int | None] = Counter()
        is_another = True
        for chunk in self.chunks():
            is_another &= {each.message for each in chunk.rejected} == {_NO_LINE}
            if chunk.columns:
                widths[None if chunk.named else len(chunk.columns)] += chunk.count
            if chunk.named:
                names |= dict.fromkeys(chunk.columns)
        if is_another and self._bytes_read:
            raise InputError(f"{self.path}: is no failed file: none of its lines has a record")
        if not widths:
            raise NoRecordsError(f"{self.path}: has no records that can be taken again as they are")
        ((width, _),) = widths.most_common(1)
        return list(names) if width is None else width

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
        """Yield the records from that ordinal, which is the number of their line, on.

        A chunk has lines that begin in the same 64 KiB of the file: a record may be large.
        """
        group: list[tuple[int, dict[str, Any]]] = []
        alike: Any = None
        offset = self._bytes_read = 0
        with self.path.open("rb") as file:
            for ordinal, raw in enumerate(file):
                block = offset // BLOCK
                offset += len(raw)
                self._bytes_read = offset
                if ordinal < start:
                    continue
                line = _parsed(raw)
                before, alike = alike, (block, _kind(line))
                if group and alike != before:
                    yield _chunk(group)
                    group = []
                group.append((ordinal, line))
            if group:
                yield _chunk(group)


def _parsed(raw: bytes) -> dict[str, Any]:
    """Return a line's object; what is no line of a failed file is a record that can't be parsed."""
    try:
        line = json.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError):
        line = None
    if isinstance(line, dict) and "record" in line:
        return line
    text = raw.decode("utf-8", "replace").rstrip("\r\n")
    return {"record": text, "message": _NO_LINE}


def _is_sound(line: Mapping[str, Any]) -> bool:
    """Say whether the record has its columns; those of one that could not be parsed may be off.

    One that has none is nothing to take again either: nobody would bind it, or say that it is not.
    """
    record = line["record"]
    if isinstance(record, list):
        return bool(record) and line.get("error") != PARSE_ERROR
    return isinstance(record, dict) and bool(record)


def _kind(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """What records of one chunk have in common."""
    record = line["record"]
    columns: Any = None
    if _is_sound(line):
        columns = tuple(record) if isinstance(record, dict) else len(record)
    return line.get("source"), line.get("input"), columns


def _chunk(group: Sequence[tuple[int, dict[str, Any]]]) -> Chunk:
    first, line = group[0]
    source = str(line.get("source", ""))
    ordinals = [ordinal for ordinal, _ in group]
    places = [_place(line, ordinal) for ordinal, line in group]
    given = line.get("input")
    kind: Kind = given if given in ("text", "python") else "json"
    records = [line["record"] for _, line in group]
    if not _is_sound(line):
        rejected = [
            Rejected(
                ordinal,
                source,
                place,
                record,
                PARSE_ERROR,
                str(line.get("message", "is no record")),
            )
            for place, record, (ordinal, line) in zip(places, records, group, strict=True)
        ]
        return Chunk(source, first, len(group), [], [], {}, kind, rejected=rejected)
    named = isinstance(records[0], dict)
    if not named:
        records = [dict(zip(map(str, range(len(each))), each, strict=True)) for each in records]
    columns = {name: [restore(record[name], kind) for record in records] for name in records[0]}
    values = chain.from_iterable(columns.values())
    if kind == "text" and not all(isinstance(value, str) for value in values):
        kind = "json"  # as somebody has mended it
    return Chunk(source, first, len(group), ordinals, places, columns, kind, named)


def _place(line: Mapping[str, Any], ordinal: int) -> int:
    place = line.get("place")
    return place if isinstance(place, int) else ordinal + 1
