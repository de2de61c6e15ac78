"""Which options of a run go together: one that would do nothing is refused, never passed over."""

from __future__ import annotations

from collections.abc import Sequence

from concurrent_exec.bulk.apart import check_apart, is_special
from concurrent_exec.bulk.arrow import arrow
from concurrent_exec.bulk.errors import BulkError
from concurrent_exec.bulk.outputs import DELIMITED, STANDARD_OUTPUT, format_of
from concurrent_exec.bulk.settings import BulkOptions, path_of

_WRITTEN = ("failed_file", "output", "not_found_file", "checkpoint")
_OF_OUTPUT = ("output_format", "with_keys", "guard_formulas")


def check_together(options: BulkOptions, *, brings_rows: bool) -> None:
    """Raise ValueError naming an option that contradicts another or would do nothing beside it,
    BulkError where the output's name does not say its format, MissingPackageError where what
    writes it is not installed.

    brings_rows: whether the statement brings any. Where it brings none, BulkError is raised for an
        output, and for a file of what was not found.
    """
    _check_files(options, brings_rows)
    _check_output(options)
    _check_resuming(options)


def check_files(options: BulkOptions, inputs: Sequence[str]) -> None:
    """Raise ValueError where one file is to be two things: written twice, or read and written.

    inputs: the paths of what is read. BulkError is raised where what is replaced as a whole in the
        end is no regular file, such as /dev/null.
    """
    written = {name: path_of(options.get(name)) for name in _WRITTEN}  # type: ignore[arg-type]
    check_apart(written.items(), inputs)
    output = written["output"]
    replaced = [written["checkpoint"]]
    if output is not None and format_of(output, options.get("output_format")) == "parquet":
        replaced.append(output)
    for path in replaced:
        if path is not None and is_special(path):
            raise BulkError(f"{path} is no regular file, and would be replaced by one")


def _check_files(options: BulkOptions, brings_rows: bool) -> None:
    if not brings_rows:
        if options.get("output") is not None:
            raise BulkError("the statement brings no rows, so there is nothing to put out")
        if options.get("not_found_file") is not None:
            raise BulkError("the statement brings no rows, so none can be missing: not_found_file")
    for name in ("failed_file", "not_found_file", "checkpoint"):
        if str(options.get(name)) == STANDARD_OUTPUT:
            raise ValueError(f"{name} can't be standard output, where only the output can go")


def _check_output(options: BulkOptions) -> None:
    output = path_of(options.get("output"))
    if output is None:
        for name in _OF_OUTPUT:
            if options.get(name):
                raise ValueError(f"{name} is about the output: give one")
        return
    output_format = format_of(output, options.get("output_format"))
    if options.get("guard_formulas", False) and output_format not in DELIMITED:
        raise ValueError(f"guard_formulas is of CSV and TSV, and the output is {output_format}")
    if output_format == "parquet" and str(output) == STANDARD_OUTPUT:
        raise ValueError("the output can't be Parquet on standard output: give it a file")
    if output_format == "parquet":
        arrow("an output of Parquet")  # before anything is written


def _check_resuming(options: BulkOptions) -> None:
    if not options.get("resume", False):
        if options.get("resume_anyway", False):
            raise ValueError("resume_anyway is about resuming: give resume, too")
        return
    if options.get("checkpoint") is None:
        raise ValueError("resume needs a checkpoint, which says where the run has stopped")
    for name, why in (
        ("overwrite", "a run goes on or begins anew"),
        ("dry_run", "a dry run is of the whole input"),
    ):
        if options.get(name, False):
            raise ValueError(f"resume and {name} contradict each other: {why}")
