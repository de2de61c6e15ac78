"""What a batch must know of each statement that may become a part of it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from cassandra.query import (
    UNSET_VALUE,
    BatchStatement,
    BatchType,
    BoundStatement,
    PreparedStatement,
)

from concurrent_exec.drivers.keys import partition_key
from concurrent_exec.drivers.shapes import ELEMENT_BYTES, Shape
from concurrent_exec.model import NoKeyError


class Write(NamedTuple):
    """A statement, bound where it may go with others, and what it touches."""

    bound: Any
    """The BoundStatement; None for a statement that goes alone."""
    partition: Hashable
    """Keyspace, table and routing key; None where it can't be told."""
    row: Hashable
    """The serialized clustering key; None where it may touch any row of its partition."""
    bytes: int
    """How many bytes the server counts for it, or more."""
    marks: Hashable
    """What a batch has once for all its statements, and so must be the same in each of them."""


class Writes:
    """Looks at statements for one session, and remembers the prepared ones."""

    def __init__(self, session: Any) -> None:
        """Raises TypeError where the session does not lead to the cluster's metadata."""
        metadata: Any = getattr(getattr(session, "cluster", None), "metadata", None)
        if metadata is None:
            raise TypeError(
                "batches need a session with the cluster's metadata, to know keys and replicas; "
                f"{type(session).__name__} has no cluster.metadata"
            )
        self._metadata = metadata
        self._shapes: WeakKeyDictionary[Any, Shape | None] = WeakKeyDictionary()

    def look(self, statement: Any, parameters: Any) -> Write:
        """Say what is known of a statement. Never raises: sending it brings what is wrong."""
        bound = None
        if isinstance(statement, PreparedStatement):
            try:
                bound = statement.bind(parameters)
            except Exception:  # it fails when it is sent, alone, and has touched nothing
                return Write(None, object(), None, 0, None)
            shape = self._shape(statement)
        elif isinstance(statement, BoundStatement) and not parameters:
            bound = statement
            shape = self._shape(statement.prepared_statement)
        if bound is None or shape is None or bound.custom_payload:
            return Write(None, _partition(bound or statement), None, 0, None)
        key = bound.routing_key
        if key is None:
            return Write(None, None, None, 0, None)
        values = bound.values
        return Write(
            bound,
            (*shape.table, key),
            None if shape.row is None else tuple([values[index] for index in shape.row]),
            _weight(shape, values),
            (
                bound.keyspace,
                bound.consistency_level,
                bound.serial_consistency_level,
                bound.retry_policy,
                bound.is_idempotent,
            ),
        )

    def replicas(self, write: Write) -> Hashable:
        """Return the nodes that have the partition of `write`; none where they are not known."""
        bound = write.bound
        return frozenset(self._metadata.get_replicas(bound.keyspace, bound.routing_key))

    def _shape(self, prepared: PreparedStatement) -> Shape | None:
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


def batch_of(writes: list[Write]) -> BatchStatement:
    """Return one UNLOGGED BatchStatement of writes whose marks are the same."""
    first = writes[0].bound
    batch = BatchStatement(
        BatchType.UNLOGGED,
        retry_policy=first.retry_policy,
        consistency_level=first.consistency_level,
        serial_consistency_level=first.serial_consistency_level,
    )
    batch.is_idempotent = first.is_idempotent
    for write in writes:
        batch.add(write.bound)
    return batch


def _partition(statement: Any) -> Hashable:
    try:
        return partition_key(statement, None)
    except NoKeyError:
        return None


def _weight(shape: Shape, values: list[Any]) -> int:
    # What Cassandra holds against batch_size_warn_threshold is `dataSize` of its mutations: of
    # each cell the value, and timestamp, TTL and time of deletion. Keys count less there.
    weight = sum([len(value) for value in values if value is not None and value is not UNSET_VALUE])
    for index in shape.collections:
        value = values[index]
        if value is not None and value is not UNSET_VALUE:
            weight += _elements(value) * ELEMENT_BYTES
    return shape.bytes + shape.times * weight


def _elements(value: bytes) -> int:
    return int.from_bytes(value[:4], "big")  # native protocol, from version 3 on
