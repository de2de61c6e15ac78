"""The servers that the scripts measure against, each with the same tables, and sessions on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from concurrent_exec.cluster import LocalCassandra
from concurrent_exec.connect import ConnectionOptions, connect
from perf.processor_time import cpu_seconds_of
from perf.void_server import VoidServer

KEYSPACE = "perf"
SERVERS = ("void", "cassandra")


@dataclass(frozen=True)
class Server:
    """A server to measure against.

    cpu_seconds: returns the processor time that it has taken so far; None if that can't be told.
    """

    name: str
    options: ConnectionOptions
    cpu_seconds: Callable[[], float] | None = None


@contextmanager
def a_server(name: str, contact_points: str | None = None) -> Iterator[Server]:
    """Start the server of that name, or take yours.

    name: one of SERVERS.
    contact_points: of a cluster of your own; it then stands for "cassandra".
    """
    if name == "void":
        with VoidServer() as void:
            yield Server(name, void.options(), void.cpu_seconds)
    elif contact_points:
        yield Server(name, ConnectionOptions.from_environment(contact_points=contact_points))
    else:
        number = os.getpid()  # an address that no other cluster of this machine has
        address = f"127.{100 + number % 100}.{number // 100 % 250}.1"
        with LocalCassandra(first_address=address) as cassandra:
            options = ConnectionOptions(tuple(cassandra.contact_points), cassandra.port)
            (node,) = cassandra.state.processes
            yield Server(name, options, partial(cpu_seconds_of, node.pid) if node else None)


@contextmanager
def a_session(server: Server) -> Iterator[Any]:
    """Connect, without compression, which only one of the drivers brings; the keyspace is there."""
    with connect(server.options, compression=False) as session:
        session.execute(
            f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication = "
            "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        yield session
