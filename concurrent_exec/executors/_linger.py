"""Waiting a moment for company."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from concurrent_exec.run import Gate, Run


class Linger:
    """Holds back what could be sent, while more may come that could go with it.

    What waits has no permit and has not been started, so a stop reaches it as ever. It waits
    only for as long as something else is in flight, as in Nagle's algorithm (RFC 896), and at
    most for some milliseconds; not where there is plenty of it; and not for what can't come, as
    when all input is at its end. Of what is submitted singly, more may always come.
    """

    def __init__(self, gate: Gate, seconds: float, enough: Callable[[], int]) -> None:
        """Make one that waits so many seconds at most, and not where there is `enough`."""
        self._gate = gate
        self._enough = enough
        self._seconds = seconds
        self._ticking = False
        self._over = not seconds

    def waits(self, runs: Iterable[Run]) -> bool:
        """Say whether to wait; if so, the gate's launch is called when that is over.

        runs: those of the executor, which may bring more though they have nothing ready.
        """
        gate = self._gate
        with gate.lock:
            free = gate.limit - gate.in_flight
            ready = gate.takeable()
            waits = (
                not self._over
                and 0 < min(ready, free) < self._enough()
                and gate.in_flight > 0
                and (ready > free or any(work.may_bring_more for work in (*gate.turns, *runs)))
            )
            gate.lingers = waits
            start = waits and not self._ticking
            self._ticking |= start
            self._over = not self._seconds
        if start:
            gate.call_later(self._seconds, self._end)
        return waits

    def _end(self) -> None:
        with self._gate.lock:
            self._ticking = False
            self._over = True
