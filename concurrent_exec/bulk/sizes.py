"""What objects take of the memory, estimated: so that a group of records is bounded by it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any

_FEW = 4
"""Records that stand for all of a list."""
_MOST = 100
"""Elements of a list, a set or a mapping that are looked at; they stand for all."""
_DEPTH = 4
"""How deep lists within lists are looked into: one may be within itself."""

_EMPTY = sys.getsizeof("")
_PLAIN = frozenset({int, float, bool, type(None), bytes})
"""Types of which it is clear at once that they are no lists."""


def size_of(value: Any) -> int:
    """Return about how many bytes `value` takes, with what lists, tuples, sets and mappings have.

    It is the same for the same value whenever it is asked for. Raises nothing.
    """
    return _size(value, _DEPTH)


def mean_size(records: Sequence[Any]) -> int:
    """Return about how many bytes one of `records` takes, by a few that are spread over them.

    0 where there are none.
    """
    step = max(1, -(-len(records) // _FEW))
    sizes = [size_of(records[at]) for at in range(0, len(records), step)]
    return sum(sizes) // len(sizes) if sizes else 0


def _size(value: Any, depth: int) -> int:
    kind = type(value)
    if isinstance(value, str):
        # sys.getsizeof says more of one that was encoded once: it keeps the bytes.
        return _EMPTY + len(value) * (1 if value.isascii() else 4)
    try:
        size = sys.getsizeof(value)
        if not depth or kind in _PLAIN:
            return size
        if kind is dict or isinstance(value, Mapping):
            return size + _sum(value.keys(), depth) + _sum(value.values(), depth)
        if isinstance(value, list | tuple | AbstractSet):
            return size + _sum(value, depth)
    except Exception:  # whatever a caller's object does
        return 0
    return size


def _sum(values: Collection[Any], depth: int) -> int:
    """Return about what all of these take."""
    count = len(values)
    if count <= _MOST:
        return sum([_size(each, depth - 1) for each in values])
    step = -(-count // _MOST)
    sizes = [_size(each, depth - 1) for each in islice(values, 0, None, step)]
    return sum(sizes) * count // len(sizes)
