"""Fill a new column of a large table: was the flight late?

    python -m examples.load_csv
    python -m examples.back_fill

The table is read by ranges of tokens, some at a time, and each row that comes is written. As
results come in the order of the input, a range is done when that of its last row has come; this is
noted in back_fill.done. After a crash or Ctrl-C the same command does the ranges not noted there.
Without that file it begins anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from concurrent_exec import DirectExecutor, Retry
from concurrent_exec.connect import connect
from examples.flights import KEY, KEY_IS, TABLE

RANGES = 256
"""So many that each takes about a second or less; they are the same at each start."""
JOURNAL = Path("back_fill.done")
LATE = 15
"""Minutes."""

FIRST, LAST = -(2**63), 2**63 - 1
PARTITION = "token(origin, month, day)"
SCAN = f"SELECT {', '.join(KEY)}, arr_delay FROM {TABLE} WHERE {PARTITION} > ? AND {PARTITION} <= ?"
UPDATE = f"UPDATE {TABLE} SET late = ? WHERE {KEY_IS}"


def bounds(number: int) -> tuple[int, int]:
    """Return the token that a range begins after, and the one that it ends with."""
    size = LAST - FIRST
    return FIRST + size * number // RANGES, FIRST + size * (number + 1) // RANGES


def rows_of(
    left: list[int], results: Iterable[Any], ends: deque[tuple[int, int]]
) -> Iterator[tuple[Any, ...]]:
    """Yield the parameters of each row's update; note in `ends` after how many a range ends."""
    count = 0
    for number, result in zip(left, results, strict=True):
        for row in result.unwrap():  # which fetches the pages as they are needed
            *key, delay = row
            yield (delay is not None and delay > LATE, *key)
            count += 1
        ends.append((count, number))


def note(journal: Path, number: int) -> None:
    with journal.open("a", encoding="utf-8") as file:
        file.write(f"{number}\n")


def back_fill(session: Any, journal: Path = JOURNAL) -> int:
    """Write the column of all rows whose range is not in the journal; return how many."""
    done = set(map(int, journal.read_text().split())) if journal.exists() else set()
    left = [number for number in range(RANGES) if number not in done]
    scan, update = session.prepare(SCAN), session.prepare(UPDATE)
    update.is_idempotent = True
    ends: deque[tuple[int, int]] = deque()
    written = 0
    with (
        # Two executors: the reads are the input of the writes, and must not wait for their places.
        DirectExecutor(session, concurrency=4, retry=Retry()) as reading,
        DirectExecutor(session, concurrency=64, retry=Retry()) as writing,
        reading.map(scan, [bounds(number) for number in left]) as scanned,
        writing.map(update, rows_of(left, scanned, ends)) as results,
    ):
        for _ in results:
            written += 1
            while ends and ends[0][0] <= written:
                note(journal, ends.popleft()[1])
        for _, number in ends:
            note(journal, number)
    return written


def main(journal: Path = JOURNAL) -> None:
    with connect() as session:
        keyspace, _, table = TABLE.partition(".")
        if "late" not in session.cluster.metadata.keyspaces[keyspace].tables[table].columns:
            session.execute(f"ALTER TABLE {TABLE} ADD late boolean")
        written = back_fill(session, journal)
    print(f"{written:,} rows filled, in ranges that were not done before")


if __name__ == "__main__":
    main()
