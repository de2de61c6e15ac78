"""Where the limit stays below for a while, after it was too much."""

from __future__ import annotations

from math import cbrt, inf

CUT = 0.15
"""How far below the level that was too much the ceiling starts, as a share of it."""

ROUNDS = 100.0
"""In how many round trips the ceiling doubles, once it is back at that level."""


class Ceiling:
    """An upper bound that comes back fast, waits near the old level, then goes on beyond it.

    Its growth is that of CUBIC (S. Ha, I. Rhee and L. Xu, "CUBIC: A New TCP-Friendly High-Speed
    TCP Variant", 2008; RFC 9438), with time in round trips t, which are counted by answers:

        bound = level * (1 + ((t - K) / ROUNDS) ** 3),    K = ROUNDS * cbrt(CUT)

    So most of the time is spent just below the level, and a level that was too much only for a
    moment is not held against the cluster for long.
    """

    __slots__ = ("_level", "_rounds")

    def __init__(self) -> None:
        self._level = inf
        self._rounds = 0.0

    def lower(self, level: float) -> None:
        """Note that `level` was too much."""
        self._level = level
        self._rounds = 0.0

    def passed(self, rounds: float) -> None:
        """Note that so many round trips have passed."""
        self._rounds += rounds

    @property
    def bound(self) -> float:
        """How much the limit may be; infinite before anything was too much."""
        rounds = self._rounds / ROUNDS - cbrt(CUT)
        return self._level * (1 + rounds**3)
