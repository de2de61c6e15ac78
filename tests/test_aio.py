"""The asyncio face: the same results, errors and bounds, and nothing that holds the loop up."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

import pytest
import uvloop
from blockbuster import blockbuster_ctx
from hypothesis import given, settings
from hypothesis import strategies as st

from concurrent_exec import (
    BatchExecutor,
    CallbackExecutor,
    Executor,
    ExecutorShutdownError,
    RunClosedError,
)
from concurrent_exec.aio import AsyncExecutor
from concurrent_exec.aio.wakeups import Wakeups
from concurrent_exec.testing import Reply, ScriptedSession
from tests.executors import any_executor
from tests.test_stopping import wait_for as wait_for_on_this_thread

MakeExecutor = Callable[..., Executor[Any]]

PATIENCE = 20.0
"""Seconds; a hang is a failure."""


class StatementError(Exception):
    """What a scripted statement fails with."""


def run(main: Coroutine[Any, Any, Any]) -> None:
    asyncio.run(asyncio.wait_for(main, PATIENCE))


async def wait_for(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def asynchronous(count: int) -> AsyncIterator[tuple[int]]:
    for number in range(count):
        if not number % 7:
            await asyncio.sleep(0)
        yield (number,)


def answers(statement: Any, parameters: Any) -> Reply:
    """Bring its parameters; those that are negative fail."""
    if parameters[0] < 0:
        return Reply(error=StatementError(parameters[0]), at_once=True)
    return Reply(rows=[parameters], at_once=True)


class Server(threading.Thread):
    """Answers in random order on a thread of its own, as a driver's I/O thread would."""

    def __init__(self, session: ScriptedSession, seed: int) -> None:
        super().__init__(daemon=True)
        self._session = session
        self._random = random.Random(seed)
        self._ended = threading.Event()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.is_set():
            pending = self._session.pending
            if not pending:
                self._ended.wait(0.0005)
                continue
            request = self._random.choice(pending)
            reply = answers(request.statement, request.parameters)
            if reply.error is None:
                request.succeed(reply.rows)
            else:
                request.fail(reply.error)


def value_of(result: Any) -> Any:
    return result.result_or_exc.one()[0] if result.success else result.result_or_exc.args[0]


INPUTS: dict[str, Callable[[list[tuple[int]]], Any]] = {
    "list": list,
    "iterator": iter,
    "asynchronous": lambda rows: _each(rows),
}


async def _each(rows: list[tuple[int]]) -> AsyncIterator[tuple[int]]:
    for row in rows:
        if row[0] % 3 == 1:
            await asyncio.sleep(0)
        yield row


@any_executor
@settings(max_examples=40)
@given(
    st.lists(st.integers(-3, 40), max_size=60),
    st.sampled_from(sorted(INPUTS)),
    st.integers(1, 8),
    st.integers(1, 20),
    st.integers(),
)
def test_any_input_comes_back_in_order(
    make_executor: MakeExecutor,
    numbers: list[int],
    kind: str,
    concurrency: int,
    buffersize: int,
    seed: int,
) -> None:
    session = ScriptedSession()
    rows = [(number,) for number in numbers]

    async def main() -> None:
        async with AsyncExecutor(make_executor(session, concurrency=concurrency)) as executor:
            options: Any = {"buffersize": buffersize, "raise_on_first_error": False}
            one_by_one = [
                value_of(result)
                async for result in executor.map("s", INPUTS[kind](rows), **options)
            ]
            assert one_by_one == numbers
            whole = await executor.map("s", INPUTS[kind](rows), **options)
            assert list(map(value_of, whole)) == numbers
            completed = executor.map("s", INPUTS[kind](rows), **options).as_completed()
            assert {index: value_of(result) async for index, result in completed} == dict(
                enumerate(numbers)
            )
        assert session.most_in_flight <= concurrency
        assert executor.statistics().in_flight == 0

    with Server(session, seed):
        run(main())


@any_executor
def test_the_first_failure_ends_the_run(make_executor: MakeExecutor) -> None:
    async def main() -> None:
        executor = AsyncExecutor(make_executor(ScriptedSession(answers), concurrency=4))
        for kind in INPUTS.values():
            delivered = []
            with pytest.raises(StatementError) as caught:
                async for result in executor.map("s", kind([(n,) for n in (0, 1, 2, -1, 3)])):
                    delivered.append(value_of(result))
            assert delivered == [0, 1, 2]
            assert caught.value.failure.index == 3  # type: ignore[attr-defined]
            with pytest.raises(StatementError):
                await executor.map("s", kind([(0,), (-1,)]))
        await executor.shutdown()

    run(main())


def test_what_the_input_raises_comes_after_the_results_before_it() -> None:
    async def broken() -> AsyncIterator[tuple[int]]:
        yield (0,)
        yield (1,)
        raise KeyError("the input")

    async def main() -> None:
        async with AsyncExecutor(CallbackExecutor(ScriptedSession(answers))) as executor:
            delivered = []
            with pytest.raises(KeyError, match="the input"):
                async for result in executor.map("s", broken()):
                    delivered.append(value_of(result))
            assert delivered == [0, 1]
            with pytest.raises(KeyError, match="the input"):
                await executor.map("s", broken())

    run(main())


@any_executor
def test_a_task_that_is_cancelled_stops_its_run(make_executor: MakeExecutor) -> None:
    session = ScriptedSession()

    async def main() -> None:
        executor = AsyncExecutor(make_executor(session, concurrency=3))

        async def read() -> None:
            async for _ in executor.map("s", [(n,) for n in range(100)]):
                pass

        async def collect() -> None:
            await executor.map("s", [(n,) for n in range(100)])

        for what in read, collect:
            task = asyncio.create_task(what())
            await wait_for(lambda: executor.statistics().in_flight == 3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await _answer_all(session, executor)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await executor.map("s", [(n,) for n in range(100)])
        await _answer_all(session, executor)
        assert session.sent <= 9
        await executor.shutdown()

    run(main())


async def _answer_all(session: ScriptedSession, executor: AsyncExecutor[Any]) -> None:
    """Let every place become free; nobody may take one."""

    def idle() -> bool:
        for request in session.pending:
            request.succeed()
        return not executor.statistics().in_flight

    await wait_for(idle)


def test_an_asynchronous_input_is_pulled_no_further_than_there_is_room() -> None:
    pulled = 0

    async def numbers() -> AsyncIterator[tuple[int]]:
        nonlocal pulled
        while True:
            pulled += 1
            yield (pulled,)

    async def main() -> None:
        session = ScriptedSession(answers)
        async with AsyncExecutor(CallbackExecutor(session, concurrency=5)) as executor:
            results = executor.map("s", numbers(), buffersize=20)
            await wait_for(lambda: session.sent == 20)
            await asyncio.sleep(0.02)
            assert pulled == session.sent == 20
            for number in range(1, 11):
                assert value_of(await anext(results)) == number
            await wait_for(lambda: session.sent > 20)
            assert pulled <= 20 + 20  # what was taken at once made room
            results.close()

    run(main())


def test_the_end_of_an_asynchronous_input_ends_the_lingering() -> None:
    ended = asyncio.Event()

    async def two() -> AsyncIterator[tuple[int]]:
        yield (1,)
        await wait_for(lambda: session.sent == 1)
        yield (2,)
        await ended.wait()

    async def main() -> None:
        executor = AsyncExecutor(BatchExecutor(session, linger=100 * PATIENCE))
        results = executor.map("s", two())
        await wait_for(lambda: executor.statistics().queued == 1)
        await asyncio.sleep(0.01)
        assert session.sent == 1  # more may come that could go with it
        ended.set()
        await wait_for(lambda: session.sent == 2)
        for request in session.pending:
            request.succeed([(0,)])
        assert len(await results) == 2
        await executor.shutdown()

    session = ScriptedSession()
    run(main())


def test_others_have_their_turns_while_there_are_results() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main() -> None:
        session = ScriptedSession(answers)
        async with AsyncExecutor(CallbackExecutor(session)) as executor:
            results = executor.map("s", blocking_free(1000), buffersize=1000)
            await wait_for(lambda: results.statistics().settled == 1000)
            others = asyncio.create_task(other())
            before = turns
            assert len([result async for result in results]) == 1000
            assert turns - before >= 10
            others.cancel()

    run(main())


@pytest.mark.parametrize("how", ["close", "failure", "drop", "cancel", "shutdown"])
def test_an_input_that_waits_is_let_go_at_the_end_of_its_run(how: str) -> None:
    finished = asyncio.Event()

    async def endless() -> AsyncIterator[tuple[int]]:
        try:
            yield (-1 if how == "failure" else 1,)
            await asyncio.Event().wait()
        finally:
            finished.set()

    async def main() -> None:
        session = ScriptedSession(answers)
        executor = AsyncExecutor(CallbackExecutor(session))
        results = executor.map("s", endless())
        await wait_for(lambda: session.sent)
        if how == "close":
            results.close()
        elif how == "failure":
            with pytest.raises(StatementError):
                await results
        elif how == "drop":
            del results
            gc.collect()
        elif how == "cancel":
            waiting = asyncio.ensure_future(results.all())
            await asyncio.sleep(0.01)
            waiting.cancel()
        else:
            await executor.shutdown()
            await anext(results)
            with pytest.raises(ExecutorShutdownError):
                await anext(results)
        await finished.wait()
        await executor.shutdown()

    run(main())


def test_a_run_whose_feeding_task_is_cancelled_says_so() -> None:
    async def endless() -> AsyncIterator[tuple[int]]:
        yield (1,)
        await asyncio.Event().wait()

    async def main() -> None:
        async with AsyncExecutor(CallbackExecutor(ScriptedSession(answers))) as executor:
            results = executor.map("s", endless())
            assert value_of(await anext(results)) == 1
            (feeder,) = (task for task in asyncio.all_tasks() if task.get_name().endswith("feeder"))
            feeder.cancel()
            with pytest.raises(RunClosedError):
                await anext(results)

    run(main())


@any_executor
def test_submit(make_executor: MakeExecutor) -> None:
    session = ScriptedSession()

    async def main() -> None:
        executor = AsyncExecutor(make_executor(session, concurrency=1))
        first = executor.submit("s", (1,))
        second = executor.submit("s", (2,))
        third = executor.submit("s", (-1,))
        await wait_for(lambda: session.pending)
        second.cancel()
        await asyncio.sleep(0)
        session.pending[0].succeed([(1,)])
        assert (await first).one() == (1,)
        await wait_for(lambda: session.pending)
        session.pending[0].fail(StatementError(-1))
        with pytest.raises(StatementError):
            await third
        assert session.sent == 2
        await executor.shutdown()

    run(main())


def test_a_future_that_is_cancelled_when_it_has_been_sent_harms_no_other() -> None:
    session = ScriptedSession()

    async def main() -> None:
        errors: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: errors.append(context))
        executor = AsyncExecutor(CallbackExecutor(session))
        first, second = executor.submit("s", (1,)), executor.submit("s", (2,))
        await wait_for(lambda: len(session.pending) == 2)
        first.cancel()
        for request in session.pending:
            request.succeed([request.parameters])
        assert (await second).one() == (2,)
        await executor.shutdown()
        assert errors == []

    run(main())


def test_a_shutdown_cancels_what_was_submitted_and_not_sent() -> None:
    session = ScriptedSession()

    async def main() -> None:
        executor = AsyncExecutor(CallbackExecutor(session, concurrency=1))
        first, second = executor.submit("s", (1,)), executor.submit("s", (2,))
        await wait_for(lambda: session.pending)
        await executor.shutdown(wait=False, cancel_futures=True)
        with pytest.raises(asyncio.CancelledError):
            await second
        session.pending[0].succeed([(1,)])
        assert (await first).one() == (1,)
        assert session.sent == 1

    run(main())


def test_all_of_a_run_that_has_ended_or_was_closed() -> None:
    session = ScriptedSession(answers)

    async def main() -> None:
        executor = AsyncExecutor(CallbackExecutor(session, concurrency=7))
        assert (executor.session, executor.concurrency) == (session, 7)
        results = executor.execute([("s", (1,))])
        assert [value_of(each) async for each in results] == [1]
        assert await results == []
        closed = executor.map("s", [(1,)])
        closed.close()
        with pytest.raises(RunClosedError):
            await closed

    run(main())


def test_one_wake_up_is_pending_at_most_however_many_results_come() -> None:
    session = ScriptedSession()
    pending = most = total = 0

    async def main() -> None:
        nonlocal most
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def counted(callback: Callable[..., Any], *args: Any, **options: Any) -> Any:
            nonlocal pending, most, total
            if not getattr(callback, "__qualname__", "").startswith("Wakeups."):
                return wake(callback, *args, **options)
            pending += 1
            total += 1
            most = max(most, pending)

            def called() -> None:
                nonlocal pending
                pending -= 1
                callback(*args)

            return wake(called, **options)

        loop.call_soon_threadsafe = counted  # type: ignore[method-assign, assignment]
        executor = AsyncExecutor(CallbackExecutor(session, concurrency=500))
        runs = [executor.map("s", [(n,) for n in range(200)]) for _ in range(5)]
        readers = [asyncio.ensure_future(each.all()) for each in runs]
        futures = [executor.submit("s", (n,)) for n in range(200)]
        await wait_for(lambda: session.sent >= 500)

        def answer() -> None:
            while not all(future.done() for future in futures):
                for request in session.pending:
                    request.succeed([(0,)])

        thread = threading.Thread(target=answer)
        thread.start()
        await asyncio.gather(*futures, *readers)
        thread.join()
        await executor.shutdown()

    run(main())
    assert most == 1
    assert total < 600


def test_what_is_to_be_called_while_the_loop_is_at_it_is_called_as_well() -> None:
    async def main() -> None:
        called = asyncio.Event()
        wakeups = Wakeups(asyncio.get_running_loop())
        wakeups.call(lambda: wakeups.call(called.set))
        await called.wait()

    run(main())


@any_executor
def test_nothing_blocks_the_loop(make_executor: MakeExecutor) -> None:
    session = ScriptedSession()

    def blocking() -> Iterator[tuple[int]]:
        for number in range(20):
            threading.Event().wait(0.001)
            yield (number,)

    async def main() -> None:
        executor = AsyncExecutor(make_executor(session, concurrency=4))
        with blockbuster_ctx():
            with pytest.raises(Exception, match="Blocking"):  # it does see such a call
                threading.Event().wait(0.001)
            async with executor:
                for given in list(blocking_free(50)), blocking(), asynchronous(50):
                    assert [value_of(each) async for each in executor.map("s", given)]
                for given in list(blocking_free(50)), blocking(), asynchronous(50):
                    assert await executor.map("s", given)
                await asyncio.gather(*(executor.submit("s", (n,)) for n in range(50)))
                executor.map("s", asynchronous(50)).close()

    with Server(session, 1):
        run(main())


def blocking_free(count: int) -> list[tuple[int]]:
    return [(number,) for number in range(count)]


def test_a_session_that_blocks_does_not_block_the_loop() -> None:
    gate = threading.Event()

    def script(statement: Any, parameters: Any) -> Reply:
        assert threading.current_thread() is not threading.main_thread()
        gate.wait(PATIENCE)
        return Reply(rows=[parameters], at_once=True)

    async def main() -> None:
        async with AsyncExecutor(CallbackExecutor(ScriptedSession(script))) as executor:
            results = executor.map("s", blocking_free(10))
            one = executor.submit("s", (1,))
            await asyncio.sleep(0.01)  # the loop goes on
            gate.set()
            assert len(await results) == 10
            await one

    run(main())


seen: ContextVar[str] = ContextVar("seen")


def test_the_context_reaches_the_input() -> None:
    def plain() -> Iterator[tuple[str]]:
        yield (seen.get(),)

    async def asynchronously() -> AsyncIterator[tuple[str]]:
        yield (seen.get(),)

    async def main() -> None:
        session = ScriptedSession(lambda statement, parameters: Reply([parameters], at_once=True))
        async with AsyncExecutor(CallbackExecutor(session)) as executor:
            seen.set("by the task")
            for given in plain(), asynchronously():
                (result,) = await executor.map("s", given)
                assert value_of(result) == "by the task"

    run(main())


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_loops_that_come_and_go(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """One executor serves them all, and one that is closed under a run does no harm."""
    session = ScriptedSession()
    executor = AsyncExecutor(CallbackExecutor(session, concurrency=4))

    async def abandon() -> None:
        results.append(executor.map("s", asynchronous(50)))
        waiting.append(asyncio.ensure_future(results[-1].all()))
        await wait_for(lambda: session.pending)

    async def use() -> None:
        assert len(await executor.map("s", asynchronous(50))) == 50

    results: list[Any] = []
    waiting: list[Any] = []
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(abandon())
    with Server(session, 2):
        for _ in range(2):
            with asyncio.Runner(loop_factory=make_loop) as runner:
                runner.run(asyncio.wait_for(use(), PATIENCE))
    wait_for_on_this_thread(lambda: not executor.statistics().in_flight)


def test_its_thread_ends_with_it() -> None:
    def threads() -> int:
        return sum("errands" in thread.name for thread in threading.enumerate())

    gc.collect()  # what the tests before have left
    wait_for_on_this_thread(lambda: not threads())
    executor = AsyncExecutor(CallbackExecutor(ScriptedSession()))
    assert threads() == 1
    del executor
    wait_for_on_this_thread(lambda: not threads())


def test_what_is_refused() -> None:
    executor = AsyncExecutor(CallbackExecutor(ScriptedSession()))
    with pytest.raises(RuntimeError, match="no running event loop"):
        executor.map("s", [(1,)])
    with pytest.raises(TypeError, match=r"executor must be an Executor, such as .*, not str"):
        AsyncExecutor("executor")  # type: ignore[arg-type]

    async def main() -> None:
        with pytest.raises(ValueError, match="feeder='caller'"):
            executor.map("s", [(1,)], feeder="caller")
        with pytest.raises(ValueError, match="buffersize"):
            executor.map("s", asynchronous(1), buffersize=0)
        with pytest.raises(TypeError, match="parameters must be an iterable"):
            executor.map("s", 5)  # type: ignore[arg-type]
        results = executor.map("s", [])
        results.as_completed()
        with pytest.raises(RuntimeError, match="another way"):
            await results
        async with executor.map("s", [(1,)]) as unread, aclosing(executor.map("s", [])):
            pass
        with pytest.raises(StopAsyncIteration):
            await anext(unread)
        await executor.shutdown(cancel_futures=True, wait=False)
        with pytest.raises(ExecutorShutdownError):
            executor.submit("s")

    run(main())
