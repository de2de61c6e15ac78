"""Statements straight onto the driver's connections, many at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from concurrent_exec.drivers.direct import Wire, open_wire
from concurrent_exec.executors._wired import WiredExecutor
from concurrent_exec.model import Clock, Limiter, Observer, RetryPolicy, Session
from concurrent_exec.run import Job
from concurrent_exec.run.interrupts import interrupted

R = TypeVar("R")

_AT_ONCE = 128
"""The most statements that are sent in one go: the first answers should not wait for the last."""


class DirectExecutor(WiredExecutor[R]):
    """Sends prepared statements over the session's own connections, many at a time.

    Bound and framed by us, answered into small objects of ours: a fifth of the CPU and less. All
    else is the driver's: pools, authentication, TLS, topology, the retry policy's verdict on an
    error, further pages. What is not plain goes through `execute_async`, as `CallbackExecutor`
    sends it: simple and batch statements, tracing, custom payloads, speculative execution,
    continuous paging, column encryption, a load-balancing policy or protocol handler of your own,
    and every statement of a session that has request-init listeners or metrics.

    It relies on internals of the drivers, which it looks at first.
    """

    def __init__(
        self,
        session: Session[R],
        *,
        concurrency: int | Limiter = 100,
        max_per_second: float | None = None,
        retry: RetryPolicy | None = None,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        """Make an executor; the options are those of `Executor`.

        Raises UnknownDriverError, with the reason, where the session is none that it knows.
        """
        super().__init__(
            session,
            concurrency=concurrency,
            max_per_second=max_per_second,
            retry=retry,
            clock=clock,
            observers=observers,
        )
        self._wire: Wire = open_wire(session, self._gate.clock)

    def _send_some(self, most: int) -> int:
        sent = 0
        while sent < most and not interrupted():
            jobs = self._take_many(min(most - sent, _AT_ONCE))
            if not jobs:
                break
            sent += len(jobs)
            self._send_all(jobs)
        return sent

    def _send_all(self, jobs: list[Job]) -> None:
        if self._gate.notes_sending:
            for job in jobs:
                self._gate.sends(job)
        try:
            others = self._wire.send(jobs, self._on_answers)
        except BaseException as exc:
            for job in jobs:
                job.fail(exc)
            raise
        while others:
            self._send(others.pop(0))
