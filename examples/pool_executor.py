"""A strategy of one's own: each statement is a task of a pool of threads.

It is the worked example of CONTRIBUTING.md, and as correct as the others: the property suite runs
it as it runs them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from concurrent_exec import Executor, Limiter, Session
from concurrent_exec.run import Job

R = TypeVar("R")


class PoolExecutor(Executor[R]):
    """Sends each statement from a thread of a pool, which waits for the answer."""

    def __init__(
        self, session: Session[R], *, concurrency: int | Limiter = 32, **options: Any
    ) -> None:
        """Make an executor; the options are those of `Executor`."""
        super().__init__(session, concurrency=concurrency, **options)
        # It starts a thread only where none is idle; how many there may be, `_take` decides.
        self._pool = ThreadPoolExecutor(10_000)

    def _launch(self) -> None:
        # Called whenever there may be something to send, by any thread. `_take` gives no more than
        # may be in flight, and what it has given must come to an end: it settles, whatever happens.
        while (job := self._take()) is not None:
            try:
                self._pool.submit(self._run_one, job)
            except RuntimeError as exc:  # the interpreter ends, or no thread could be started
                job.fail(exc, sent=False)

    def _run_one(self, job: Job) -> None:
        try:
            future = self._execute_async(job)
        except Exception as exc:
            job.fail(exc, sent=False)
        else:
            try:
                result = future.result()
            except Exception as exc:
                job.fail(exc)
            else:
                job.succeed(result)
        # To settle a job has freed its place.
        self._launch()
