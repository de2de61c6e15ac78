"""Ctrl-C once, and twice."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

INTERRUPTED = 130
"""What shells call a program that Ctrl-C ended."""

_SHOW_CURSOR = "\x1b[?25h"


@contextmanager
def stopped_by_signals(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` at Ctrl-C or SIGTERM; end the process at once at the next.

    `stop` is called by a signal's handler: it must take no lock.
    """
    asked = False

    def heed(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            _say("\nstopped at once: --resume goes on after the last checkpoint\n")
            os._exit(INTERRUPTED)
        asked = True
        _say("\nstopping: what is in flight is finished (once more to stop at once)\n")
        stop()

    before = {number: signal.signal(number, heed) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(line: str) -> None:
    # Not by sys.stderr: the handler may have come while that was writing.
    if sys.stderr.isatty():
        line = _SHOW_CURSOR + line
    with suppress(OSError):  # nobody hears it
        os.write(2, line.encode())
