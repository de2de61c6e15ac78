"""Chunks that a test holds: when ProcessExecutor sends which, and what a worker does with one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor as Pool
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from cassandra import OperationTimedOut
from cassandra.cluster import ResultSet
from cassandra.query import SimpleStatement

from concurrent_exec import (
    CallbackExecutor,
    NotTransferableError,
    ProcessExecutor,
    Retry,
    ThreadExecutor,
    WorkerLostError,
)
from concurrent_exec.drivers.travelling import dumps, loads
from concurrent_exec.executors._chunks import Item, pack_outcomes, unpack_outcomes
from concurrent_exec.executors._worker import ANSWERED, NO_LIMIT, _Chunk, _Worker, forget
from concurrent_exec.run import Gate, succeed_all
from concurrent_exec.testing import Reply, ScriptedSession, VirtualClock
from tests.executors import Here, Threads, process_executor
from tests.integration.support import wait_for
from tests.test_processes import (
    Fate,
    Unreadable,
    Unwilling,
    a_session,
    prepared,
    refusing,
    wait_until_sent,
)


class Held(Pool):
    """Keeps what it is given until the test has it done; notes how it is shut down."""

    def __init__(self) -> None:
        self.given: list[tuple[Any, ...]] = []
        self.futures: list[Future[Any]] = []
        self.ended: list[bool] = []

    def submit(self, run: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        self.given.append((run, *arguments))
        self.futures.append(Future())
        return self.futures[-1]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.ended.append(wait)

    @property
    def stamps(self) -> list[list[int]]:
        """The timestamps of the statements of each chunk."""
        return [[item[-1] for item in loads(chunk)[2]] for *_, chunk in self.given]

    @property
    def sizes(self) -> list[int]:
        return [len(stamps) for stamps in self.stamps]

    def do(self, number: int) -> None:
        """Do what came with this number, here and now."""
        run, *arguments = self.given[number]
        self.futures[number].set_result(run(*arguments))


def held(session: Any = None, **options: Any) -> tuple[Held, Any]:
    """Return an executor whose chunks the test holds, and its pool."""
    pool = Held()
    options = {"chunksize": None, "clock": VirtualClock(), **options}
    return pool, process_executor(session or a_session(), pool=lambda: pool, **options)


def test_what_comes_while_something_is_in_flight_waits_for_more_to_travel_with() -> None:
    clock, pool, session = VirtualClock(), Held(), a_session()
    executor = ProcessExecutor[Any](
        Here(session), processes=2, pool=lambda: pool, concurrency=40, clock=clock
    )
    for _ in range(3):
        executor.submit("q")
    assert pool.sizes == [1]
    clock.advance(0.004)
    assert pool.sizes == [1]
    clock.advance(0.002)
    assert pool.sizes == [1, 2]
    for _ in range(10):  # as many as a chunk has: two for each process
        assert pool.sizes == [1, 2]
        executor.submit("q")
    assert pool.sizes == [1, 2, 10]


def test_a_chunk_has_one_statement_at_least() -> None:
    pool, executor = held(concurrency=2, processes=2)
    results = executor.map("q", [(1,), (2,)])
    assert pool.sizes == [1, 1]
    results.close()


def test_what_it_has_by_default() -> None:
    assert ProcessExecutor(refusing).statistics().concurrency == 1000


@pytest.mark.parametrize(("cores", "processes"), [(3, 3), (None, 1)])
def test_there_are_as_many_processes_as_cores_each_a_pool_of_its_own(
    cores: int | None, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, Held]] = []

    def local_pool(size: int) -> Held:
        made.append((size, Held()))
        return made[-1][1]

    monkeypatch.setattr("concurrent_exec.executors.pools.LocalPool", local_pool)
    monkeypatch.setattr("concurrent_exec.executors.processes.os.cpu_count", lambda: cores)
    session = a_session()
    executor = ProcessExecutor[Any](Here(session), chunksize=1, linger=0)
    futures = [executor.submit("q") for _ in range(2 * processes)]
    assert [(size, pool.sizes) for size, pool in made] == [(1, [1, 1])] * processes
    keys = {arguments[1] for _, pool in made for arguments in pool.given}
    for _, pool in made:
        pool.do(0)
        pool.do(1)
    assert all(future.done() for future in futures)
    executor.shutdown()
    for _, pool in made:
        assert pool.given[2:] == [(forget, *keys)]
        assert pool.ended == [True]


def test_dasks_pool_becomes_one_of_as_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run_once(pool: Pool, processes: int) -> Pool:
        asked.append((pool, processes))
        return Threads()

    monkeypatch.setattr("concurrent_exec.executors.processes.run_once", run_once)
    kind: Any = type("ClientExecutor", (Held,), {"__module__": "distributed.cfexecutor"})
    pool = kind()
    with process_executor(a_session(), pool=lambda: pool, processes=7) as executor:
        executor.submit("q").result(20)
    assert asked == [(pool, 7)]


def test_timestamps_rise_also_where_the_clock_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([7_000_500, 7_000_900])
    clock = SimpleNamespace(time_ns=lambda: next(times, 3_000_000))
    monkeypatch.setattr("concurrent_exec.executors.processes.time", clock)
    pool, executor = held(chunksize=2)
    results = executor.map("q", [(n,) for n in range(5)])
    assert pool.stamps == [[7000, 7001], [7002, 7003], [7004]]
    results.close()


def test_no_more_are_sent_in_a_second_than_was_said() -> None:
    clock = VirtualClock()
    pool, executor = held(max_per_second=0.1, clock=clock)
    for _ in range(2):
        executor.submit("q")
    assert pool.sizes == [1]
    clock.advance(20)
    assert pool.sizes == [1, 1]


def test_a_worker_is_told_from_the_first_retry_on_that_there_are_some() -> None:
    pool, executor = held()
    for options in ({}, {"retry": Retry()}, {}):
        executor.submit("q", **options)
    assert [arguments[3] for arguments in pool.given] == [False, True, True]


class Lent(Here):
    """Notes when a worker lets the session go."""

    def __call__(self) -> Any:
        return lend(self._sessions[self.number])


@contextmanager
def lend(session: Any) -> Iterator[Any]:
    session.lent += 1
    yield session
    session.let_go += 1


def test_two_executors_of_one_process_have_each_a_session_and_let_it_go() -> None:
    sessions: list[Any] = [a_session(), a_session()]
    executors = []
    for session in sessions:
        session.lent = session.let_go = 0
        executors.append(ProcessExecutor[Any](Lent(session), pool=Threads, chunksize=1))
    for executor in executors * 2:
        executor.submit("q").result(20)
    assert [(session.lent, session.sent) for session in sessions] == [(1, 2)] * 2
    for executor in executors:
        executor.shutdown()
    assert [session.let_go for session in sessions] == [1, 1]


def test_a_shutdown_ends_the_pool_once_all_is_answered() -> None:
    pool, executor = held()
    future = executor.submit("q")
    stopping = threading.Thread(target=executor.shutdown)
    stopping.start()
    wait_for(lambda: pool.ended or executor._gate.idle.tickets)
    assert not pool.ended
    pool.do(0)
    stopping.join(20)
    assert pool.ended == [True]
    assert future.done()


@pytest.mark.parametrize("options", [{}, {"cancel_futures": True}])
def test_a_shutdown_cancels_what_was_not_sent_if_asked_to(options: Any) -> None:
    pool, executor = held(concurrency=1)
    first, second = (executor.submit("q") for _ in range(2))
    executor.shutdown(wait=False, **options)
    pool.do(0)
    assert first.done()
    assert second.cancelled() == bool(options)
    if not options:
        pool.do(1)
        second.result(0)
    assert pool.ended == [False]


class Stop(BaseException):
    """What ends whom it reaches."""


@pytest.mark.parametrize("how", ["error", "interrupt", "late"])
def test_what_comes_meanwhile_from_another_thread_is_sent(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the one that sends is ended, interrupted, or has just found that there is no more."""
    others: list[threading.Thread] = []

    def another() -> None:
        if not others:
            others.append(threading.Thread(target=executor.submit, args=("another",)))
            others[0].start()
            others[0].join()

    class Struck(Held):
        def submit(self, run: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
            if how != "late" and not others:
                another()
                if how == "error":
                    raise Stop
                signal.raise_signal(signal.SIGINT)
            return super().submit(run, *arguments, **named)

    clock, pool = VirtualClock(), Struck()
    executor: Any = process_executor(a_session(), pool=lambda: pool, clock=clock)
    take_many = executor._take_many

    def and_another(most: int) -> Any:
        jobs = take_many(most)
        if not jobs:
            another()
        return jobs

    if how == "late":
        monkeypatch.setattr(executor, "_take_many", and_another)
        executor.submit("q")
    else:
        with pytest.raises(Stop if how == "error" else KeyboardInterrupt):
            executor.submit("q")
        clock.advance(0)
    assert pool.sizes == ([1] if how == "error" else [1, 1])


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (BrokenProcessPool(), "BrokenProcessPool$"),
        (OSError("gone"), "OSError: gone$"),
        ((ANSWERED, dumps([])), "its answer can't be read here: ValueError$"),
        (None, "its pool was told to cancel what it had$"),
    ],
)
def test_why_a_worker_is_lost(outcome: Any, reason: str) -> None:
    pool, executor = held()
    future = executor.submit("q")
    if outcome is None:
        pool.futures[0].cancel()
    elif isinstance(outcome, Exception):
        pool.futures[0].set_exception(outcome)
    else:  # a reply that has too few outcomes
        pool.futures[0].set_result(outcome)
    with pytest.raises(WorkerLostError, match=reason):
        future.result(0)


def test_what_a_callback_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def leave(done: Future[Any]) -> None:
        raise SystemExit("of a callback of a future")

    pool, executor = held()
    executor.submit("q").add_done_callback(leave)
    pool.do(0)
    (record,) = caplog.records
    assert record.getMessage() == "a reply could not be passed on"


# ---- what a worker does ----


class Fickle:
    """Refuses to be pickled, but only once."""

    def __init__(self) -> None:
        self.asked = False

    def __reduce__(self) -> Any:
        if self.asked:
            return Fickle, ()
        self.asked = True
        raise ValueError("private")


@pytest.mark.parametrize(
    ("what", "make", "said_of", "reason"),
    [
        ("statement", Unwilling, "statement", "ValueError"),
        ("execution_profile", Unwilling, "options", "ValueError"),
        ("parameters", threading.Lock, "parameters", "cannot pickle '_thread.lock' object"),
        ("parameters", lambda: lambda: None, "parameters", "Can't pickle "),
        ("parameters", Fickle, "statement", "an object in it refuses"),
    ],
)
def test_what_can_not_travel_is_named(what: str, make: Any, said_of: str, reason: str) -> None:
    """In pickle's own words, which name types; what others say may show values."""
    pool, executor = held()
    given = (make(),) if what == "parameters" else make()
    error = executor.submit(**{"statement": "q", what: given}).exception(0)
    assert (type(error), error.what) == (NotTransferableError, said_of)
    assert error.reason.startswith(reason)
    assert not pool.given


def test_each_distinct_statement_travels_once() -> None:
    pool, executor = held(chunksize=4)
    statement = prepared(executor.session)
    pairs = [(statement, (1, "a")), ("text", None), (statement, (2, "b")), ("text", None)]
    results = executor.execute(pairs, timeout=3.0)
    ((*_, chunk),) = pool.given
    statements, profiles, items = loads(chunk)
    assert [type(each) for each in statements] == [bytes, str]
    assert profiles == [{"timeout": 3.0}]
    assert [item[:3] for item in items] == [
        (0, 0, (1, "a")),
        (1, 0, None),
        (0, 0, (2, "b")),
        (1, 0, None),
    ]
    results.close()


@pytest.mark.parametrize("row", [1, Fate("well", 1)])  # one that travels with others, or alone
def test_a_result_knows_its_statement(row: Any) -> None:
    statement = SimpleStatement("SELECT")
    session = ScriptedSession(lambda *_: Reply(rows=[row], at_once=True))
    with process_executor(session) as executor:
        result = executor.submit(statement).result(20)
    assert result.response_future.query is statement


class Torn(ResultSet):  # type: ignore[misc]
    """One whose further pages can't be had."""

    has_more_pages = True
    response_future = column_names = column_types = None

    def __init__(self) -> None: ...

    def __iter__(self) -> Any:
        raise OperationTimedOut("of the second page")


def test_without_a_further_page_it_has_failed() -> None:
    job: Any = None
    ((success, error, *sent),) = unpack_outcomes(pack_outcomes([(True, Torn())]), [job])
    assert (success, type(error), sent) == (False, OperationTimedOut, [True])


def test_what_has_an_answer_was_sent_though_that_can_not_be_read() -> None:
    """Whoever sends it again may do it twice."""
    job: Any = None
    ((success, error, *sent),) = unpack_outcomes(pack_outcomes([(True, Unreadable())]), [job])
    assert (success, type(error), sent) == (False, NotTransferableError, [True])


class Noting(ScriptedSession):
    """One that notes its timestamps."""

    def __init__(self) -> None:
        super().__init__(lambda statement, parameters: Reply(at_once=True))
        self.stamps: list[int | None] = []

    def send(self, request: Any) -> None:
        self.stamps.append(request.message.timestamp)
        super().send(request)


def test_a_statement_is_sent_with_the_timestamp_that_it_came_with() -> None:
    session = Noting()
    pool, executor = held(session)
    executor.submit("q")
    pool.do(0)
    assert [session.stamps] == pool.stamps


def test_a_statement_is_prepared_once() -> None:
    asked: list[tuple[str, Any]] = []

    class Asked(ScriptedSession):
        def prepare(self, query: str, **options: Any) -> Any:
            asked.append((query, options))
            return super().prepare(query)

    session = Asked(lambda statement, parameters: Reply(at_once=True))
    statement = prepared(session)
    elsewhere = prepared(session)
    elsewhere.keyspace = None
    bound = statement.bind((1, "a"))
    with process_executor(session) as executor:
        for each in (statement, bound, elsewhere, bound):
            executor.submit(each, None if each is bound else (1, "a")).result(20)
    text = statement.query_string
    assert asked == [(text, {"keyspace": "scripted"}), (text, {})]


class Deaf:
    """A session that can only wait."""

    def execute(self, query: Any, parameters: Any = None, **options: Any) -> Any: ...


DEAF: Any = Deaf()


@pytest.mark.parametrize(
    ("session", "strategy", "most"),
    [
        (a_session(), CallbackExecutor, NO_LIMIT),
        (DEAF, ThreadExecutor, ThreadExecutor[Any](DEAF).statistics().concurrency),
    ],
)
def test_a_worker_sends_all_it_has_unless_each_takes_a_thread(
    session: Any, strategy: Any, most: int
) -> None:
    executor = _Worker(Here(session))._executor
    assert type(executor) is strategy
    assert executor.statistics().concurrency == most


def test_a_worker_lets_its_session_go_at_once() -> None:
    session = ScriptedSession()
    worker = _Worker(Here(session))
    running = threading.Thread(target=worker.run, args=([Item("q", None, {}, 1)],), daemon=True)
    running.start()
    wait_until_sent(session)
    worker.close()
    session.pending[0].succeed()
    running.join(20)
    assert not running.is_alive()


def test_chunks_that_are_answered_at_one_time_leave_nothing_behind() -> None:
    gate = Gate(2, clock=VirtualClock())
    chunks = [_Chunk(gate, [Item("q", None, {}, number)]) for number in range(2)]
    for chunk in chunks:
        chunk.send()
    succeed_all([(job, None) for job in gate.take(2)])
    assert all(chunk.done.is_set() for chunk in chunks)
    assert gate.is_idle()
