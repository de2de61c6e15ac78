"""Statements and files for the tests of the bulk room."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cassandra import cqltypes
from cassandra.query import UNSET_VALUE

from concurrent_exec.bulk.binding import Binding
from concurrent_exec.bulk.options import ReadingOptions
from concurrent_exec.bulk.records import Chunk, Rejected, Source
from concurrent_exec.bulk.sources import open_source

UNSET = UNSET_VALUE


def prepared(
    *, key: tuple[int, ...] = (), text: str = "", protocol_version: int = 4, **types: str
) -> Any:
    """What a node makes of a statement with markers of these names and types of Cassandra's."""
    markers = [
        SimpleNamespace(name=name, type=cqltypes.lookup_casstype(kind))
        for name, kind in types.items()
    ]
    return SimpleNamespace(
        column_metadata=markers,
        protocol_version=protocol_version,
        routing_key_indexes=list(key),
        query_string=text,
    )


def source(folder: Path, name: str, data: str | bytes, **options: Any) -> Source:
    """The records of a file with that name and content."""
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return open_source([str(path)], ReadingOptions(**options))


def records(source: Source, start: int = 0) -> list[tuple[Any, ...]]:
    """Ordinal, place and values of each record; it checks what holds of every chunk."""
    found: list[tuple[Any, ...]] = []
    following = start
    for chunk in source.chunks(start):
        assert chunk.first == following
        following += chunk.count
        rejected = [each.ordinal for each in chunk.rejected]
        assert sorted([*chunk.ordinals, *rejected]) == list(range(chunk.first, following))
        assert all(len(column) == len(chunk.ordinals) for column in chunk.columns.values())
        assert len(chunk.places) == len(chunk.ordinals)
        found += zip(chunk.ordinals, chunk.places, *chunk.columns.values(), strict=True)
    return found


def rejected(source: Source) -> list[Rejected]:
    """Those that could not be read."""
    return [each for chunk in source.chunks() for each in chunk.rejected]


def bound(binding: Binding, source: Source) -> tuple[list[tuple[Any, ...]], list[str]]:
    """All parameters, and the messages of what could not be bound."""
    parameters: list[tuple[Any, ...]] = []
    messages: list[str] = []
    for chunk in source.chunks():
        ordinals, some, refused = binding.bind(chunk)
        assert len(ordinals) == len(some)
        parameters += some
        messages += [each.message for each in refused]
    return parameters, messages


def chunk(kind: Any, **columns: list[Any]) -> Chunk:
    """A chunk of these columns, of the file "x"."""
    count = len(next(iter(columns.values())))
    return Chunk("x", 0, count, range(count), range(1, count + 1), columns, kind)


def brings(select: Any, columns: Sequence[tuple[str, Any]]) -> Any:
    """Return a prepared SELECT, which now says that it brings these columns."""
    metadata = [("scripted", "rows", name, cql_type) for name, cql_type in columns]
    if hasattr(select, "update_result_metadata"):  # of scylla-driver
        select.update_result_metadata(metadata, None)
    else:
        select.result_metadata = metadata
    return select
