"""A real Apache Cassandra on this machine, for a newcomer and for tests (Linux only).

    from concurrent_exec.cluster import LocalCassandra

    with LocalCassandra() as cassandra:
        print(cassandra.contact_points, cassandra.port)

It needs a JDK (11 or 17) and, the first time, Maven. Every server listens on loopback only.
"""

from .artifacts import CASSANDRA_VERSION, cassandra_jars
from .errors import AlreadyRunningError, ClusterError
from .folders import default_directory
from .local import LocalCassandra
from .node import Node, NodeStatus
from .state import ClusterState, load_state

__all__ = [
    "CASSANDRA_VERSION",
    "AlreadyRunningError",
    "ClusterError",
    "ClusterState",
    "LocalCassandra",
    "Node",
    "NodeStatus",
    "cassandra_jars",
    "default_directory",
    "load_state",
]
