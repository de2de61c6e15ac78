"""The table of the examples: the flights that left New York in 2013, as the file has them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from concurrent_exec import DirectExecutor
from demo.data import MISSING, Flight, flights_archive, read_flights

KEYSPACE = "concurrent_exec_flights"
TABLE = f"{KEYSPACE}.flights"
KEY = ("origin", "month", "day", "carrier", "flight")
KEY_IS = " AND ".join(f"{column} = ?" for column in KEY)

INSERT = (
    f"INSERT INTO {TABLE} "
    "(origin, month, day, carrier, flight, dest, tailnum, dep_time, arr_delay) "
    "VALUES (:origin, :month, :day, :carrier, :flight, :dest, :tailnum, :dep_time, :arr_delay)"
)


def make_table(session: Any) -> None:
    """Make the keyspace and an empty table."""
    session.execute(
        f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication = "
        "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    session.execute(
        f"CREATE TABLE IF NOT EXISTS {TABLE} (origin text, month int, day int, carrier text, "
        "flight int, dest text, tailnum text, dep_time int, arr_delay int, "
        "PRIMARY KEY ((origin, month, day), carrier, flight))"
    )
    session.execute(f"TRUNCATE {TABLE}")


def unpacked(folder: Path) -> Path:
    """Write the CSV file into `folder`, and return where it is."""
    with zipfile.ZipFile(flights_archive()) as archive:
        return Path(archive.extract("flights.csv", folder))


def key_of(flight: Flight) -> tuple[str, int, int, str, int]:
    """Return the primary key of a record, in the order of KEY."""
    return flight.origin, int(flight.month), int(flight.day), flight.carrier, int(flight.flight)


def fill_table(session: Any, most: int | None = None) -> int:
    """Make the table with the file's first `most` flights, or all; return how many."""
    make_table(session)

    def number(text: str) -> int | None:
        return None if text == MISSING else int(text)

    insert = session.prepare(INSERT)
    parameters = (
        (
            *key_of(each),
            each.dest,
            each.tailnum,
            number(each.dep_time),
            number(each.arr_delay),
        )
        for each in read_flights(most)
    )
    with DirectExecutor(session) as executor:
        return sum(1 for _ in executor.map(insert, parameters))
