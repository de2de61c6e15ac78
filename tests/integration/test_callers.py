"""Callers who use the session meanwhile, as consumer or as input, and many callers at once."""

from __future__ import annotations

import itertools
import queue
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cassandra.query import SimpleStatement

from tests.executors import any_executor
from tests.integration.support import MakeExecutor, Requests, Rows, values, wait_for

pytestmark = pytest.mark.cluster

COUNT = 200


# ---- who uses the session meanwhile ----


@any_executor
@pytest.mark.parametrize("form", ["in order", "as completed"])
def test_a_consumer_may_query_the_session(
    make_executor: MakeExecutor, form: str, session: Any, rows: Rows
) -> None:
    with make_executor(session, concurrency=20) as executor:
        results = executor.map(rows.insert, iter(rows.parameters(COUNT)))
        pairs = enumerate(results) if form == "in order" else results.as_completed()
        seen = set()
        for index, result in pairs:
            assert result.success
            assert session.execute(rows.select, (rows.run, index)).one().value == f"value {index}"
            seen.add(index)
        assert seen == set(range(COUNT))


@any_executor
@pytest.mark.parametrize("feeder", ["thread", "caller"])
@pytest.mark.parametrize("form", ["stream", "list"])
def test_an_input_may_query_the_session(
    make_executor: MakeExecutor, form: str, feeder: Any, session: Any, rows: Rows
) -> None:
    count = 100
    rows.fill(count)

    def copies() -> Iterator[Any]:
        for key in range(count):
            found = session.execute(rows.select, (rows.run, key)).one()
            yield rows.run, key + count, found.value

    with make_executor(session, concurrency=20) as executor:
        results = executor.map(rows.insert, copies(), feeder=feeder)
        outcomes = results.all() if form == "list" else list(results)
    assert len(outcomes) == count
    written = rows.written()
    assert len(written) == 2 * count
    assert all(written[key + count] == f"value {key}" for key in range(count))


@any_executor
@pytest.mark.parametrize("feeder", ["thread", "caller"])
@pytest.mark.parametrize("form", ["stream", "list"])
def test_a_paged_select_may_be_the_input(
    make_executor: MakeExecutor, form: str, feeder: Any, session: Any, rows: Rows
) -> None:
    rows.fill(COUNT)
    select = SimpleStatement(f"SELECT run, key FROM {rows.table} WHERE run = %s", fetch_size=20)
    with make_executor(session, concurrency=10) as executor:
        keys = session.execute(select, (rows.run,))
        assert keys.has_more_pages
        results = executor.map(rows.select, keys, feeder=feeder, buffersize=15)
        outcomes = results.all() if form == "list" else list(results)
    assert values(outcomes) == [f"value {key}" for key in range(COUNT)]


@any_executor
def test_a_run_may_be_the_input_of_another(
    make_executor: MakeExecutor, session: Any, rows: Rows
) -> None:
    """Both on one executor, with fewer permits than statements wait, and pages in between."""
    rows.fill(COUNT)
    select = session.prepare(f"SELECT run, key FROM {rows.table} WHERE run = ? AND key >= ?")
    select.fetch_size = 10
    with make_executor(session, concurrency=2) as executor:
        found = executor.map(select, iter([(rows.run, start) for start in range(0, COUNT, 100)]))
        keys = (
            row for result in found for row in result.unwrap() if row.key % 100 == row.key // 100
        )
        results = list(executor.map(rows.select, keys))
    expected = [
        f"value {key}"
        for start in range(0, COUNT, 100)
        for key in range(start, COUNT)
        if key % 100 == key // 100
    ]
    assert values(results) == expected


@any_executor
def test_an_input_may_be_fed_from_the_runs_own_results(
    make_executor: MakeExecutor, session: Any, rows: Rows
) -> None:
    """It walks a chain of keys: each row that is read says which to read next."""
    chain = [(rows.run, key, str((key * 7 + 1) % COUNT)) for key in range(COUNT)]
    todo: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with make_executor(session) as executor:
        executor.map(rows.insert, chain).all()
        todo.put((rows.run, 0))
        seen = [0]
        for result in executor.map(rows.select, iter(todo.get, None)):
            following = int(result.unwrap().one().value)
            seen.append(following)
            todo.put((rows.run, following) if len(seen) <= COUNT else None)
    for key, following in itertools.pairwise(seen):
        assert following == (key * 7 + 1) % COUNT
    assert len(seen) == COUNT + 1


@pytest.fixture
def cursor() -> Iterator[sqlite3.Cursor]:
    """COUNT keys in a database whose cursor may be used by this thread only."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE keys (key INTEGER)")
    connection.executemany("INSERT INTO keys VALUES (?)", [(key,) for key in range(COUNT)])
    yield connection.execute("SELECT key FROM keys ORDER BY key")
    connection.close()


@any_executor
@pytest.mark.parametrize("form", ["stream", "list", "as completed"])
def test_an_input_bound_to_its_thread(
    make_executor: MakeExecutor, form: str, session: Any, rows: Rows, cursor: sqlite3.Cursor
) -> None:
    parameters = ((rows.run, key, f"value {key}") for (key,) in cursor)
    with make_executor(session, concurrency=20) as executor:
        results = executor.map(rows.insert, parameters, feeder="caller")
        if form == "as completed":
            assert {index for index, _ in results.as_completed()} == set(range(COUNT))
        else:
            assert len(results.all() if form == "list" else list(results)) == COUNT
    assert rows.written() == {key: f"value {key}" for key in range(COUNT)}


@any_executor
def test_an_input_bound_to_another_thread_says_so(
    make_executor: MakeExecutor, session: Any, rows: Rows, cursor: sqlite3.Cursor
) -> None:
    """That the test before this one shows something."""
    parameters = ((rows.run, key, f"value {key}") for (key,) in cursor)
    with make_executor(session) as executor:
        results = executor.map(rows.insert, parameters)
        with pytest.raises(sqlite3.ProgrammingError, match="thread"):
            list(results)
    assert rows.written() == {}


# ---- many callers ----


class Callers:
    """Functions that run at once, each in a thread; leaving the block waits for all of them."""

    def __init__(self) -> None:
        self.problems: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def start(self, call: Callable[..., object], *args: object) -> None:
        def run() -> None:
            try:
                call(*args)
            except BaseException as exc:
                self.problems.append(exc)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def __enter__(self) -> Callers:
        return self

    def __exit__(self, *exc: object) -> None:
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)
        if self.problems:
            raise self.problems[0]


@any_executor
@pytest.mark.parametrize("concurrency", [1, 6])
def test_all_callers_together_keep_to_the_limit(
    make_executor: MakeExecutor, concurrency: int, session: Any, rows: Rows
) -> None:
    rows.fill(COUNT)
    expected = [f"value {key}" for key in range(COUNT)]
    told: list[int] = []
    over = threading.Event()

    def stream(source: Any) -> None:
        assert values(executor.map(rows.select, source)) == expected

    def whole(source: Any) -> None:
        assert values(executor.map(rows.select, source, feeder="caller").all()) == expected

    def submits() -> None:
        futures = [executor.submit(rows.select, key) for key in rows.keys(COUNT)]
        assert [future.result(60).one().value for future in futures] == expected

    def observe() -> None:
        while not over.wait(0.001):
            told.append(executor.statistics().in_flight)

    with Requests(session) as requests, make_executor(session, concurrency=concurrency) as executor:
        observer = threading.Thread(target=observe)
        observer.start()
        with Callers() as callers:
            callers.start(stream, rows.keys(COUNT))
            callers.start(stream, iter(rows.keys(COUNT)))
            callers.start(whole, rows.keys(COUNT))
            callers.start(whole, iter(rows.keys(COUNT)))
            callers.start(submits)
            callers.start(submits)
        over.set()
        observer.join()
        statistics = executor.statistics()
        assert (statistics.in_flight, statistics.queued, statistics.runs) == (0, 0, 0)
    assert len(requests.messages) == 6 * COUNT
    assert requests.most_in_flight == concurrency  # and what may be used was used
    assert max(told) <= concurrency


@any_executor
def test_a_run_whose_consumer_sleeps_starves_nobody(
    make_executor: MakeExecutor, session: Any, rows: Rows
) -> None:
    rows.fill(COUNT)
    expected = [f"value {key}" for key in range(COUNT)]
    with make_executor(session, concurrency=4) as executor:
        asleep = executor.map(rows.select, rows.keys(COUNT), buffersize=10)
        also_asleep = executor.map(rows.select, iter(rows.keys(COUNT)), buffersize=10)
        # Soon they hold as much as they may, and can go on only if somebody reads them.
        wait_for(lambda: asleep.statistics().succeeded == 10)
        wait_for(lambda: also_asleep.statistics().succeeded == 10)
        assert values(executor.map(rows.select, rows.keys(COUNT)).all()) == expected
        assert values(executor.map(rows.select, iter(rows.keys(COUNT)))) == expected
        assert executor.submit(rows.select, (rows.run, 1)).result(60).one().value == "value 1"
        for each in (asleep, also_asleep):
            told = each.statistics()
            assert (told.pulled, told.delivered) == (10, 0)
            assert values(each) == expected


@any_executor
def test_threads_share_one_results(make_executor: MakeExecutor, session: Any, rows: Rows) -> None:
    rows.fill(COUNT)
    read: queue.SimpleQueue[str] = queue.SimpleQueue()

    def consume() -> None:
        for value in values(results):
            read.put(value)

    with make_executor(session) as executor:
        results = executor.map(rows.select, iter(rows.keys(COUNT)))
        with Callers() as callers:
            for _ in range(4):
                callers.start(consume)
    found = [read.get() for _ in range(read.qsize())]
    assert sorted(found) == sorted(f"value {key}" for key in range(COUNT))


@any_executor
def test_two_executors_on_one_session(
    make_executor: MakeExecutor, session: Any, rows: Rows
) -> None:
    """Each has a limit of its own."""
    other = uuid.uuid4()
    others = [(other, key, value) for _, key, value in rows.parameters(COUNT)]
    with Requests(session) as requests:
        one, two = make_executor(session, concurrency=3), make_executor(session, concurrency=4)
        first = one.map(rows.insert, rows.parameters(COUNT))
        second = two.map(rows.insert, others)
        assert len(list(first)) == len(second.all()) == COUNT
    assert 4 <= requests.most_in_flight <= 7
    expected = {key: f"value {key}" for key in range(COUNT)}
    assert rows.written() == expected
    rows.run = other
    assert rows.written() == expected
