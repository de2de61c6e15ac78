"""Calling what others gave us, where nobody could take what it raises."""

from __future__ import annotations

import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


def tell(callback: Callable[[], object]) -> None:
    """Call `callback` and log what it raises.

    It may be called on the driver's I/O thread, or on a worker's, and runs the callbacks that
    users add to our futures: what they raise must end neither.
    """
    try:
        callback()
    except BaseException:
        log.exception("a callback of a future raised")
