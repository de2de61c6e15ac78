"""The end of a process, which a driver keeps waiting for seconds.

A timer of the driver's reactor runs on after its requests were answered. As the interpreter exits,
scylla-driver (3.29.12, `LibevLoop._cleanup`) stops what would stop that timer, and then waits up to
five seconds for the thread that waits for the timer: in three of four runs, however short.
"""

from __future__ import annotations

import atexit
import sys
from functools import cache

_SECONDS = 1.0
"""As long as cassandra-driver waits for the thread, at most; it takes a millisecond."""


@cache
def leave_at_once() -> None:
    """Have the reactor end with the interpreter, where the driver has one of libev.

    To be called when the driver is imported: what is registered last is called first.
    """
    atexit.register(_end_reactor)


def _end_reactor() -> None:
    """Where all is closed, do what the driver does first, and let its thread see it."""
    reactor = getattr(sys.modules.get("cassandra.io.libevreactor"), "_global_loop", None)
    thread = getattr(reactor, "_thread", None)
    # Of what is left open the driver's way of closing is its own matter.
    if reactor is None or thread is None or getattr(reactor, "_live_conns", True):
        return
    reactor._shutdown = True
    reactor.notify()
    thread.join(_SECONDS)
