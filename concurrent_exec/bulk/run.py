"""One statement over all records of an input."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Unpack
from uuid import uuid4

from concurrent_exec.bulk.binding import Binding
from concurrent_exec.bulk.budget import budget_of
from concurrent_exec.bulk.idempotence import may_be_resent
from concurrent_exec.bulk.journal import Entry
from concurrent_exec.bulk.keeper import Keeper
from concurrent_exec.bulk.ledger import COUNTS, Files, Ledger
from concurrent_exec.bulk.opening import open_files
from concurrent_exec.bulk.options import ConvertingOptions
from concurrent_exec.bulk.outputs import key_columns, row_columns
from concurrent_exec.bulk.portions import Task
from concurrent_exec.bulk.records import Chunk, NoRecordsError, Rejected, Source, cut
from concurrent_exec.bulk.report import Ended, Report
from concurrent_exec.bulk.sending import (
    choice_of,
    default_concurrency,
    make_executor,
    profile_for,
    required_markers,
)
from concurrent_exec.bulk.settings import BulkOptions, path_of
from concurrent_exec.bulk.settling import Settling
from concurrent_exec.bulk.sources import source_of
from concurrent_exec.bulk.spreading import Spread
from concurrent_exec.bulk.together import check_files, check_together
from concurrent_exec.bulk.wanted import Wanted
from concurrent_exec.bulk.workers import Shards, Workers
from concurrent_exec.drivers.travelling import dumps
from concurrent_exec.executors import Executor
from concurrent_exec.executors.auto import Choice
from concurrent_exec.model import ExecutorShutdownError
from concurrent_exec.model.options import boolean, positive_int, positive_number, positive_seconds
from concurrent_exec.model.statement import statement_text
from concurrent_exec.observers import LatencyHistogram
from concurrent_exec.retry import Retry
from concurrent_exec.run import Lists

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
        rows = row_columns(self.prepared)
        check_together(options, brings_rows=bool(rows))
        with_keys = options.get("with_keys", False)
        self._keys = key_columns(self.prepared, rows) if with_keys else {}
        self.source: Source = source_of(source)
        """Where the records come from."""
        check_files(options, getattr(self.source, "paths", ()))
        self.binding = self._bind()
        """Which marker takes its value from which column; None where there are no records."""
        self._skip = _count("skip", options.get("skip", 0))
        limit = options.get("limit")
        self._end = None if limit is None else self._skip + _count("limit", limit)
        self._wanted = Wanted(self.source, self._skip, self._end)
        self._interval = positive_seconds(
            "checkpoint_interval", options.get("checkpoint_interval", 1.0)
        )
        for name, unit in (("timeout", "seconds"), ("max_per_second", "statements a second")):
            if (given := options.get(name)) is not None:
                positive_number(name, given, unit)
        self._passed_budget = budget_of(options.get("max_errors"))
        idempotent = options.get("idempotent")
        self.idempotent = (
            may_be_resent(self.prepared)
            if idempotent is None
            else boolean("idempotent", idempotent)
        )
        """Whether a statement may be sent again that may have been applied."""
        self.choice: Choice = choice_of(
            session,
            self.prepared,
            options.get("executor", "auto"),
            options.get("batch_mode", "disabled"),
        )
        """The executor's name, and why it was taken."""
        self.ledger: Ledger | None = None
        """What has become of the records so far."""
        self.executor: Executor[Any] | None = None
        """What sends them; None where other processes do."""
        self._histograms: list[LatencyHistogram] = []
        self._workers: Workers | None = self._checked_workers()
        self._spread: Spread | None = None
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

    def sample(self) -> Chunk | None:
        """Return the first records that would be sent, as they were read; None if there are none.

        Raises InputError where the input can't be read.
        """
        return next((chunk for chunk in self._chunks(self._skip) if chunk.ordinals), None)

    def at_work(self) -> tuple[str, int] | None:
        """Return in words what is in flight, and how many retries there were; None before it has
        begun."""
        executor, spread = self.executor, self._spread
        if spread is not None:
            assert self._workers is not None
            return f"{spread.at_work:,} at {self._workers.processes} processes", spread.retries
        if executor is None:
            return None
        counts = executor.statistics()
        retries = sum(each.retries for each in counts.by_run)
        return f"{counts.in_flight} of {counts.concurrency} in flight", retries

    @property
    def total_records(self) -> int | None:
        """How many records there are to be done in all; None where only reading would tell."""
        return self._wanted.total

    def shares(self) -> tuple[float, float] | None:
        """Return how much of all that is to be done is done, and how much was when this run began;
        None where nobody knows how much there is."""
        ledger = self.ledger
        if ledger is None:
            return None
        return self._wanted.shares(ledger.settled, ledger.settled_before)

    @property
    def concurrency(self) -> str:
        """The most statements in flight, in words."""
        given = self._options.get("concurrency")
        if isinstance(given, int):
            return str(given)
        if given is not None:
            return "adaptive"
        default = default_concurrency(
            self.choice,
            self._options.get("batch_mode", "disabled"),
            self._options.get("timeout"),
        )
        if isinstance(default, int):
            return str(default)
        least, most = default.limit, default.max_limit
        return f"from {least} to {most}: as many as are answered in {default.target:g} s"

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
        try:
            if self._workers is not None:
                whole = self._spread_all(ledger, self._workers)
            else:
                with make_executor(
                    self.session,
                    self.choice,
                    observers=self._options.get("observers", ()),
                    **self._sending(),
                ) as executor:
                    self.executor = executor
                    stop = partial(executor.shutdown, cancel_futures=True)
                    with self._kept(ledger, stop):
                        whole = self._send_all(ledger, executor)
        except BaseException:
            with suppress(OSError):  # of two troubles the first is told
                ledger.checkpoint()
            raise
        ledger.checkpoint()
        return whole

    def _sending(self, processes: int = 1) -> dict[str, Any]:
        """Return the options of an executor, or of that of each of so many processes."""
        options = self._options
        concurrency = options.get("concurrency")
        if isinstance(concurrency, int):
            concurrency //= processes
        rate = options.get("max_per_second")
        return {
            "batch_mode": options.get("batch_mode", "disabled"),
            "concurrency": concurrency,
            "max_per_second": None if rate is None else rate / processes,
            "retry": options.get("retry", Retry()),
            "timeout": options.get("timeout"),
        }

    def _kept(self, ledger: Ledger, stop: Callable[[], object]) -> Keeper:
        self._keeper = Keeper(self._interval, ledger.checkpoint, stop)
        return self._keeper

    def _spread_all(self, ledger: Ledger, workers: Workers) -> bool:
        """Have all sent by other processes; say whether the whole input is settled."""
        options = self._options
        task = Task(
            key=uuid4().hex,
            connect=workers.connect,
            statement=dumps(self.prepared),
            columns=None if self.binding is None else self.source.columns,
            binding={
                "map": options.get("map"),
                "missing": options.get("missing", "unset"),
                "options": options.get("converting"),
            },
            executor=self._sending(workers.processes),
            choice=self.choice,
            profile={
                "timeout": options.get("timeout"),
                "consistency": options.get("consistency"),
            },
            max_errors=options.get("max_errors"),
            idempotent=self.idempotent,
            with_keys=list(self._keys),
            keeps_rows=options.get("output") is not None,
            keeps_not_found=options.get("not_found_file") is not None,
            measures=bool(self._histograms),
        )
        spread = self._spread = Spread(
            task,
            workers,
            ledger,
            binding=self.binding,
            in_order=task.keeps_rows,
            max_per_second=options.get("max_per_second"),
            histograms=self._histograms,
        )
        with self._kept(ledger, spread.stop):
            if self._why_stopped is not None:
                return False
            source = self.source
            return spread.run(source if isinstance(source, Shards) else self._chunks(ledger.done))

    def _send_all(self, ledger: Ledger, executor: Executor[Any]) -> bool:
        options = self._options
        profile = profile_for(
            self.session,
            timeout=options.get("timeout"),
            consistency=options.get("consistency"),
        )
        settling = Settling(
            self.prepared,
            idempotent=self.idempotent,
            in_order=options.get("output") is not None,
            gives_up=lambda: self._why_stopped is not None,
            **profile,
        )
        if self._why_stopped is not None:
            return False
        try:
            return settling.settle_all(ledger, executor, Lists(self._parameters(ledger)))
        except ExecutorShutdownError:  # by our keeper
            return False

    def _parameters(self, ledger: Ledger) -> Iterator[Sequence[Any]]:
        """Yield the parameters of the records that are to be sent; the others are settled here."""
        for bound in self._bound(ledger.done):
            yield ledger.opens(*bound)
            ledger.wait_for_room()
            if ledger.closed:  # the run was stopped, and has ended meanwhile
                return

    def _bound(self, start: int) -> Iterator[_Bound]:
        binding = self.binding
        for chunk in self._chunks(start):
            ordinals, parameters, rejected = (
                ((), (), []) if binding is None else binding.bind(chunk)
            )
            yield chunk, ordinals, parameters, [*chunk.rejected, *rejected]

    def _chunks(self, start: int) -> Iterator[Chunk]:
        if self._end is not None and start >= self._end:
            return
        for chunk in self.source.chunks(start):
            self._wanted.has_read(chunk.first + chunk.count, self.source.bytes_read)
            yield chunk if self._end is None else cut(chunk, start, self._end)
            if self._end is not None and chunk.first + chunk.count >= self._end:
                return

    def _finish(self, files: Files, ledger: Ledger, entry: Entry) -> None:
        if files.output is not None:
            files.output.finish()
        ledger.checkpoint(finished=True)
        if files.output is not None:
            files.output.clean_up()
        self._why_stopped = None
        failed = files.failed
        if failed is not None and not failed.length:
            failed.remove()

    # ---- before it begins ----

    def _bind(self) -> Binding | None:
        options = self._options
        if isinstance(self.source, Shards):
            return None  # those who read it bind it
        try:
            columns = self.source.columns
        except NoRecordsError:
            return None
        converting = options.get("converting") or ConvertingOptions()
        says_nulls = tuple(converting.nulls) != ConvertingOptions().nulls
        # A source of another kind, such as a failed file, may have any records.
        if says_nulls and not getattr(self.source, "has_texts", True):
            raise ValueError("nulls are words in fields of CSV and TSV, and the input has no such")
        return Binding(
            self.prepared,
            columns,
            map=options.get("map"),
            missing=options.get("missing", "unset"),
            required=required_markers(self.session, self.prepared),
            options=converting,
        )

    def _checked_workers(self) -> Workers | None:
        options = self._options
        workers = options.get("workers")
        if workers is not None and not isinstance(workers, Workers):
            raise TypeError(f"workers must be Workers, not {type(workers).__name__}")
        if isinstance(self.source, Shards):
            if workers is None:
                raise ValueError("shards are read by other processes: give workers")
            for name in ("skip", "limit", "dry_run"):
                if options.get(name):
                    raise ValueError(f"{name} is not known of shards, which others read")
        if workers is None:
            return None
        observers = tuple(options.get("observers", ()))
        self._histograms = [each for each in observers if isinstance(each, LatencyHistogram)]
        if len(self._histograms) < len(observers):
            raise ValueError(
                "observers are told nothing of what other processes send, but for LatencyHistogram"
            )
        concurrency = options.get("concurrency")
        if not (concurrency is None or isinstance(concurrency, int) or concurrency == "adaptive"):
            raise TypeError("concurrency must be a number or 'adaptive' where there are workers")
        processes = workers.processes
        if isinstance(concurrency, int) and positive_int("concurrency", concurrency) < processes:
            raise ValueError(
                f"concurrency is divided among {processes} processes, and {concurrency} is "
                f"less than one for each: let it be more, or have {concurrency} processes at most"
            )
        try:
            pickle.dumps(options.get("retry"))
        except Exception as exc:
            raise TypeError(f"retry must be picklable where there are workers: {exc}") from None
        return workers

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

    def _dry_run(self) -> Report:
        ledger = Ledger(
            Files(),
            Entry(done=self._skip),
            passed_budget=self._passed_budget,
            over_budget=lambda: self._stop("too many errors"),
        )
        for chunk, _, parameters, rejected in self._bound(self._skip):
            ledger.counts["succeeded"] += len(parameters)
            ledger.opens(chunk, (), (), rejected)
            if self._why_stopped is not None:
                break
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
