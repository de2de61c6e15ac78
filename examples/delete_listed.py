"""Delete by a list, safely: the flights that were cancelled go to a table of their own.

    python -m examples.load_csv
    python -m examples.delete_listed

Two statements for each flight of the list: it is written to the archive, then deleted. `order_by`
sends the second when the first has been answered, other flights meanwhile; `after_failure="skip"`
deletes nothing that was not archived. What fails is sent again where that is safe.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from concurrent_exec import DirectExecutor, Retry
from concurrent_exec.connect import connect
from demo.data import MISSING, read_flights
from examples.flights import KEY, KEY_IS, KEYSPACE, TABLE, key_of

ARCHIVE = f"{KEYSPACE}.cancelled"


def listed(most: int | None) -> Iterator[tuple[Any, ...]]:
    """Yield the keys of what is to go: in the file, these flights have no departure."""
    return (key_of(flight) for flight in read_flights(most) if flight.dep_time == MISSING)


def steps(session: Any, keys: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield the statements of each key, in their order."""
    marks = ", ".join("?" * len(KEY))
    archive = session.prepare(f"INSERT INTO {ARCHIVE} ({', '.join(KEY)}) VALUES ({marks})")
    delete = session.prepare(f"DELETE FROM {TABLE} WHERE {KEY_IS}")
    archive.is_idempotent = delete.is_idempotent = True
    for key in keys:
        yield archive, key
        yield delete, key


def main(most: int | None = None) -> None:
    with connect() as session:
        session.execute(
            f"CREATE TABLE IF NOT EXISTS {ARCHIVE} (origin text, month int, day int, carrier text, "
            "flight int, PRIMARY KEY ((origin, month, day), carrier, flight))"
        )
        with DirectExecutor(session, retry=Retry(max_attempts=5)) as executor:
            results = executor.execute(
                steps(session, listed(most)),
                order_by=lambda statement, key: key,
                after_failure="skip",
                raise_on_first_error=False,
            )
            outcomes = [result.success for result in results]
    done, failed = outcomes.count(True), outcomes.count(False)
    print(f"{done // 2:,} cancelled flights archived and deleted, {failed} statements failed")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
