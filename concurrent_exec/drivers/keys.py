"""What tells two statements of one partition from two of different ones."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from cassandra.query import BatchStatement, BoundStatement, PreparedStatement

from concurrent_exec.model import NoKeyError


def partition_key(statement: Any, parameters: Any) -> Hashable:
    """Return keyspace, table and routing key of a statement, for `order_by="partition_key"`.

    Prepared and bound statements have them where every column of the partition key is a marker;
    a SimpleStatement where it was given a `routing_key`. Parameters that can't be bound give a
    key of their own: that statement fails when it is sent, and no other waits for it.

    Raises NoKeyError for a statement whose partition can't be known, batches among them: what
    they hold may span partitions, and they don't tell.
    """
    if isinstance(statement, BatchStatement):
        raise NoKeyError(
            None,
            "it is a batch, which may span partitions; give order_by a function that knows its key",
        )
    if isinstance(statement, PreparedStatement):
        try:
            statement = statement.bind(parameters)
        except Exception:  # whatever it is, sending the statement brings it again, as its failure
            return object()
    routing_key = getattr(statement, "routing_key", None)
    if routing_key is None:
        raise NoKeyError(
            None,
            "its partition key is not known; prepare it with a marker for each column of the "
            "partition key, or give order_by a function",
        )
    return statement.keyspace, _table(statement), routing_key


def _table(statement: Any) -> str | None:
    if not isinstance(statement, BoundStatement):
        return None
    columns = statement.prepared_statement.column_metadata
    return columns[0].table_name if columns else None
