"""On a real server: what is sent again does not overwrite what is newer, and keys keep order.

A server that is slow or dead can't be told to lose exactly one answer, so here the answer to the
first attempt is withheld on our side: the write itself reaches the server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest
from cassandra import OperationTimedOut

from concurrent_exec import BatchExecutor, DirectExecutor, Executor, FailedAttempt, NoKeyError
from concurrent_exec.drivers import partition_key
from concurrent_exec.drivers.direct import open_wire
from concurrent_exec.model import Sending
from tests.executors import any_executor, process_executor

MakeExecutor = Callable[..., Executor[Any]]


class Again:
    """Sends each statement once more, after what the test does in between."""

    def __init__(self, between: Callable[[], object]) -> None:
        self.between = between

    def delay(self, failed: FailedAttempt) -> float | None:
        if failed.attempts > 1:
            return None
        self.between()
        return 0.0


class Losing:
    """A session that loses the answer to the first write that goes through it."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def execute_async(self, *args: Any, **options: Any) -> Any:
        future = self._session.execute_async(*args, **options)
        if self.lost:
            return future
        self.lost = True
        future.result()
        return Lost()

    def open_wire(self, clock: Any) -> Any:
        return LosingWire(self, open_wire(self._session, clock))


class LosingWire:
    """The same for what is sent straight onto the session's connections."""

    def __init__(self, session: Losing, wire: Any) -> None:
        self._session = session
        self._wire = wire
        self.close = wire.close

    def send(self, jobs: Any, on_answers: Any) -> Any:
        return self._wire.send(jobs, self._losing(on_answers))

    def begin(self, writes: Any, on_answers: Any) -> Any:
        return self._wire.begin(writes, self._losing(on_answers))

    def _losing(self, on_answers: Any) -> Any:
        def lose_the_first(succeeded: Any, failed: Any) -> None:
            if succeeded and not self._session.lost:
                self._session.lost = True
                (job, _), *succeeded = succeeded
                failed = [*failed, (job, OperationTimedOut())]
            # Not on the driver's I/O thread: the test waits for an answer in between.
            Thread(target=on_answers, args=(succeeded, failed)).start()

        return lose_the_first


class Lost:
    """A response future whose answer never came."""

    def add_callbacks(
        self, callback: Any, errback: Any, callback_args: Any = (), *, errback_args: Any = ()
    ) -> None:
        errback(OperationTimedOut(), *errback_args)

    def clear_callbacks(self) -> None: ...

    def result(self) -> Any:
        raise OperationTimedOut


@pytest.fixture
def table(session: Any) -> Iterator[str]:
    name = "rewrites"
    session.execute(f"CREATE TABLE IF NOT EXISTS {name} (k int, c int, v int, PRIMARY KEY (k, c))")
    yield name
    session.execute(f"TRUNCATE {name}")


def value(session: Any, table: str, key: int) -> Any:
    return session.execute(f"SELECT v FROM {table} WHERE k = {key} AND c = 0").one()[0]


@any_executor
@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("prepared", [True, False])
def test_a_newer_write_stays(
    make_executor: MakeExecutor, session: Any, table: str, keeps: bool, prepared: bool
) -> None:
    """Without the first timestamp it does not, which is what it is kept for."""
    newer = session.prepare(f"INSERT INTO {table} (k, c, v) VALUES (?, 0, ?)")
    older = newer if prepared else f"INSERT INTO {table} (k, c, v) VALUES (%s, 0, %s)"
    losing = Losing(session)
    with make_executor(losing, retry=Again(lambda: session.execute(newer, (1, 2)))) as executor:
        if not keeps:
            executor._keep_timestamps(Sending({}, executor._retry, assume_idempotent=False))
            timestamps = executor._timestamps
            assert (timestamps is None) == (make_executor is process_executor)
            if timestamps is not None:
                timestamps.close()
        assert executor.map(older, [(1, 1)]).all()[0].success
    # None of these needs a listener in this process.
    by_wire = prepared and isinstance(executor, DirectExecutor | BatchExecutor)
    kept = keeps or by_wire or make_executor is process_executor
    assert value(session, table, 1) == (2 if kept else 1)


@any_executor
def test_a_timestamp_in_the_text_is_the_one_that_counts(
    make_executor: MakeExecutor, session: Any, table: str
) -> None:
    newer = session.prepare(f"INSERT INTO {table} (k, c, v) VALUES (?, 0, ?) USING TIMESTAMP 1000")
    older = session.prepare(f"INSERT INTO {table} (k, c, v) VALUES (?, 0, ?) USING TIMESTAMP 2000")
    losing = Losing(session)
    with make_executor(losing, retry=Again(lambda: session.execute(newer, (2, 2)))) as executor:
        executor.map(older, [(2, 1)]).all()
    assert value(session, table, 2) == 1


@any_executor
def test_the_listener_is_gone_after_shutdown(make_executor: MakeExecutor, session: Any) -> None:
    before = list(session._request_init_callbacks)
    with make_executor(session, retry=Again(lambda: None)) as executor:
        executor.map("SELECT key FROM system.local", [None, None]).all()
        assert len(session._request_init_callbacks) == len(before) + 1
    assert list(session._request_init_callbacks) == before


@any_executor
def test_statements_of_one_partition_keep_their_order(
    make_executor: MakeExecutor, session: Any
) -> None:
    """The server puts what is appended to a list in the order of arrival."""
    session.execute("CREATE TABLE IF NOT EXISTS rewrites_list (k int PRIMARY KEY, l list<int>)")
    session.execute("TRUNCATE rewrites_list")
    write = session.prepare("UPDATE rewrites_list SET l = l + ? WHERE k = ?")
    rows = [([number], number % 7) for number in range(700)]
    with make_executor(session, concurrency=50) as executor:
        executor.map(write, rows, order_by="partition_key").all()
    for key, numbers in session.execute("SELECT k, l FROM rewrites_list"):
        assert numbers == list(range(key, 700, 7))


@any_executor
def test_different_tables_have_different_keys(make_executor: MakeExecutor, session: Any) -> None:
    session.execute("CREATE TABLE IF NOT EXISTS rewrites_b (k int PRIMARY KEY, v int)")
    session.execute("CREATE TABLE IF NOT EXISTS rewrites_c (k int PRIMARY KEY, v int)")
    first = session.prepare("UPDATE rewrites_b SET v = ? WHERE k = ?")
    second = session.prepare("SELECT v FROM rewrites_b WHERE k = ?")
    third = session.prepare("SELECT v FROM rewrites_c WHERE k = ?")
    assert partition_key(first, (1, 5)) == partition_key(second, (5,))
    assert partition_key(first.bind((1, 5)), None) == partition_key(second, (5,))
    assert partition_key(second, (5,)) != partition_key(third, (5,))
    assert partition_key(second, (5,)) != partition_key(second, (6,))
    assert partition_key(second, ("no number",)) != partition_key(second, ("no number",))
    scan = session.prepare("SELECT v FROM rewrites_b")
    with (
        make_executor(session) as executor,
        pytest.raises(NoKeyError, match="partition key is not known"),
    ):
        executor.map(scan, [()], order_by="partition_key").all()
