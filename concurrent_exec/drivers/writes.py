"""What a batch must know of each statement that may become a part of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

from cassandra.query import (
    UNSET_VALUE,
    BatchStatement,
    BatchType,
    BoundStatement,
    PreparedStatement,
)

from concurrent_exec.drivers.keys import partition_key
from concurrent_exec.drivers.shapes import Shapes
from concurrent_exec.model import NoKeyError, Sending
from concurrent_exec.model.options import NOT_SET
from concurrent_exec.run import Job


class Write(NamedTuple):
    """A statement, bound where that can be done, and what decides whom it may go with."""

    job: Job
    way: Any
    """How a wire sends it; None for a statement that the driver sends."""
    bound: Any
    """Its values as a wire has them; of a statement that the driver sends a BoundStatement, or None
    where it goes alone."""
    company: Hashable
    """Only those of the same company may share a batch; None for one that goes alone."""
    partition: Hashable
    """Keyspace and table, and routing key; None where it can't be told."""
    row: Hashable
    """The serialized clustering key; None where it may touch any row of its partition."""
    bytes: int
    """How many bytes the server counts for it, or more."""

    def bound_statement(self) -> BoundStatement:
        """Return what the driver's batch has of it."""
        if self.way is None:
            return self.bound
        statement: BoundStatement = self.way.bound_statement(self.job.statement, self.bound)
        return statement


class Writes:
    """Looks at the statements of one session, and binds them as the driver does."""

    def __init__(self, session: Any, *, by_replicas: bool) -> None:
        """Make one; with `by_replicas`, partitions of the same nodes may share a batch.

        Raises TypeError where the session does not lead to the cluster's metadata.
        """
        metadata: Any = getattr(getattr(session, "cluster", None), "metadata", None)
        if metadata is None:
            raise TypeError(
                "batches need a session with the cluster's metadata, to know keys and replicas; "
                f"{type(session).__name__} has no cluster.metadata"
            )
        self._metadata = metadata
        self.by_replicas = by_replicas
        self.shapes = Shapes(metadata)

    def look(self, jobs: Iterable[Job]) -> Iterator[Write]:
        """Say what is known of each statement. Never raises: sending it brings what is wrong."""
        return map(self.look_at, jobs)

    def look_at(self, job: Job) -> Write:
        """Say what is known of one statement. Never raises either."""
        statement, parameters = job.statement, job.parameters
        bound = None
        if isinstance(statement, PreparedStatement):
            try:
                bound = statement.bind(parameters)
            except Exception:  # it fails when it is sent, alone, and has touched nothing
                return Write(job, None, None, None, object(), None, 0)
            shape = self.shapes.of(statement)
        elif isinstance(statement, BoundStatement) and not parameters:
            bound = statement
            shape = self.shapes.of(statement.prepared_statement)
        if bound is None or shape is None or bound.custom_payload:
            return Write(job, None, None, None, _partition(bound or statement), None, 0)
        key = bound.routing_key
        if key is None:
            return Write(job, None, None, None, None, None, 0)
        partition = shape.table, key
        values = bound.values
        # What is sent again has a timestamp of its own.
        marks = None if job.errors else marks_of(job.sending)
        if marks is not None:
            place = self.by_replicas and self._metadata.get_replicas(bound.keyspace, key)
            marks = (
                frozenset(place) if place else partition,
                bound.keyspace,
                bound.consistency_level,
                bound.serial_consistency_level,
                id(bound.retry_policy),
                bound.is_idempotent,
                marks,
            )
        return Write(
            job,
            None,
            bound,
            marks,
            partition,
            None if shape.row is None else tuple([values[index] for index in shape.row]),
            shape.weight(
                sum([len(value) for value in values if value not in (None, UNSET_VALUE)]), values
            ),
        )


def marks_of(sending: Sending) -> Hashable:
    """Return what a batch has once of the options of its statements; None where they go alone."""
    options = sending.options
    if "custom_payload" in options or "trace" in options:  # these are of one request
        return None
    profile = options.get("execution_profile")
    return (
        profile if isinstance(profile, str) else id(profile),
        options.get("timeout", NOT_SET),
        sending.assume_idempotent,
    )


def batch_of(writes: Sequence[Write]) -> BatchStatement:
    """Return one UNLOGGED BatchStatement of writes of the same company."""
    statements = [write.bound_statement() for write in writes]
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
        keyspace, table, key = cast("tuple[Any, Any, Any]", partition_key(statement, None))
    except NoKeyError:
        return None
    return (keyspace, table), key
