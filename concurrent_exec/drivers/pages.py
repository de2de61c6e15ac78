"""Answers that are one page of rows each, of which the driver decodes many at a time.

For each answer the driver makes a message and reads what its columns are, which takes far longer
than to decode the values of a short row. But the answers to many executions of one statement begin
alike (native_protocol_v5.spec, 4.2.5.2: metadata, or that it is left out), and then have the number
of their rows, and these. So they are put together into one answer with all the rows: a read of one
row takes half as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

MOST_VALUES = 16
"""Of an answer that is put together with others. With more, the look at each of its values takes as
long as what is spared."""

_INT = Struct(">i")
_ROWS = 0x0002
_GLOBAL_TABLES_SPEC, _NO_METADATA = 0x0001, 0x0004
_BEGINNINGS = frozenset(
    _INT.pack(_ROWS) + _INT.pack(flags)
    for flags in (0, _GLOBAL_TABLES_SPEC, _NO_METADATA, _GLOBAL_TABLES_SPEC | _NO_METADATA)
)


def is_page(body: bytes) -> bool:
    """Say whether the body of a RESULT message is a page of rows with no other behind it."""
    return body[:8] in _BEGINNINGS


def count_rows(body: bytes, head: bytes, columns: int) -> int | None:
    """Return how many rows a page has; None where it is not to be put together with others.

    head: what is in front of the number of rows where the columns are those of the others.

    Where there is anything behind the rows, those of the next one would not be found.
    """
    at, end = len(head) + _INT.size, len(body)
    if at > end or not body.startswith(head):
        return None
    (rows,) = _INT.unpack_from(body, len(head))
    values = columns * rows
    if not 0 <= values <= MOST_VALUES:
        return None
    for _ in range(values):
        if end - at < _INT.size:
            return None
        (size,) = _INT.unpack_from(body, at)
        at += _INT.size + size if size > 0 else _INT.size
    return rows if at == end else None


def joined(bodies: Sequence[bytes], head: bytes, rows: int) -> bytes:
    """Return one body with the rows of all of `bodies`, which are so many in all."""
    start = len(head) + _INT.size
    return b"".join((head, _INT.pack(rows), *[body[start:] for body in bodies]))
