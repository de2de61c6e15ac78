"""What all executions of one prepared write have in common, as far as a batch must know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from concurrent_exec.retry.cql import Token, tokens
from concurrent_exec.retry.statements import (
    is_conditional,
    is_counter_update,
    is_single_partition_write,
)

CELL_BYTES = 20
"""What a cell weighs besides its value: timestamp, TTL and time of deletion, at their longest."""
ROW_BYTES = 40
"""What a row weighs besides its cells: twice such a triple, for its life and for its deletion."""
ELEMENT_BYTES = CELL_BYTES + 16
"""What each element of a collection weighs besides its value: in a list it has a key of 16."""

_EXACT = frozenset(
    {"ascii", "bigint", "blob", "boolean", "date", "inet", "int", "smallint", "text", "time"}
    | {"timestamp", "timeuuid", "tinyint", "uuid", "varchar", "varint"}
)
"""Types of which two values are equal only if their bytes are; not so 1.0 and 1.00 of a decimal."""
_COLLECTIONS = frozenset({"list", "set", "map"})


@dataclass(frozen=True, slots=True)
class Shape:
    """What can be told of a prepared write from its text and its table."""

    table: tuple[str, str]
    """Keyspace and name."""
    row: tuple[int, ...] | None
    """The markers that give the clustering key. None where a write may touch other rows of its
    partition too, or which one it touches can't be told."""
    bytes: int
    """What a write weighs without the values of its markers."""
    times: int
    """How often its values are weighed: a deletion of a range has its bounds twice."""
    collections: tuple[int, ...]
    """The markers of a list, set or map, whose values may become many cells."""

    def weight(self, bytes_of_values: int, values: Sequence[Any]) -> int:
        """Return how many bytes the server counts for a write, or more.

        values: as they are serialised; those of lists, sets and maps may be null or not set.
        """
        # What Cassandra holds against batch_size_warn_threshold is `dataSize` of its mutations: of
        # each cell the value, and timestamp, TTL and time of deletion. Keys count less there.
        if self.collections:
            elements = sum([_elements(values[index]) for index in self.collections])
            bytes_of_values += elements * ELEMENT_BYTES
        return self.bytes + self.times * bytes_of_values

    @classmethod
    def of(cls, prepared: Any, tables: Any) -> Shape | None:
        """Return the shape of a prepared statement, or None of one that goes alone.

        tables: the driver's TableMetadata by their names, or None where they are not known.

        Alone go all but INSERT, UPDATE and DELETE of one partition, which must be known by its
        markers; and conditional writes and updates of counters.
        """
        columns = prepared.column_metadata
        if (
            not columns
            or not prepared.routing_key_indexes
            or not is_single_partition_write(prepared)
            or is_conditional(prepared)
            or is_counter_update(prepared)
        ):
            return None
        text = _Text(prepared.query_string)
        table = None if tables is None else tables.get(columns[0].table_name)
        return cls(
            table=(columns[0].keyspace_name, columns[0].table_name),
            row=None if table is None else _row(text, table, columns),
            bytes=ROW_BYTES + CELL_BYTES * (text.cells + _fields(columns)) + text.literal_bytes,
            times=2 if text.words[0] == "delete" else 1,
            collections=tuple(
                index
                for index, column in enumerate(columns)
                if column.type.typename in _COLLECTIONS
            ),
        )


class Shapes:
    """Finds the shapes of a session's prepared statements, and remembers them."""

    def __init__(self, metadata: Any) -> None:
        """Find them by the cluster's metadata."""
        self._metadata = metadata
        self._shapes: WeakKeyDictionary[Any, Shape | None] = WeakKeyDictionary()

    def of(self, prepared: Any) -> Shape | None:
        """Return the shape of a prepared statement, or None of one that goes alone."""
        try:
            return self._shapes[prepared]
        except KeyError:
            pass
        columns = prepared.column_metadata
        keyspace = self._metadata.keyspaces.get(columns[0].keyspace_name) if columns else None
        tables = None if keyspace is None else keyspace.tables
        shape = Shape.of(prepared, tables)
        # Metadata may come late, of a table that somebody else has just made; or never at all.
        if shape is None or shape.table[1] in (tables or ()) or not self._metadata.keyspaces:
            self._shapes[prepared] = shape
        return shape


def _elements(value: Any) -> int:
    """How many elements a serialised list, set or map has (native protocol, from version 3 on)."""
    return int.from_bytes(value[:4], "big") if isinstance(value, bytes) else 0


def _fields(columns: Any) -> int:
    """How many fields all user-defined types have together; each may be a cell."""
    return sum(len(getattr(column.type, "fieldnames", None) or ()) for column in columns)


def _row(text: _Text, table: Any, columns: Any) -> tuple[int, ...] | None:
    # A write of a static column touches what the other rows of its partition share.
    if any(column.is_static and text.names(column.name) for column in table.columns.values()):
        return None
    markers = text.markers(len(columns))
    keys = [markers.get(column.name) for column in table.clustering_key]
    found = tuple(key for key in keys if key is not None)
    if len(found) < len(keys) or any(columns[key].type.typename not in _EXACT for key in found):
        return None
    return found


class _Text:
    """The text of one INSERT, UPDATE or DELETE."""

    def __init__(self, text: str) -> None:
        self._tokens = [token for token in tokens(text) if token.text != ";"]
        self.words = [token.text if token.kind == "word" else "" for token in self._tokens]

    @property
    def cells(self) -> int:
        """How many columns it writes, or more."""
        if self.words[0] == "insert":
            part = self._tokens[self._find("values") :]
        else:
            part = self._tokens[: self._find("where")]
        return 1 + sum(token.text == "," for token in part)

    @property
    def literal_bytes(self) -> int:
        return sum(len(token.text) for token in self._tokens if token.kind in ("string", "number"))

    def names(self, column: str) -> bool:
        return any(token.text == column for token in self._tokens if _is_name(token))

    def markers(self, count: int) -> dict[str, int]:
        """Return which marker each column is given by, or equal to, where it is a mere marker.

        It goes by the text, as a named marker need not be named for its column.

        count: how many markers there are; if that is not what is found here, none is told.
        """
        places = [place for place in range(len(self._tokens)) if self._length(place)]
        if len(places) != count:
            return {}
        terms = self._inserted() if self.words[0] == "insert" else self._equated()
        return {
            name: places.index(start)
            for name, start, end in terms
            if end > start and self._length(start) == end - start
        }

    def _inserted(self) -> Iterator[tuple[str, int, int]]:
        """Name, and start and end of the term, of each column of an INSERT."""
        values = self._find("values")
        opening = next((n for n in range(values) if self._tokens[n].text == "("), values)
        names = [token.text for token in self._tokens[opening:values] if _is_name(token)]
        terms = self._split(values + 2, len(self._tokens), ",")
        for name, (start, end) in zip(names, terms, strict=False):
            yield name, start, end

    def _equated(self) -> Iterator[tuple[str, int, int]]:
        """Name, and start and end of what it equals, of each column of a WHERE."""
        for start, end in self._split(self._find("where") + 1, len(self._tokens), "and"):
            name, *rest = self._tokens[start:end]
            if rest and _is_name(name) and rest[0].text == "=":
                yield name.text, start + 2, end

    def _split(self, start: int, end: int, separator: str) -> Iterator[tuple[int, int]]:
        """Cut at each `separator` outside of brackets, and at the bracket that ends them all."""
        depth, first = 0, start
        for place in range(start, end):
            token = self._tokens[place]
            if token.kind == "symbol":
                depth += (token.text in "([{") - (token.text in ")]}")
            if depth < 0:
                yield first, place
                return
            if depth == 0 and token.text == separator and token.kind in ("symbol", "word"):
                yield first, place
                first = place + 1
        yield first, end

    def _find(self, word: str) -> int:
        return self.words.index(word) if word in self.words else len(self.words)

    def _length(self, place: int) -> int:
        """How many tokens the marker that begins at `place` has; 0 where none does."""
        first, *rest = self._tokens[place : place + 2]
        if first == ("symbol", "?"):
            return 1
        return 2 if first == ("symbol", ":") and rest and _is_name(rest[0]) else 0


def _is_name(token: Token) -> bool:
    return token.kind in ("word", "quoted")
