"""The thread that writes the journal at intervals, and stops a run when it is told to."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX, Thread
from types import TracebackType


class Keeper:
    """Calls `checkpoint` at intervals, and `stop` once it is asked; a context manager.

    What `checkpoint` raises stops the run, too, and is raised at the end of the block.
    """

    def __init__(
        self, interval: float, checkpoint: Callable[[], object], stop: Callable[[], object]
    ) -> None:
        """Make one; `interval` is in seconds."""
        self._interval = min(interval, TIMEOUT_MAX)
        self._checkpoint = checkpoint
        self._stop = stop
        # Its put takes no lock of Python's, so that a signal's handler may call it.
        self._notes: SimpleQueue[str] = SimpleQueue()
        self._trouble: BaseException | None = None
        self._thread = Thread(target=self._keep, name="concurrent_exec-keeper", daemon=True)

    def stop(self) -> None:
        """Have the run stopped: by any thread, and by a signal's handler."""
        self._notes.put("stop")

    def __enter__(self) -> Keeper:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._notes.put("end")
        self._thread.join()
        if exc is None and self._trouble is not None:
            raise self._trouble

    def _keep(self) -> None:
        while True:
            try:
                note = self._notes.get(timeout=self._interval)
            except Empty:
                note = self._write()
            if note == "end":
                return
            if note == "stop":
                self._stop()

    def _write(self) -> str:
        if self._trouble is not None:
            return ""
        try:
            self._checkpoint()
        except BaseException as error:
            self._trouble = error
            return "stop"
        return ""
