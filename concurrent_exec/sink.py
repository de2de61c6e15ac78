"""Where settled results wait until the caller takes them.

A run puts each result in under its index, in whatever order the answers come; the three sinks
differ in what they give back, and when. None has a lock: the run's lock is held for every call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from concurrent_exec.model import ExecutionResult

R = TypeVar("R")


class Sink(Protocol[R]):
    """What a run needs of a sink."""

    delivers_at_once: ClassVar[bool]
    """Whether a result counts as delivered when it is put."""
    delivered: int
    """Results that have left the sink, or never wait in it."""

    def put(self, index: int, result: ExecutionResult[R]) -> bool:
        """Keep `result`; say whether there is something to take now."""

    def put_all(self, results: Iterable[tuple[int, ExecutionResult[R]]]) -> bool:
        """Keep results, each with its index, as `put` keeps one."""

    def take(self, most: int) -> list[Any]:
        """Remove and return up to `most` results that may leave now."""


class OrderedSink(Generic[R]):
    """Gives results in the order of the input: each waits for those before it."""

    delivers_at_once: ClassVar[bool] = False

    def __init__(self) -> None:
        self.delivered = 0
        self._held: dict[int, ExecutionResult[R]] = {}

    def put(self, index: int, result: ExecutionResult[R]) -> bool:
        self._held[index] = result
        return self.delivered in self._held

    def put_all(self, results: Iterable[tuple[int, ExecutionResult[R]]]) -> bool:
        self._held.update(results)
        return self.delivered in self._held

    def take(self, most: int) -> list[ExecutionResult[R]]:
        held = self._held
        first = self.delivered
        last = first
        while last < first + most and last in held:
            last += 1
        self.delivered = last
        return [held.pop(index) for index in range(first, last)]

    def pairs(self) -> list[tuple[int, ExecutionResult[R]]]:
        """Return all that is held, each with its index, as it came."""
        return list(self._held.items())


class CompletionSink(Generic[R]):
    """Gives (index, result) pairs in the order of completion."""

    delivers_at_once: ClassVar[bool] = False

    def __init__(
        self, ordered: OrderedSink[R], taken: Sequence[tuple[int, ExecutionResult[R]]] = ()
    ) -> None:
        """Take over what `ordered` holds, and what was `taken` last and is to be taken again."""
        self.delivered = ordered.delivered - len(taken)
        self._held = deque((*taken, *ordered.pairs()))

    def put(self, index: int, result: ExecutionResult[R]) -> bool:
        self._held.append((index, result))
        return True

    def put_all(self, results: Iterable[tuple[int, ExecutionResult[R]]]) -> bool:
        self._held.extend(results)
        return bool(self._held)

    def take(self, most: int) -> list[tuple[int, ExecutionResult[R]]]:
        held = self._held
        if most < len(held):
            taken = [held.popleft() for _ in range(most)]
        else:
            taken = list(held)
            held.clear()
        self.delivered += len(taken)
        return taken


class ListSink(Generic[R]):
    """Collects a list for a caller who waits for the whole run.

    The list is the caller's, so a result counts as delivered when it is put: a slow statement at
    the head holds nothing up, and the window bounds only what is pulled ahead of the answers.
    """

    delivers_at_once: ClassVar[bool] = True

    def __init__(self, ordered: OrderedSink[R]) -> None:
        """Take over what `ordered` holds; the list starts where that has come to."""
        self.delivered = self._first = ordered.delivered
        self._slots: list[ExecutionResult[R] | None] = []
        self.put_all(ordered.pairs())

    def put(self, index: int, result: ExecutionResult[R]) -> bool:
        slots = self._slots
        place = index - self._first
        if place == len(slots):
            slots.append(result)
        else:
            if place > len(slots):
                slots.extend([None] * (place + 1 - len(slots)))
            slots[place] = result
        self.delivered += 1
        return False

    def put_all(self, results: Iterable[tuple[int, ExecutionResult[R]]]) -> bool:
        for index, result in results:
            self.put(index, result)
        return False

    def take(self, most: int) -> list[Any]:
        return []

    def results(self) -> list[ExecutionResult[R]]:
        """Return what was collected, in the order of the input."""
        return [result for result in self._slots if result is not None]


class DiscardingSink(Generic[R]):
    """Lets every result go: for a run that nobody listens to any more."""

    delivers_at_once: ClassVar[bool] = False

    def __init__(self, delivered: int) -> None:
        self.delivered = delivered

    def put(self, index: int, result: ExecutionResult[R]) -> bool:
        return False

    def put_all(self, results: Iterable[tuple[int, ExecutionResult[R]]]) -> bool:
        return False

    def take(self, most: int) -> list[Any]:
        return []
