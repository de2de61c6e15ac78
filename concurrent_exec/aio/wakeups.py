"""How other threads reach the event loop."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Event
from collections import deque
from collections.abc import Callable

from concurrent_exec.aio.token import Token


class Wakeups:
    """Has things called on an event loop by any thread, with one wake-up pending at most.

    A wake-up costs a system call, and a loop with thousands of them to serve has no time for
    anything else. Takes no lock, since a finaliser may come here on a thread that holds ours.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: deque[Callable[[], object]] = deque()
        self._token = Token()
        """Gone while a wake-up is pending."""

    def call(self, callback: Callable[[], object]) -> None:
        """Have `callback` called on the loop, soon; it must not raise."""
        self._calls.append(callback)
        if not self._token.take():
            return
        try:
            self.loop.call_soon_threadsafe(self._run)
        except RuntimeError:  # the loop is closed: nobody waits on it any more
            self._calls.clear()

    def _run(self) -> None:
        self._token.put_back()
        for _ in range(len(self._calls)):
            self._calls.popleft()()


class Bell:
    """What a coroutine waits for and any thread rings."""

    def __init__(self, wakeups: Wakeups) -> None:
        self._wakeups = wakeups
        self._rung = Event()

    def release(self) -> None:
        """Ring."""
        self._wakeups.call(self._rung.set)

    async def wait(self) -> None:
        """Return when it has rung since the last time."""
        await self._rung.wait()
        self._rung.clear()
