"""Worker threads that call the session and wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from threading import Lock, Thread
from typing import Any, TypeVar

from concurrent_exec.drivers import answer, detached
from concurrent_exec.executors.base import Executor
from concurrent_exec.model import Clock, Limiter, Observer, RetryPolicy, Session
from concurrent_exec.run import Job

R = TypeVar("R")

LINGER = 1.0
"""Seconds that a worker with nothing to do stays before its thread ends."""


class ThreadExecutor(Executor[R]):
    """Sends statements on up to `concurrency` worker threads, each of which waits for its answer.

    A thread is started when there is work for it and ends after a few idle seconds. The threads
    are daemons: a statement without an answer does not keep the interpreter from exiting.

    The session may have only a blocking `execute`. A failure then does not tell whether the
    statement was sent, and counts as one that was.
    """

    _sends_by = ("execute_async", "execute")

    def __init__(
        self,
        session: Session[R],
        *,
        concurrency: int | Limiter = 32,
        max_per_second: float | None = None,
        retry: RetryPolicy | None = None,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        """Make an executor; the options are those of `Executor`."""
        super().__init__(
            session,
            concurrency=concurrency,
            max_per_second=max_per_second,
            retry=retry,
            clock=clock,
            observers=observers,
        )
        self._blocks = not hasattr(session, "execute_async")
        self._workers_lock = Lock()
        self._workers = 0
        self._idle: list[Lock] = []

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut down as `Executor.shutdown` does; the threads end when they have nothing to do."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        with self._workers_lock:
            while self._idle:
                self._idle.pop().release()

    def _launch(self) -> None:
        gate = self._gate
        if not gate.may_take():
            return
        with self._workers_lock:
            if self._idle:
                self._idle.pop().release()
                return
            if self._workers >= gate.limit:
                return  # each of them looks for more before it rests
            self._workers += 1
        try:
            Thread(target=self._work, name="concurrent_exec-worker", daemon=True).start()
        except Exception:
            with self._workers_lock:
                self._workers -= 1
                others = self._workers > 0
            if not others:  # else they do the work, if more slowly
                raise

    def _work(self) -> None:
        bell = Lock()
        bell.acquire()
        while True:
            while (job := self._take()) is not None:
                self._launch()  # while there is more, one worker wakes the next
                self._run_one(job)
                del job
            with self._workers_lock:
                if self._gate.may_take():
                    continue
                if self._shut_down:  # whatever comes yet starts another
                    self._workers -= 1
                    return
                self._idle.append(bell)
            if not bell.acquire(timeout=LINGER):
                with self._workers_lock:
                    if bell in self._idle:
                        self._idle.remove(bell)
                        self._workers -= 1
                        return
                bell.acquire()

    def _run_one(self, job: Job) -> None:
        try:
            wait = self._hand_to_session(job)
        except BaseException as exc:
            job.fail(exc, sent=False)
            return
        try:
            result = detached(wait())
        except BaseException as exc:
            job.fail(exc)
        else:
            job.succeed(result)

    def _hand_to_session(self, job: Job) -> Callable[[], Any]:
        """Return what waits for the answer of `job`, or raise where it was not sent."""
        if self._blocks:
            return partial(self._execute, job)
        # What `session.execute` does, in two steps, so as to know whether it was sent.
        return partial(answer, self._execute_async(job))

    def _execute(self, job: Job) -> Any:
        self._gate.sends(job)
        return self.session.execute(job.statement, job.parameters, **job.sending.options)
