"""Statements of one key, one after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

from concurrent_exec.model import NoKeyError


class Lane:
    """The statements of one key: one is on its way, the others wait for it.

    What waits is kept as (index, statement, parameters), not as jobs, which would refer back.
    All of it is read and changed with the gate's lock held.
    """

    __slots__ = ("busy", "failed_at", "queue")

    def __init__(self) -> None:
        self.busy = False
        self.queue: deque[tuple[int, Any, Any]] = deque()
        self.failed_at: int | None = None
        """The index of the first that failed, where that keeps the later ones from being sent."""


class Lanes:
    """Finds the lane of a statement.

    Used only by the one who feeds the run, without a lock: hashing and comparing keys may run
    code of the user's. So does the sweep for lanes that nobody is in any more, which keeps as
    many lanes as the window is wide, and those of failed keys where later ones must be skipped.
    """

    def __init__(self, key: Callable[[Any, Any], Hashable], window: int) -> None:
        self._key = key
        self._lanes: dict[Hashable, Lane] = {}
        self._window = window
        self._sweep_at = 2 * window

    def lane_of(self, index: int, statement: Any, parameters: Any) -> Lane:
        """Return the lane for the statement at `index` of the input.

        Raises NoKeyError where its key is no key, and what the caller's function raises.
        """
        try:
            key = self._key(statement, parameters)
        except NoKeyError as exc:
            raise NoKeyError(index, exc.reason) from None
        try:
            lane = self._lanes.get(key)
        except TypeError:
            kind = type(key).__name__
            raise NoKeyError(index, f"order_by gave a key that has no hash: {kind}") from None
        if lane is None:
            if len(self._lanes) >= self._sweep_at:
                self._sweep()
            lane = self._lanes[key] = Lane()
        return lane

    def _sweep(self) -> None:
        self._lanes = {
            key: lane
            for key, lane in self._lanes.items()
            if lane.busy or lane.failed_at is not None
        }
        self._sweep_at = 2 * max(self._window, len(self._lanes))
