"""Every way on what the goals are about, with more statements than `strategies` has time for.

These are one-row writes, fifty of them to a partition or not, and one-row reads, at one
concurrency. Some costs, such as those of collecting garbage, show only where there are many.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from perf import options, results
from perf.servers import SERVERS, a_server, a_session
from perf.strategies import Line, measure
from perf.workloads import KINDS

GOALS = ("write", "write 50", "read 1")
SIZE = 20
"""Bytes of a value."""


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@options.common
@click.option("--contact-points", metavar="HOST[:PORT],...", help="A cluster of your own.")
@click.option("--server", "names", type=click.Choice(SERVERS), multiple=True, default=SERVERS)
@click.option(
    "--statements",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="One-row writes a go; of what is dearer fewer.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
def main(
    folder: Path,
    quick: bool,
    contact_points: str | None,
    names: Sequence[str],
    statements: int,
    rounds: int,
) -> None:
    rows: list[dict[str, Any]] = []
    for name in names:
        with a_server(name, contact_points) as server, a_session(server) as session:
            for goal in GOALS[:1] if quick else GOALS:
                rows.extend(measure(server, session, Line(KINDS[goal](SIZE)), statements, rounds))
                # After each line, so that a run that is cut short leaves what it has.
                file = results.save("goals", rows, folder)
    click.echo(f"written: {file}")


if __name__ == "__main__":
    main()
