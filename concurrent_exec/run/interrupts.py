"""Ctrl-C while a permit changes hands.

Python raises KeyboardInterrupt in the main thread between any two of its steps. If the main thread
is just taking a job from the gate, or handing it to the session, the job and its permit would be
lost: to another run of the same executor, perhaps, which would wait for it for ever. So for those
moments the interrupt is noted, and raised as soon as they are over.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

_noted = False


def interrupted() -> bool:
    """Say whether this is the main thread, and has been interrupted and should come to an end."""
    return _noted and threading.get_ident() == threading.main_thread().ident


class Uninterrupted:
    """A context in which Ctrl-C waits; only where its handler is the one that Python sets."""

    __slots__ = ("_holding",)

    def __enter__(self) -> None:
        global _noted
        self._holding = (
            threading.get_ident() == threading.main_thread().ident
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._holding:
            _noted = False
            signal.signal(signal.SIGINT, _note)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        global _noted
        if self._holding:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if _noted:
                _noted = False
                raise KeyboardInterrupt


def _note(number: int, frame: FrameType | None) -> None:
    global _noted
    _noted = True
