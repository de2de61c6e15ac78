"""What every strategy shares: the caller's face, and the way to the run core."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar
from weakref import WeakSet

from concurrent_exec.model import (
    Clock,
    ExecutorShutdownError,
    ExecutorStatistics,
    ForkedProcessError,
    Session,
)
from concurrent_exec.model.options import (
    NOT_SET,
    NotSet,
    boolean,
    one_of,
    positive_int,
    send_options,
)
from concurrent_exec.run import Gate, Job, Results, Run, Source, Submissions, tell
from concurrent_exec.run.interrupts import Uninterrupted

R = TypeVar("R")
Self = TypeVar("Self", bound="Executor[Any]")

Feeder = Literal["thread", "caller"]

WINDOW_FACTOR = 4
"""The default `buffersize` is this many times the concurrency."""


class _SystemClock:
    monotonic = staticmethod(time.monotonic)


class Executor(ABC, Generic[R]):
    """Runs statements concurrently over one session; the base of every strategy.

    At most `concurrency` statements are in flight at once, over all runs and submits of one
    executor, from whatever threads they come; those that have something to send take turns.
    An executor is a context manager that shuts itself down; if the block raises, what has not
    been sent is cancelled.

    **To write a strategy**, subclass and define `_launch`, which is called without any lock
    whenever there may be something to send. It takes jobs with `_take`, gives each one's
    `statement`, `parameters` and `send_options` to `self.session`, and reports with the job's
    `succeed` or `fail`, from any thread; then it looks for more, as that has freed a permit.
    """

    def __init__(
        self, session: Session[R], *, concurrency: int = 100, clock: Clock | None = None
    ) -> None:
        """Make an executor that sends over `session`.

        concurrency: the most statements in flight at once, at least 1.
        clock: where the time comes from; the system's monotonic clock by default.

        Raises TypeError or ValueError naming an option that is wrong.
        """
        if not hasattr(session, "execute_async"):
            raise TypeError(
                f"session must be a driver's session, not {type(session).__name__}: "
                "it has no execute_async"
            )
        if clock is not None and not hasattr(clock, "monotonic"):
            raise TypeError(
                f"clock must have a method monotonic(), which {type(clock).__name__} has not"
            )
        self.session = session
        self._gate = Gate(positive_int("concurrency", concurrency))
        self._submissions = Submissions(self._gate)
        self._runs: WeakSet[Run] = WeakSet()
        self._clock: Clock = clock if clock is not None else _SystemClock()
        self._pid = os.getpid()
        self._shut_down = False

    @property
    def concurrency(self) -> int:
        """The most statements in flight at once."""
        return self._gate.limit

    # ---- what a caller uses ----

    def execute(
        self,
        statements_and_parameters: Iterable[Any],
        *,
        raise_on_first_error: bool = True,
        buffersize: int | None = None,
        feeder: Feeder = "thread",
        execution_profile: Any = NOT_SET,
        timeout: float | NotSet | None = NOT_SET,
        custom_payload: Mapping[str, bytes] | None = None,
        trace: bool = False,
    ) -> Results[R]:
        """Start to run an iterable of (statement, parameters) pairs; return its `Results`.

        statements_and_parameters: pairs of whatever the session takes as a statement (a string,
            a simple, prepared, bound or batch statement) and its parameters: a sequence, a
            mapping or None. They are referred to, not copied, so one that is changed or used
            again while it waits, which up to `buffersize` do, is sent as it is then.
        raise_on_first_error: send nothing more after the first failure, and raise it.
        buffersize: how many statements may be pulled and not delivered; 4 times the concurrency
            by default. It bounds the memory. One slow statement holds up the delivery of those
            behind it; a larger window lets more of them run meanwhile.
        feeder: who pulls an iterable that is not a plain list, tuple or range: "thread", a
            thread of the run's own, within a copy of the caller's context, from now on; or
            "caller", whoever waits for the results, while waiting. That serves an input bound to
            its thread, such as a sqlite3 cursor, but one that blocks then holds up the results,
            and only one thread may read them.
        execution_profile, custom_payload, trace: given to the session with each statement.
        timeout: seconds, or None for none; the execution profile's own by default. A statement
            with no answer by then fails with OperationTimedOut.

        Raises TypeError or ValueError naming an argument that is wrong, ExecutorShutdownError,
        and ForkedProcessError in a forked child. An item that is not a pair raises
        InvalidItemError from the results, after those of the items before it.
        """
        return self._start(
            Source.of_pairs,
            (statements_and_parameters,),
            raise_on_first_error,
            buffersize,
            feeder,
            send_options(execution_profile, timeout, custom_payload, trace),
        )

    def map(
        self,
        statement: Any,
        parameters: Iterable[Any],
        *,
        raise_on_first_error: bool = True,
        buffersize: int | None = None,
        feeder: Feeder = "thread",
        execution_profile: Any = NOT_SET,
        timeout: float | NotSet | None = NOT_SET,
        custom_payload: Mapping[str, bytes] | None = None,
        trace: bool = False,
    ) -> Results[R]:
        """Start to run one statement with many parameters; return its `Results`.

        parameters: an iterable with the parameters of each execution: a sequence, a mapping or
            None. All else is as in `execute`.
        """
        return self._start(
            Source.of_parameters,
            (statement, parameters),
            raise_on_first_error,
            buffersize,
            feeder,
            send_options(execution_profile, timeout, custom_payload, trace),
        )

    def submit(
        self,
        statement: Any,
        parameters: Any = None,
        *,
        execution_profile: Any = NOT_SET,
        timeout: float | NotSet | None = NOT_SET,
        custom_payload: Mapping[str, bytes] | None = None,
        trace: bool = False,
    ) -> Future[R]:
        """Queue one statement; return a future of its result.

        The queue has no bound: `statistics().queued` shows how long it is. The future can be
        cancelled until the statement is sent. It resolves on the thread that brings the answer,
        which may be the driver's I/O thread: callbacks added to it must not block.

        Raises what `execute` raises at once.
        """
        options = send_options(execution_profile, timeout, custom_payload, trace)
        self._check_usable()
        with self._gate.lock:
            self._check_not_shut_down()
            job = self._submissions.add(statement, parameters, options)
        self._launch_safely()
        return job.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no new work, and let no run pull more of its input.

        What was pulled or submitted is still sent, and results stay readable; a run whose input
        had more then raises ExecutorShutdownError after them. So consume what you want to have
        whole before the end of a `with` block.

        wait: return only when nothing is in flight and nothing is left to be sent.
        cancel_futures: send nothing more; cancel the futures of what was submitted.

        Waits for no input and no consumer. The session stays the caller's.
        """
        self._check_process()
        gate = self._gate
        with gate.lock:
            self._shut_down = True
            runs = list(self._runs)
            cancelled = self._submissions.remove_all() if cancel_futures else []
            discarded = [run.stop() for run in runs] if cancel_futures else []
            told = [run.cut_off() for run in runs]
        del discarded  # outside the lock: the statements are the user's objects
        for job in cancelled:
            if job.future.cancel():
                job.future.set_running_or_notify_cancel()  # so that `futures.wait` sees it
        for callback in told:
            if callback is not None:
                tell(callback, gate)
        self._launch_safely()
        while wait:
            with gate.lock:
                if gate.is_idle():
                    return
                ticket = gate.idle.ticket()
            ticket.acquire()

    def statistics(self) -> ExecutorStatistics:
        """Return what the executor is doing at this moment."""
        self._check_process()
        runs = list(self._runs)  # outlives the lock: it may hold the last reference to a run
        with self._gate.lock:
            return ExecutorStatistics(
                concurrency=self._gate.limit,
                in_flight=self._gate.in_flight,
                queued=self._gate.queued(),
                runs=sum(not run.over for run in runs),
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
        while (job := self._gate.take()) is not None:
            try:
                if job.begin():
                    return job
            except Exception as exc:  # somebody else has resolved the future that we handed out
                job.fail(exc)
            else:
                job.fail(_NotWanted())
        return None

    # ---- inside ----

    def _start(
        self,
        make_source: Any,
        arguments: tuple[Any, ...],
        raise_on_first_error: bool,
        buffersize: int | None,
        feeder: Feeder,
        options: dict[str, Any],
    ) -> Results[R]:
        self._check_usable()
        fail_fast = boolean("raise_on_first_error", raise_on_first_error)
        window = (
            WINDOW_FACTOR * self._gate.limit
            if buffersize is None
            else positive_int("buffersize", buffersize)
        )
        by_caller = one_of("feeder", feeder, ("thread", "caller")) == "caller"
        source = make_source(*arguments)
        run = Run(
            self._gate,
            source,
            window=window,
            fail_fast=fail_fast,
            fed_by_caller=by_caller and source.items is None,
            send_options=options,
            clock=self._clock,
        )
        with self._gate.lock:
            self._check_not_shut_down()
            self._runs.add(run)
        return Results(run, self._launch_safely)

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


class _NotWanted(Exception):
    """Stands for the outcome of a submitted statement whose future was cancelled."""
