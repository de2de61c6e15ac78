"""What is to be done when the interpreter is on its way out."""

from __future__ import annotations

import threading
from collections.abc import Callable

# What is registered later is called earlier: before what was imported earlier and waits for all
# tasks. A callback of `atexit` would come behind that. It is Python's own, undocumented; without
# it the exit waits for the answers to what is in flight.
_register: Callable[[Callable[[], None]], None] | None = getattr(
    threading, "_register_atexit", None
)
_exits = threading.Event()


def exiting() -> bool:
    """Whether the interpreter is on its way out, so that no thread can be started any more."""
    return _exits.is_set()


def before_exit(do: Callable[[], None]) -> None:
    """Have `do` called first of all when the interpreter is on its way out."""

    def leave() -> None:
        _exits.set()
        do()

    if _register is not None:
        _register(leave)


before_exit(_exits.set)
