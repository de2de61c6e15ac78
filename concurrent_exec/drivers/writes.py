"""What a batch must know of each statement that may become a part of it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from cassandra.query import (
    BatchStatement,
    BatchType,
    BoundStatement,
    PreparedStatement,
)

from concurrent_exec.drivers.keys import partition_key
from concurrent_exec.drivers.shapes import Shapes
from concurrent_exec.model import NoKeyError
from concurrent_exec.run import Job


class Write(NamedTuple):
    """A statement, bound where that can be done, and what it touches."""

    bound: Any
    """A BoundStatement, or what has a method `bound_statement` that makes one. None where there is
    none, or the driver says what is wrong with it as it is sent."""
    partition: Hashable
    """Keyspace, table and routing key; None where it can't be told."""
    row: Hashable
    """The serialized clustering key; None where it may touch any row of its partition."""
    bytes: int
    """How many bytes the server counts for it, or more."""
    marks: Hashable
    """What a batch has once for all its statements, and so must be the same in each of them; None
    for a statement that goes alone."""


class Writes:
    """Looks at the statements of one session, and binds them as the driver does."""

    def __init__(self, session: Any) -> None:
        """Raises TypeError where the session does not lead to the cluster's metadata."""
        metadata: Any = getattr(getattr(session, "cluster", None), "metadata", None)
        if metadata is None:
            raise TypeError(
                "batches need a session with the cluster's metadata, to know keys and replicas; "
                f"{type(session).__name__} has no cluster.metadata"
            )
        self._metadata = metadata
        self.shapes = Shapes(metadata)

    def look(self, job: Job) -> Write:
        """Say what is known of a statement. Never raises: sending it brings what is wrong."""
        statement, parameters = job.statement, job.parameters
        bound = None
        if isinstance(statement, PreparedStatement):
            try:
                bound = statement.bind(parameters)
            except Exception:  # it fails when it is sent, alone, and has touched nothing
                return Write(None, object(), None, 0, None)
            shape = self.shapes.of(statement)
        elif isinstance(statement, BoundStatement) and not parameters:
            bound = statement
            shape = self.shapes.of(statement.prepared_statement)
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
            shape.weight(sum([len(value) for value in values if isinstance(value, bytes)]), values),
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


def batch_of(writes: Sequence[Write]) -> BatchStatement:
    """Return one UNLOGGED BatchStatement of writes whose marks are the same."""
    statements = [
        write.bound if isinstance(write.bound, BoundStatement) else write.bound.bound_statement()
        for write in writes
    ]
    first = statements[0]
    batch = BatchStatement(
        BatchType.UNLOGGED,
        retry_policy=first.retry_policy,
        consistency_level=first.consistency_level,
        serial_consistency_level=first.serial_consistency_level,
    )
    batch.is_idempotent = first.is_idempotent
    for statement in statements:
        batch.add(statement)
    return batch


def _partition(statement: Any) -> Hashable:
    try:
        return partition_key(statement, None)
    except NoKeyError:
        return None
