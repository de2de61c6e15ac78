"""Many callers of one executor: its limit holds over all of them, and none starves."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakSet

import pytest
from cassandra.cluster import NoHostAvailable
from hypothesis import given, settings
from hypothesis import strategies as st

from concurrent_exec import CallbackExecutor, Executor
from concurrent_exec.testing import Reply, ScriptedSession, wait_until_quiet
from tests.executors import any_executor, in_one_process
from tests.test_stopping import PAIRS, numbers, wait_for

MakeExecutor = Callable[..., Executor[Any]]


@any_executor
def test_runs_take_turns(make_executor: MakeExecutor) -> None:
    order: list[str] = []

    def script(statement: str, parameters: Any) -> None:
        order.append(statement)

    session = ScriptedSession(script)
    executor = make_executor(session, concurrency=1)
    runs = [executor.execute([(name, None)] * 5, buffersize=5) for name in "abc"]
    futures = [executor.submit("s") for _ in range(5)]
    for _ in range(20):
        wait_until_quiet(executor, session)
        (request,) = session.pending
        request.succeed()
    assert [len(list(run)) for run in runs] == [5, 5, 5]
    wait_for(lambda: all(future.done() for future in futures))
    assert order[0] == "a"  # when there was no other
    for turn in range(4):
        assert order[turn * 4 + 1 : turn * 4 + 5] == ["a", "b", "c", "s"]


@any_executor
@settings(max_examples=25)
@given(weights=st.lists(st.integers(1, 5), min_size=1, max_size=4), submits=st.integers(1, 5))
def test_weights_are_turns_in_a_row_and_none_starves(
    make_executor: MakeExecutor, weights: list[int], submits: int
) -> None:
    order: list[str] = []

    def script(statement: str, parameters: Any) -> None:
        order.append(statement)

    session = ScriptedSession(script)
    executor = make_executor(session, concurrency=1)
    cycles = 3
    runs = [
        executor.execute(
            [(f"run {number}", None)] * (cycles * weight + 1), buffersize=100, weight=weight
        )
        for number, weight in enumerate(weights)
    ]
    futures = [executor.submit("submitted", weight=submits) for _ in range(cycles * submits)]
    cycle = [f"run {number}" for number, weight in enumerate(weights) for _ in range(weight)]
    cycle += ["submitted"] * submits
    for _ in range(cycles * len(cycle)):
        wait_until_quiet(executor, session)
        session.pending[0].succeed()
    wait_until_quiet(executor, session)
    assert order[1 : 1 + cycles * len(cycle)] == cycle * cycles  # the first one was alone
    while session.pending:
        session.pending[0].succeed()
        wait_until_quiet(executor, session)
    counts = [len(run.all()) for run in runs]
    assert counts == [cycles * weight + 1 for weight in weights]
    assert all(future.done() for future in futures)


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (True, TypeError), (1.5, TypeError)])
def test_a_wrong_weight_is_refused_by_name(value: Any, error: type[Exception]) -> None:
    executor = CallbackExecutor(ScriptedSession())
    with pytest.raises(error, match=r"^weight must be "):
        executor.map("q", [], weight=value)
    with pytest.raises(error, match=r"^weight must be "):
        executor.submit("q", weight=value)


@any_executor
def test_a_run_whose_consumer_sleeps_starves_nobody(make_executor: MakeExecutor) -> None:
    session = ScriptedSession(lambda statement, parameters: Reply(at_once=True))
    executor = make_executor(session, concurrency=2)
    sleeping = executor.execute(numbers())
    also = executor.execute(PAIRS)
    assert len(executor.execute(PAIRS).all()) == 1000
    assert sleeping.statistics().delivered == also.statistics().delivered == 0
    assert len(list(also)) == 1000
    sleeping.close()


class Server(threading.Thread):
    """Answers from a thread of its own, in random order, as a driver's I/O thread would."""

    def __init__(self, session: ScriptedSession, seed: int) -> None:
        super().__init__(daemon=True)
        self.session = session
        self.random = random.Random(seed)
        self.over = False
        self.start()

    def run(self) -> None:
        while not self.over:
            pending = self.session.pending
            self.random.shuffle(pending)
            for request in pending[: self.random.randint(1, 8)]:
                if self.random.random() < 0.05:
                    request.fail(ValueError(request.parameters))
                else:
                    request.succeed([request.parameters])
            time.sleep(0)


@any_executor
def test_many_threads_many_runs(make_executor: MakeExecutor) -> None:
    """Real threads, real races: the limit holds, every result is its own, none is lost."""
    session = ScriptedSession(timeout=None)
    server = Server(session, seed=1)
    executor = make_executor(session, concurrency=5)
    problems: list[object] = []
    finished: deque[int] = deque()

    def check(index: int, result: Any, number: int) -> None:
        expected = (number, index)
        if result.success:
            rows = getattr(result.result_or_exc, "current_rows", result.result_or_exc)
            assert list(rows) == [expected], (rows, expected)
        else:
            assert result.parameters == expected == result.result_or_exc.args[0]
            assert result.index == index

    def caller(number: int) -> None:
        chance = random.Random(number)
        try:
            count = 300
            parameters = [(number, index) for index in range(count)]
            source: Any = parameters if number % 2 else iter(parameters)
            options: dict[str, Any] = {
                "raise_on_first_error": False,
                "buffersize": chance.randint(1, 30),
            }
            if number % 5 == 0:
                options["feeder"] = "caller"
            results = executor.map("q", source, **options)
            form = number % 4
            if form == 0:
                pairs: Any = enumerate(results)
            elif form == 1:
                pairs = results.as_completed()
            elif form == 2:
                pairs = enumerate(results.all())
            else:
                pairs = enumerate(results)
                for _, result in zip(range(50), results, strict=False):
                    assert result is not None
                results.close()
                finished.append(number)
                return
            seen = 0
            for index, result in pairs:
                check(index, result, number)
                seen += 1
                if number == 4:
                    time.sleep(0.0005)
            assert seen == count
            finished.append(number)
        except BaseException as exc:
            problems.append((number, exc))

    callers = [threading.Thread(target=caller, args=(number,), daemon=True) for number in range(12)]
    for each in callers:
        each.start()
    futures = [executor.submit("s", ("s", index)) for index in range(100)]
    for each in callers:
        each.join(100)
    assert not problems
    assert sorted(finished) == list(range(12))
    wait_for(lambda: all(future.done() for future in futures))
    assert session.most_in_flight <= 5
    executor.shutdown()
    assert executor.statistics().in_flight == 0
    server.over = True


@any_executor
def test_threads_share_one_results(make_executor: MakeExecutor) -> None:
    session = ScriptedSession(timeout=None)
    server = Server(session, seed=2)
    executor = make_executor(session, concurrency=8)
    results = executor.map("q", ((0, index) for index in range(2000)), raise_on_first_error=False)
    counts: deque[int] = deque()

    def consume() -> None:
        counts.append(sum(1 for _ in results))

    consumers = [threading.Thread(target=consume, daemon=True) for _ in range(4)]
    for each in consumers:
        each.start()
    for each in consumers:
        each.join(60)
    assert sum(counts) == 2000
    server.over = True


@in_one_process
def test_threads_share_one_results_that_come_fast(make_executor: MakeExecutor) -> None:
    """One that finds nothing left to take must not take that for the end."""
    session = ScriptedSession(lambda statement, parameters: Reply(at_once=True))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            executor = make_executor(session, concurrency=8)
            results = executor.map("q", [(index,) for index in range(200)], buffersize=200)
            counts: deque[int] = deque()

            def consume(results: Any = results, counts: deque[int] = counts) -> None:
                counts.append(sum(1 for _ in results))

            consumers = [threading.Thread(target=consume, daemon=True) for _ in range(4)]
            for each in consumers:
                each.start()
            for each in consumers:
                each.join(60)
            assert sum(counts) == 200
            executor.shutdown()
    finally:
        sys.setswitchinterval(before)


@any_executor
def test_a_batch_that_another_thread_empties_is_not_the_end(make_executor: MakeExecutor) -> None:
    """The same on purpose: another reader takes the whole batch just after it was filled."""
    session = ScriptedSession(lambda statement, parameters: Reply(at_once=True))
    executor = make_executor(session, concurrency=8)
    results: Any = executor.map("q", [(index,) for index in range(200)], buffersize=200)
    wait_until_quiet(executor, session)
    wait_until = results._wait_until
    taken_by_another = 0

    def and_then_another_takes_it(ready: Any) -> Any:
        nonlocal taken_by_another
        answer = wait_until(ready)
        if not taken_by_another:
            taken_by_another = len(results._batch)
            results._batch.clear()
        return answer

    results._wait_until = and_then_another_takes_it
    assert sum(1 for _ in results) + taken_by_another == 200
    assert taken_by_another


@any_executor
def test_the_drivers_thread_is_not_kept_by_what_fails_at_once(make_executor: MakeExecutor) -> None:
    """While it sends, it makes none of the connections for want of which all fails."""
    count = 3_000
    # By the threads themselves: a thread that begins may have the number of one that has ended.
    senders: Counter[threading.Thread] = Counter()

    def script(statement: Any, parameters: Any) -> Reply:
        senders[threading.current_thread()] += 1
        return Reply() if parameters == (0,) else Reply(error=NoHostAvailable("", {}), at_once=True)

    session = ScriptedSession(script, timeout=None)
    with make_executor(session, concurrency=1) as executor:
        pairs = [("s", (number,)) for number in range(count)]
        results = executor.execute(pairs, raise_on_first_error=False, buffersize=count)
        wait_until_quiet(executor, session)
        (first,) = session.pending
        drivers = threading.Thread(target=first.succeed)
        drivers.start()
        drivers.join()
        assert [result.success for result in results] == [True] + [False] * (count - 1)
    assert senders.total() == count
    assert senders[drivers] < count / 2


@any_executor
def test_a_run_may_come_while_the_runs_are_looked_at(make_executor: MakeExecutor) -> None:
    session = ScriptedSession(lambda statement, parameters: Reply(at_once=True))
    executor = make_executor(session, concurrency=5)
    others: list[threading.Thread] = []

    class LookedAt(WeakSet[Any]):
        def __iter__(self) -> Iterator[Any]:
            for each in super().__iter__():
                if not others:
                    others.append(threading.Thread(target=lambda: executor.execute(PAIRS).all()))
                    others[0].start()
                    others[0].join(0.05)  # it has been here, or waits for us
                yield each

    executor._runs = LookedAt()
    kept = [executor.execute(PAIRS) for _ in range(3)]
    assert executor.statistics().runs >= len(kept)
    others[0].join()
    for results in kept:
        assert len(results.all()) == len(PAIRS)
