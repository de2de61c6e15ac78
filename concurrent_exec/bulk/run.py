"""One statement over all records of an input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Unpack

from concurrent_exec.bulk.binding import Binding
from concurrent_exec.bulk.errors import BulkError
from concurrent_exec.bulk.idempotence import may_be_resent
from concurrent_exec.bulk.journal import Entry
from concurrent_exec.bulk.keeper import Keeper
from concurrent_exec.bulk.ledger import COUNTS, Files, Ledger
from concurrent_exec.bulk.opening import open_files, path_of
from concurrent_exec.bulk.options import ConvertingOptions
from concurrent_exec.bulk.outputs import key_columns, row_columns
from concurrent_exec.bulk.records import Chunk, NoRecordsError, Rejected, Source
from concurrent_exec.bulk.report import Ended, Report
from concurrent_exec.bulk.sending import (
    choice_of,
    default_concurrency,
    make_executor,
    profile_for,
    required_markers,
)
from concurrent_exec.bulk.settings import BulkOptions
from concurrent_exec.bulk.sources import source_of
from concurrent_exec.executors import Executor
from concurrent_exec.executors.auto import Choice
from concurrent_exec.model import ExecutionResult, ExecutorShutdownError
from concurrent_exec.model.options import boolean, positive_seconds
from concurrent_exec.model.settings import max_errors_of
from concurrent_exec.model.statement import statement_text
from concurrent_exec.retry import Retry
from concurrent_exec.retry.statements import is_conditional
from concurrent_exec.run import Results
from concurrent_exec.run.budget import ErrorBudget

_Bound = tuple[Chunk, Sequence[int], Sequence[Any], Sequence[Rejected]]


def run(session: Any, statement: Any, source: Any, **options: Unpack[BulkOptions]) -> Report:
    """Run `statement` once for each record of `source`; return what became of them.

    session: a session of cassandra-driver or scylla-driver.
    statement: a prepared statement, or its text.
    source: what `open_source` or `source_of` returns, or what `source_of` takes: an iterable of
        mappings, a frame of pandas or polars, a table or data set of Arrow.
    options: `BulkOptions` says what each means.

    A record that can't be parsed or converted, or whose statement fails, stops nothing: it is
    counted, and goes to `failed_file`.

    Raises TypeError or ValueError naming an option that is wrong, BulkError for what is in the way
    of a run, InputError for an input that can't be used or not any further, OSError for a file
    that can't be written, and what the driver raises where it can't prepare.
    """
    return BulkRun(session, statement, source, **options).run()


class BulkRun:
    """A run that can be looked at while it goes on, and stopped; `run` says what it takes."""

    def __init__(
        self, session: Any, statement: Any, source: Any, **options: Unpack[BulkOptions]
    ) -> None:
        """Prepare the statement and bind columns to its markers; nothing is sent or written."""
        for name in options:
            if name not in BulkOptions.__annotations__:
                raise TypeError(f"got an unexpected keyword argument {name!r}")
        self._options = options
        self.session = session
        self.prepared = session.prepare(statement) if isinstance(statement, str) else statement
        self.source: Source = source_of(source)
        """Where the records come from."""
        self.binding = self._bind()
        """Which marker takes its value from which column; None where there are no records."""
        self._skip = _count("skip", options.get("skip", 0))
        limit = options.get("limit")
        self._end = None if limit is None else self._skip + _count("limit", limit)
        self._interval = positive_seconds(
            "checkpoint_interval", options.get("checkpoint_interval", 1.0)
        )
        self._passed_budget = _budget(options.get("max_errors"))
        given = options.get("idempotent")
        self.idempotent = (
            may_be_resent(self.prepared) if given is None else boolean("idempotent", given)
        )
        """Whether a statement may be sent again that may have been applied."""
        self.choice: Choice = choice_of(
            session,
            self.prepared,
            options.get("executor", "auto"),
            options.get("batch_mode", "disabled"),
        )
        """The executor's name, and why it was taken."""
        self._brings_rows = bool(row_columns(self.prepared))
        self._conditional = is_conditional(self.prepared)
        self._keys = self._key_columns()
        self.ledger: Ledger | None = None
        """What has become of the records so far."""
        self.executor: Executor[Any] | None = None
        """What sends them."""
        self._keeper: Keeper | None = None
        self._why_stopped: Ended | None = None

    # ---- what a caller uses ----

    def run(self) -> Report:
        """Run it; return what became of the records. Raises what `bulk.run` raises."""
        if self._options.get("dry_run", False):
            return self._dry_run()
        output = list(self._keys.values()) + row_columns(self.prepared)
        files, entry = open_files(
            self._options,
            self._identity(),
            columns=output,
            idempotent=self.idempotent,
            skip=self._skip,
        )
        ledger = self.ledger = Ledger(
            files,
            entry,
            with_keys=list(self._keys),
            passed_budget=self._passed_budget,
            over_budget=lambda: self._stop("too many errors"),
        )
        try:
            if entry.finished or self._work(ledger):
                self._finish(files, ledger, entry)
        finally:
            ledger.close()
            files.close()
        return self._report(ledger, entry)

    @property
    def concurrency(self) -> str:
        """The most statements in flight, in words."""
        given = self._options.get("concurrency")
        if isinstance(given, int):
            return str(given)
        return "adaptive" if given is not None else str(default_concurrency(self.choice))

    def stop(self) -> None:
        """Send nothing more, and finish what is in flight; `run` then returns.

        Any thread may call it, and a signal's handler.
        """
        self._stop("interrupted")

    # ---- the work ----

    def _stop(self, why: Ended) -> None:
        if self._why_stopped is None:
            self._why_stopped = why
        keeper = self._keeper
        if keeper is not None:
            keeper.stop()

    def _work(self, ledger: Ledger) -> bool:
        """Send all and settle it; say whether the whole input is settled."""
        options = self._options
        with make_executor(
            self.session,
            self.choice,
            batch_mode=options.get("batch_mode", "disabled"),
            concurrency=options.get("concurrency"),
            max_per_second=options.get("max_per_second"),
            retry=options.get("retry", Retry()),
            observers=options.get("observers", ()),
        ) as executor:
            self.executor = executor
            try:
                with self._kept(ledger, executor):
                    whole = self._send_all(ledger, executor)
            except BaseException:
                with suppress(OSError):  # of two troubles the first is told
                    ledger.checkpoint()
                raise
            ledger.checkpoint()
            return whole

    def _kept(self, ledger: Ledger, executor: Executor[Any]) -> Keeper:
        self._keeper = Keeper(
            self._interval, ledger.checkpoint, lambda: executor.shutdown(cancel_futures=True)
        )
        return self._keeper

    def _send_all(self, ledger: Ledger, executor: Executor[Any]) -> bool:
        options = self._options
        profile = profile_for(
            self.session,
            timeout=options.get("timeout"),
            consistency=options.get("consistency"),
        )
        if self._why_stopped is not None:
            return False
        try:
            with executor.map(
                self.prepared,
                self._parameters(ledger),
                raise_on_first_error=False,
                assume_idempotent=self.idempotent,
                **profile,
            ) as results:
                ledger.retries = lambda: results.statistics().retries
                if options.get("output") is None:
                    return self._settle_as_completed(ledger, results)
                return self._settle_in_order(ledger, results)
        except ExecutorShutdownError:  # by our keeper
            return False

    def _parameters(self, ledger: Ledger) -> Iterator[Any]:
        """Yield the parameters of each record that is to be sent; the others are settled here."""
        for bound in self._bound(ledger.done):
            yield from ledger.opens(*bound)

    def _bound(self, start: int) -> Iterator[_Bound]:
        binding = self.binding
        for chunk in self._chunks(start):
            ordinals, parameters, rejected = (
                ((), (), []) if binding is None else binding.bind(chunk)
            )
            rejected = [*chunk.rejected, *rejected]
            if self._end is not None and chunk.first + chunk.count > self._end:
                left = sum(ordinal < self._end for ordinal in ordinals)
                ordinals, parameters = ordinals[:left], parameters[:left]
                rejected = [each for each in rejected if each.ordinal < self._end]
                chunk = replace(chunk, count=self._end - chunk.first)
            yield chunk, ordinals, parameters, rejected

    def _chunks(self, start: int) -> Iterator[Chunk]:
        if self._end is not None and start >= self._end:
            return
        for chunk in self.source.chunks(start):
            yield chunk
            if self._end is not None and chunk.first + chunk.count >= self._end:
                return

    def _settle_as_completed(self, ledger: Ledger, results: Results[Any]) -> bool:
        whole = True
        for index, result in results.as_completed():
            if not result.success:
                whole = self._settle_failure(ledger, index, result) and whole
            elif self._brings_rows or self._conditional:
                whole = self._settle_rows(ledger, index, result) and whole
            else:
                ledger.succeeded(index)
        return whole

    def _settle_in_order(self, ledger: Ledger, results: Results[Any]) -> bool:
        for index, result in enumerate(results):
            if result.success:
                settled = self._settle_rows(ledger, index, result)
            else:
                settled = self._settle_failure(ledger, index, result)
            if not settled:  # the rows of those behind it would come before its own
                return False
        return True

    def _settle_rows(self, ledger: Ledger, index: int, result: ExecutionResult[Any]) -> bool:
        answer: Any = result.result_or_exc
        try:
            applied = not self._conditional or answer.was_applied
            rows = list(answer) if self._brings_rows else None  # further pages are fetched here
        except Exception as error:
            return self._settle_error(ledger, index, error, 1)
        ledger.answered(index, rows, applied)
        return True

    def _settle_failure(self, ledger: Ledger, index: int, result: ExecutionResult[Any]) -> bool:
        return self._settle_error(ledger, index, result.result_or_exc, result.attempts or 0)

    def _settle_error(
        self, ledger: Ledger, index: int, error: BaseException, attempts: int
    ) -> bool:
        if self._why_stopped is not None and self.idempotent:
            return False  # it might have been tried again: a resumed run does
        ledger.failed(index, error, attempts)
        return True

    def _finish(self, files: Files, ledger: Ledger, entry: Entry) -> None:
        if files.output is not None:
            files.output.finish()
        ledger.checkpoint(finished=True)
        if files.output is not None:
            files.output.clean_up()
        self._why_stopped = None
        failed = files.failed
        if failed is not None and not failed.length:
            failed.path.unlink()

    # ---- before it begins ----

    def _bind(self) -> Binding | None:
        options = self._options
        try:
            columns = self.source.columns
        except NoRecordsError:
            return None
        return Binding(
            self.prepared,
            columns,
            map=options.get("map"),
            missing=options.get("missing", "unset"),
            required=required_markers(self.session, self.prepared),
            options=options.get("converting"),
        )

    # ---- what it tells ----

    def _identity(self) -> dict[str, Any]:
        options = self._options
        return {
            "the statement": " ".join(statement_text(self.prepared).split()),
            "the keyspace": getattr(self.session, "keyspace", None),
            "the mapping of columns": dict(options.get("map") or {}),
            "missing": options.get("missing", "unset"),
            "how values are read": (options.get("converting") or ConvertingOptions()).as_json(),
            "skip": self._skip,
            "limit": options.get("limit"),
            "the output": [str(options.get("output")), options.get("output_format")],
            "with_keys": options.get("with_keys", False),
            "guard_formulas": options.get("guard_formulas", False),
            "the input": self.source.fingerprint(),
        }

    def _key_columns(self) -> dict[int, Any]:
        options = self._options
        rows = row_columns(self.prepared)
        if options.get("output") is None:
            for name in ("with_keys", "guard_formulas"):
                if options.get(name, False):
                    raise ValueError(f"{name} is about the output: give one")
            return {}
        if not rows:
            raise BulkError("the statement brings no rows, so there is nothing to put out")
        return key_columns(self.prepared, rows) if options.get("with_keys", False) else {}

    def _dry_run(self) -> Report:
        ledger = Ledger(Files(), Entry(done=self._skip))
        for chunk, _, parameters, rejected in self._bound(self._skip):
            ledger.opens(chunk, (), (), rejected)
            ledger.counts["succeeded"] += len(parameters)
        return replace(self._report(ledger, Entry()), dry_run=True)

    def _report(self, ledger: Ledger, entry: Entry) -> Report:
        options = self._options
        counts: dict[str, Any] = {name: ledger.counts[name] for name in COUNTS}
        failed = counts["failed"] + counts["rejected"]
        return Report(
            ended=self._why_stopped or "finished",
            **counts,
            kinds=dict(ledger.kinds.most_common()),
            seconds=entry.seconds if entry.finished else ledger.seconds,
            failed_file=path_of(options.get("failed_file")) if failed else None,
            output=path_of(options.get("output")),
            checkpoint=path_of(options.get("checkpoint")),
            examples=tuple(ledger.examples.values()),
        )


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} must be a whole number from 0, not {value!r}")
    return value


def _budget(max_errors: int | str | None) -> Callable[[int, int], bool]:
    if max_errors is None:
        return lambda failed, finished: False
    if max_errors == 0 and not isinstance(max_errors, bool):
        return lambda failed, finished: failed > 0
    limit = max_errors_of(max_errors)
    assert limit is not None
    return ErrorBudget(limit).passed
