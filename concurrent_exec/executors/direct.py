"""Statements straight onto the driver's connections, many at a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, TypeVar

from concurrent_exec.drivers.direct import open_wire
from concurrent_exec.executors.callback import CallbackExecutor
from concurrent_exec.model import Clock, Limiter, RetryPolicy, Session
from concurrent_exec.run import Job
from concurrent_exec.run.interrupts import interrupted

R = TypeVar("R")

log = logging.getLogger(__name__)

_AT_ONCE = 128
"""The most statements that are sent in one go: the first answers should not wait for the last."""


class DirectExecutor(CallbackExecutor[R]):
    """Sends prepared statements over the session's own connections, without the driver's overhead."""

    def __init__(
        self,
        session: Session[R],
        *,
        concurrency: int | Limiter = 100,
        max_per_second: float | None = None,
        retry: RetryPolicy | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Make an executor; the options are those of `Executor`."""
        super().__init__(
            session,
            concurrency=concurrency,
            max_per_second=max_per_second,
            retry=retry,
            clock=clock,
        )
        self._wire = open_wire(session, self._on_answers)

    def _launch(self) -> None:
        here = self._here
        if here.launching:
            return
        here.launching = True
        try:
            while not interrupted() and (jobs := self._take_many(_AT_ONCE)):
                self._send_all(jobs)
        finally:
            here.launching = False

    def _take_many(self, most: int) -> list[Job]:
        jobs: list[Job] = []
        while len(jobs) < most and (job := self._take()) is not None:
            jobs.append(job)
        return jobs

    def _send_all(self, jobs: list[Job]) -> None:
        if self._gate.limiter is not None:
            for job in jobs:
                self._gate.sends(job)
        try:
            others = self._wire.send(jobs)
        except BaseException as exc:
            for job in jobs:
                job.fail(exc)
            raise
        while others:
            self._send(others.pop(0))

    def _on_answers(self, answers: Sequence[tuple[Job, bool, Any]]) -> None:
        try:
            for job, success, value in answers:
                if success:
                    job.succeed(value)
                else:
                    job.fail(value)
            self._launch()
        except BaseException:
            log.exception("answers could not be passed on")
