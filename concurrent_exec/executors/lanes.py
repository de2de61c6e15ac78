"""Pools of one process each, as one pool: where a process dies, the others go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import suppress
from threading import Lock
from typing import Any

from concurrent_exec.model import ConcurrentExecError

ABSENT = 1.0
"""Seconds before a process is asked for again where there was none to be had."""


class ProcessGoneError(ConcurrentExecError):
    """The one process that had a task has gone; the pool has others."""


class Lanes(Executor):
    """Gives each task to the process that has the fewest.

    A plain ProcessPoolExecutor breaks as a whole when one of its processes dies, and all others
    with it.
    """

    def __init__(self, processes: int, make: Callable[[], Executor]) -> None:
        """Make a pool of so many processes, each a pool that `make` returns.

        make: called when it is first needed, and where one has died; it may raise BrokenExecutor
            where there is none to be had now.
        """
        self._make = make
        self._pools: list[Executor | None] = [None] * processes
        self._busy = [0] * processes
        self._absent = [0.0] * processes
        """Until when there is none to be had."""
        self._lock = Lock()
        self._closed = False

    def submit(self, do: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        """See `concurrent.futures.Executor`. Raises BrokenExecutor where no process is left."""
        trouble: BrokenExecutor | None = None
        for lane in sorted(range(len(self._busy)), key=self._busy.__getitem__):
            try:
                return self._submit_to(lane, do, arguments, named)
            except BrokenExecutor as exc:
                trouble = exc
        assert trouble is not None
        raise trouble

    def tell_all(self, do: Any, *arguments: Any) -> None:
        """Have every process do it after all else that it was given."""
        with self._lock:
            pools = [pool for pool in self._pools if pool is not None]
        for pool in pools:
            with suppress(BrokenExecutor):
                pool.submit(do, *arguments)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut all of them down."""
        with self._lock:
            self._closed = True
            pools = [pool for pool in self._pools if pool is not None]
            self._pools = [None] * len(self._pools)
        for pool in pools:
            pool.shutdown(wait=wait, cancel_futures=cancel_futures)

    def _submit_to(
        self, lane: int, do: Any, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> Future[Any]:
        with self._lock:
            pool = self._pool(lane)
            try:
                inner = pool.submit(do, *arguments, **named)
            except BrokenExecutor:  # since its last task
                pool.shutdown(wait=False)
                self._pools[lane] = None
                pool = self._pool(lane)
                inner = pool.submit(do, *arguments, **named)
            self._busy[lane] += 1
        outer: Future[Any] = Future()
        outer.set_running_or_notify_cancel()

        def pass_on(done: Future[Any]) -> None:
            self._left(lane, pool, broken=_has_broken(done))
            try:
                outer.set_result(done.result())
            except (BrokenExecutor, CancelledError) as exc:
                outer.set_exception(ProcessGoneError(str(exc) or type(exc).__name__))
            except BaseException as exc:
                outer.set_exception(exc)

        inner.add_done_callback(pass_on)
        return outer

    def _pool(self, lane: int) -> Executor:
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        pool = self._pools[lane]
        if pool is None:
            now = time.monotonic()
            if now < self._absent[lane]:
                raise BrokenExecutor("there is no process to be had now")
            try:
                pool = self._pools[lane] = self._make()
            except BrokenExecutor:
                self._absent[lane] = now + ABSENT
                raise
        return pool

    def _left(self, lane: int, pool: Executor, *, broken: bool) -> None:
        with self._lock:
            self._busy[lane] -= 1
            if not broken or self._pools[lane] is not pool:
                return
            self._pools[lane] = None
        pool.shutdown(wait=False)


def _has_broken(done: Future[Any]) -> bool:
    return not done.cancelled() and isinstance(done.exception(), BrokenExecutor)
