"""`concurrent-exec run`: one statement over files of any size."""

from __future__ import annotations

import gc
import json
import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from concurrent_exec.bulk import (
    BrokenOutputError,
    BulkError,
    BulkOptions,
    BulkRun,
    EarlierRunError,
    FailedSource,
    InputError,
    NotIdempotentError,
    Report,
    Source,
    open_source,
)
from concurrent_exec.bulk.apart import check_apart
from concurrent_exec.connect import ConnectionOptions
from concurrent_exec.retry.cql import tokens

from .display import Looker, duration, shown_in_lines, shown_on_terminal
from .errors import Refused
from .explain import explain as explained
from .grouped import ARGUMENTS, GroupedCommand
from .interrupts import INTERRUPTED, stopped_by_signals
from .joined import connect_joined
from .latencies import check_latencies, write_latencies
from .options import connection_options
from .run_files import Names, earlier_identity
from .run_options import GROUPS, Given, run_options
from .run_together import check_together
from .run_workers import workers_for
from .streams import say

PROGRAM = "concurrent-exec"
_STATUSES = {"finished": 0, "interrupted": INTERRUPTED, "too many errors": 3}
_FAILURES = 1


@click.command(cls=GroupedCommand, groups=GROUPS, rest="Connection")
@click.argument("statement", required=False)
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path())
@run_options
@click.option("--keyspace", metavar="NAME", help="The keyspace of tables that are named without.")
@connection_options
@click.pass_context
def run(
    context: click.Context,
    statement: str | None,
    files: tuple[str, ...],
    given: Given,
    keyspace: str | None,
    connection: ConnectionOptions,
) -> int:
    """Run one STATEMENT for each record of FILEs, of any size.

    \b
    Examples:
      concurrent-exec run 'INSERT INTO app.users (id, name) VALUES (:id, :name)' users.csv
      concurrent-exec run 'SELECT * FROM app.users WHERE id = :id' ids.csv --output users.parquet
      concurrent-exec run 'DELETE FROM app.users WHERE id = ?' - < ids.jsonl
      concurrent-exec run --explain 'UPDATE app.users SET name = :name WHERE id = :id' users.csv
      concurrent-exec run ... --resume              go on where a run has stopped
      concurrent-exec run --retry-failed users.csv.failed.jsonl

    FILE is CSV, TSV, JSON Lines, Parquet or Arrow, maybe compressed (gzip, zstd), a pattern such as
    'data/*.csv', or - for standard input. Its columns meet the statement's markers by name; those
    of a statement with ? by the column's name, too.

    A record that can't be read, or whose statement fails, stops nothing: it goes to
    FILE.failed.jsonl, with the reason. FILE.checkpoint says what is done: after a crash, --resume
    sends the rest.

    Exit status: 0 all done, 1 finished with failures, or an error, 2 wrong usage, 3 stopped by
    --max-errors, 130 interrupted.
    """
    # The driver's warnings would come between the lines; what matters of them is raised.
    logging.getLogger("cassandra").addHandler(logging.NullHandler())
    with _refusing():
        check_together(given)
        _check_statement(statement)
        for path in given.latency:
            check_latencies(path)
        source, options = _input(files, given)
        if statement is None:
            statement, keyspace = _earlier(given, options, keyspace)
    with (
        workers_for(given, partial(connect_joined, connection, keyspace)) as workers,
        connect_joined(connection, keyspace) as session,
    ):
        prepared = session.prepare(statement)
        histogram = _histogram(given)
        options["observers"] = [] if histogram is None else [histogram]
        options["workers"] = workers
        with _refusing():
            made = BulkRun(session, prepared, source, **options)
        if given.explain:
            click.echo(explained(made), nl=False)
            return 0
        try:
            report = _run(made, given, histogram)
        except NotIdempotentError as error:
            _ask(error)
            options["resume_anyway"] = True
            report = _run(BulkRun(session, prepared, source, **options), given, histogram)
    return _tell(report, given, context, histogram)


@contextmanager
def _refusing() -> Iterator[None]:
    """Let what is wrong before anything is done be wrong usage, in one line."""
    try:
        yield
    except (BulkError, InputError, TypeError, ValueError) as error:
        raise Refused(str(error)) from error


def _check_statement(statement: str | None) -> None:
    """Raise Refused for no word, and for one: a file before it, or quotes forgotten."""
    if statement is None:
        return
    if next(tokens(statement), None) is None:
        raise Refused("the statement is empty")
    if len(statement.split()) == 1:
        raise Refused(f"the statement comes first, in quotes, then files: {statement!r} is none")


def _input(files: tuple[str, ...], given: Given) -> tuple[Source, BulkOptions]:
    """Return the input, and the options of the run."""
    failed: Path | None = given.retry_failed
    if failed is None:
        if not files:
            raise Refused(
                "give a statement, and a file with its parameters, or - for standard input"
            )
        source: Source = open_source(files, given.reading())
    elif files:
        raise Refused("--retry-failed takes the place of files: give one or the other")
    else:
        try:
            source = FailedSource(failed)
        except OSError as error:
            raise Refused(f"{failed}: {error.strerror}") from error
    options = given.bulk_options()
    names = Names.of(files, given)
    if given.resume and names.checkpoint is None:
        raise Refused(
            "--resume needs a checkpoint, which --no-checkpoint and --output - do without"
        )
    options.update(names.options())
    written = [("--failed", names.failed), ("--checkpoint", names.checkpoint)]
    written += [("--output", given.output), ("--not-found", given.not_found)]
    written += [("--json", given.json_file), *(("--latency", path) for path in given.latency)]
    check_apart(written, getattr(source, "paths", ()))
    return source, options


def _earlier(given: Given, options: BulkOptions, keyspace: str | None) -> tuple[str, str | None]:
    """Return statement and keyspace of the run whose failed file this is; take over its options."""
    earlier = earlier_identity(given.retry_failed)
    options["map"] = options.get("map") or earlier["the mapping of columns"]
    if "missing" not in given.explicit:
        options["missing"] = earlier["missing"]
    options["converting"] = given.converting(earlier["how values are read"])
    return str(earlier["the statement"]), keyspace or earlier["the keyspace"]


def _ask(error: NotIdempotentError) -> None:
    """Ask for a yes where there is somebody to ask; raises Refused without one."""
    if not sys.stdin.isatty() or not click.confirm(
        "The statement may do harm when it is applied twice, and some records after the last "
        "checkpoint may have been applied. Send them again?",
        err=True,
    ):
        raise Refused(f"{error} (--yes)") from error


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Let the garbage collector look at little, and seldom.

    It took a sixth of the processor time: a run has thousands of objects that all live a little
    while, and makes hardly any garbage that only the collector can free. At a threshold below what
    waits to be sent it goes through that again and again.
    """
    thresholds = gc.get_threshold()
    gc.freeze()  # what was imported stays
    gc.set_threshold(100_000, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _run(made: BulkRun, given: Given, histogram: Any) -> Report:
    looker = Looker(made, histogram)
    if given.quiet or given.dry_run:
        display: AbstractContextManager[None] = nullcontext()
    elif _is_live(given):
        display = shown_on_terminal(looker)
    else:
        display = shown_in_lines(looker, given.progress)
    with stopped_by_signals(made.stop), display, _seldom_collecting():
        try:
            return made.run()
        except (BrokenOutputError, NotIdempotentError):
            raise
        except EarlierRunError as error:
            raise Refused(f"{error} (--resume, --retry-failed or --overwrite)") from error
        except BulkError as error:
            raise Refused(str(error)) from error


def _histogram(given: Given) -> Any:
    """Return what measures, where anybody will see it: it costs some microseconds a statement."""
    if not (given.latency or given.json_file or _is_live(given)):
        return None
    from concurrent_exec.observers import LatencyHistogram

    try:
        return LatencyHistogram()
    except ImportError as error:
        if given.latency:
            raise Refused(str(error)) from error
        return None


def _is_live(given: Given) -> bool:
    return sys.stderr.isatty() and not given.quiet and find_spec("rich") is not None


def _tell(report: Report, given: Given, context: click.Context, histogram: Any) -> int:
    """Say what became of it; return the exit status."""
    if not given.quiet:
        for line in _lines(report, context):
            say(line)
    for path in given.latency:
        with _naming(path):
            write_latencies(path, histogram)
    if given.json_file is not None:
        with _naming(given.json_file):
            _write_json(report, given.json_file, histogram)
    status = _STATUSES[report.ended]
    return status if status or report.all_done else _FAILURES


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an OSError have the name of what can't be written."""
    try:
        yield
    except OSError as error:
        name = "standard output" if str(path) == "-" else str(path)
        raise OSError(error.errno, error.strerror, name) from error


def _write_json(report: Report, path: Path, histogram: Any) -> None:
    found = report.as_dict()
    if histogram is not None and histogram.count:
        found["latency_seconds"] = {
            name: histogram.percentile(percent)
            for name, percent in (("p50", 50), ("p99", 99), ("p999", 99.9), ("max", 100))
        }
    text = json.dumps(found, indent=2) + "\n"
    if str(path) == "-":
        click.echo(text, nl=False)
    else:
        path.write_text(text, encoding="utf-8")


def _lines(report: Report, context: click.Context) -> Iterator[str]:
    done = "would be sent" if report.dry_run else "done"
    records = "1 record" if report.records == 1 else f"{report.records:,} records"
    rows = "1 row" if report.rows == 1 else f"{report.rows:,} rows"
    parts = [f"{records}: {report.succeeded:,} {done}"]
    if report.failed:
        parts.append(f"{report.failed:,} failed")
    if report.rejected:
        parts.append(f"{report.rejected:,} could not be read")
    if report.not_found:
        parts.append(f"{report.not_found:,} found nothing")
    if report.not_applied:
        parts.append(f"{report.not_applied:,} not applied, as their condition was not met")
    yield f"{', '.join(parts)}; in {duration(report.seconds)} ({report.per_second:,.0f}/s)"
    if report.output is not None and not report.dry_run:
        output = "standard output" if str(report.output) == "-" else report.output
        yield f"{rows} in {output}"
    elif report.rows:
        yield f"{rows}, which are kept nowhere: give an --output"
    for example in report.examples:
        yield f"  {example}"
    if report.failed_file is not None and not report.dry_run:
        yield f"they are in {report.failed_file}, for --retry-failed"
    if report.ended != "finished":
        why = "interrupted" if report.ended == "interrupted" else "stopped, as too many have failed"
        if report.dry_run:
            yield f"{why}; nothing was sent"
        elif report.checkpoint is None:
            yield f"{why}; without a checkpoint it can't be resumed"
        else:
            given = context.meta[ARGUMENTS]
            arguments = [each for each in given if each not in ("--resume", "--overwrite")]
            command = shlex.join([PROGRAM, "run", *arguments, "--resume"])
            yield f"{why}; this goes on: {command}"
