"""The way for `DirectExecutor` to a driver's own connections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from concurrent_exec.drivers.direct.answers import Failed, OnAnswers, Succeeded
from concurrent_exec.drivers.direct.known import check
from concurrent_exec.drivers.direct.wire import SessionWire
from concurrent_exec.drivers.writes import Write, Writes
from concurrent_exec.model import Clock
from concurrent_exec.run import Job, Message

__all__ = ["Failed", "Outgoing", "Succeeded", "Wire", "check", "open_wire"]


class Outgoing(Protocol):
    """Messages that go out together, of which some are batches."""

    def look(self, jobs: Iterable[Job]) -> Iterator[Write]:
        """Say what is known of each statement. Never raises: sending it brings what is wrong."""

    def add(self, message: Message, writes: Sequence[Write]) -> bool:
        """Take a message of these writes, and give it a timestamp if it has none.

        Returns False where it is the driver's to send, after all that was added before.
        """

    def send(self) -> list[Message]:
        """Send what was added since the last time; return what was not sent."""


class Wire(Protocol):
    """Sends many statements at once over the connections of a session."""

    def send(self, jobs: Sequence[Job], on_answers: OnAnswers) -> list[Job]:
        """Send those of `jobs` that it can; return the others, which were not sent.

        on_answers: called without a lock, by any thread, with those that have succeeded and those
            that have failed. It must not raise. What is on its way refers to it, the wire does not.
        """

    def begin(self, writes: Writes, on_answers: OnAnswers) -> Outgoing:
        """Return what takes messages, of which some may be batches, to send them together.

        writes: looks at what is the driver's to send.
        on_answers: as for `send`.
        """

    def close(self) -> None:
        """Let go what is kept for further statements; those on their way still come to an end."""


@runtime_checkable
class _HasWire(Protocol):
    def open_wire(self, clock: Clock) -> Wire: ...


def open_wire(session: Any, clock: Clock) -> Wire:
    """Return a wire over the connections of `session`; of a session that brings its own, that one.


    Raises UnknownDriverError, with the reason, where the session or its driver is not known.
    """
    if isinstance(session, _HasWire):
        return session.open_wire(clock)
    if check(session) == "cassandra-driver":
        from concurrent_exec.drivers.direct.cassandra_driver import CassandraDriver

        return SessionWire(session, CassandraDriver(session), clock)
    from concurrent_exec.drivers.direct.scylla_driver import ScyllaDriver

    return SessionWire(session, ScyllaDriver(session), clock)
