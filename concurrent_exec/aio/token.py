"""Having a thing done once for all who ask for it meanwhile."""

from __future__ import annotations

from collections import deque


class Token:
    """Whoever takes it has a thing done; for the others that is still to come, and enough.

    Who does the thing first puts the token back: what is asked for from then on may be too late
    for it. Takes no lock, since a finaliser may come here on a thread that holds ours.
    """

    def __init__(self) -> None:
        self._there = deque([None])

    def take(self) -> bool:
        """Say whether it was there; it is gone now."""
        try:
            self._there.pop()
        except IndexError:
            return False
        return True

    def put_back(self) -> None:
        """Let it be taken again."""
        self._there.append(None)
