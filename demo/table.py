"""The table, and the way of a record into it and back.

The key. An airline gives a flight number once a day for each airport that it leaves from, so
(date, carrier, flight, origin) names a flight: over the file's 336,776 records it is unique.
Without the origin it is not: 24 times in the file Southwest's flight 2269 leaves LGA in the
morning and EWR in the afternoon. The scheduled time is no part of the key: a flight that is
rescheduled is the same flight, and writing it again replaces the row.

The partition. (origin, flight_date) is what an airport's departure board asks for: one partition
answers it. There are 1,095 of 171 to 377 rows, some 30 KB each: many enough to spread evenly
over any number of nodes, small enough to be read at once, and they don't grow with the years.
By date alone all writes of a day would go to the same replicas; by carrier, some partitions would
hold one row and others grow without end.

The types. A number of minutes, miles or a clock time (830 is half past eight) is a smallint. The
clock times are no CQL `time`: the file has 2400 for a midnight. All of them and the date are
New York's local time. `time_hour` alone, the hour of the scheduled departure, is a moment: the
file has it in UTC (it ends in "Z"), a timestamp is a moment in UTC, and drivers return it as a
datetime in UTC without saying so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple, TypeAlias

from cassandra.query import UNSET_VALUE

from .data import MISSING, Flight

TABLE = "flights"
KEY = "(origin, flight_date), carrier, flight"

Partition: TypeAlias = tuple[str, date]
"""Origin and date."""


class _Column(NamedTuple):
    """A column that is one value of a record: its name, CQL type, and the way there and back."""

    name: str
    cql: str
    from_text: Callable[[str], Any]
    to_text: Callable[[Any], str]


def _number(name: str, cql: str = "smallint") -> _Column:
    return _Column(name, cql, int, str)


def _text(name: str) -> _Column:
    return _Column(name, "text", str, str)


def _utc(moment: datetime) -> str:
    return f"{moment.isoformat()}Z"


_COLUMNS = (
    _number("dep_time"),
    _number("sched_dep_time"),
    _number("dep_delay"),
    _number("arr_time"),
    _number("sched_arr_time"),
    _number("arr_delay"),
    _text("carrier"),
    _number("flight"),
    _text("tailnum"),
    _text("origin"),
    _text("dest"),
    _number("air_time"),
    _number("distance"),
    _number("hour", "tinyint"),
    _number("minute", "tinyint"),
    _Column("time_hour", "timestamp", datetime.fromisoformat, _utc),
)
# Year, month and day of the file are one column.
COLUMNS = ("flight_date", *(column.name for column in _COLUMNS))
_FIRST = 3

_MAY_BE_MISSING = {"dep_time", "dep_delay", "arr_time", "arr_delay", "tailnum", "air_time"}
_FROM_TEXT = tuple((c.from_text, c.name in _MAY_BE_MISSING) for c in _COLUMNS)
_TO_TEXT = tuple(column.to_text for column in _COLUMNS)


def create_table(keyspace: str) -> str:
    """Return the statement that makes the table in `keyspace`."""
    columns = ", ".join(f"{column.name} {column.cql}" for column in _COLUMNS)
    return f'CREATE TABLE "{keyspace}".{TABLE} (flight_date date, {columns}, PRIMARY KEY ({KEY}))'


def insert(keyspace: str) -> str:
    """Return the statement whose parameters are a flight's `values`."""
    marks = ", ".join("?" * len(COLUMNS))
    return f'INSERT INTO "{keyspace}".{TABLE} ({", ".join(COLUMNS)}) VALUES ({marks})'


def select(keyspace: str) -> str:
    """Return the statement whose parameters are a flight's `key` and whose row is `texts`'s."""
    return (
        f'SELECT {", ".join(COLUMNS)} FROM "{keyspace}".{TABLE} '
        "WHERE origin = ? AND flight_date = ? AND carrier = ? AND flight = ?"
    )


def select_partitions(keyspace: str) -> str:
    """Return the statement whose rows are all partitions that are there."""
    return f'SELECT DISTINCT origin, flight_date FROM "{keyspace}".{TABLE}'


def count_partition(keyspace: str) -> str:
    """Return the statement whose parameters are a partition and whose row tells it and its size."""
    return (
        f'SELECT origin, flight_date, COUNT(*) FROM "{keyspace}".{TABLE} '
        "WHERE origin = ? AND flight_date = ?"
    )


def values(flight: Flight) -> list[Any]:
    """Return what is sent for `flight`, in the order of COLUMNS; what is missing is UNSET.

    A null would be sent as well, and stored as a tombstone, which reads have to skip until
    compaction drops it; of an unset value nothing is stored. The row reads the same.
    """
    return [
        _date(flight),
        *(
            UNSET_VALUE if optional and text == MISSING else from_text(text)
            for (from_text, optional), text in zip(_FROM_TEXT, flight[_FIRST:], strict=True)
        ),
    ]


def key(flight: Flight) -> tuple[str, date, str, int]:
    """Return the primary key of `flight`, in the key's order."""
    return flight.origin, _date(flight), flight.carrier, int(flight.flight)


def partition(flight: Flight) -> Partition:
    """Return the partition key of `flight`."""
    return flight.origin, _date(flight)


def texts(row: Sequence[Any]) -> Flight:
    """Return the record that the file must have for `row`, which is in the order of COLUMNS.

    So a row is compared with the file itself, and a mistake in `values` is noticed as well.
    """
    day = row[0].date()
    return Flight(
        str(day.year),
        str(day.month),
        str(day.day),
        *(
            MISSING if value is None else to_text(value)
            for to_text, value in zip(_TO_TEXT, row[1:], strict=True)
        ),
    )


def difference(flight: Flight, rows: Sequence[Sequence[Any]]) -> str | None:
    """Return in words how the `rows` read by the key of `flight` differ from it, None if not."""
    if len(rows) != 1:
        return f"{' '.join(map(str, key(flight)))}: {len(rows)} rows instead of 1"
    found = texts(rows[0])
    if found == flight:
        return None
    columns = ", ".join(
        f"{name} is {is_there}, in the file {expected}"
        for name, is_there, expected in zip(Flight._fields, found, flight, strict=True)
        if is_there != expected
    )
    return f"{' '.join(map(str, key(flight)))}: {columns}"


def _date(flight: Flight) -> date:
    return date(int(flight.year), int(flight.month), int(flight.day))
