"""Statements sent by other processes, many at a time."""

from __future__ import annotations

import logging
import os
import pickle
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from contextlib import AbstractContextManager
from functools import partial
from threading import Lock
from typing import Any, TypeVar
from uuid import uuid4

from concurrent_exec.executors._chunks import pack, unpack_outcomes, why_not
from concurrent_exec.executors._exit import exiting
from concurrent_exec.executors._linger import Linger
from concurrent_exec.executors._worker import (
    ANSWERED,
    NO_SESSION,
    UNREADABLE,
    forget,
    run_chunk,
)
from concurrent_exec.executors.base import Executor
from concurrent_exec.executors.dask_pool import is_of_dask, run_once
from concurrent_exec.executors.lanes import Lanes
from concurrent_exec.model import (
    Clock,
    Limiter,
    NotTransferableError,
    Observer,
    RetryPolicy,
    Sending,
    Session,
    WorkerLostError,
)
from concurrent_exec.model.options import number, positive_int
from concurrent_exec.model.pickling import unpack_error
from concurrent_exec.run import Job, succeed_all
from concurrent_exec.run.interrupts import interrupted

R = TypeVar("R")

log = logging.getLogger(__name__)

PER_PROCESS = 2
"""So many chunks a process: one that it does, and one that waits for it."""


class ProcessExecutor(Executor[R]):
    """Sends statements by worker processes, each over a session of its own.

    What decides stays here: limits, order, retries, budgets, observers. A chunk of statements goes
    to a process, which sends all of them at once by the fastest strategy that fits its session, and
    comes back when the last of them is answered. docs/processes.md says what travels, and what
    becomes of statements whose process dies (`WorkerLostError`).
    """

    _sends_by = ()

    def __init__(
        self,
        connect: Callable[[], Session[R] | AbstractContextManager[Session[R]]],
        *,
        processes: int | None = None,
        pool: Callable[[], futures.Executor] | None = None,
        concurrency: int | Limiter = 1000,
        chunksize: int | None = None,
        linger: float = 0.005,
        max_per_second: float | None = None,
        retry: RetryPolicy | None = None,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        """Make an executor; the options are those of `Executor`, and these:

        connect: called once in each process; returns a driver's session, or a context manager that
            gives one, such as `partial(concurrent_exec.connect.connect, options)`. It must pickle:
            a function of a module, or a partial of one.
        processes: how many; by default as many as there are cores.
        pool: returns a pool that runs functions in other processes, by default processes on this
            machine, spawned. Called when a pool is first needed, and after one has broken. Say
            with `processes` how many workers it has.
        concurrency: the most statements in flight, over all processes.
        chunksize: the most statements that travel together; by default so many that each process
            has one chunk to do and one waiting.
        linger: the seconds that statements wait at most for others to travel with, while something
            is in flight; 0 for not at all.

        Raises TypeError or ValueError naming an option that is wrong.
        """
        self._connect = _pickled(connect)
        if pool is not None and not callable(pool):
            raise TypeError(f"pool must be a function that makes one, not {type(pool).__name__}")
        super().__init__(
            None,  # type: ignore[arg-type]  # there is none in this process
            concurrency=concurrency,
            max_per_second=max_per_second,
            retry=retry,
            clock=clock,
            observers=observers,
        )
        given = os.cpu_count() or 1 if processes is None else processes
        self._processes = positive_int("processes", given)
        self._make_pool = pool if pool is not None else partial(_local_pool, self._processes)
        self._chunksize = None if chunksize is None else positive_int("chunksize", chunksize)
        seconds = number("linger", linger, at_least=0)
        self._linger = Linger(self._gate, seconds, self._chunk)
        self._key = uuid4().hex
        self._resends_any = False
        self._pool: futures.Executor | None = None
        self._pool_lock = Lock()
        self._waits_for_end = False
        self._sender = Lock()
        self._has_more = False
        self._next_timestamp = 0

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut down as `Executor.shutdown` does; the processes end when they have nothing to do."""
        self._waits_for_end = wait
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self._end_pool(wait=True)

    def _chunk(self) -> int:
        by_default = self._gate.limit // (PER_PROCESS * self._processes)
        return self._chunksize or max(1, by_default)

    def _launch(self) -> None:
        # One thread at a time takes and sends, so that timestamps rise in the order of taking.
        # Another leaves it a note, as does a reply that comes within `submit`.
        self._has_more = True
        gives_up = False
        while self._has_more and not gives_up and self._sender.acquire(blocking=False):
            gives_up = True  # also where something raises
            try:
                self._has_more = False
                while not (interrupted() or self._linger.waits(self._living_runs())):
                    jobs = self._take_many(self._chunk())
                    if not jobs:
                        break
                    self._note_sending(jobs)
                    self._send_chunk(jobs)
                gives_up = interrupted()
            finally:
                self._sender.release()
                if gives_up:  # what others have left a note of must not wait for this thread
                    self._gate.launch_elsewhere()

    def _send_chunk(self, jobs: Sequence[Job]) -> None:
        try:
            chunk = pack(jobs)
        except Exception:
            if len(jobs) == 1:
                jobs[0].fail(why_not(jobs[0]), sent=False)
            else:
                self._send_each(jobs)
            return
        try:
            pool, future = self._submit(chunk)
        except BaseException as exc:
            for job in jobs:
                job.fail(exc, sent=False)
            if not isinstance(exc, Exception):
                raise
        else:
            future.add_done_callback(partial(self._on_reply, pool, jobs))

    def _send_each(self, jobs: Sequence[Job]) -> None:
        """Send each in a chunk of its own, as one of them keeps the others from travelling."""
        for job in jobs:
            self._send_chunk([job])

    def _note_sending(self, jobs: Sequence[Job]) -> None:
        """Give each the timestamp that it keeps, whichever process sends it, and how often."""
        # As one session would: microseconds, but never one twice or an earlier one.
        timestamp = max(time.time_ns() // 1000, self._next_timestamp)
        for job in jobs:
            if job.timestamp is None:
                job.timestamp = timestamp
                timestamp += 1
        self._next_timestamp = timestamp
        if self._gate.notes_sending:
            for job in jobs:
                self._gate.sends(job)

    # ---- the pool ----

    def _submit(self, chunk: bytes) -> tuple[futures.Executor, futures.Future[Any]]:
        arguments = (self._key, self._connect, self._resends_any, chunk)
        pool = self._usable_pool()
        try:
            return pool, pool.submit(run_chunk, *arguments)
        except futures.BrokenExecutor:  # since the last reply: nobody has told us
            self._replace(pool)
        pool = self._usable_pool()
        return pool, pool.submit(run_chunk, *arguments)

    def _usable_pool(self) -> futures.Executor:
        with self._pool_lock:
            if self._pool is None:
                pool = self._make_pool()
                self._pool = run_once(pool, self._processes) if is_of_dask(pool) else pool
            return self._pool

    def _replace(self, broken: futures.Executor) -> None:
        """Have another pool made for what is sent next, unless that was done already."""
        with self._pool_lock:
            if self._pool is not broken:
                return
            self._pool = None
        broken.shutdown(wait=False)

    def _end_pool(self, *, wait: bool) -> None:
        with self._pool_lock:
            pool, self._pool = self._pool, None
        if isinstance(pool, Lanes):
            pool.tell_all(forget, self._key)
        if pool is not None:
            pool.shutdown(wait=wait)
        forget(self._key)

    # ---- replies ----

    def _on_reply(
        self, pool: futures.Executor, jobs: Sequence[Job], future: futures.Future[Any]
    ) -> None:
        if exiting():
            return
        try:
            self._take_reply(pool, jobs, future)
            self._launch()
        except BaseException:
            log.exception("a reply could not be passed on")

    def _take_reply(
        self, pool: futures.Executor, jobs: Sequence[Job], future: futures.Future[Any]
    ) -> None:
        try:
            what, reply = future.result()
        except futures.BrokenExecutor as exc:
            self._replace(pool)
            _lose(jobs, str(exc) or type(exc).__name__)
        except futures.CancelledError:
            _lose(jobs, "its pool was told to cancel what it had")
        except Exception as exc:  # a pool of another kind
            _lose(jobs, f"{type(exc).__name__}: {exc}")
        else:
            if what == ANSWERED:
                _settle(jobs, reply)
            elif what == UNREADABLE and len(jobs) > 1:
                self._send_each(jobs)
            else:
                _fail_unsent(jobs, what, reply)

    # ---- what other strategies do with their session ----

    def _keep_timestamps(self, sending: Sending) -> None:
        self._resends_any |= sending.retry is not None

    def _let_go(self) -> None:
        if not self._waits_for_end:  # else whoever waits does it: a pool is waited for but once
            self._end_pool(wait=False)


def _settle(jobs: Sequence[Job], reply: bytes) -> None:
    try:
        outcomes = unpack_outcomes(reply, jobs)
    except Exception as exc:  # what it says may show values
        _lose(jobs, f"its answer can't be read here: {type(exc).__name__}")
        return
    pairs = list(zip(jobs, outcomes, strict=True))
    succeed_all([(job, outcome[1]) for job, outcome in pairs if outcome[0]])
    for job, outcome in pairs:
        if not outcome[0]:
            job.fail(outcome[1], sent=outcome[2])  # type: ignore[misc]  # of three: it failed


def _lose(jobs: Sequence[Job], reason: str) -> None:
    error = WorkerLostError(reason)
    for job in jobs:
        job.fail(error)


def _fail_unsent(jobs: Sequence[Job], what: int, reply: bytes) -> None:
    error: BaseException
    if what == NO_SESSION:
        error = unpack_error(reply)
        error.add_note("concurrent_exec: connect() raised this in a worker process")
    else:
        error = NotTransferableError("parameters", reply.decode())
    for job in jobs:
        job.fail(error, sent=False)


def _local_pool(processes: int) -> futures.Executor:
    # Imported when used: multiprocessing is for those who have other processes work.
    from concurrent_exec.executors.pools import LocalPool

    return Lanes(processes, partial(LocalPool, 1))


def _pickled(connect: object) -> bytes:
    if not callable(connect):
        raise TypeError(
            "connect must be a function that makes a session in each process, "
            f"not {type(connect).__name__}"
        )
    try:
        return pickle.dumps(connect)
    except Exception as exc:
        raise TypeError(
            "connect must be picklable, as a function of a module is, or a partial of one, but not "
            f"a lambda or a function within a function: {exc}"
        ) from None
