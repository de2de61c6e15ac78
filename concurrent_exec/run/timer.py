"""The system's clock, with a thread that calls what falls due."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from threading import Lock, Thread

log = logging.getLogger(__name__)


class _Timer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback


class SystemClock:
    """The `Clock` of an executor: the system's monotonic one.

    Its thread is started with the first timer, is a daemon, and ends with the last timer.
    """

    monotonic = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self._lock = Lock()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._order = count()
        self._running = False
        # Locked while there is no news. Not a SimpleQueue: in CPython 3.11 a `get` whose timeout
        # has passed by the time it begins to wait waits for ever.
        self._bell = Lock()
        self._bell.acquire()

    def call_later(self, delay: float, callback: Callable[[], object]) -> Callable[[], object]:
        """Have `callback` called on the timer thread `delay` seconds from now.

        Returns what cancels it, which takes no lock, as a finaliser may call it.
        """
        timer = _Timer(callback)
        with self._lock:
            entry = (time.monotonic() + delay, next(self._order), timer)
            heappush(self._timers, entry)
            start, self._running = not self._running, True
            first = self._timers[0] is entry
        if start:
            try:
                Thread(target=self._work, name="concurrent_exec-timer", daemon=True).start()
            except Exception:
                self._running = False  # the next timer tries again, for this one too
                raise
        elif first:
            self._ring()

        def cancel() -> None:
            timer.callback = None
            self._ring()

        return cancel

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it has been rung already, and not been heard yet

    def _work(self) -> None:
        while True:
            callback = None
            with self._lock:
                while self._timers and self._timers[0][2].callback is None:
                    heappop(self._timers)
                if not self._timers:
                    self._running = False
                    return
                delay = self._timers[0][0] - time.monotonic()
                if delay <= 0:
                    callback = heappop(self._timers)[2].callback
            if delay > 0:
                self._bell.acquire(timeout=min(delay, _LONGEST))
            elif callback is not None:  # it may have been cancelled at the last moment
                self._call(callback)

    @staticmethod
    def _call(callback: Callable[[], object]) -> None:
        try:
            callback()
        except Exception:
            log.exception("what was called at its time raised")


_LONGEST = 3600.0
"""Seconds that the thread sleeps at most: the system's waits do not take any number."""
