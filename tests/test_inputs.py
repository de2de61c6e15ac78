"""The caller's iterable: whatever it does, it harms nobody and nothing is lost."""

from __future__ import annotations

import contextvars
import gc
import queue
import sqlite3
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurrent_exec import Executor, InvalidItemError, Results
from concurrent_exec.run import feeder
from concurrent_exec.testing import Reply, ScriptedInput, ScriptedSession, wait_until_quiet
from tests.executors import any_executor
from tests.integration.support import wait_for

MakeExecutor = Callable[..., Executor[Any]]


def answers_at_once(statement: Any, parameters: Any) -> Reply:
    return Reply(rows=[parameters], at_once=True)


def first_values(results: Any) -> list[Any]:
    """The parameters that came back, through whichever executor."""
    values = []
    for result in results:
        rows = getattr(result.result_or_exc, "current_rows", result.result_or_exc)
        values.append(rows[0][0])
    return values


class EndsTooSoon:
    """An item that raises what would end the input, were it the input that raised it."""

    def __iter__(self) -> Iterator[Any]:
        raise StopIteration


ACTS = st.sampled_from(["give", "give", "answer", "answer all", "wait", "close", "raise"])


@any_executor
@given(acts=st.lists(ACTS, max_size=25), window=st.integers(1, 6), concurrency=st.integers(1, 3))
def test_an_input_that_acts(
    make_executor: MakeExecutor, acts: list[str], window: int, concurrency: int
) -> None:
    """It answers statements, waits for the run's own results, stops the run or raises."""
    session = ScriptedSession()
    executor = make_executor(session, concurrency=concurrency)
    started = threading.Event()
    read: list[int] = []
    closed = False

    def source() -> Iterator[tuple[str, tuple[int]]]:
        nonlocal closed
        assert started.wait(10)
        given = 0
        for act in acts:
            if act == "give":
                yield "q", (given,)
                given += 1
            elif act == "answer":
                for request in session.pending[-1:]:
                    request.succeed([request.parameters])
            elif act == "answer all":
                for request in session.pending:
                    request.succeed([request.parameters])
            elif act == "wait":
                while len(read) < given and not closed:
                    time.sleep(0.0001)
            elif act == "close":
                closed = True
                results.close()
            else:
                raise ZeroDivisionError(given)

    results = executor.execute(source(), buffersize=window)
    started.set()
    stop = threading.Event()

    def server() -> None:
        while not stop.wait(0.0005):
            for request in session.pending:
                request.succeed([request.parameters])

    thread = threading.Thread(target=server)
    thread.start()
    try:
        for result in results:
            read.extend(first_values([result]))
        raised = False
    except ZeroDivisionError:
        raised = True
    finally:
        executor.shutdown()
        stop.set()
        thread.join()
    given_before = acts[: acts.index("raise")] if "raise" in acts else acts
    if not closed:
        assert raised == ("raise" in acts)
        assert read == list(range(given_before.count("give")))
    else:
        assert read == list(range(len(read)))


@any_executor
def test_it_is_pulled_by_a_thread_of_its_own_in_the_callers_context(
    make_executor: MakeExecutor,
) -> None:
    variable = contextvars.ContextVar("variable", default="nobody's")
    variable.set("the caller's")
    seen = set()

    def source() -> Iterator[tuple[str, None]]:
        for _ in range(50):
            thread = threading.current_thread()
            seen.add((variable.get(), thread.name, thread.daemon))
            variable.set("the caller's")
            yield "q", None
        variable.set("the input's own")

    session = ScriptedSession()
    executor = make_executor(session, concurrency=3)
    results = executor.execute(source(), raise_on_first_error=False)
    server = threading.Thread(target=serve, args=(session, 50), name="I/O")
    server.start()
    assert len(list(results)) == 50
    server.join()
    assert seen == {("the caller's", "concurrent_exec-feeder", True)}
    assert variable.get() == "the caller's"


def serve(session: ScriptedSession, count: int) -> None:
    """Play the driver's I/O thread until `count` statements are answered."""
    while count:
        for request in session.pending:
            request.succeed([request.parameters])
            count -= 1


@any_executor
def test_no_lock_is_held_while_it_is_pulled(make_executor: MakeExecutor) -> None:
    executor = make_executor(ScriptedSession(answers_at_once), concurrency=2)

    def source() -> Iterator[tuple[str, tuple[int]]]:
        for index in range(20):
            assert executor._gate.lock.acquire(timeout=5)
            executor._gate.lock.release()
            assert executor.submit("another", (index,)).result(timeout=5)
            yield "q", (index,)

    assert first_values(executor.execute(source())) == list(range(20))


@any_executor
def test_an_endless_input_is_pulled_only_as_far_as_the_window(
    make_executor: MakeExecutor,
) -> None:
    pulled = []

    def source() -> Iterator[tuple[str, tuple[int]]]:
        index = 0
        while True:
            pulled.append(index)
            yield "q", (index,)
            index += 1

    session = ScriptedSession(answers_at_once)
    executor = make_executor(session, concurrency=3)
    results = executor.execute(source(), buffersize=7)
    wait_until_quiet(executor, session)
    assert len(pulled) == 7
    assert first_values(next(results) for _ in range(1000)) == list(range(1000))
    wait_until_quiet(executor, session)
    assert len(pulled) == 1007
    results.close()


@any_executor
def test_a_blocked_input_holds_up_neither_results_nor_stop_nor_shutdown(
    make_executor: MakeExecutor,
) -> None:
    source = ScriptedInput()
    session = ScriptedSession(answers_at_once)
    executor = make_executor(session, concurrency=2)
    results = executor.execute(source)
    for index in range(3):
        source.give(("q", (index,)))
    assert first_values(next(results) for _ in range(3)) == [0, 1, 2]
    wait_until_quiet(executor, session)
    assert source.waiting
    results.close()
    assert list(results) == []
    executor.shutdown(wait=True)
    source.end()


@any_executor
@pytest.mark.parametrize("raised", [ValueError("mine"), SystemExit(3), GeneratorExit()])
def test_what_it_raises_comes_after_the_results_before_it(
    make_executor: MakeExecutor, raised: BaseException
) -> None:
    def source() -> Iterator[tuple[str, tuple[int]]]:
        for index in range(5):
            yield "q", (index,)
        raise raised

    executor = make_executor(ScriptedSession(answers_at_once), concurrency=2)
    results = executor.execute(source())
    assert first_values(next(results) for _ in range(5)) == [0, 1, 2, 3, 4]
    with pytest.raises(type(raised)) as caught:
        next(results)
    assert caught.value is raised
    assert list(results) == []


@any_executor
@pytest.mark.parametrize("raised", [StopIteration, ZeroDivisionError, SystemExit])
def test_it_is_not_asked_again_after_its_end(
    make_executor: MakeExecutor, raised: type[BaseException]
) -> None:
    asked: list[threading.Thread] = []

    class Source:
        def __iter__(self) -> Source:
            return self

        def __next__(self) -> tuple[str, tuple[int]]:
            asked.append(threading.current_thread())
            if len(asked) == 3:
                raise raised
            return "q", (len(asked),)

    executor = make_executor(ScriptedSession(answers_at_once), concurrency=5)
    results = executor.execute(Source())
    assert first_values(next(results) for _ in range(2)) == [1, 2]
    with pytest.raises(raised):
        next(results)
    asked[0].join(20)
    assert asked == [asked[0]] * 3
    assert not asked[0].is_alive()


@any_executor
def test_what_it_raises_tells_where(make_executor: MakeExecutor) -> None:
    def source() -> Iterator[tuple[str, tuple[int]]]:
        yield "q", (0,)
        raise ZeroDivisionError

    executor = make_executor(ScriptedSession(answers_at_once), concurrency=2)
    with pytest.raises(ZeroDivisionError) as caught:
        list(executor.execute(source()))
    places = traceback.extract_tb(caught.value.__traceback__)
    assert places[-1].name == "source"
    assert feeder.__file__ not in [place.filename for place in places]  # it would keep the run


@any_executor
def test_what_it_raises_leaves_no_cycle(make_executor: MakeExecutor) -> None:
    def source() -> Iterator[tuple[str, tuple[int]]]:
        yield "q", (0,)
        raise ZeroDivisionError

    executor = make_executor(ScriptedSession(answers_at_once), concurrency=2)
    gc.collect()
    gc.disable()
    try:
        for items in (source(), iter(["no pair"])):
            results = executor.execute(items)
            run = weakref.ref(results._run)
            with pytest.raises((ZeroDivisionError, InvalidItemError)):
                results.all()
            del results
            wait_for(lambda: run() is None)  # noqa: B023
    finally:
        gc.enable()


@any_executor
def test_a_list_form_raises_what_it_raises_at_once(make_executor: MakeExecutor) -> None:
    def source() -> Iterator[tuple[str, tuple[int]]]:
        yield "q", (0,)
        raise ValueError("mine")

    executor = make_executor(ScriptedSession(), concurrency=2)  # which never answers
    with pytest.raises(ValueError, match="mine"):
        executor.execute(source()).all()


@any_executor
@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (("q",), "has 1 elements"),
        (("q", None, None), "has more than two elements"),
        ("qp", "is of type str"),
        (None, "is of type NoneType"),
        ({"q": 1, "p": 2}, "is of type dict"),
        (7, "is of type int"),
        (EndsTooSoon(), "is of type EndsTooSoon"),
    ],
)
@pytest.mark.parametrize("kind", [list, iter])
def test_an_item_that_is_no_pair_raises_at_its_index(
    make_executor: MakeExecutor, item: Any, problem: str, kind: Any
) -> None:
    executor = make_executor(ScriptedSession(answers_at_once), concurrency=2)
    results = executor.execute(kind([("q", (0,)), ["q", (1,)], item, ("q", (3,))]))
    assert first_values(next(results) for _ in range(2)) == [0, 1]
    with pytest.raises(InvalidItemError, match=f"item 2 of .* {problem}") as caught:
        next(results)
    assert caught.value.index == 2


@any_executor
def test_a_list_changed_under_way_is_noticed(make_executor: MakeExecutor) -> None:
    session = ScriptedSession(answers_at_once)
    executor = make_executor(session, concurrency=1)
    pairs: list[Any] = [("q", (index,)) for index in range(6)]
    results = executor.execute(pairs, buffersize=2)
    wait_until_quiet(executor, session)
    pairs[4] = "not a pair"
    values = []
    with pytest.raises(InvalidItemError, match=r"item 4 .* was replaced"):
        for result in results:
            values.append(result)
    assert len(values) == 4


@any_executor
@pytest.mark.parametrize("form", ["stream", "list", "completed"])
def test_an_input_bound_to_its_thread_is_pulled_by_the_caller(
    make_executor: MakeExecutor, form: str
) -> None:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE numbers (n)")
    database.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(500)])
    rows = database.execute("SELECT n FROM numbers ORDER BY n")
    executor = make_executor(ScriptedSession(answers_at_once), concurrency=4)
    results = executor.map("q", rows, feeder="caller", buffersize=9)
    if form == "list":
        assert first_values(results.all()) == list(range(500))
    elif form == "completed":
        assert sorted(index for index, _ in results.as_completed()) == list(range(500))
    else:
        assert first_values(results) == list(range(500))
    database.close()


@any_executor
def test_an_input_fed_from_the_runs_own_results(make_executor: MakeExecutor) -> None:
    """A walk along a chain: each statement is made of the result before it."""
    found: queue.Queue[int | None] = queue.Queue()
    found.put(0)

    def source() -> Iterator[tuple[str, tuple[int]]]:
        while (node := found.get()) is not None:
            yield "next of", (node,)

    def script(statement: str, parameters: tuple[int]) -> Reply:
        assert statement == "next of"
        return Reply(rows=[(parameters[0] + 1,)], at_once=True)

    executor = make_executor(ScriptedSession(script), concurrency=8)
    results: Results[Any] = executor.execute(source())
    values = []
    for result in results:
        (value,) = first_values([result])
        values.append(value)
        found.put(value if value < 200 else None)
    assert values == list(range(1, 201))


@any_executor
def test_room_is_used_while_a_slow_statement_holds_up_the_results(
    make_executor: MakeExecutor,
) -> None:
    session = ScriptedSession()
    executor = make_executor(session, concurrency=10)
    results = executor.map("q", ((index,) for index in range(1000)), buffersize=40)
    wait_until_quiet(executor, session)
    for _ in range(9):
        head = min(session.pending, key=lambda request: request.parameters)
        head.succeed()
        next(results)
        wait_until_quiet(executor, session)
    head = min(session.pending, key=lambda request: request.parameters)
    while len(session.pending) > 1:
        for request in session.pending:
            if request is not head:
                request.succeed()
        wait_until_quiet(executor, session)
    statistics = results.statistics()
    assert statistics.pulled - statistics.delivered == 40
    results.close()
    head.succeed()
