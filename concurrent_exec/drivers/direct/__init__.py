"""The way for `DirectExecutor` to a driver's own connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from concurrent_exec.drivers.direct.known import check
from concurrent_exec.drivers.direct.wire import Failed, OnAnswers, SessionWire, Succeeded
from concurrent_exec.model import Clock
from concurrent_exec.run import Job

__all__ = ["Failed", "Succeeded", "Wire", "open_wire"]


class Wire(Protocol):
    """Sends many statements at once over the connections of a session."""

    def send(self, jobs: Sequence[Job]) -> list[Job]:
        """Send those of `jobs` that it can; return the others, which were not sent."""

    def close(self) -> None:
        """Let go what is kept for further statements; those on their way still come to an end."""


@runtime_checkable
class _HasWire(Protocol):
    def open_wire(self, on_answers: OnAnswers, clock: Clock) -> Wire: ...


def open_wire(session: Any, on_answers: OnAnswers, clock: Clock) -> Wire:
    """Return a wire over the connections of `session`; of a session that brings its own, that one.

    on_answers: called without a lock, by any thread, with those that have succeeded and those that
        have failed. It must not raise.

    Raises UnknownDriverError, with the reason, where the session or its driver is not known.
    """
    if isinstance(session, _HasWire):
        return session.open_wire(on_answers, clock)
    if check(session) == "cassandra-driver":
        from concurrent_exec.drivers.direct.cassandra_driver import CassandraDriver

        return SessionWire(session, CassandraDriver(session), on_answers, clock)
    from concurrent_exec.drivers.direct.scylla_driver import ScyllaDriver

    return SessionWire(session, ScyllaDriver(session), on_answers, clock)
