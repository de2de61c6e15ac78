"""A thread for what might hold up the event loop."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from weakref import finalize

from concurrent_exec.aio.token import Token

Errand = Callable[[], None]


class Errands:
    """A thread that does what the event loop must not wait for.

    To send is such a thing: a driver's session may wait for a connection, or for two seconds
    where all are full, and binding runs code of the user's. The thread sleeps when there is
    nothing to do. It is a daemon, and ends with this object.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Errand | None] = SimpleQueue()
        Thread(
            target=_serve, args=(self._queue,), name="concurrent_exec-errands", daemon=True
        ).start()
        finalize(self, self._queue.put, None).atexit = False

    def do(self, errand: Errand) -> None:
        """Have `errand` done in its turn; it must not raise."""
        self._queue.put(errand)

    def once(self, errand: Errand) -> Errand:
        """Return what has `errand` done, but not again while that is still to come."""
        token = Token()

        def run() -> None:
            token.put_back()
            errand()

        def do() -> None:
            if token.take():
                self._queue.put(run)

        return do


def _serve(queue: SimpleQueue[Errand | None]) -> None:
    while (errand := queue.get()) is not None:
        errand()
        del errand
