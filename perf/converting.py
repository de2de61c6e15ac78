"""What it costs to read a file and bind its records, beside the loop that everybody writes.

Ours is `open_source` and `Binding.bind`; the loop is a `csv.DictReader` and a function for each
value. Both make the same parameters, which is checked, and nothing is sent. They take turns,
several times over; shown is the CPU of a record, the median and the lowest and highest, and how
many times as much the loop takes. The files: a number and 48 bytes of text; two texts; and the 19
columns of the flights that left New York in 2013, with their gaps.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import click
from cassandra.cqltypes import DateType, DoubleType, Int32Type, ShortType, UTF8Type
from cassandra.protocol import ColumnMetadata
from cassandra.query import UNSET_VALUE, PreparedStatement

from concurrent_exec.bulk.binding import Binding
from concurrent_exec.bulk.options import ConvertingOptions
from concurrent_exec.bulk.sources import open_source
from demo.data import Flight
from perf import options, results
from perf.files import write_flights, write_key_values

Make = Callable[[str], Any]
Parameters = Iterator[Sequence[Any]]

_TYPES: Mapping[Any, Make] = {
    DateType: lambda text: int(datetime.fromisoformat(text).timestamp() * 1000),
    DoubleType: float,
    Int32Type: int,
    ShortType: int,
    UTF8Type: str,
}
_OF_FLIGHTS = {
    "carrier": UTF8Type,
    "tailnum": UTF8Type,
    "origin": UTF8Type,
    "dest": UTF8Type,
    "time_hour": DateType,
    "dep_delay": DoubleType,
    "arr_delay": DoubleType,
    "air_time": DoubleType,
    "distance": Int32Type,
}
MISSING = "NA"


@dataclass(frozen=True)
class File:
    """A file and the CQL types of its columns."""

    name: str
    path: Path
    types: Mapping[str, Any]
    records: int


def pairs(folder: Path, count: int, name: str, types: Mapping[str, Any], prefix: str) -> File:
    """Write keys and values."""
    path = folder / f"{name.replace(' ', '-')}.csv"
    write_key_values(path, count, prefix)
    return File(name, path, types, count)


def flights(folder: Path, count: int) -> File:
    """Unpack the first of the flights."""
    path = folder / "flights.csv"
    records = write_flights(path, count)
    types = {name: _OF_FLIGHTS.get(name, ShortType) for name in Flight._fields}
    return File("flights", path, types, records)


def ours(file: File) -> Parameters:
    """Yield the parameters of all records, in columns."""
    markers = [ColumnMetadata("ks", "t", name, kind) for name, kind in file.types.items()]
    prepared = PreparedStatement(markers, b"id", [0], "", "ks", 4, None, None)
    source = open_source([str(file.path)])
    convert = ConvertingOptions(nulls=[MISSING])
    binding = Binding(prepared, source.columns, options=convert)
    for chunk in source.chunks():
        _, parameters, rejected = binding.bind(chunk)
        assert not rejected
        yield from parameters


def the_loop(file: File) -> Parameters:
    """Yield the parameters of all records, value by value."""
    makes = {name: _TYPES[kind] for name, kind in file.types.items()}
    with file.path.open(newline="", encoding="utf-8") as opened:
        for record in csv.DictReader(opened):
            yield tuple(
                UNSET_VALUE if (text := record[name]) == MISSING else make(text)
                for name, make in makes.items()
            )


WAYS: Mapping[str, Callable[[File], Parameters]] = {"ours": ours, "loop": the_loop}


def timed(way: Callable[[File], Parameters], file: File) -> float:
    """Return the microseconds of CPU a record."""
    start = process_time()
    for _ in way(file):
        pass
    return (process_time() - start) / file.records * 1e6


def measure(file: File, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each way."""
    for one, other in zip(ours(file), the_loop(file), strict=True):
        assert tuple(one) == other
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for turn in range(rounds):
        for name, way in sorted(WAYS.items(), reverse=turn % 2 == 1):
            taken[name].append(timed(way, file))
    return [
        {
            "file": file.name,
            "records": file.records,
            "columns": len(file.types),
            "way": name,
            "cpu_us": [median(times), min(times), max(times)],
        }
        for name, times in taken.items()
    ]


@click.command(help=__doc__)
@click.option("--records", type=click.IntRange(min=1), help="Of each file. [default: 300000]")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@options.common
def main(records: int | None, rounds: int, quick: bool, folder: Path) -> None:
    """Measure, show and save."""
    count = records or (20_000 if quick else 300_000)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        number = {"id": Int32Type, "value": UTF8Type}
        text = {"id": UTF8Type, "value": UTF8Type}
        for make in (
            partial(pairs, place, count, "number and text", number, ""),
            partial(pairs, place, count, "two texts", text, "key-"),
            partial(flights, place, count),
        ):
            found = measure(make(), rounds)
            rows += found
            mine, loop = (row["cpu_us"] for row in found)
            click.echo(
                f"{found[0]['file']:16} ours {_spread(mine)}, the loop {_spread(loop)} us a "
                f"record: {loop[0] / mine[0]:.1f} times as much"
            )
    click.echo(results.save("converting", rows, folder))


def _spread(times: Sequence[float]) -> str:
    middle, least, most = times
    return f"{middle:.2f} ({least:.2f} to {most:.2f})"


if __name__ == "__main__":
    main()
