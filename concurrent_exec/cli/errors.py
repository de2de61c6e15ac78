"""What goes wrong in the use of a cluster, in words instead of a traceback."""

from __future__ import annotations

from cassandra import DriverException, UnresolvableContactPoints
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.protocol import ErrorMessage

from concurrent_exec.bulk.records import InputError
from concurrent_exec.cluster import ClusterError
from concurrent_exec.connect import ConfigurationError

EXPECTED = (
    ClusterError,
    ConfigurationError,
    ConnectionException,
    DriverException,
    ErrorMessage,
    InputError,
    NoHostAvailable,
    OSError,
    UnresolvableContactPoints,
)


def in_words(error: Exception) -> str:
    """Return a line on `error`, which is one of `EXPECTED`."""
    if isinstance(error, UnresolvableContactPoints):
        return "can't connect: none of the contact points' names is known"
    if isinstance(error, NoHostAvailable):
        reasons = error.errors.items() if isinstance(error.errors, dict) else ()
        hosts = "; ".join(f"{host}: {reason}" for host, reason in reasons)
        return f"can't connect: {hosts or error}"
    return str(error)
