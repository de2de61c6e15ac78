"""Worker processes on this machine."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from weakref import WeakSet

from concurrent_exec.executors._exit import before_exit


class LocalPool(ProcessPoolExecutor):
    """Processes that end with this one, however that ends.

    They are spawned: a driver's session survives no fork, nor do the locks of other threads. Those
    of a plain ProcessPoolExecutor outlive a parent that is killed, die of a Ctrl-C at the terminal,
    which is the parent's to handle, and keep the interpreter from exiting for as long as a task
    takes. So each of these waits, on a thread, for the end of a pipe that only this process holds.
    """

    def __init__(self, processes: int) -> None:
        context = get_context("spawn")
        self._end, self._parent = context.Pipe(duplex=False)
        super().__init__(processes, mp_context=context, initializer=_begin, initargs=(self._end,))
        _parents.add(self._parent)

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


def _begin(end: Connection) -> None:
    """Begin a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(end,), name="end of parent", daemon=True).start()


def _end_with(end: Connection) -> None:
    try:
        end.poll(None)
    finally:
        os._exit(1)
