"""Pulling an asynchronous input ahead: what `run.feeder` does, on the event loop."""

from __future__ import annotations

from asyncio import Task, create_task
from collections.abc import AsyncIterator, Callable
from typing import Any

from concurrent_exec.aio.wakeups import Bell, Wakeups
from concurrent_exec.model import RunClosedError
from concurrent_exec.run import Run
from concurrent_exec.run.feeder import demand, offer, raised


class _Doorbell(Bell):
    """Rung when there is room, and at the end of the run, which then waits for no input."""

    def __init__(self, wakeups: Wakeups, run: Run) -> None:
        super().__init__(wakeups)
        self._run = run
        self.task: Task[None]
        """Who waits for it; there before the loop, which made it, can look."""

    def put(self, item: None) -> None:
        self._wakeups.call(self._look)

    def _look(self) -> None:
        if self._run.may_bring_more:
            self._rung.set()
        else:
            self.task.cancel()


def start_feeder(
    wakeups: Wakeups, iterator: AsyncIterator[Any], run: Run, launch: Callable[[], None]
) -> None:
    """Start the task that pulls `iterator` into the run, on the loop that is running."""
    bell = run.doorbell = _Doorbell(wakeups, run)
    bell.task = create_task(_feed(run, iterator, launch, bell), name="concurrent_exec-feeder")


async def _feed(
    run: Run, iterator: AsyncIterator[Any], launch: Callable[[], None], doorbell: Bell
) -> None:
    try:
        while (room := demand(run)) is not None:
            if not room:
                await doorbell.wait()
            while room > 0 and await _pull_one(run, iterator):
                room -= 1
                if run.gate.may_take():
                    launch()
            if run.gate.may_take():
                launch()
    except BaseException:
        if run.may_bring_more:  # else the doorbell has cancelled us, who waited for no more
            run.end_of_input(RunClosedError("the task that pulled the run's input was cancelled"))
        raise


async def _pull_one(run: Run, iterator: AsyncIterator[Any]) -> bool:
    try:
        item = await anext(iterator)
    except StopAsyncIteration:
        run.end_of_input(None)
        return False
    except Exception as exc:
        return raised(run, exc)
    return offer(run, item)
