"""What attempts failed with lately."""

from __future__ import annotations

from concurrent_exec.model import ErrorCount

KINDS = 20
"""So many kinds are kept, the latest."""


class ErrorCounts:
    """Counts errors by the names of their classes. It has no lock; the gate's serves it."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, float]] = {}
        """How often, and when last; the kind that came last stands last."""

    def note(self, error: BaseException, now: float) -> None:
        """Take note of an attempt that failed at `now`, in seconds of the executor's clock."""
        kind = type(error).__name__
        count, _ = self._kinds.pop(kind, (0, now))
        self._kinds[kind] = count + 1, now
        if len(self._kinds) > KINDS:
            del self._kinds[next(iter(self._kinds))]

    def counts(self, now: float) -> tuple[ErrorCount, ...]:
        """Return what there is, the latest first."""
        return tuple(
            ErrorCount(kind, count, max(0.0, now - last))
            for kind, (count, last) in reversed(self._kinds.items())
        )
