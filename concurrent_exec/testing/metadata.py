"""What a scripted session's cluster knows of keys and replicas."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

from cassandra.metadata import ColumnMetadata, KeyspaceMetadata, TableMetadata


class ScriptedMetadata:
    """Stands for `cluster.metadata`, with the tables that statements were prepared for."""

    def __init__(self, replicas: Callable[[str, bytes], Iterable[Hashable]]) -> None:
        self.keyspaces: dict[str, KeyspaceMetadata] = {}
        self._replicas = replicas

    def get_replicas(self, keyspace: str, key: bytes) -> list[Hashable]:
        """Return the nodes that have the partition with this routing key."""
        return list(self._replicas(keyspace, key))

    def add_table(
        self, keyspace: str, name: str, partition_key: Sequence[str], clustering_key: Sequence[str]
    ) -> None:
        """Make a table known, of which no more is told than its key."""
        known = self.keyspaces.setdefault(
            keyspace, KeyspaceMetadata(keyspace, True, "SimpleStrategy", {"replication_factor": 1})
        )
        table = TableMetadata(keyspace, name)
        table.partition_key = [ColumnMetadata(table, each, "int") for each in partition_key]
        table.clustering_key = [ColumnMetadata(table, each, "int") for each in clustering_key]
        known.tables[name] = table
