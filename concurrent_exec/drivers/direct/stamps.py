"""Write timestamps for many statements at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import repeat
from typing import Any

from cassandra.timestamps import MonotonicTimestampGenerator


def next_timestamps(generator: Any, most: int) -> Iterator[int]:
    """Yield up to `most` timestamps of a cluster's generator.

    The drivers' own gives the clock's microsecond, or, where it has given that already, the next.
    So those that it would give at one moment follow each other; they are taken at once (0.6 us for
    each if taken one by one, a tenth of what a statement costs).
    """
    if type(generator) is not MonotonicTimestampGenerator:
        return (generator() for _ in repeat(None, most))
    with generator.lock:
        first = generator._next_timestamp(now=int(time.time() * 1e6), last=generator.last)
        generator.last = first + most - 1
    return iter(range(first, first + most))
