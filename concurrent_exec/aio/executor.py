"""An executor for coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextvars import Context
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar, Unpack

from concurrent_exec.aio.errands import Errands
from concurrent_exec.aio.feeding import start_feeder as start_feeding_task
from concurrent_exec.aio.results import AsyncResults
from concurrent_exec.aio.wakeups import Wakeups
from concurrent_exec.executors import Executor
from concurrent_exec.model import ExecutorStatistics, RunOptions, SubmitOptions
from concurrent_exec.run import Results, Run, Source
from concurrent_exec.run.feeder import start_feeder

R = TypeVar("R")


class AsyncExecutor(Generic[R]):
    """The asyncio face of an executor, whose strategy, limits and options stay what they are.

        async with AsyncExecutor(CallbackExecutor(session, concurrency=200)) as executor:
            async for result in executor.map(statement, keys):
                ...

    Make one for a session and share it among all that runs: its `concurrency` holds over all
    runs and submits, which take turns. The executor it is made of may be used by threads as well.
    Nothing is sent on the event loop, which a session may block, but on one thread for all.
    """

    def __init__(self, executor: Executor[R]) -> None:
        """Make the asyncio face of `executor`; raises TypeError where that is none."""
        if not isinstance(executor, Executor):
            raise TypeError(
                "executor must be an Executor, such as CallbackExecutor(session), "
                f"not {type(executor).__name__}"
            )
        self._executor = executor
        self._errands = Errands()
        self._launch = self._errands.once(executor._launch_safely)
        self._wakeups: Wakeups | None = None

    @property
    def session(self) -> Any:
        """The session it sends over."""
        return self._executor.session

    @property
    def concurrency(self) -> int:
        """The most statements in flight at once; with a limiter, at this moment."""
        return self._executor.concurrency

    def execute(
        self,
        statements_and_parameters: Iterable[Any] | AsyncIterable[Any],
        **options: Unpack[RunOptions],
    ) -> AsyncResults[R]:
        """Start to run an iterable of (statement, parameters) pairs; return its `AsyncResults`.

        statements_and_parameters: as `Executor.execute` takes it; or an asynchronous iterable,
            which a task of the running loop pulls ahead, as far as `buffersize` allows. An
            iterator that is not asynchronous is pulled by a thread, as it may block.
        options: those of `Executor.execute`, but for `feeder="caller"`, which would have the
            input pulled on the event loop.

        Raises what `Executor.execute` raises, and RuntimeError where no event loop is running.
        """
        return self._start(Source.of_pairs, (statements_and_parameters,), options)

    def map(
        self,
        statement: Any,
        parameters: Iterable[Any] | AsyncIterable[Any],
        **options: Unpack[RunOptions],
    ) -> AsyncResults[R]:
        """Start to run one statement with many parameters; return its `AsyncResults`.

        parameters: an iterable, or an asynchronous one, with the parameters of each execution.
            All else is as in `execute`.
        """
        return self._start(Source.of_parameters, (statement, parameters), options)

    def submit(
        self, statement: Any, parameters: Any = None, **options: Unpack[SubmitOptions]
    ) -> asyncio.Future[R]:
        """Queue one statement; return a future of its result, to be awaited.

        To cancel the future, or a task that awaits it, is to take the statement back, unless it
        has been sent. The queue has no bound: who submits very many statements should rather `map`
        them. Options and errors are those of `Executor.submit`, besides RuntimeError where no
        event loop is running.
        """
        wakeups = self._wakeups_here()
        theirs = self._executor._queue(statement, parameters, options)
        ours: asyncio.Future[R] = wakeups.loop.create_future()
        resolve = partial(_resolve, ours, theirs)
        theirs.add_done_callback(lambda _: wakeups.call(resolve))
        ours.add_done_callback(lambda done: theirs.cancel() if done.cancelled() else None)
        self._launch()
        return ours

    async def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut the executor down as `Executor.shutdown` does, without blocking the event loop."""
        await asyncio.to_thread(self._executor.shutdown, wait, cancel_futures=cancel_futures)

    def statistics(self) -> ExecutorStatistics:
        """Return what the executor is doing at this moment."""
        return self._executor.statistics()

    async def __aenter__(self) -> AsyncExecutor[R]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.shutdown(cancel_futures=exc is not None)

    # ---- inside ----

    def _wakeups_here(self) -> Wakeups:
        loop = asyncio.get_running_loop()
        if self._wakeups is None or self._wakeups.loop is not loop:
            self._wakeups = Wakeups(loop)
        return self._wakeups

    def _start(
        self, make_source: Any, arguments: tuple[Any, ...], options: RunOptions
    ) -> AsyncResults[R]:
        wakeups = self._wakeups_here()
        if options.get("feeder") == "caller":
            raise ValueError(
                "feeder='caller' would have the input pulled on the event loop: "
                "make it an asynchronous iterable"
            )
        *before, given = arguments
        feed: Callable[[Run, Callable[[], None], Context], object]
        if isinstance(given, AsyncIterable):
            iterator = aiter(given)
            arguments = (*before, _NeverPulled())

            def feed(run: Run, launch: Callable[[], None], context: Context) -> None:
                start_feeding_task(wakeups, iterator, run, launch)
        else:

            def feed(run: Run, launch: Callable[[], None], context: Context) -> None:
                self._errands.do(partial(start_feeder, run, launch, context))

        run = self._executor._run(make_source, arguments, options)
        return AsyncResults(Results(run, self._launch, feed), wakeups)


class _NeverPulled(Iterator[Any]):
    """Stands for an asynchronous input in a run, which a task pulls."""

    def __next__(self) -> Any:
        raise AssertionError


def _resolve(ours: asyncio.Future[Any], theirs: Future[Any]) -> None:
    if ours.cancelled():
        return
    if theirs.cancelled():
        ours.cancel()
    elif (error := theirs.exception()) is not None:
        ours.set_exception(error)
    else:
        ours.set_result(theirs.result())
