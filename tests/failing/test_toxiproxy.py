"""A network that fails between us and a real Cassandra, in the middle of a long run of writes.

What was reported as written is there with its value; what is not there was reported as failed; no
result is lost or doubled.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from cassandra import OperationTimedOut
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.marshal import int32_unpack
from cassandra.query import BatchStatement, PreparedStatement

from concurrent_exec import DirectExecutor, ExecutionResult, Results, Retry, RunStatistics
from concurrent_exec.connect import ConnectionOptions
from concurrent_exec.drivers.direct import connections
from concurrent_exec.drivers.direct.batches import BatchPlan
from tests.conftest import PROOF
from tests.executors import IN_ONE_PROCESS
from tests.failing.toxiproxy import Way
from tests.integration.support import MakeExecutor, Rows, session_through, wait_for
from tests.tls import Certificate
from tests.ways import SOME_WAYS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1_800 if PROOF else 400)]

COUNT = 100_000 if PROOF else 2_000
"""How many writes at least."""
CUT = 5.0 if PROOF else 0.7
"""Seconds that there is no way at all."""
TIMEOUT = 0.5
"""Seconds that a statement may take."""
MANY, FEW = (COUNT // 10, COUNT // 250)
"""How many writes come between two troubles, and at a time during one."""
PATIENCE = 600.0 if PROOF else 300.0
"""Seconds that the others may take to come to the next trouble."""
SOON = 100.0
"""Seconds in which a trouble must be felt by all, and be over: much less than that patience."""


# ---- what happens on the way; each returns when it is over ----

Felt = Callable[[], Sequence[int]]
"""How many attempts of each run have failed so far."""


@contextmanager
def until_felt(felt: Felt) -> Iterator[None]:
    """However busy the machine, a trouble lasts until it has done harm to every run."""
    before = felt()
    yield
    wait_for(lambda: all(now > then for now, then in zip(felt(), before, strict=True)), SOON)


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


class Weather:
    """The troubles, one after another; each begins when all runs have come to it."""

    def __init__(self, sessions: Sequence[Any], way: Way, runs: int) -> None:
        self._sessions = sessions
        self._way = way
        self.felt: Felt = tuple
        """Told by the test, which has the results only once they are under way."""
        self.ready = threading.Event()
        """Set once it has been told."""
        self.harm: dict[str, list[int]] = {}
        """How many attempts of each run failed by each trouble."""
        self._troubles = iter(TROUBLES)
        self._before = threading.Barrier(runs, self._begin)
        self._after = threading.Barrier(runs, self._end)
        self._thread = threading.Thread()

    def writes(self, run: uuid.UUID) -> Writes:
        """Return the input of a run."""
        return Writes(self, run)

    def trouble(self) -> Iterator[None]:
        """Wait for the next trouble; yield now and then until it is over and all is calm again."""
        self._before.wait(PATIENCE)
        while self._thread.is_alive():
            yield
            time.sleep(0.02)
        self._after.wait(PATIENCE)

    def _begin(self) -> None:
        assert self.ready.wait(PATIENCE)
        self._felt_before = self.felt()
        self._trouble = next(self._troubles)
        self._thread = threading.Thread(target=self._trouble, args=(self._way, self.felt))
        self._thread.start()

    def _end(self) -> None:
        self._wait_until_calm()
        pairs = zip(self.felt(), self._felt_before, strict=True)
        self.harm[self._trouble.__name__] = [now - then for now, then in pairs]

    def _wait_until_calm(self) -> None:
        """Return when every session has been of use for a while.

        Not at the first answer: it may learn later of connections that broke, and then makes anew
        those that it has just made.
        """
        answers = 0

        def calm() -> bool:
            nonlocal answers
            try:
                for session in self._sessions:
                    session.execute("SELECT key FROM system.local", timeout=TIMEOUT)
            except (NoHostAvailable, OperationTimedOut, ConnectionException):
                answers = 0
            else:
                answers += 1
                time.sleep(0.05)
            return answers == 3

        wait_for(calm, SOON)


class Writes:
    """The input of a run: writes that come while all is well and while it is not, by turns."""

    def __init__(self, weather: Weather, run: uuid.UUID) -> None:
        self._weather = weather
        self._run = run
        self.count = 0
        """How many have come."""
        self.after = range(0)
        """Those that came when all was over."""

    def __iter__(self) -> Iterator[tuple[uuid.UUID, int, str]]:
        for _ in TROUBLES:
            yield from self._some(MANY)
            for _ in self._weather.trouble():
                yield from self._some(FEW)
        first = self.count
        yield from self._some(max(MANY, COUNT - first))
        self.after = range(first, self.count)

    def _some(self, count: int) -> Iterator[tuple[uuid.UUID, int, str]]:
        for key in range(self.count, self.count + count):
            self.count += 1
            yield self._run, key, f"value {key}"


Counts = dict[uuid.UUID, Counter[int]]
"""By run, how often each key was handed over."""


@contextmanager
def handed_over(sessions: Sequence[Any]) -> Iterator[Counts]:
    """Count how often each key is given to a session within the block, or to its connections.

    Not by a listener of the session's: for a session that has one, DirectExecutor leaves the
    connections alone.
    """
    counted: Counts = defaultdict(Counter)
    lock = threading.Lock()
    send = connections.send

    def count(statements: Iterable[Any]) -> None:
        with lock:
            for run, key, _ in statements:
                counted[uuid.UUID(bytes=run)][int32_unpack(key)] += 1

    def count_batch(batch: BatchStatement) -> None:
        count(values for _, _, values in batch._statements_and_parameters)

    def counting_execute_async(
        execute_async: Any, statement: Any, *arguments: Any, **options: Any
    ) -> Any:
        if isinstance(statement, BatchStatement):
            count_batch(statement)
        elif isinstance(statement, PreparedStatement):
            count([statement.bind(arguments[0]).values])
        return execute_async(statement, *arguments, **options)

    def counting_send(connection: Any, requests: Any, decode: Any) -> int:
        sent = send(connection, requests, decode)
        for request in requests[:sent]:
            if isinstance(request.plan, BatchPlan):
                count_batch(request.message.statement)
            else:
                count([request.plan.values(request.body)])
        return sent

    with pytest.MonkeyPatch.context() as patch:
        for session in sessions:
            counting = partial(counting_execute_async, session.execute_async)
            patch.setattr(session, "execute_async", counting)
        patch.setattr(connections, "send", counting_send)
        yield counted


Contenders = dict[str, tuple[Any, MakeExecutor]]
"""Sessions over the way that fails, and no other, and what sends over them."""


@pytest.fixture
def contenders(
    way: Way, cassandra: ConnectionOptions, keyspace: str, certificate: Certificate
) -> Iterator[Contenders]:
    """Every executor as the driver talks by itself, and DirectExecutor as it talks otherwise."""
    with ExitStack() as sessions:

        def over(**arguments: Any) -> Any:
            session = sessions.enter_context(
                session_through(way, cassandra, keyspace, timeout=2.0, **arguments)
            )
            # A connection tried in the silence shall not hold up for long those that come after.
            session.cluster.connect_timeout = 1.0
            return session

        own = over()
        found: Contenders = {name: (own, make) for name, make in IN_ONE_PROCESS.items()}
        for name, talk in SOME_WAYS.items():
            found[f"direct, {name}"] = over(**talk.arguments(certificate)), DirectExecutor
        yield found


@dataclass(frozen=True)
class Trial:
    """A run of one executor."""

    name: str
    rows: Rows
    writes: Writes
    stream: Results[Any]
    results: Future[list[ExecutionResult[Any]]]

    def check_written(self, session: Any, failed: set[int]) -> set[int]:
        """What was not reported as failed is there, and nothing else than was to be written.

        Returns which of those that failed are there all the same.
        """
        written, count = self.rows.written(session), self.writes.count
        assert written.keys() >= set(range(count)) - failed
        assert written.items() <= {key: f"value {key}" for key in range(count)}.items()
        return written.keys() & failed


@contextmanager
def trials(
    contenders: Contenders,
    way: Way,
    table: str,
    felt: Callable[[RunStatistics], int],
    **options: Any,
) -> Iterator[tuple[list[Trial], Counts]]:
    """Let all of them write through the same troubles, and wait for the end of it all.

    felt: how many attempts have failed, by what a run counts.
    options: of the runs.
    """
    sessions = [session for session, _ in contenders.values()]
    sessions = list({id(session): session for session in sessions}.values())
    weather = Weather(sessions, way, len(contenders))
    # All before the first writes: on a busy machine the server has no time for it then.
    tables = {name: Rows(session, table) for name, (session, _) in contenders.items()}
    found = []
    with (
        handed_over(sessions) as counted,
        ThreadPoolExecutor(len(contenders)) as pool,
        ExitStack() as executors,
    ):
        for name, (session, make_executor) in contenders.items():
            executor = executors.enter_context(make_executor(session))
            rows = tables[name]
            writes = weather.writes(rows.run)
            stream = executor.map(rows.insert, writes, timeout=TIMEOUT, **options)
            found.append(Trial(name, rows, writes, stream, pool.submit(list, stream)))
        weather.felt = lambda: [felt(trial.stream.statistics()) for trial in found]
        weather.ready.set()
        wait([trial.results for trial in found])
        errors = [error for trial in found if (error := trial.results.exception()) is not None]
        for error in errors:
            if not isinstance(error, threading.BrokenBarrierError):  # as the others have of it
                raise error
        yield found, counted
    assert weather.harm.keys() == {trouble.__name__ for trouble in TROUBLES}
    assert [harm for harms in weather.harm.values() for harm in harms if not harm] == []


def test_writes_without_retry(contenders: Contenders, way: Way, session: Any, table: str) -> None:
    with trials(contenders, way, table, lambda told: told.failed, raise_on_first_error=False) as (
        found,
        counted,
    ):
        for trial in found:
            check_without_retry(trial, counted[trial.rows.run], session)


def check_without_retry(trial: Trial, counted: Counter[int], session: Any) -> None:
    count, results, told = trial.writes.count, trial.results.result(), trial.stream.statistics()
    assert len(results) == count >= COUNT
    failed = {}
    for key, result in enumerate(results):
        if not result.success:
            assert (result.index, result.attempts) == (key, 1)
            assert result.parameters == (trial.rows.run, key, f"value {key}")
            failed[key] = result.result_or_exc
    assert (told.succeeded, told.failed, told.in_flight) == (count - len(failed), len(failed), 0)
    assert counted == dict.fromkeys(range(count), 1)
    kinds = (OperationTimedOut, NoHostAvailable, ConnectionException)
    assert [exc for exc in failed.values() if not isinstance(exc, kinds)] == []
    assert set(trial.writes.after) - failed.keys()

    # Requests were lost, and answers: of two that timed out one is there, the other is not.
    there = trial.check_written(session, set(failed))
    timed_out = {key for key, exc in failed.items() if isinstance(exc, OperationTimedOut)}
    assert timed_out & there
    assert timed_out - there


def test_writes_with_retry(contenders: Contenders, way: Way, session: Any, table: str) -> None:
    # Enough for whatever the troubles last on a busy machine.
    retry = Retry(max_attempts=1000, initial_backoff=0.1, max_backoff=0.5)
    with trials(
        contenders, way, table, lambda told: told.retries, retry=retry, assume_idempotent=True
    ) as (found, counted):
        for trial in found:
            check_with_retry(trial, counted[trial.rows.run], session)


def check_with_retry(trial: Trial, counted: Counter[int], session: Any) -> None:
    count, results, told = trial.writes.count, trial.results.result(), trial.stream.statistics()
    assert [result.success for result in results] == [True] * count
    assert (told.succeeded, told.failed, told.in_flight) == (count, 0, 0)
    assert counted.keys() == set(range(count))
    assert counted.total() == count + told.retries
    trial.check_written(session, set())
