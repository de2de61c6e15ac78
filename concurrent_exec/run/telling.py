"""Calling what others gave us, where nobody could take what it raises."""

from __future__ import annotations

import logging
from collections.abc import Callable

from concurrent_exec.run.gate import Gate

log = logging.getLogger(__name__)


def tell(callback: Callable[[], object], gate: Gate) -> None:
    """Call `callback`, which resolves a future, and log what it raises.

    It may be called on the driver's I/O thread, or on a worker's, and runs the callbacks that
    users add to our futures: what they raise must end neither. It was counted in
    `gate.telling` when the outcome was settled.
    """
    try:
        callback()
    except Exception:
        log.exception("a callback of a future raised")
    finally:
        gate.told()
