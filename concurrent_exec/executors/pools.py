"""Worker processes on this machine."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from typing import Any
from weakref import WeakSet

from concurrent_exec.executors._exit import before_exit


class LocalPool(ProcessPoolExecutor):
    """Processes that end with this one, however that ends.

    They are spawned: a driver's session survives no fork, nor do the locks of other threads. Those
    of a plain ProcessPoolExecutor outlive a parent that is killed, die of a Ctrl-C at the terminal,
    which is the parent's to handle, and keep the interpreter from exiting for as long as a task
    takes. So each of these waits, on a thread, for the end of a pipe that only this process holds,
    and hears of no Ctrl-C from its very start.
    """

    def __init__(self, processes: int) -> None:
        context = get_context("spawn")
        self._end, self._parent = context.Pipe(duplex=False)
        super().__init__(processes, mp_context=context, initializer=_begin, initargs=(self._end,))
        self._wanted = processes
        _parents.add(self._parent)

    def submit(self, do: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        """See `concurrent.futures.Executor`."""
        starts = len(self._processes or ()) < self._wanted
        with _ctrl_c_held() if starts else nullcontext():
            return super().submit(do, *arguments, **named)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut down as any pool does, but at once: what is in flight then is lost."""
        self._parent.close()  # a driver would take seconds to leave
        super().shutdown(wait, cancel_futures=cancel_futures)


_parents: WeakSet[Connection] = WeakSet()


def _exit() -> None:
    for parent in list(_parents):
        parent.close()


# What `concurrent.futures.process` registers when it is imported waits for all tasks.
before_exit(_exit)


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Block SIGINT for what is started meanwhile: it inherits that, and has not begun yet."""
    resource_tracker.ensure_running()  # else it is started meanwhile, and ends the blocking
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(end: Connection) -> None:
    """Begin a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(end,), name="end of parent", daemon=True).start()


def _end_with(end: Connection) -> None:
    try:
        end.poll(None)
    finally:
        os._exit(1)
