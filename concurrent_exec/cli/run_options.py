"""The options of `concurrent-exec run`, and what they mean to `bulk`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

import click
from cassandra import ConsistencyLevel
from click.core import ParameterSource

from concurrent_exec.bulk import BulkOptions
from concurrent_exec.bulk.budget import budget_of
from concurrent_exec.bulk.options import (
    BlobFormat,
    ConvertingOptions,
    Format,
    Missing,
    ReadingOptions,
    TimestampUnit,
)
from concurrent_exec.bulk.outputs import FORMATS
from concurrent_exec.bulk.sending import BatchMode
from concurrent_exec.executors import STRATEGIES
from concurrent_exec.retry import Retry

_FILE = click.Path(dir_okay=False, path_type=Path)
_COUNT = click.IntRange(min=0)
_POSITIVE = click.IntRange(min=1)


class _Finite(click.FloatRange):
    """A number above 0; "nan" and "inf" are none to whoever waits or counts."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


_NUMBER = _Finite(min=0, min_open=True)


def _mapping(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    found = {}
    for value in values:
        column, equals, marker = value.partition("=")
        if not (column and equals and marker):
            raise click.BadParameter(f"must be COLUMN=MARKER, not {value!r}")
        found[column] = marker
    return found


def _concurrency(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> int | str | None:
    if value is None or value == "adaptive":
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"must be a whole number from 1, or adaptive, not {value!r}")
    return int(value)


def _max_errors(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> int | str | None:
    budget = int(value) if value is not None and value.isdecimal() else value
    try:
        budget_of(budget)
    except ValueError as error:
        raise click.BadParameter(str(error).removeprefix("max_errors ")) from None
    return budget


_INPUT = [
    click.option(
        "--format",
        type=click.Choice(get_args(Format)),
        help="What the files are. [default: what their names say, or what is in them]",
    ),
    click.option(
        "--header/--no-header", default=True, help="Whether CSV has names in its first record."
    ),
    click.option("--delimiter", metavar="CHARACTER", help="Between fields. [default: a comma]"),
    click.option(
        "--quote",
        metavar="CHARACTER",
        default='"',
        show_default=True,
        help="Around fields; empty for none.",
    ),
    click.option("--escape", metavar="CHARACTER", help="What takes away the next one's meaning."),
    click.option(
        "--encoding", metavar="NAME", default="utf-8", show_default=True, help="Of text files."
    ),
    click.option(
        "--map",
        "mapping",
        metavar="COLUMN=MARKER",
        multiple=True,
        callback=_mapping,
        help="Give the marker the values of a column of another name.",
    ),
    click.option("--skip", metavar="N", type=_COUNT, default=0, help="Leave out the first N."),
    click.option("--limit", metavar="N", type=_COUNT, help="Take N records at most, after those."),
    click.option(
        "--retry-failed",
        metavar="FILE.failed.jsonl",
        type=_FILE,
        help="Take the records of a failed file again, instead of FILEs. The statement is that of "
        "their run, unless another is given.",
    ),
]

_VALUES = [
    click.option(
        "--null",
        "nulls",
        metavar="TEXT",
        multiple=True,
        default=("",),
        help="A field that is a missing value; more than once for several. [default: empty]",
    ),
    click.option(
        "--missing",
        type=click.Choice(get_args(Missing)),
        default="unset",
        show_default=True,
        help="What a missing value becomes: unset leaves what is there and writes no tombstone.",
    ),
    click.option(
        "--true", metavar="WORD", multiple=True, default=("true",), help="A word for true."
    ),
    click.option(
        "--false", metavar="WORD", multiple=True, default=("false",), help="A word for false."
    ),
    click.option(
        "--timestamp-format",
        metavar="FORMAT",
        help="As of strptime. [default: ISO 8601, or a number]",
    ),
    click.option(
        "--timestamp-unit",
        type=click.Choice(get_args(TimestampUnit)),
        default="ms",
        show_default=True,
        help="What a timestamp counts that is a number.",
    ),
    click.option("--date-format", metavar="FORMAT", help="As of strptime. [default: ISO 8601]"),
    click.option("--time-format", metavar="FORMAT", help="As of strptime. [default: HH:MM:SS.f]"),
    click.option(
        "--time-zone",
        metavar="NAME",
        default="UTC",
        show_default=True,
        help="Of timestamps that name none.",
    ),
    click.option(
        "--blob",
        type=click.Choice(get_args(BlobFormat)),
        default="hex",
        show_default=True,
        help="How blobs are written.",
    ),
]

_OUTPUT = [
    click.option(
        "--output",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Where rows go, in the order of the input: .csv, .tsv, .jsonl or .parquet; - for "
        "standard output, which can't be resumed.",
    ),
    click.option(
        "--output-format",
        type=click.Choice(FORMATS),
        help="[default: what the output's name says; csv on standard output]",
    ),
    click.option(
        "--guard-formulas",
        is_flag=True,
        help="Put a ' before each text in CSV that a spreadsheet would take for a formula; it is "
        "not read back as the same then.",
    ),
    click.option(
        "--with-keys",
        is_flag=True,
        help="Put the statement's parameters before each row, where it has no such column.",
    ),
    click.option(
        "--not-found",
        metavar="FILE",
        type=_FILE,
        help="List the records whose read brought no row, as JSON Lines.",
    ),
]

_TRUST = [
    click.option(
        "--failed",
        metavar="FILE",
        type=_FILE,
        help="Where failed records go. [default: FILE.failed.jsonl]",
    ),
    click.option(
        "--checkpoint",
        metavar="FILE",
        type=_FILE,
        help="The journal of what is done. [default: FILE.checkpoint]",
    ),
    click.option("--no-checkpoint", is_flag=True, help="Keep no journal: nothing can be resumed."),
    click.option(
        "--checkpoint-interval",
        metavar="SECONDS",
        type=_NUMBER,
        default=1.0,
        show_default=True,
        help="Between two entries of the journal.",
    ),
    click.option("--resume", is_flag=True, help="Go on where the run of this input has stopped."),
    click.option(
        "--yes",
        is_flag=True,
        help="Resume though the statement is not idempotent: what came after the last entry of the "
        "journal is sent again.",
    ),
    click.option(
        "--overwrite",
        is_flag=True,
        help="Begin anew: replace checkpoint, failed file and output of an earlier run.",
    ),
    click.option(
        "--max-errors",
        metavar="N|P%",
        callback=_max_errors,
        help="Stop when more records than this have failed; a share is not judged before 100.",
    ),
    click.option("--dry-run", is_flag=True, help="Read and bind everything, send nothing."),
    click.option(
        "--explain", is_flag=True, help="Say what would be done, with a sample, and do nothing."
    ),
]

_SENDING = [
    click.option(
        "--executor",
        type=click.Choice(["auto", *STRATEGIES]),
        default="auto",
        show_default=True,
        help="Who sends; auto is the fastest that changes nothing but the speed.",
    ),
    click.option(
        "--concurrency",
        metavar="N|adaptive",
        callback=_concurrency,
        help="The most statements in flight; adaptive finds out where more would only wait. "
        "[default: as many as are answered in 0.1 s, 100 to 4000; in batches 1000, of one set of "
        "replicas 3000]",
    ),
    click.option(
        "--processes",
        metavar="N",
        type=_POSITIVE,
        help="Convert and send by so many processes on this machine, each with a session.",
    ),
    click.option(
        "--dask",
        metavar="ADDRESS",
        help="Convert and send by the workers of the Dask cluster whose scheduler is there.",
    ),
    click.option(
        "--max-per-second",
        metavar="N",
        type=_NUMBER,
        help="The most statements sent in a second.",
    ),
    click.option(
        "--batch-mode",
        type=click.Choice(get_args(BatchMode)),
        default="disabled",
        show_default=True,
        help="Send writes in UNLOGGED batches, of one partition or of one set of replicas. That "
        "is faster, but a batch may be applied in part.",
    ),
    click.option(
        "--max-attempts",
        metavar="N",
        type=_POSITIVE,
        default=5,
        show_default=True,
        help="How often a statement is sent at most, where that is safe.",
    ),
    click.option(
        "--idempotent/--not-idempotent",
        default=None,
        help="Whether the statement may be applied more than once without harm. [default: what its "
        "text tells]",
    ),
    click.option("--timeout", metavar="SECONDS", type=_NUMBER, help="For an answer. [default: 10]"),
    click.option(
        "--consistency",
        metavar="LEVEL",
        type=click.Choice(list(ConsistencyLevel.name_to_value), case_sensitive=False),
        help="Such as LOCAL_QUORUM. [default: LOCAL_ONE]",
    ),
]

_TELLING = [
    click.option(
        "--progress",
        metavar="SECONDS",
        type=_NUMBER,
        default=10.0,
        show_default=True,
        help="Between two lines on how far it is, where standard error is no terminal.",
    ),
    click.option("--quiet", is_flag=True, help="Say nothing but errors."),
    click.option(
        "--json",
        "json_file",
        metavar="FILE",
        type=_FILE,
        help="Write a report for machines; - for standard output.",
    ),
    click.option(
        "--latency",
        metavar="FILE",
        type=_FILE,
        multiple=True,
        help="Write how long statements took: .hgrm (HdrHistogram), .svg or .png (a plot).",
    ),
]

_GROUPED = {
    "Input": _INPUT,
    "Values": _VALUES,
    "Output of reads": _OUTPUT,
    "Trust": _TRUST,
    "Sending": _SENDING,
    "Telling": _TELLING,
}


def _name(option: Callable[[Any], Any]) -> str:
    def command() -> None:
        pass

    option(command)
    return str(command.__click_params__[0].name)  # type: ignore[attr-defined]


GROUPS = {heading: [_name(each) for each in options] for heading, options in _GROUPED.items()}
"""The parameters' names by the heading of their group."""


@dataclass(frozen=True)
class Given:
    """What was given, by the names of the parameters."""

    values: dict[str, Any]
    explicit: frozenset[str]
    """The names of those that were given, and are not as they are by default."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None

    def reading(self) -> ReadingOptions:
        """Return how files are read. Raises ValueError naming an option that is wrong."""
        return ReadingOptions(
            format=self.format,
            header=self.header,
            delimiter="\t" if self.delimiter == r"\t" else self.delimiter,
            quote=self.quote or None,
            escape=self.escape,
            encoding=self.encoding,
        )

    def converting(self, earlier: Mapping[str, Any] | None = None) -> ConvertingOptions:
        """Return how values are read, where nothing is given as an `earlier` run has read them.

        Raises ValueError naming an option that is wrong.
        """
        names = [each.name for each in fields(ConvertingOptions)]
        given = {name: self.values[name] for name in names}
        if earlier is not None:
            given = {name: given[name] for name in names if name in self.explicit}
        return ConvertingOptions(**{**(earlier or {}), **given})

    def bulk_options(self) -> BulkOptions:
        """Return the options of the run, but for the files that it writes."""
        consistency = self.consistency
        return BulkOptions(
            map=self.mapping,
            missing=self.missing,
            converting=self.converting(),
            executor=self.executor,
            concurrency=self.concurrency,
            max_per_second=self.max_per_second,
            batch_mode=self.batch_mode,
            retry=Retry(max_attempts=self.max_attempts),
            idempotent=self.idempotent,
            timeout=self.timeout,
            consistency=consistency and ConsistencyLevel.name_to_value[consistency.upper()],
            max_errors=self.max_errors,
            output=self.output,
            output_format=self.output_format,
            guard_formulas=self.guard_formulas,
            with_keys=self.with_keys,
            not_found_file=self.not_found,
            checkpoint_interval=self.checkpoint_interval,
            resume=self.resume,
            resume_anyway=self.yes,
            overwrite=self.overwrite,
            skip=self.skip,
            limit=self.limit,
            dry_run=self.dry_run,
        )


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command these options, and the argument `given` made of them."""
    names = [name for names in GROUPS.values() for name in names]

    @functools.wraps(command)
    def with_given(*args: Any, **others: Any) -> Any:
        source = click.get_current_context().get_parameter_source
        explicit = frozenset(name for name in names if source(name) is not ParameterSource.DEFAULT)
        given = Given({name: others.pop(name) for name in names}, explicit)
        return command(*args, given=given, **others)

    options = [option for options in _GROUPED.values() for option in options]
    # click lists options in the reverse order of their decorators.
    return functools.reduce(lambda made, option: option(made), reversed(options), with_given)
