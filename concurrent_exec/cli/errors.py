"""What goes wrong in the use of a cluster, in words instead of a traceback."""

from __future__ import annotations

from typing import IO, Any

import click
from cassandra import DriverException, InvalidRequest, UnresolvableContactPoints
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.protocol import ErrorMessage

from concurrent_exec.bulk import BulkError, InputError, NoWorkersError
from concurrent_exec.cluster import ClusterError
from concurrent_exec.connect import ConfigurationError
from concurrent_exec.model import WorkerLostError

from .streams import say

EXPECTED = (
    BulkError,
    ClusterError,
    ConfigurationError,
    ConnectionException,
    DriverException,
    ErrorMessage,
    InputError,
    NoHostAvailable,
    NoWorkersError,
    OSError,
    UnresolvableContactPoints,
    WorkerLostError,
)

_ELSEWHERE = (
    ". --contact-points or CONCURRENT_EXEC_CONTACT_POINTS say where the cluster is; "
    "`concurrent-exec cassandra start` starts one here"
)


class Refused(click.ClickException):
    """What was asked for can't be done; the message says why, and nothing was done."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the line to standard error."""
        say(f"concurrent-exec: error: {self.format_message()}")


def in_words(error: Exception) -> str:
    """Return a line on `error`, which is one of `EXPECTED`."""
    if isinstance(error, UnresolvableContactPoints):
        return "can't connect: none of the contact points' names is known"
    if isinstance(error, NoHostAvailable):
        reasons = error.errors.items() if isinstance(error.errors, dict) else ()
        if "using keyspace" in str(error.args[0]):
            return f"{error.args[0]}: is there such a keyspace?"
        hosts = "; ".join(f"{host}: {reason}" for host, reason in reasons)
        return f"can't connect: {hosts or error.args[0]}{_ELSEWHERE}"
    if isinstance(error, InvalidRequest) and "No keyspace has been specified" in str(error):
        return f"{error}: name it with the table, or give --keyspace"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
