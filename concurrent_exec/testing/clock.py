"""A clock that stands still until it is told to go on."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from threading import Lock


class VirtualClock:
    """A `Clock` for tests; `advance` moves it and runs what falls due on the way."""

    def __init__(self) -> None:
        self._now = 0.0
        self._timers: list[tuple[float, int, list[Callable[[], object]]]] = []
        self._order = count()
        self._lock = Lock()

    def monotonic(self) -> float:
        """Return the seconds that the clock has been advanced by."""
        return self._now

    def call_later(self, delay: float, callback: Callable[[], object]) -> Callable[[], object]:
        """Have `callback` called by the `advance` that passes `delay` seconds from now.

        Returns a function that cancels it.
        """
        todo = [callback]
        with self._lock:
            heappush(self._timers, (self._now + delay, next(self._order), todo))
        return todo.clear

    def advance(self, seconds: float, *, settle: Callable[[], object] = lambda: None) -> None:
        """Go on by `seconds`, calling what falls due, in order, each at its own time.

        settle: called after each of them, while the clock stands: what waits there until all is
            quiet lets threads do at that moment what belongs to it.
        """
        end = self._now + seconds
        while True:
            with self._lock:
                if not self._timers or self._timers[0][0] > end:
                    self._now = end
                    return
                self._now, _, todo = heappop(self._timers)
            for callback in list(todo):
                callback()
                settle()
