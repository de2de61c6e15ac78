"""An input whose items come when the test lets them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from threading import Condition
from typing import Any


class ScriptedInput(Iterator[Any]):
    """An iterable that blocks until the test gives it an item, an error or its end."""

    def __init__(self) -> None:
        self._ready: deque[tuple[str, Any]] = deque()
        self._condition = Condition()
        self._waiting = False

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for the next item and there is none."""
        return self._waiting

    def give(self, item: Any) -> None:
        """Let the next pull have `item`."""
        self._put("item", item)

    def fail(self, error: BaseException) -> None:
        """Let the next pull raise `error`."""
        self._put("error", error)

    def end(self) -> None:
        """Let the next pull find the end."""
        self._put("end", None)

    def _put(self, kind: str, value: Any) -> None:
        with self._condition:
            self._ready.append((kind, value))
            self._waiting = False
            self._condition.notify()

    def __next__(self) -> Any:
        with self._condition:
            while not self._ready:
                self._waiting = True
                self._condition.wait()
            kind, value = self._ready.popleft()
        if kind == "item":
            return value
        if kind == "error":
            raise value
        raise StopIteration
