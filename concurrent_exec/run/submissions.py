"""The queue behind `submit`."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import Any

from concurrent_exec.run.gate import Gate, Work
from concurrent_exec.run.job import Job
from concurrent_exec.run.telling import tell


class SubmittedJob(Job):
    """One submitted statement and its future."""

    __slots__ = ("_send_options", "future")

    def __init__(
        self,
        work: Submissions,
        index: int,
        statement: Any,
        parameters: Any,
        send_options: dict[str, Any],
    ) -> None:
        super().__init__(work, index, statement, parameters)
        self._send_options = send_options
        self.future: Future[Any] = Future()

    @property
    def send_options(self) -> dict[str, Any]:
        return self._send_options

    def begin(self) -> bool:
        return self.future.set_running_or_notify_cancel()


class Submissions(Work):
    """Single statements with a future each, sent in the order they came. Not bounded."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.send_options = {}
        self._ready: deque[SubmittedJob] = deque()
        self._count = 0

    def add(self, statement: Any, parameters: Any, send_options: dict[str, Any]) -> SubmittedJob:
        """Queue a statement. Lock held."""
        job = SubmittedJob(self, self._count, statement, parameters, send_options)
        self._count += 1
        self._ready.append(job)
        self.gate.enqueue(self)
        return job

    def remove_all(self) -> list[SubmittedJob]:
        """Remove and return what is queued. Lock held."""
        removed = list(self._ready)
        self._ready.clear()
        return removed

    def next_job(self) -> Job | None:
        return self._ready.popleft() if self._ready else None

    def queued(self) -> int:
        return len(self._ready)

    def settle(self, job: Job, success: bool, value: Any) -> None:
        assert isinstance(job, SubmittedJob)
        with self.gate.lock:
            if job.settled:
                return
            job.settled = True
            self.gate.telling += 1
            self.gate.give_back()
        tell(partial(self._resolve, job.future, success, value), self.gate)

    @staticmethod
    def _resolve(future: Future[Any], success: bool, value: Any) -> None:
        if future.cancelled():
            return
        if success:
            future.set_result(value)
        else:
            future.set_exception(value)
