"""What every strategy shares: the caller's face, and the way to the run core."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from threading import Lock
from types import TracebackType
from typing import Any, ClassVar, Generic, TypeVar, Unpack
from weakref import WeakMethod, WeakSet, finalize

from concurrent_exec.drivers import FirstTimestamps, partition_key, sent
from concurrent_exec.model import (
    Clock,
    ExecutorShutdownError,
    ExecutorStatistics,
    ForkedProcessError,
    Limiter,
    Observer,
    RetryPolicy,
    RunOptions,
    RunSettings,
    RunStarted,
    Sending,
    Session,
    SubmitOptions,
)
from concurrent_exec.model.options import limit_or_limiter
from concurrent_exec.model.settings import checked_observers, refuse_unknown, retry_policy
from concurrent_exec.pacing import Rate
from concurrent_exec.run import (
    Gate,
    Job,
    Lanes,
    Message,
    Results,
    Run,
    Seat,
    Source,
    Submissions,
    SystemClock,
    Watch,
    tell,
)
from concurrent_exec.run.interrupts import Uninterrupted
from concurrent_exec.run.run import WINDOW_FACTOR
from concurrent_exec.run.submissions import SubmittedJob
from concurrent_exec.run.work import Told

R = TypeVar("R")
Self = TypeVar("Self", bound="Executor[Any]")


class Executor(ABC, Generic[R]):
    """Runs statements concurrently over one session; the base of every strategy.

    At most `concurrency` statements are in flight at once, over all runs and submits of one
    executor, from whatever threads they come; those that have something to send take turns.
    An executor is a context manager that shuts itself down; if the block raises, what has not
    been sent is cancelled.

    **To write a strategy**, subclass and define `_launch`, which is called without any lock
    whenever there may be something to send. It takes jobs with `_take`, hands each one to the
    session with `_execute_async`, and reports with the job's `succeed` or `fail`, from any thread;
    then it looks for more, as that has freed a permit.
    """

    _sends_by: ClassVar[tuple[str, ...]] = ("execute_async",)
    """The methods of a session of which the strategy needs one; none if it has no session here."""

    _resends = False
    """Whether the strategy itself sends statements again, whatever a retry policy says."""

    def __init__(
        self,
        session: Session[R],
        *,
        concurrency: int | Limiter = 100,
        max_per_second: float | None = None,
        retry: RetryPolicy | None = None,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        """Make an executor that sends over `session`.

        concurrency: the most statements in flight at once, at least 1; or a limiter that finds
            out, such as `AdaptiveConcurrency()`.
        max_per_second: the most statements sent in a second, over all runs and submits, each
            attempt counted; any number above 0. None for no such limit.
        retry: what decides whether a statement that failed is sent again, such as `Retry()`, for
            every run or submit that brings none of its own. None for never.
        clock: where the time comes from; the system's monotonic clock by default.
        observers: who is told of every run, statement and submit; `Observer` says how.

        Raises TypeError or ValueError naming an option that is wrong.
        """
        if self._sends_by and not any(hasattr(session, method) for method in self._sends_by):
            raise TypeError(
                f"session must be a driver's session, not {type(session).__name__}: "
                f"it has no {' and no '.join(self._sends_by)}"
            )
        for method in ("monotonic", "call_later"):
            if clock is not None and not hasattr(clock, method):
                raise TypeError(
                    f"clock must have a method {method}(), which {type(clock).__name__} has not"
                )
        self.session = session
        self._gate = Gate(
            limit_or_limiter("concurrency", concurrency),
            clock=clock if clock is not None else SystemClock(),
            rate=None if max_per_second is None else Rate(max_per_second),
            find_launch=WeakMethod(self._launch_safely),
        )
        self._retry = retry_policy("retry", retry)
        self._max_per_second = max_per_second
        self._seats = tuple(map(Seat, checked_observers("observers", observers)))
        self._submissions = Submissions(self._gate)
        self._runs: WeakSet[Run] = WeakSet()
        self._timestamps: FirstTimestamps | None = None
        self._timestamps_lock = Lock()
        self._stamp: Callable[[Job], int] | None = None
        """Gives each statement its write timestamp, where none is to depend on who sends first."""
        self._pid = os.getpid()
        self._shut_down = False

    @property
    def concurrency(self) -> int:
        """The most statements in flight at once; with a limiter, at this moment."""
        return self._gate.limit

    # ---- what a caller uses ----

    def execute(
        self, statements_and_parameters: Iterable[Any], **options: Unpack[RunOptions]
    ) -> Results[R]:
        """Start to run an iterable of (statement, parameters) pairs; return its `Results`.

        statements_and_parameters: pairs of whatever the session takes as a statement (a string,
            a simple, prepared, bound or batch statement) and its parameters: a sequence, a
            mapping or None. They are referred to, not copied, so one that is changed or used
            again while it waits, which up to `buffersize` do, is sent as it is then.
        options: `raise_on_first_error`, `buffersize`, `feeder`, `execution_profile`, `timeout`,
            `custom_payload`, `trace`, `retry`, `assume_idempotent`, `order_by`, `after_failure`,
            `max_errors`, `deadline`, `observers`, `weight`; `RunOptions` says what each means.

        Raises TypeError or ValueError naming an argument that is wrong, ExecutorShutdownError,
        and ForkedProcessError in a forked child. An item that is not a pair raises
        InvalidItemError from the results, after those of the items before it.
        """
        return Results(
            self._run(Source.of_pairs, (statements_and_parameters,), options), self._launch_safely
        )

    def map(
        self, statement: Any, parameters: Iterable[Any], **options: Unpack[RunOptions]
    ) -> Results[R]:
        """Start to run one statement with many parameters; return its `Results`.

        parameters: an iterable with the parameters of each execution: a sequence, a mapping or
            None. All else is as in `execute`.
        """
        return Results(
            self._run(Source.of_parameters, (statement, parameters), options), self._launch_safely
        )

    def submit(
        self, statement: Any, parameters: Any = None, **options: Unpack[SubmitOptions]
    ) -> Future[R]:
        """Queue one statement; return a future of its result.

        options: `execution_profile`, `timeout`, `custom_payload`, `trace`, `retry`,
            `assume_idempotent`, `observers`, `weight`; `SubmitOptions` says what each means.

        The queue has no bound: `statistics().queued` shows how long it is. The future can be
        cancelled until the statement is sent. It resolves on the thread that brings the answer,
        which may be the driver's I/O thread: callbacks added to it must not block.

        Raises what `execute` raises at once.
        """
        future = self._queue(statement, parameters, options)
        self._launch_safely()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no new work, and let no run pull more of its input.

        What was pulled or submitted is still sent, again where a retry policy says so, and results
        stay readable; a run whose input had more then raises ExecutorShutdownError after them. So
        consume what you want to have whole before the end of a `with` block.

        wait: return only when nothing is in flight and nothing is left to be sent.
        cancel_futures: send nothing more; cancel the futures of what was submitted. What waits to
            be sent again settles with its last error.

        Waits for no input and no consumer. The session stays the caller's.
        """
        self._check_process()
        gate = self._gate
        with gate.lock:
            self._shut_down = True
            runs = list(self._runs)
            told: list[Told] = []
            cancelled: list[SubmittedJob] = []
            discarded: list[object] = []
            if cancel_futures:
                cancelled, told = self._submissions.remove_all()
                discarded = [run.cancel() for run in runs]
            told += [run.cut_off() for run in runs]
        del discarded  # outside the lock: the statements are the user's objects
        for job in cancelled:
            if job.future.cancel():
                job.future.set_running_or_notify_cancel()  # so that `futures.wait` sees it
        for callback in told:
            if callback is not None:
                tell(callback, gate)
        if gate.news is not None:
            gate.news.tell()
        self._launch_safely()
        if wait:
            self._wait_until_idle()
        self._let_go_if_idle()

    def _wait_until_idle(self) -> None:
        """Return when nothing is in flight, nothing is left to be sent, and observers are told."""
        gate = self._gate
        while True:
            with gate.lock:
                if gate.is_idle():
                    return
                ticket = gate.idle.ticket()
            ticket.acquire()

    def statistics(self) -> ExecutorStatistics:
        """Return what the executor is doing at this moment."""
        self._check_process()
        runs = self._living_runs()
        gate = self._gate
        with gate.lock:
            going_on = sorted((run for run in runs if not run.over), key=lambda run: run.start_time)
            return ExecutorStatistics(
                concurrency=gate.limit,
                in_flight=gate.in_flight,
                queued=gate.queued(),
                waiting_for_retry=gate.waiting_for_retry(),
                runs=len(going_on),
                by_run=tuple(run.counts() for run in going_on),
                errors=gate.errors.counts(gate.clock.monotonic()),
            )

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown(cancel_futures=exc is not None)

    # ---- what a strategy uses ----

    @abstractmethod
    def _launch(self) -> None:
        """Send what may be sent, or have it sent. Called by any thread, without a lock."""

    def _take(self) -> Job | None:
        """Return the next job to send, with its permit, or None where there is none now."""
        jobs = self._take_many(1)
        return jobs[0] if jobs else None

    def _take_many(self, most: int) -> list[Job]:
        """Return up to `most` jobs to send, each with its permit; none where there are none now.

        They are to be sent at once: no stop reaches a job that is taken. A strategy that would
        rather wait for more to send together waits before it takes.
        """
        while jobs := self._gate.take(most):
            if wanted := list(filter(self._begin, jobs)):
                return wanted
        if self._shut_down:
            self._let_go_if_idle()
        return []

    def _begin(self, job: Job) -> bool:
        """Say whether to send `job`, whose turn has come; it has settled if not."""
        try:
            refusal = job.work.refusal(job)
        except Exception as exc:  # somebody else has resolved the future that we handed out
            refusal = exc
        if refusal is None:
            job.attempts += 1
            if self._stamp is not None and job.timestamp is None:
                job.timestamp = self._stamp(job)
            return True
        job.work.settle(job, False, refusal, final=True)
        return False

    def _execute_async(self, message: Message) -> Any:
        """Hand `message` to the session; return the response future."""
        if self._gate.notes_sending:
            self._gate.sends(message)
        timestamps = self._timestamps
        if timestamps is not None:
            timestamps.expect(message)
        try:
            future: Any = self.session.execute_async(
                message.statement, message.parameters, **message.sending.options
            )
        finally:
            if timestamps is not None:
                timestamps.expect(None)
        sent(future)
        return future

    # ---- what a face uses: this one, and that of asyncio ----

    def _run(self, make_source: Any, arguments: tuple[Any, ...], options: RunOptions) -> Run:
        self._check_usable()
        settings = RunSettings.checked(options, retry=self._retry)
        source, lanes = make_source(*arguments), None
        watch = self._watch(settings.sending, source)
        if watch is not None:
            settings = replace(settings, sending=replace(settings.sending, watch=watch))
        if settings.order_by is not None:
            by = partition_key if settings.order_by == "partition_key" else settings.order_by
            limiter = self._gate.limiter
            limit = self._gate.limit if limiter is None else limiter.max_limit
            lanes = Lanes(by, settings.window or WINDOW_FACTOR * limit)
            source.as_iterator()
        self._keep_timestamps(settings.sending)
        run = Run(self._gate, source, settings, lanes)
        with self._gate.lock:
            self._check_not_shut_down()
            self._runs.add(run)
        if watch is not None:
            watch.begins()
        return run

    def _queue(self, statement: Any, parameters: Any, options: SubmitOptions) -> Future[R]:
        refuse_unknown(options, SubmitOptions)
        sending = Sending.checked(options, self._retry)
        self._check_usable()
        watch = self._watch(sending)
        if watch is not None:
            sending = replace(sending, watch=watch)
        self._keep_timestamps(sending)
        with self._gate.lock:
            self._check_not_shut_down()
            job = self._submissions.add(statement, parameters, sending)
        return job.future

    # ---- inside ----

    def _living_runs(self) -> list[Run]:
        """Return the runs that somebody still refers to."""
        # With the lock, as a set can't be gone through while another thread adds to it; and to be
        # kept without it, as the list may come to have the last reference to a run.
        with self._gate.lock:
            return list(self._runs)

    def _watch(self, sending: Sending, source: Source | None = None) -> Watch | None:
        """Return what tells the observers of a run of `source`, or of what is submitted, if any."""
        seats = (*self._seats, *map(Seat, sending.observers))
        if not seats:
            return None
        run = None
        if source is not None:
            limit = self._gate.limit
            run = RunStarted(source.statement, source.total, limit, self._max_per_second)
        return Watch(self._gate.has_observers(), seats, run)

    def _keep_timestamps(self, sending: Sending) -> None:
        """See to it that what is sent again keeps the timestamp of its first send."""
        if (sending.retry is not None or self._resends) and self._timestamps is None:
            self._listen()

    def _listen(self) -> None:
        """Have what the session sends for us sent with the timestamps that we give or have seen."""
        with self._timestamps_lock:
            if self._timestamps is None:
                self._timestamps = FirstTimestamps(self.session)
                # For an executor that nobody shuts down: the session may live much longer.
                finalize(self, self._timestamps.close).atexit = False

    def _stamp_by(self, stamp: Callable[[Job], int]) -> None:
        """Give each statement the write timestamp that `stamp` returns, in microseconds.

        Else it has that of a moment between its turn and its sending, and what several threads send
        at once has timestamps in any order. Raises TypeError as `FirstTimestamps` does.
        """
        self._listen()
        self._stamp = stamp

    def _let_go_if_idle(self) -> None:
        with self._gate.lock:
            idle = self._gate.is_idle()
        if idle:
            self._let_go()

    def _let_go(self) -> None:
        """Leave the session as it was, as nothing will be sent any more."""
        if self._timestamps is not None:
            self._timestamps.close()

    def _launch_safely(self) -> None:
        with Uninterrupted():
            self._launch()

    def _check_usable(self) -> None:
        self._check_process()
        self._check_not_shut_down()

    def _check_not_shut_down(self) -> None:
        if self._shut_down:
            raise ExecutorShutdownError("the executor has been shut down and takes no new work")

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedProcessError(
                "this executor belongs to the process that made it, not to its forked child: "
                "make a session and an executor in the child"
            )
