"""`concurrent-exec compare`: strategies side by side on the user's own statement."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import click

from concurrent_exec.bulk.records import InputError
from concurrent_exec.comparing import Progress, may_be_repeated
from concurrent_exec.comparing import compare as measure
from concurrent_exec.connect import ConnectionOptions, connect
from concurrent_exec.executors import STRATEGIES

from .options import connection_options
from .packages import need
from .parameters import read_parameters

_OUTPUT = click.Path(dir_okay=False, writable=True, path_type=Path)
_POSITIVE = click.IntRange(min=1)


def _levels(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> list[int] | None:
    parts = [] if value is None else value.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise click.BadParameter(
            f"must be whole numbers from 1, with commas between, not {value!r}"
        )
    return [int(part) for part in parts] or None


@click.command()
@click.argument("statement")
@click.option(
    "--parameters",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A .csv file, whose first line names the statement's parameters, a .jsonl file with an "
    "object or array in each line, or a .parquet or .arrow file.",
)
@click.option(
    "--concurrency",
    "levels",
    callback=_levels,
    metavar="N,N,...",
    help="Statements in flight to try. [default: 10,30,100,300,1000, up to --statements; threads "
    "up to 100]",
)
@click.option(
    "--executor",
    "executors",
    multiple=True,
    type=click.Choice(list(STRATEGIES)),
    help="A strategy to try; more than once for several. [default: all that change nothing but "
    "the speed]",
)
@click.option(
    "--statements",
    metavar="N",
    type=_POSITIVE,
    default=10_000,
    show_default=True,
    help="How many at a time.",
)
@click.option(
    "--rounds",
    metavar="N",
    type=_POSITIVE,
    default=3,
    show_default=True,
    help="How often to measure each.",
)
@click.option(
    "--assume-idempotent",
    is_flag=True,
    help="Yes, execute the statement many times over, though it is no SELECT.",
)
@click.option("--json", "json_file", type=_OUTPUT, help="Write all figures into this file.")
@click.option("--html", "html_file", type=_OUTPUT, help="Write a page with plots into this file.")
@connection_options
def compare(
    statement: str,
    parameters: Path | None,
    levels: list[int] | None,
    executors: tuple[str, ...],
    statements: int,
    rounds: int,
    assume_idempotent: bool,
    json_file: Path | None,
    html_file: Path | None,
    connection: ConnectionOptions,
) -> None:
    """Measure strategies and concurrencies on your STATEMENT and your cluster.

    It executes the statement, many times over: writes do write. Each strategy at each
    concurrency runs the first --statements of the parameters' file (over again, if it has
    fewer), in turn with the others; each is warmed up, then measured in --rounds rounds.

    \b
    Examples:
      concurrent-exec compare 'SELECT * FROM shop.users WHERE id = ?' --parameters ids.csv
      concurrent-exec compare 'INSERT INTO shop.users (id, name) VALUES (?, ?)' \\
          --parameters users.jsonl --assume-idempotent --html compared.html
    """
    # The driver's warnings would come between the lines; what matters of them is raised.
    logging.getLogger("cassandra").addHandler(logging.NullHandler())
    # What would be a pity after minutes of measuring is looked at first.
    for package in ("rich", *(["matplotlib"] if html_file else [])):
        need(package, "compare")
    for file in (json_file, html_file):
        if file is not None and not file.parent.is_dir():
            raise click.UsageError(f"the folder of {file} is not there")
    with connect(connection) as session:
        prepared = session.prepare(statement)
        if not (assume_idempotent or may_be_repeated(prepared)):
            raise click.UsageError(
                "the statement would be executed many times over, and is no SELECT: give "
                "--assume-idempotent if that is what you want"
            )
        rows = list(islice(_parameters(parameters, prepared), statements))
        if not rows:
            raise InputError(f"{parameters}: has no records")
        with _progress() as report:
            comparison = measure(
                session,
                prepared,
                rows,
                executors=executors or None,
                concurrencies=levels,
                statements_per_go=statements,
                rounds=rounds,
                assume_idempotent=assume_idempotent,
                report=report,
            )
    click.echo(comparison.to_text(), nl=False)
    if json_file is not None:
        json_file.write_text(comparison.to_json(), encoding="utf-8")
    if html_file is not None:
        html_file.write_text(comparison.to_html(), encoding="utf-8")


def _parameters(path: Path | None, prepared: Any) -> Iterable[tuple[Any, ...] | None]:
    names = [column.name for column in prepared.column_metadata]
    if path is None:
        if names:
            raise click.UsageError(
                f"the statement has parameters ({', '.join(names)}): give a file with --parameters"
            )
        return [None]
    if not names:
        raise click.UsageError("the statement has no parameters: leave --parameters out")
    return read_parameters(path, prepared)


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """Show how far it is, where stderr is a terminal; the block gets what to tell it to."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("preparing", total=None)

        def report(progress: Progress) -> None:
            turn = f"round {progress.round} of {progress.rounds}" if progress.round else "warm-up"
            words = f"{turn}: {progress.executor} at {progress.concurrency}"
            bar.update(task, description=words, completed=progress.done, total=progress.total)

        yield report
