"""The caller's end of a run."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from concurrent_exec.model import (
    ExecutionResult,
    ExecutorShutdownError,
    ForkedProcessError,
    RunClosedError,
    RunStatistics,
)
from concurrent_exec.run.feeder import Feed, pull_one, start_feeder
from concurrent_exec.run.run import Run
from concurrent_exec.sink import CompletionSink, ListSink, OrderedSink

R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class Results(Iterator[ExecutionResult[R]], Generic[R]):
    """An iterator of the results of one run, in the order of its input.

    Each result is delivered as soon as it and all before it are there. What may be ahead of the
    caller is bounded by the run's `buffersize`, so a caller who stops reading stops the run from
    growing. A `close()`, the end of a `with` block, an exception raised out of it or its being
    garbage collected stops the run: no further statement is sent.

    In a run with `raise_on_first_error` nothing more is sent after the first failure; the results
    that come before it in the input are still delivered, then its exception is raised, which has
    an attribute `failure` (a `Failure`) and a note that names the statement. What the input
    raises is raised here too, after the results that came before it.

    Threads may share one Results; each result goes to one of them.
    """

    _abandoned = False
    """Whether nobody wants them any more once they are dropped; not before there is a run."""

    def __init__(self, run: Run, launch: Callable[[], None], feed: Feed = start_feeder) -> None:
        """Start `run`.

        launch: called when there may be something to send.
        feed: has the input pulled, where nobody else does.
        """
        self._run = run
        self._launch = launch
        self._pid = os.getpid()
        self._context: Context | None = None
        self._batch: deque[Any] = deque()
        # A few at a time, so that taking them costs little and the room they leave is used.
        self._most = max(1, min(64, run.window // 4))
        self._ordered = True
        self._ended = False  # all has been delivered
        self._abandoned = True
        self._resolve: Callable[[], None] | None = None

        if run.source.items is not None:
            with run.gate.lock:
                run.gate.enqueue(run)
            launch()
        else:
            self._context = copy_context()
            if not run.fed_by_caller:
                feed(run, launch, self._context)

    # ---- one after the other ----

    def __iter__(self) -> Results[R]:
        return self

    def __next__(self) -> ExecutionResult[R]:
        """Return the next result in input order, waiting for it.

        Raises StopIteration at the end and after `close()`; the exception of a statement that
        failed, if the run stops at the first; what the input raised; ExecutorShutdownError
        where a shutdown cut the run short; ForkedProcessError in a forked child.
        """
        if not self._run.closed:
            self._check_order()
        return cast("ExecutionResult[R]", self._next())

    def as_completed(self) -> Iterator[tuple[int, ExecutionResult[R]]]:
        """Return an iterator of (index, result) in the order of completion.

        The index is the statement's position in the input, from 0. It yields what has not been
        delivered yet; from then on these Results can't be read in input order any more. It
        raises what `__next__` raises, but a failure as soon as it completes.
        """
        run = self._run
        self._check_process()
        with run.gate.lock:
            sink = self._leave_order()
            first = sink.delivered - len(self._batch)
            self._batch = deque(enumerate(self._batch, first))
            run.sink = CompletionSink(sink)
        return _Iterator(self._next)

    def lists_as_completed(self) -> Iterator[list[tuple[int, ExecutionResult[R]]]]:
        """Return an iterator of lists of what `as_completed` yields one by one.

        A list has all that has completed meanwhile, which costs less where results come by the
        thousands. It waits until there is an eighth of the run's `buffersize`, some milliseconds
        are over or nothing more is in flight.
        """
        run = self._run
        self._check_process()
        with run.gate.lock:
            sink = self._leave_order()
            first = sink.delivered - len(self._batch)
            run.sink = CompletionSink(sink, list(enumerate(self._batch, first)))
            self._batch.clear()
            run.takes_lists = True
        return _Iterator(self._next_list)

    # ---- all at once ----

    def all(self) -> list[ExecutionResult[R]]:
        """Wait for the whole run; return the results not yet delivered, in input order.

        Raises, as soon as it is known and without waiting for what is in flight, the exception
        of the first statement to fail (if the run stops at the first) or what the input raised;
        ExecutorShutdownError and ForkedProcessError as `__next__` does; RunClosedError if the
        run was closed, as the list would not be whole.
        """
        if not self._may_collect():
            return []
        collected = None
        try:
            collected = self._collect()
            self._wait_until(lambda: self._run.outcome_known or None)
            return self._outcome(*collected)
        finally:
            del collected  # a failure's traceback refers to this frame: it must not refer back
            self._close(from_finaliser=False)

    def future(self) -> Future[list[ExecutionResult[R]]]:
        """Return a future of what `all()` returns or raises.

        It resolves on whichever thread brings the last answer. Cancelling it stops the run. The
        run is the future's from then on: it goes on though these Results are dropped.

        Raises ValueError for a run that is fed by the caller, who would not be there to do it.
        """
        run = self._run
        if run.fed_by_caller:
            raise ValueError("a run with feeder='caller' has no future: nobody would feed it")
        self._check_process()
        collected = self._collect()
        future: Future[list[ExecutionResult[R]]] = Future()
        unresolved = [future]

        def resolve() -> None:
            try:
                future = unresolved.pop()  # the first to come here takes it: pop is atomic
            except IndexError:
                return
            if future.set_running_or_notify_cancel():
                try:
                    results = self._outcome(*collected)
                except BaseException as exc:
                    future.set_exception(exc.with_traceback(None))
                else:
                    future.set_result(results)

        self._resolve = resolve
        future.add_done_callback(lambda done: self.close())
        run.tell_when_known(resolve)
        if run.gate.may_take():
            self._launch()
        return future

    def _may_collect(self) -> bool:
        """Say whether there may be anything to collect; raise where that is not the way."""
        self._check_process()
        if not self._ended:
            self._check_order()
        return not self._ended

    def _collect(self) -> tuple[list[ExecutionResult[R]], ListSink[R]]:
        run = self._run
        with run.gate.lock:
            sink = ListSink(self._leave_order())
            run.sink = sink
            before = list(self._batch)
            self._batch.clear()
            run.note_delivered(0)
        return before, sink

    def _outcome(
        self, before: list[ExecutionResult[R]], sink: ListSink[R]
    ) -> list[ExecutionResult[R]]:
        try:
            if self._run.closed:
                raise RunClosedError("the run was closed before its end")
            self._raise_end()
            return before + sink.results()
        finally:
            del before, sink

    # ---- the end ----

    def close(self) -> None:
        """Stop the run: nothing more is sent, and the results that were not delivered are let go.

        Does not wait: neither for an input that blocks, nor for the answers to what is in
        flight. It may be called by any thread, more than once, and from a finaliser.
        """
        self._close(from_finaliser=True)

    def _close(self, *, from_finaliser: bool) -> None:
        run = self._run
        run.close()
        resolve, self._resolve = self._resolve, None
        if resolve is not None:
            resolve()
        # The garbage collector may have brought us here on a thread that holds the lock. Whoever
        # knows better waits: a failure that is kept refers to the run by its traceback.
        if run.gate.lock.acquire(blocking=not from_finaliser):
            try:
                held = run.let_go(len(self._batch)), self._batch
                self._batch = deque()
            finally:
                run.gate.lock.release()
            del held
            if not from_finaliser and run.gate.news is not None:
                run.gate.news.tell()
        else:
            self._batch.clear()

    def __enter__(self) -> Results[R]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._abandoned:  # only what takes no lock
            self._run.close()

    def statistics(self) -> RunStatistics:
        """Return the counts of the run at this moment."""
        self._check_process()
        return self._run.statistics(self._batch)

    # ---- how it waits ----

    def _next(self) -> Any:
        self._check_process()  # a forked child has nobody to release the lock that closing takes
        try:
            while (item := self._taken()) is None:
                if not self._wait_until(self._refill):
                    self._finish()
                    raise StopIteration
            return item
        except BaseException:  # a KeyboardInterrupt too means that the caller has gone
            self._close(from_finaliser=False)
            raise

    def _next_list(self) -> list[Any]:
        self._check_process()
        taken = None
        try:
            taken = self._wait_until(self._list)
            if not taken:
                self._finish()
                raise StopIteration
            if self._run.fail_fast:
                taken[0][1].unwrap()
            return taken
        except BaseException:
            self._close(from_finaliser=False)
            raise
        finally:
            del taken  # a failure's traceback refers to this frame

    def _list(self) -> list[Any] | None:
        """Take what may leave now; return nothing at the end, and None for "wait". Lock held."""
        run = self._run
        if run.closed:  # perhaps while the lock was taken: then the run still has some
            return []
        taken = run.take_list()
        return taken if taken or run.over else None

    def _taken(self) -> Any:
        """Return the next result that is here, or None; raise a failure that ends the run."""
        item = result = None
        try:
            item = self._batch.popleft()
        except IndexError:  # another thread may have been here
            return None
        try:
            if not self._batch:
                self._make_room()
            result = item if self._ordered else item[1]
            if not result.success and self._run.fail_fast:
                result.unwrap()
            return item
        finally:
            del item, result  # a failure's traceback refers to this frame

    def _finish(self) -> None:
        """Note that all has been delivered, or raise what keeps it from being all."""
        self._raise_end()
        self._ended = not self._run.closed

    def _make_room(self) -> None:
        """Tell the run that what was taken is delivered, so that it goes on meanwhile."""
        run = self._run
        with run.gate.lock:
            run.note_delivered(len(self._batch))
        if run.gate.may_take():
            self._launch()

    def _refill(self) -> bool | None:
        """Take what may leave now; say whether there is any, or None for "wait". Lock held.

        Other threads may empty the batch at any moment, so it is no sign of the end.
        """
        run = self._run
        if run.closed:  # perhaps while the lock was taken: then the run still has some
            return False
        taken = run.take_results(self._most, len(self._batch))
        self._batch.extend(taken)
        if taken or self._batch:
            return True
        return False if run.over else None

    def _wait_until(self, ready: Callable[[], S | None]) -> S:
        """Return what `ready` says once that is not None; feed the run if that is ours to do.

        `ready` is called with the lock held.
        """
        run = self._run
        while True:
            answer, ticket = self._look(ready, run.consumers.ticket)
            if answer is not None:
                return answer
            if ticket is None:
                assert self._context is not None
                self._context.run(pull_one, run)
            elif not run.closed:  # a close takes no lock: it may have come before the ticket
                ticket.acquire()

    def _look(
        self, ready: Callable[[], S | None], ticket: Callable[[], T]
    ) -> tuple[S | None, T | None]:
        """Return what `ready` says, and where that is None the ticket to wait with.

        There is none where the caller is the one to feed the run, which has room.
        """
        run = self._run
        taken = None
        with run.gate.lock:
            answer = ready()
            if answer is None and not (run.fed_by_caller and run.demand()):
                taken = ticket()
        if run.gate.may_take():
            self._launch()
        return answer, taken

    def _check_order(self) -> None:
        if not self._ordered:
            raise RuntimeError("these results are taken in another way already")

    def _leave_order(self) -> OrderedSink[R]:
        """Return the sink to take over, once. Lock held."""
        self._check_order()
        self._ordered = False
        sink = self._run.sink
        return sink if isinstance(sink, OrderedSink) else OrderedSink()

    def _raise_end(self) -> None:
        """Raise what keeps the end of the results from being the end of the input."""
        run = self._run
        if run.closed:
            return
        failure, error = run.failure, None
        try:
            if failure is not None:  # with `order_by`, one that was not sent may lie before it
                failure.unwrap()
            error = run.take_error()
            if error is not None:
                raise error
        finally:
            del failure, error
        if run.cut_short:
            raise ExecutorShutdownError(
                "the executor was shut down before the input was known to be at its end; "
                f"what there is from statement {run.pulled} on was not sent"
            )

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedProcessError(
                "these results belong to the process that started the run, not to its forked child"
            )


class _Iterator(Iterator[T], Generic[T]):
    """An iterator that ends where what it calls raises StopIteration."""

    def __init__(self, following: Callable[[], T]) -> None:
        self._following = following

    def __next__(self) -> T:
        return self._following()
