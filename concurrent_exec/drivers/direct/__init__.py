"""The way for `DirectExecutor` to a driver's own connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from concurrent_exec.drivers.direct.cassandra_driver import CassandraDriver
from concurrent_exec.drivers.direct.wire import Answers, SessionWire
from concurrent_exec.run import Job

__all__ = ["Wire", "open_wire"]


class Wire(Protocol):
    """Sends many statements at once over the connections of a session."""

    def send(self, jobs: Sequence[Job]) -> list[Job]:
        """Send those of `jobs` that it can; return the others, which were not sent."""


def open_wire(session: Any, on_answers: Callable[[Answers], None]) -> Wire:
    """Return a wire over the connections of `session`.

    on_answers: called without a lock, by any thread, with jobs that have come to their end,
        whether well, and their result or exception. It must not raise.
    """
    return SessionWire(session, CassandraDriver(session), on_answers)
