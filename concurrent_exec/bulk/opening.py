"""Opening what a run writes: anew, or where an earlier run has stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from concurrent_exec.bulk.appending import Appender, StandardOutput
from concurrent_exec.bulk.errors import BulkError, EarlierRunError, NotIdempotentError
from concurrent_exec.bulk.journal import Entry, Journal, entry_at
from concurrent_exec.bulk.ledger import Files
from concurrent_exec.bulk.outputs import (
    STANDARD_OUTPUT,
    Column,
    format_of,
    growing_file,
    make_output,
)
from concurrent_exec.bulk.settings import BulkOptions, path_of


def open_files(
    options: BulkOptions,
    identity: Mapping[str, Any],
    *,
    columns: Sequence[Column],
    idempotent: bool,
    skip: int,
) -> tuple[Files, Entry]:
    """Open what `options` name; return it and the entry to go on from.

    identity: what a journal must agree with.
    columns: of the output.
    idempotent: whether what is resumed may send again what it has sent before.
    skip: how many records are left out at the beginning.

    Nothing is touched before it is clear that it may be. Raises BulkError, OSError.
    """
    checkpoint = path_of(options.get("checkpoint"))
    journal = None if checkpoint is None else Journal(checkpoint, identity)
    entry = None
    if options.get("resume", False):
        assert journal is not None  # else it was refused
        entry = journal.resumed()
        if entry is not None and entry.finished:
            return Files(), entry
        if entry is not None and not (idempotent or options.get("resume_anyway", False)):
            raise NotIdempotentError(
                "the statement may do harm when it is applied twice, and some of the records after "
                "the last checkpoint may have been applied: say that they may be sent again"
            )
    if entry is None:
        if not options.get("overwrite", False):
            _refuse_earlier(options)
        fresh, entry = True, Entry(done=skip)
    else:
        fresh = False
    with ExitStack() as opened:
        growing = {
            name: opened.enter_context(_Closing(_open(path)))
            for name, path in _growing(options).items()
        }
        if fresh and journal is not None:
            journal.write(entry)
        for name, appender in growing.items():
            appender.cut(entry.lengths.get(name, 0))
        output = None
        if "output" in growing:
            path = path_of(options.get("output"))
            assert path is not None
            output = make_output(
                path,
                columns,
                format_of(path, options.get("output_format")),
                growing["output"],
                guard_formulas=options.get("guard_formulas", False),
            )
        opened.pop_all()
    return Files(journal, growing.get("failed"), output, growing.get("not_found")), entry


class _Closing:
    """Closes a file if the others can't be opened."""

    def __init__(self, appender: Appender) -> None:
        self._appender = appender

    def __enter__(self) -> Appender:
        return self._appender

    def __exit__(self, *exc: object) -> None:
        self._appender.close()


def _growing(options: BulkOptions) -> dict[str, Path]:
    output = path_of(options.get("output"))
    found = {
        "failed": path_of(options.get("failed_file")),
        "output": output and growing_file(output, format_of(output, options.get("output_format"))),
        "not_found": path_of(options.get("not_found_file")),
    }
    return {name: path for name, path in found.items() if path is not None}


def _open(path: Path) -> Appender:
    return StandardOutput() if str(path) == STANDARD_OUTPUT else Appender(path)


def _refuse_earlier(options: BulkOptions) -> None:
    """Raise EarlierRunError where something is in the way that is not to be lost."""
    checkpoint = path_of(options.get("checkpoint"))
    earlier = None if checkpoint is None else entry_at(checkpoint)
    if earlier is not None and not earlier.finished:
        settled = sum(earlier.counts.get(name, 0) for name in ("succeeded", "failed", "rejected"))
        raise EarlierRunError(
            f"an earlier run has stopped after {settled} records, as {checkpoint} says: "
            "resume it, or say that it may be overwritten"
        )
    failed = path_of(options.get("failed_file"))
    if failed is not None and _has_something(failed):
        raise EarlierRunError(
            f"{failed} has the failed records of an earlier run: take them again, or say that it "
            "may be overwritten"
        )
    for name in ("output", "not_found_file"):
        path = path_of(options.get(name))  # type: ignore[arg-type]
        if path is not None and str(path) != STANDARD_OUTPUT and _has_something(path):
            raise EarlierRunError(f"{path} is there already: say that it may be overwritten")


def _has_something(path: Path) -> bool:
    if path.is_dir():
        raise BulkError(f"{path} is a directory")
    return path.is_file() and path.stat().st_size > 0
