"""The caller's end of a run, for coroutines."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import AsyncIterator, Callable, Generator
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from concurrent_exec.aio.wakeups import Bell, Wakeups
from concurrent_exec.model import ExecutionResult, RunStatistics
from concurrent_exec.run import Results

R = TypeVar("R")


class AsyncResults(AsyncIterator[ExecutionResult[R]], Generic[R]):
    """The results of one run, in the order of its input: `Results` for coroutines.

    `async for` delivers each result as soon as it and all before it are there; `await` gives the
    list of all of them. What the run does, keeps and raises is as `Results` says. A coroutine that
    is cancelled while it waits here, also by `asyncio.timeout`, stops the run, as do `close()`,
    the end of an `async with` block and being garbage collected.
    """

    def __init__(self, results: Results[R], wakeups: Wakeups) -> None:
        self._results = results
        self._bell = Bell(wakeups)

    # ---- one after the other ----

    def __aiter__(self) -> AsyncResults[R]:
        return self

    async def __anext__(self) -> ExecutionResult[R]:
        """Return the next result in input order, waiting for it.

        Raises StopAsyncIteration at the end and after `close()`, and what `Results` raises.
        """
        if not self._results._run.closed:
            self._results._check_order()
        return cast("ExecutionResult[R]", await self._next())

    def as_completed(self) -> AsyncIterator[tuple[int, ExecutionResult[R]]]:
        """Return an iterator of (index, result) in the order of completion.

        It is what `Results.as_completed` returns, for `async for`.
        """
        self._results.as_completed()
        return _Completed(self)

    # ---- all at once ----

    def __await__(self) -> Generator[Any, None, list[ExecutionResult[R]]]:
        """Wait for the whole run; see `all`."""
        return self.all().__await__()

    async def all(self) -> list[ExecutionResult[R]]:
        """Wait for the whole run; return the results not yet delivered, in input order.

        Raises what `Results.all` raises, as soon as it is known.
        """
        results = self._results
        if not results._may_collect():
            return []
        run = results._run
        collected = None
        try:
            collected = results._collect()
            await self._wait_until(lambda: run.outcome_known or None)
            return results._outcome(*collected)
        finally:
            del collected  # a failure's traceback refers to this frame: it must not refer back
            results._close(from_finaliser=False)

    # ---- the end ----

    def close(self) -> None:
        """Stop the run, as `Results.close` does. Any thread may call it."""
        self._results.close()

    async def aclose(self) -> None:
        """Do as `close()`, for `contextlib.aclosing`."""
        self._results.close()

    async def __aenter__(self) -> AsyncResults[R]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._results.close()

    def statistics(self) -> RunStatistics:
        """Return the counts of the run at this moment."""
        return self._results.statistics()

    # ---- how it waits ----

    async def _next(self) -> Any:
        results = self._results
        results._check_process()
        item = None
        try:
            while (item := results._taken()) is None:
                if not await self._wait_until(results._refill):
                    results._finish()
                    raise StopAsyncIteration
            return item
        except BaseException:  # a CancelledError too means that the caller has gone
            results._close(from_finaliser=False)
            raise

    async def _wait_until(self, ready: Callable[[], bool | None]) -> bool:
        results = self._results
        # Where there is always something here, others of the loop must have their turns as well.
        await sleep(0)
        while True:
            answer, bell = results._look(ready, self._ticket)
            if answer is not None:
                return answer
            if bell is not None and not results._run.closed:
                await bell.wait()

    def _ticket(self) -> Bell:
        self._results._run.consumers.park(self._bell)
        return self._bell


class _Completed(AsyncIterator[tuple[int, ExecutionResult[R]]], Generic[R]):
    """The iterator of `AsyncResults.as_completed`."""

    def __init__(self, results: AsyncResults[R]) -> None:
        self._results = results

    async def __anext__(self) -> tuple[int, ExecutionResult[R]]:
        return cast("tuple[int, ExecutionResult[R]]", await self._results._next())
