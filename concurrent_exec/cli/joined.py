"""The session of a command that sends very much."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from cassandra.cluster import Cluster

from concurrent_exec.connect import ConnectionOptions, connect
from concurrent_exec.drivers.direct.known import is_known_driver


def connect_joined(
    options: ConnectionOptions, keyspace: str | None = None
) -> AbstractContextManager[Any]:
    """Connect as `connect` does, where it can be over connections that join what they send.

    That takes a third off the processor time of loading a file one by one.
    """
    return connect(options, keyspace=keyspace, **_joining())


def _joining() -> dict[str, Any]:
    """Return the argument of the driver's Cluster that makes it so, where we know this driver."""
    try:
        from concurrent_exec.drivers.coalescing import CoalescingConnection
    except ImportError:  # it was built without libev
        return {}
    takes_its_place = Cluster.connection_class in CoalescingConnection.__mro__
    if not (takes_its_place and is_known_driver()):
        return {}
    return {"connection_class": CoalescingConnection}
