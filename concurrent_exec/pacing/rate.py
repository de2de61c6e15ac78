"""How many statements may leave in a second."""

from __future__ import annotations

from math import inf, nextafter

from concurrent_exec.model.options import number

LATENESS = 0.05
"""Seconds by which whoever sends may wake too late, without sending less for it."""


class Rate:
    """A token bucket: a number machine, which neither waits nor locks nor looks at a clock.

    Over any `t` seconds at most `max_per_second * t + burst` tokens are taken; and who comes for
    them often enough gets `max_per_second * t`. The bucket starts full.

    The caller says what time it is, in seconds that are at least 0. A time may come after a later
    one, as when two threads look at the clock in one order and come here in the other.

    This is the leaky bucket in its form of a virtual schedule (ITU-T I.371, the generic cell rate
    algorithm): what is kept is not a fill level but the moment at which the bucket was empty. That
    moment is an origin and a count of what was taken since, so that no rounding adds up over days.
    """

    __slots__ = ("_burst", "_origin", "_per_second", "_taken")

    def __init__(self, max_per_second: float, burst: float | None = None) -> None:
        """Make a full bucket.

        max_per_second: tokens a second; 0.5 is one every two seconds.
        burst: how many tokens it holds, at least 1. By default what 50 milliseconds bring: no
            thread can be woken for each of ten thousand a second, and what a late one missed it
            makes up for.

        Raises TypeError or ValueError if either is no finite number, `max_per_second` is not
        above 0 or `burst` is below 1.
        """
        self._per_second = number("max_per_second", max_per_second, above=0)
        if burst is None:
            burst = max(1.0, self._per_second * LATENESS)
        self._burst = number("burst", burst, at_least=1)
        self._origin = -inf
        self._taken = 0

    @property
    def max_per_second(self) -> float:
        """Tokens a second."""
        return self._per_second

    @property
    def burst(self) -> float:
        """How many tokens the bucket holds."""
        return self._burst

    def take(self, now: float) -> bool:
        """Take a token if there is one at `now`, in seconds; return whether there was."""
        if self.wait(now) > 0:
            return False
        self._taken += 1
        return True

    def wait(self, now: float) -> float:
        """Return the seconds from `now` until there is a token; 0 if there is one.

        With the time that has been waited for, `take` returns True.
        """
        due = self._origin + (self._taken + 1) / self._per_second
        if due > now:
            # One step later than due: due - now is rounded, and must not lead back before due.
            return nextafter(due, inf) - now
        full_since = now - self._burst / self._per_second
        if self._origin + self._taken / self._per_second < full_since:
            self._origin = full_since
            self._taken = 0
            while self._origin + 1 / self._per_second > now:  # rounded up: there is a token now
                self._origin = nextafter(self._origin, -inf)
        return 0.0
