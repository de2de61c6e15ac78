"""One timer for all timeouts."""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Lock
from typing import Any
from weakref import WeakMethod, finalize

from concurrent_exec.model import Clock


class Sweeper:
    """Calls a method when the earliest deadline that it was told of has come, and then forgets it.

    It does not keep the object of that method alive, and lets its timer go with it.
    """

    def __init__(self, clock: Clock, sweep: Callable[[], object]) -> None:
        self._clock = clock
        self._sweep = WeakMethod(sweep)
        self._lock = Lock()
        self._at = math.inf
        self._cancel: Callable[[], object] = lambda: None
        finalize(sweep.__self__, self.cancel).atexit = False  # type: ignore[attr-defined]

    def by(self, deadline: float) -> None:
        """See to it that the method is called at `deadline`, or earlier."""
        with self._lock:
            if deadline >= self._at:
                return
            self._at = deadline
            self._cancel()
            delay = max(deadline - self._clock.monotonic(), 0.0)
            self._cancel = self._clock.call_later(delay, self._call)

    def cancel(self) -> None:
        """Forget the deadline. Takes no lock, as it serves as a finaliser."""
        self._at = math.inf
        self._cancel()

    def _call(self) -> None:
        with self._lock:
            self._at = math.inf  # whoever sends from now on tells it a new one
        sweep: Any = self._sweep()
        if sweep is not None:
            sweep()
