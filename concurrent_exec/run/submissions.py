"""The queue behind `submit`."""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import Any

from concurrent_exec.model import Sending
from concurrent_exec.run.gate import Gate
from concurrent_exec.run.job import Job
from concurrent_exec.run.work import Told, Work

log = logging.getLogger(__name__)


class SubmittedJob(Job):
    """One submitted statement and its future."""

    __slots__ = ("future",)

    def __init__(
        self, work: Work, index: int, statement: Any, parameters: Any, sending: Sending
    ) -> None:
        super().__init__(work, index, statement, parameters, sending)
        self.future: Future[Any] = Future()


class Submissions(Work):
    """Single statements with a future each, sent in the order they came. Not bounded."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self._ready: deque[SubmittedJob] = deque()
        self._count = 0
        self._retries = True

    def add(self, statement: Any, parameters: Any, sending: Sending) -> SubmittedJob:
        """Queue a statement. Lock held."""
        job = SubmittedJob(self, self._count, statement, parameters, sending)
        self._count += 1
        self._ready.append(job)
        self.gate.enqueue(self)
        return job

    def remove_all(self) -> tuple[list[SubmittedJob], list[Told]]:
        """Remove what is queued and return it, and whom to tell of what waited to be sent again.

        From now on nothing is sent again. Lock held.
        """
        self._retries = False
        removed = list(self._ready)
        self._ready.clear()
        again = [*self.take_resting(), *self._due]
        self._due.clear()
        return removed, [self._given_up(job) for job in again]

    def next_job(self) -> Job | None:
        if not (self._due or self._ready):
            return None
        job = self._due.popleft() if self._due else self._ready.popleft()
        self.weight = job.sending.weight
        return job

    def queued(self) -> int:
        return len(self._ready) + len(self._due)

    @property
    def may_bring_more(self) -> bool:
        return True

    def takeable(self) -> int:
        return self.queued()

    def waiting(self) -> int:
        return len(self._resting)

    def refusal(self, job: Job) -> BaseException | None:
        assert isinstance(job, SubmittedJob)
        if job.attempts or job.future.set_running_or_notify_cancel():
            return None
        return _NotWantedError()

    def conclude(self, job: Job, success: bool, value: Any) -> tuple[Told, object]:
        return self._told(job, success, value), None

    def may_wait(self, job: Job, delay: float) -> bool:
        return self._retries

    def abort(self, error: BaseException) -> None:
        log.error("a retry policy or limiter raised", exc_info=error)

    def _given_up(self, job: Job) -> Told:
        error = job.last_error()
        if job.sending.watch is not None:
            job.sending.watch.settled(job, False, error)
        return self._told(job, False, error)

    def _told(self, job: Job, success: bool, value: Any) -> Told:
        assert isinstance(job, SubmittedJob)
        self.gate.telling += 1
        return partial(_resolve, job.future, success, value)


def _resolve(future: Future[Any], success: bool, value: Any) -> None:
    if future.cancelled():
        return
    if success:
        future.set_result(value)
    else:
        future.set_exception(value)


class _NotWantedError(Exception):
    """Stands for the outcome of a submitted statement whose future was cancelled."""
