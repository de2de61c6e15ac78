"""A network that fails between us and a real Cassandra, in the middle of a long run of writes.

What was reported as written is there with its value; what is not there was reported as failed; no
result is lost or doubled.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cassandra import OperationTimedOut
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.marshal import int32_unpack
from cassandra.query import BatchStatement, PreparedStatement

from concurrent_exec import Retry
from concurrent_exec.connect import ConnectionOptions
from concurrent_exec.drivers.direct import connections
from tests.conftest import PROOF
from tests.executors import any_executor
from tests.failing.toxiproxy import Way
from tests.integration.support import MakeExecutor, Rows, session_through, wait_for

pytestmark = pytest.mark.cluster

COUNT = 100_000 if PROOF else 2_000
"""How many writes at least."""
CUT = 5.0 if PROOF else 0.7
"""Seconds that there is no way at all."""
TIMEOUT = 0.5
"""Seconds that a statement may take."""
MANY, FEW = (COUNT // 10, COUNT // 250)
"""How many writes come between two troubles, and at a time during one."""


# ---- what happens on the way; each returns when it is over ----

Felt = Callable[[], int]
"""How many attempts have failed so far."""


@contextmanager
def until_felt(felt: Felt) -> Iterator[None]:
    """However busy the machine, a trouble lasts until it has done harm."""
    before = felt()
    yield
    wait_for(lambda: felt() > before)


def spikes(way: Way, felt: Felt) -> None:
    """Answers come late, but in time; then later than a statement may take."""
    with way.latency(100, jitter=50):
        time.sleep(0.2)
    with way.latency(int(TIMEOUT * 2000)), until_felt(felt):
        time.sleep(TIMEOUT)


def resets(way: Way, felt: Felt) -> None:
    """Connections are reset, again and again."""
    for _ in range(2):
        with way.resets(), until_felt(felt):
            time.sleep(0.1)
        time.sleep(0.2)


def cut(way: Way, felt: Felt) -> None:
    """The node can't be reached at all."""
    with way.cut(), until_felt(felt):
        time.sleep(CUT)


def lost_requests(way: Way, felt: Felt) -> None:
    """Connections stay open, but what is sent on them gets nowhere."""
    with way.silence("upstream"), until_felt(felt):
        time.sleep(TIMEOUT)


def lost_answers(way: Way, felt: Felt) -> None:
    """Connections stay open, but only one way: what is sent is done, and no answer comes."""
    with way.silence("downstream"), until_felt(felt):
        time.sleep(TIMEOUT)


TROUBLES: list[Callable[[Way, Felt], None]] = [spikes, resets, cut, lost_requests, lost_answers]


class Writes:
    """The input: writes that come while all is well and while it is not, by turns."""

    def __init__(self, session: Any, way: Way, run: uuid.UUID) -> None:
        self._session = session
        self._way = way
        self._run = run
        self.felt: Felt = lambda: 0
        """Told by the test, which has the results only once they are under way."""
        self.count = 0
        """How many have come."""
        self.harm: dict[str, int] = {}
        """How many attempts failed by each trouble."""
        self.after = range(0)
        """Those that came when all was over."""

    def __iter__(self) -> Iterator[tuple[uuid.UUID, int, str]]:
        for trouble in TROUBLES:
            yield from self._some(MANY)
            before = self.felt()
            # Asked for anew each time: the input may be at work before the test has told it.
            thread = threading.Thread(target=trouble, args=(self._way, lambda: self.felt()))
            thread.start()
            while thread.is_alive():
                yield from self._some(FEW)
                time.sleep(0.02)
            thread.join()
            self._wait_until_calm()
            self.harm[trouble.__name__] = self.felt() - before
        first = self.count
        yield from self._some(max(MANY, COUNT - first))
        self.after = range(first, self.count)

    def _some(self, count: int) -> Iterator[tuple[uuid.UUID, int, str]]:
        for key in range(self.count, self.count + count):
            self.count += 1
            yield self._run, key, f"value {key}"

    def _wait_until_calm(self) -> None:
        """Return when the driver has been of use for a while.

        Not at the first answer: it may learn later of connections that broke, and then makes anew
        those that it has just made.
        """
        answers = 0

        def calm() -> bool:
            nonlocal answers
            try:
                self._session.execute("SELECT key FROM system.local", timeout=TIMEOUT)
            except (NoHostAvailable, OperationTimedOut, ConnectionException):
                answers = 0
            else:
                answers += 1
                time.sleep(0.05)
            return answers == 3

        wait_for(calm, 60)


@contextmanager
def handed_over(session: Any) -> Iterator[Counter[int]]:
    """Count how often each key is given to the session within the block, or to its connections.

    Not by a listener of the session's: for a session that has one, DirectExecutor leaves the
    connections alone.
    """
    counted: Counter[int] = Counter()
    lock = threading.Lock()
    execute_async, send = session.execute_async, connections.send

    def count(statements: Iterable[Any]) -> None:
        with lock:
            counted.update(int32_unpack(values[1]) for values in statements)

    def counting_execute_async(statement: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(statement, BatchStatement):
            count(values for _, _, values in statement._statements_and_parameters)
        elif isinstance(statement, PreparedStatement):
            count([statement.bind(arguments[0]).values])
        return execute_async(statement, *arguments, **options)

    def counting_send(connection: Any, requests: Any, decode: Any) -> int:
        sent = send(connection, requests, decode)
        count(request.plan.values(request.body) for request in requests[:sent])
        return sent

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "execute_async", counting_execute_async)
        patch.setattr(connections, "send", counting_send)
        yield counted


@pytest.fixture
def own(way: Way, cassandra: ConnectionOptions, keyspace: str) -> Iterator[Any]:
    """A session over the way that fails, and no other."""
    with session_through(way, cassandra, keyspace) as session:
        # A connection tried in the silence shall not hold up for long those that come after.
        session.cluster.connect_timeout = 1.0
        yield session


def check_written(rows: Rows, writes: Writes, failed: set[int]) -> set[int]:
    """What was not reported as failed is there, and nothing else than was to be written.

    Returns which of those that failed are there all the same.
    """
    written = rows.written()
    assert written.keys() >= set(range(writes.count)) - failed
    assert written.items() <= {key: f"value {key}" for key in range(writes.count)}.items()
    return written.keys() & failed


@any_executor
def test_writes_without_retry(make_executor: MakeExecutor, own: Any, way: Way, rows: Rows) -> None:
    insert = own.prepare(rows.insert.query_string)
    writes = Writes(own, way, rows.run)
    with handed_over(own) as counted, make_executor(own) as executor:
        stream = executor.map(insert, writes, raise_on_first_error=False, timeout=TIMEOUT)
        writes.felt = lambda: stream.statistics().failed
        results = list(stream)
        told = stream.statistics()

    assert counted == dict.fromkeys(range(writes.count), 1)
    assert len(results) == writes.count >= COUNT
    failed = {}
    for key, result in enumerate(results):
        if not result.success:
            assert (result.index, result.attempts) == (key, 1)
            assert result.parameters == (rows.run, key, f"value {key}")
            failed[key] = result.result_or_exc
    assert (told.succeeded, told.failed, told.in_flight) == (
        len(results) - len(failed),
        len(failed),
        0,
    )
    kinds = (OperationTimedOut, NoHostAvailable, ConnectionException)
    assert [exc for exc in failed.values() if not isinstance(exc, kinds)] == []
    assert [bool(harm) for harm in writes.harm.values()] == [True] * len(TROUBLES)
    assert set(writes.after) - failed.keys()

    # Requests were lost, and answers: of two that timed out one is there, the other is not.
    there = check_written(rows, writes, set(failed))
    timed_out = {key for key, exc in failed.items() if isinstance(exc, OperationTimedOut)}
    assert timed_out & there
    assert timed_out - there


@any_executor
def test_writes_with_retry(make_executor: MakeExecutor, own: Any, way: Way, rows: Rows) -> None:
    insert = own.prepare(rows.insert.query_string)
    insert.is_idempotent = True
    writes = Writes(own, way, rows.run)
    # Enough for whatever the troubles last on a busy machine.
    retry = Retry(max_attempts=1000, initial_backoff=0.1, max_backoff=0.5)
    with handed_over(own) as counted, make_executor(own, retry=retry) as executor:
        stream = executor.map(insert, writes, timeout=TIMEOUT)
        writes.felt = lambda: stream.statistics().retries
        results = list(stream)
        told = stream.statistics()

    assert [result.success for result in results] == [True] * writes.count
    assert (told.succeeded, told.failed, told.in_flight) == (writes.count, 0, 0)
    assert counted.keys() == set(range(writes.count))
    assert counted.total() == writes.count + told.retries
    assert [bool(harm) for harm in writes.harm.values()] == [True] * len(TROUBLES)
    check_written(rows, writes, set())
