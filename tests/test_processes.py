"""What is ProcessExecutor's own: what travels, whole chunks, processes that die or never begin."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from concurrent.futures import Executor as Pool
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from datetime import datetime
from decimal import Decimal
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from cassandra import ConsistencyLevel, InvalidRequest, OperationTimedOut
from cassandra.cqltypes import (
    FloatType,
    Int32Type,
    UserType,
    UTF8Type,
    VectorType,
    lookup_casstype,
)
from cassandra.policies import FallthroughRetryPolicy
from cassandra.query import (
    UNSET_VALUE,
    BatchStatement,
    SimpleStatement,
    dict_factory,
    named_tuple_factory,
    tuple_factory,
)
from cassandra.util import OrderedMapSerializedKey, SortedSet
from hypothesis import example, given, settings
from hypothesis import strategies as st

from concurrent_exec import (
    NotTransferableError,
    Observer,
    ProcessExecutor,
    Retry,
    StatementSettled,
    StatementStarted,
    WorkerLostError,
)
from concurrent_exec.connect import ConnectionOptions, connect
from concurrent_exec.drivers.travelling import (
    arrived,
    dumps,
    dumps_noting,
    loads,
    parts_of,
    result_of,
)
from concurrent_exec.executors import _worker
from concurrent_exec.testing import Reply, ScriptedSession
from perf import servers
from perf.void_server import VoidServer
from tests.executors import Here, Threads, process_executor

ROOT = Path(__file__).parents[1]


class Broken(Exception):
    """What a statement fails with that is to fail."""


def nameless() -> type[Broken]:
    class Nameless(Broken):
        """One that nobody can import, and so not pickle."""

    return Nameless


class Unwilling:
    """Can't be pickled, and says more than it should."""

    def __reduce__(self) -> Any:
        raise ValueError("private")


def unreadable(told: str) -> Any:
    raise ValueError(told)


class Unreadable:
    """Can be pickled, but not be read where it comes."""

    def __reduce__(self) -> Any:
        return unreadable, ("private",)


# ---- chunks ----

FATES = (
    "well",
    "own",
    "fails",
    "nameless",
    "refused",
    "parameter",
    "unreadable",
    "result",
    "unreadable result",
    "unreadable error",
)
NOT_SENT: dict[str, Any] = {"parameter": Unwilling(), "unreadable": Unreadable()}


def reply(statement: Any, parameters: Any) -> Reply:
    index, fate, *_ = parameters
    error = Broken(index) if fate in ("fails", "refused") else None
    if fate == "nameless":
        error = nameless()(index)
    if fate == "unreadable error":
        error = Broken(Unreadable())
    rows = {
        "result": [Unwilling()],
        "unreadable result": [Unreadable()],
        "own": [Fate("well", index)],
    }
    return Reply(rows=rows.get(fate, [index]), error=error, refuse=fate == "refused", at_once=True)


@settings(max_examples=settings().max_examples // 4)
@example(fates=["well", "unreadable"], chunksize=2, concurrency=2, linger=0, stream=False)
@example(fates=list(FATES) * 2, chunksize=20, concurrency=20, linger=0.001, stream=False)
@given(
    fates=st.lists(st.sampled_from(FATES), max_size=30),
    chunksize=st.integers(1, 12),
    concurrency=st.integers(1, 20),
    linger=st.sampled_from([0, 0.001]),
    stream=st.booleans(),
)
def test_each_statement_of_any_chunk_has_its_own_fate(
    fates: list[str], chunksize: int, concurrency: int, linger: float, stream: bool
) -> None:
    sent: list[int] = []

    def script(statement: Any, parameters: Any) -> Reply:
        sent.append(parameters[0])
        return reply(statement, parameters)

    session = ScriptedSession(script)
    pairs: Any = [
        ("an insert", (index, fate, NOT_SENT.get(fate))) for index, fate in enumerate(fates)
    ]
    options: Any = {"chunksize": chunksize, "concurrency": concurrency, "linger": linger}
    with process_executor(session, **options) as executor:
        source = iter(pairs) if stream else pairs
        results = list(executor.execute(source, raise_on_first_error=False))
    assert sorted(sent) == [index for index, fate in enumerate(fates) if fate not in NOT_SENT]
    assert len(results) == len(fates)
    for index, (fate, result) in enumerate(zip(fates, results, strict=True)):
        if fate == "well":
            assert list(result.unwrap()) == [index]
            continue
        if fate == "own":
            assert list(result.unwrap()) == [Fate("well", index)]
            continue
        assert result.index == index
        error: Any = result.result_or_exc
        if fate in ("fails", "nameless", "refused"):
            assert (type(error), error.args) == (Broken, (index,))
        else:
            assert type(error) is NotTransferableError
            assert error.what == ("parameters" if fate in NOT_SENT else fate.split()[-1])
            assert error.reason == ("Broken: " if fate == "unreadable error" else "") + "ValueError"
            assert "private" not in str(error)
            assert isinstance(error.__cause__, ValueError) == fate.startswith("unreadable ")


def test_a_chunk_comes_whole_and_as_large_as_was_said() -> None:
    sizes: list[int] = []

    class Noting(Threads):
        def submit(self, run: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
            sizes.append(len(loads(arguments[-1])[2]))
            return super().submit(run, *arguments, **named)

    session = ScriptedSession(reply)
    statements = [(index, "well") for index in range(100)]
    with process_executor(session, pool=Noting, chunksize=None, processes=2) as executor:
        executor.map("an insert", statements).all()
    assert max(sizes) == 100 // 4
    assert sum(sizes) == 100


def test_whether_a_statement_was_sent_is_known_to_a_retry_policy() -> None:
    told: dict[str, bool] = {}

    class Asked:
        def delay(self, failed: Any) -> float | None:
            told[failed.parameters[1]] = failed.sent
            return None

    statements = [
        (index, fate, NOT_SENT.get(fate))
        for index, fate in enumerate(("fails", "refused", "parameter", "unreadable", "result"))
    ]
    with process_executor(ScriptedSession(reply), retry=Asked(), chunksize=5) as executor:
        executor.map("an insert", statements, raise_on_first_error=False).all()
    not_sent = {"refused": False, "parameter": False, "unreadable": False}
    assert told == {"fails": True, "result": True, **not_sent}


# ---- what travels ----


def a_session() -> ScriptedSession:
    return ScriptedSession(lambda statement, parameters: Reply(at_once=True))


def prepared(session: ScriptedSession) -> Any:
    return session.as_prepared(
        "INSERT INTO rows (id, name) VALUES (?, ?)",
        {"id": Int32Type, "name": UTF8Type},
        partition_key=["id"],
    )


def travel(value: Any) -> Any:
    return loads(dumps(value))


def test_a_prepared_statement_is_that_of_the_session_where_it_arrives() -> None:
    session = a_session()
    statement = prepared(session)
    there = prepared(a_session())
    asked: list[tuple[str, str]] = []

    def prepare(text: str, keyspace: str) -> Any:
        asked.append((text, keyspace))
        return there

    assert arrived(travel(statement), prepare) is there
    assert asked == [(statement.query_string, "scripted")]
    statement.consistency_level = ConsistencyLevel.QUORUM
    statement.retry_policy = FallthroughRetryPolicy()
    statement.fetch_size = 7
    statement.is_idempotent = True
    copy = arrived(travel(statement), prepare)
    assert copy.query_id == there.query_id
    assert (copy.consistency_level, copy.fetch_size, copy.is_idempotent) == (
        ConsistencyLevel.QUORUM,
        7,
        True,
    )
    assert isinstance(copy.retry_policy, FallthroughRetryPolicy)
    assert there.is_idempotent is False


def test_bound_and_batch_statements_arrive_with_their_values() -> None:
    statement = prepared(a_session())
    bound = statement.bind((1, UNSET_VALUE))
    bound.consistency_level = ConsistencyLevel.ONE
    copy = arrived(travel(bound), lambda text, keyspace: statement)
    assert copy.prepared_statement is statement
    assert copy.values[0] == bound.values[0]
    assert copy.values[1] is UNSET_VALUE
    assert copy.routing_key == bound.routing_key
    assert copy.consistency_level == ConsistencyLevel.ONE
    assert copy.fetch_size is bound.fetch_size
    batch = BatchStatement(consistency_level=ConsistencyLevel.TWO)
    batch.add(statement, (1, "one"))
    batch.add("DELETE FROM rows WHERE id = 2")
    copied = travel(batch)
    assert list(copied._statements_and_parameters) == list(batch._statements_and_parameters)
    assert copied.consistency_level == ConsistencyLevel.TWO
    simple = travel(SimpleStatement("SELECT 1", fetch_size=3, is_idempotent=True))
    assert (simple.query_string, simple.fetch_size, simple.is_idempotent) == ("SELECT 1", 3, True)


@pytest.mark.parametrize(
    "kind",
    [
        "Int32Type",
        "ListType(Int32Type)",
        "MapType(UTF8Type, FrozenType(SetType(LongType)))",
        "TupleType(Int32Type, UTF8Type)",
        "ReversedType(Int32Type)",
    ],
)
def test_types_arrive_as_they_were(kind: str) -> None:
    there = travel(lookup_casstype(kind))
    assert there.cass_parameterized_type(full=True) == lookup_casstype(
        kind
    ).cass_parameterized_type(full=True)


def test_types_of_vectors_and_of_users_arrive_as_they_were() -> None:
    vector = travel(VectorType.apply_parameters([FloatType, 3], None))
    assert (issubclass(vector, VectorType), vector.subtype, vector.vector_size) == (
        True,
        FloatType,
        3,
    )
    point = travel(UserType.make_udt_class("ks", "point", ("x", "y"), (Int32Type, FloatType)))
    assert (point.keyspace, point.typename) == ("ks", "point")
    assert (point.fieldnames, point.subtypes) == (("x", "y"), (Int32Type, FloatType))


def test_rows_arrive_with_the_names_of_their_columns() -> None:
    """Also where a process has no such class, or has one of other fields by that name."""
    made_here: Any = namedtuple("made_here", ["key", "value"])
    row = made_here(1, uuid4())
    there = travel(row)
    assert (there, there._fields) == (row, row._fields)
    old = UserType.make_udt_class("ks", "moved", ("a", "b"), (Int32Type, Int32Type))
    pickled = dumps(old.tuple_type(1, 2))
    UserType.evict_udt_class("ks", "moved")
    UserType.make_udt_class("ks", "moved", ("a", "c"), (Int32Type, Int32Type))
    there = loads(pickled)
    assert (tuple(there), there._fields) == ((1, 2), ("a", "b"))
    assert travel(Fate("well", 3)) == Fate("well", 3)
    assert type(travel(Fate("well", 3))) is Fate


class Fate(NamedTuple):
    """A class that is found where it arrives."""

    name: str
    number: int


@pytest.mark.parametrize("factory", [None, tuple_factory, dict_factory, lambda names, rows: rows])
def test_results_arrive_as_their_row_factory_has_made_them(factory: Any) -> None:
    session = ScriptedSession(lambda *_: Reply(rows=[(1, "a"), (2, "b")], at_once=True))
    there = session.execute("SELECT")
    there.response_future.row_factory = factory or named_tuple_factory
    names = ["key", "value"]
    there.column_names, there.column_types = names, [Int32Type, UTF8Type]
    there._current_rows = (factory or named_tuple_factory)(names, [(1, "a"), (2, "b")])
    parts = parts_of(there)
    assert parts is not None
    here = result_of(loads(dumps(parts)), "SELECT")
    assert here.column_names == names
    rows = list(here)
    assert rows == there.current_rows
    if factory is None:
        assert [row.value for row in rows] == ["a", "b"]


def test_values_arrive_as_the_driver_makes_them() -> None:
    address = UserType.make_udt_class("ks", "address", ("street", "number"), (UTF8Type, Int32Type))
    value = address.tuple_type("Elm Street", 1)
    assert type(travel(value)) is address.tuple_type
    assert travel((value, UNSET_VALUE)) == (value, UNSET_VALUE)
    keyed = OrderedMapSerializedKey(lookup_casstype("ListType(Int32Type)"), 4)
    keyed._insert([1, 2], "a")
    there = travel(keyed)
    assert list(there.items()) == [([1, 2], "a")]
    assert there[[1, 2]] == "a"


def test_only_results_of_other_classes_are_pickled_one_by_one() -> None:
    """Which takes several times as long."""
    address = UserType.make_udt_class("ks", "address", ("street", "number"), (UTF8Type, Int32Type))
    vector = VectorType.apply_parameters([FloatType, 3], None)
    values = [
        uuid4(),
        Decimal("1.5"),
        datetime(2026, 1, 1),
        SortedSet([1]),
        address.tuple_type("a", 1),
    ]
    for factory in (named_tuple_factory, dict_factory, tuple_factory):
        assert dumps_noting((["k"], [address, vector, Int32Type], values, factory, None, None))[1]
    for other in (Fate("well", 3), Unreadable(), reply, Fate):
        assert not dumps_noting([*values, other])[1]


# ---- a session that can't be had ----


def refusing() -> Any:
    raise InvalidRequest("no such keyspace")


def test_what_connect_raises_is_told_and_the_next_chunk_tries_again() -> None:
    with ProcessExecutor(refusing, pool=Threads, chunksize=2) as executor:
        results = list(executor.map("an insert", [(1,), (2,), (3,)], raise_on_first_error=False))
        future = executor.submit("an insert")
        error = future.exception()
        with pytest.raises(InvalidRequest) as raised:
            executor.map("an insert", [(1,)]).all()
    assert [type(result.result_or_exc) for result in results] == [InvalidRequest] * 3
    assert error is not None
    assert error.args == ("no such keyspace",)
    note = "concurrent_exec: connect() raised this in a worker process"
    assert error.__notes__ == [note]
    assert raised.value.__notes__ == [
        note,
        "concurrent_exec: statement 0 of the input failed: an insert",
    ]


def refusing_unreadably() -> Any:
    raise Broken(Unreadable())


def test_what_connect_raises_is_told_though_it_can_not_be_read_here() -> None:
    with ProcessExecutor(refusing_unreadably, pool=Threads) as executor:
        error = executor.submit("an insert").exception()
    assert isinstance(error, NotTransferableError)
    assert (error.what, error.reason) == ("error", "Broken: ValueError")
    assert error.__notes__ == ["concurrent_exec: connect() raised this in a worker process"]


class Empty:
    """A context manager that gives no session."""

    left = 0

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        Empty.left += 1


def test_what_connect_has_opened_is_let_go_where_it_gives_no_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Empty, "left", 0)
    wrong: Any = Empty
    executor: ProcessExecutor[Any]
    with ProcessExecutor(wrong, pool=Threads) as executor:
        error = executor.submit("an insert").exception()
    assert isinstance(error, TypeError)
    assert Empty.left == 1


def test_a_statement_that_can_not_be_prepared_fails_alone() -> None:
    """Without having been sent."""
    session = a_session()
    unknown = prepared(a_session())
    sent: list[bool] = []

    class Asked:
        def delay(self, failed: Any) -> float | None:
            sent.append(failed.sent)
            return None

    with process_executor(session, chunksize=3, retry=Asked()) as executor:
        results = list(
            executor.execute(
                [("one", None), (unknown, (1, "a")), ("two", None)], raise_on_first_error=False
            )
        )
    assert [result.success for result in results] == [True, False, True]
    assert isinstance(results[1].result_or_exc, KeyError)
    assert sent == [False]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (
            {"connect": ScriptedSession()},
            TypeError,
            "connect must be a function that makes a session in each process, not ScriptedSession$",
        ),
        (
            {"connect": lambda: None},
            TypeError,
            "connect must be picklable, as a function of a module is, or a partial of one, "
            "but not a lambda or a function within a function: ",
        ),
        ({"processes": 0}, ValueError, "processes must be at least 1"),
        ({"chunksize": 0}, ValueError, "chunksize must be at least 1"),
        ({"linger": -1}, ValueError, "linger must"),
        ({"pool": 3}, TypeError, "pool must be a function that makes one, not int$"),
    ],
)
def test_wrong_options(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        ProcessExecutor(**{"connect": refusing, **wrong})


def test_any_number_of_different_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker keeps the last ones prepared, and has the others prepared again."""
    monkeypatch.setattr("concurrent_exec.executors._worker.MOST_STATEMENTS", 3)
    session = a_session()
    inserts = [
        session.as_prepared(
            f"INSERT INTO t{n} (k) VALUES (?)", {"k": Int32Type}, partition_key=["k"]
        )
        for n in range(8)
    ]
    pairs: list[tuple[Any, Any]] = [(insert, (n,)) for n, insert in enumerate(inserts)]
    pairs += [(insert.bind((n,)), None) for n, insert in enumerate(inserts)]
    executor: Any = process_executor(session, chunksize=2)
    with executor:
        assert len(executor.execute(pairs * 3).all()) == len(pairs) * 3
        worker = _worker._workers[executor._key]
        assert len(worker._statements) <= 3
        assert len(worker._prepared) <= 3


def test_an_observer_is_told_of_each_statement_that_goes() -> None:
    class Counting(Observer):
        def __init__(self) -> None:
            self.started = self.settled = 0

        def on_started(self, details: StatementStarted) -> None:
            self.started += 1

        def on_settled(self, details: StatementSettled) -> None:
            self.settled += 1

    counting = Counting()
    with process_executor(a_session(), chunksize=3, observers=[counting]) as executor:
        executor.map("an insert", [(n,) for n in range(10)]).all()
    assert (counting.started, counting.settled) == (10, 10)


@pytest.mark.parametrize("error", [RuntimeError("no more threads"), KeyboardInterrupt()])
def test_a_pool_that_takes_nothing(error: BaseException) -> None:
    """What was not handed over was not sent; an interrupt reaches whoever it struck."""

    class Refusing(Pool):
        def submit(self, run: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
            raise error

    sent: list[bool] = []

    class Asked:
        def delay(self, failed: Any) -> float | None:
            sent.append(failed.sent)
            return None

    executor = process_executor(a_session(), pool=Refusing, retry=Asked())
    if isinstance(error, Exception):
        future = executor.submit("an insert", (1,))
        assert future.exception() is error
        assert sent == [False]
    else:
        with pytest.raises(KeyboardInterrupt):
            executor.submit("an insert", (1,))
    assert executor.statistics().in_flight == 0
    executor.shutdown()


def test_a_shutdown_that_does_not_wait_ends_the_pool_later() -> None:
    session = ScriptedSession()
    ended = threading.Event()

    class Noting(Threads):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            ended.set()

    executor = process_executor(session, pool=Noting)
    future = executor.submit("an insert", (1,))
    wait_until_sent(session)
    executor.shutdown(wait=False)
    assert not ended.is_set()
    session.pending[0].succeed()
    assert not list(future.result(30))
    assert ended.wait(30)


def wait_until_sent(session: ScriptedSession) -> None:
    while not session.pending:
        time.sleep(0.001)


# ---- a pool that breaks ----


class Breaking(Pool):
    """Runs a task here and now. One may break it, `breaks` says how: before or after it is done."""

    def __init__(self, breaks: list[str]) -> None:
        self.breaks = breaks
        self.broken = False
        self.ended: list[bool] = []
        """How it was shut down: whether that was to wait."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.ended.append(wait)

    def submit(self, run: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        if self.broken:
            raise BrokenProcessPool("broken before")
        future: Future[Any] = Future()
        how = self.breaks.pop(0) if self.breaks else "never"
        if how == "at once":
            self.broken = True
            return self.submit(run)
        outcome = run(*arguments, **named) if how != "before" else None
        self.broken = how != "never"
        if self.broken:
            future.set_exception(BrokenProcessPool("a process died"))
        else:
            future.set_result(outcome)
        return future


def sends(
    breaks: list[str], *, idempotent: bool, retry: Any = None
) -> tuple[Any, Any, list[Breaking]]:
    """Send two statements; return what was sent with which timestamp, the results, the pools."""
    session = a_session()
    sent: list[tuple[int, int]] = []

    class Listening(ScriptedSession):
        def send(self, request: Any) -> None:
            sent.append((request.parameters[0], request.message.timestamp))
            super().send(request)

    session = Listening(lambda statement, parameters: Reply(at_once=True))
    statement = prepared(session)
    statement.is_idempotent = idempotent
    pools: list[Breaking] = []

    def pool() -> Pool:
        pools.append(Breaking(breaks))
        return pools[-1]

    with process_executor(session, pool=pool, chunksize=2, retry=retry) as executor:
        results = executor.map(statement, [(1, "a"), (2, "b")], raise_on_first_error=False).all()
    return sent, results, pools


@pytest.mark.parametrize("how", ["before", "after"])
def test_statements_of_a_lost_worker_fail_and_say_that_they_may_be_applied(how: str) -> None:
    sent, results, pools = sends([how], idempotent=False, retry=Retry(initial_backoff=0.001))
    assert [type(result.result_or_exc) for result in results] == [WorkerLostError] * 2
    assert [result.attempts for result in results] == [1, 1]
    assert "may have been applied: a process died" in str(results[0].result_or_exc)
    assert len(sent) == (2 if how == "after" else 0)
    assert [pool.ended for pool in pools] == [[False]]  # at once, and not waited for


def test_statements_of_a_lost_worker_count_as_sent() -> None:
    told: list[bool] = []

    class Asked:
        def delay(self, failed: Any) -> float | None:
            told.append(failed.sent)
            return None

    sends(["before"], idempotent=True, retry=Asked())
    assert told == [True, True]


@pytest.mark.parametrize("how", ["before", "after"])
def test_what_is_idempotent_is_sent_again_by_another_pool_with_its_first_timestamp(
    how: str,
) -> None:
    sent, results, pools = sends([how], idempotent=True, retry=Retry(initial_backoff=0.001))
    assert [result.success for result in results] == [True, True]
    assert [pool.ended for pool in pools] == [[False], [True]]
    stamps = dict(sent)
    assert all(stamps[key] == stamp for key, stamp in sent)
    assert len(sent) == (4 if how == "after" else 2)


def test_a_pool_that_broke_unseen_is_made_anew_before_anything_is_sent() -> None:
    sent, results, pools = sends(["at once"], idempotent=False)
    assert [result.success for result in results] == [True, True]
    assert len(sent) == 2
    assert [pool.ended for pool in pools] == [[False], [True]]


def test_a_retry_by_a_session_without_listeners_is_refused() -> None:
    class Deaf:
        def execute(self, statement: Any, parameters: Any, **options: Any) -> Any:
            return [parameters]

    session = Deaf()
    with process_executor(session) as executor:
        assert executor.submit("a read", (1,)).result() == [(1,)]
        with pytest.raises(TypeError, match="add_request_init_listener"):
            executor.submit("a read", (1,), retry=Retry()).result()


# ---- real processes, on a server that answers every write ----


@pytest.fixture(scope="module")
def void() -> Iterator[VoidServer]:
    with VoidServer() as server:
        yield server


def there(server: VoidServer) -> Callable[[], Any]:
    return partial(connect, server.options(), compression=False)


def failing_there() -> Any:
    raise OperationTimedOut({"a node": "no answer"})


def dying_there() -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def test_worker_processes_send_and_end_with_the_executor(void: VoidServer) -> None:
    with servers.a_session(servers.Server("void", void.options())) as session:
        session.execute(f"CREATE TABLE {servers.KEYSPACE}.t (id int PRIMARY KEY, value text)")
        insert = session.prepare(f"INSERT INTO {servers.KEYSPACE}.t (id, value) VALUES (?, ?)")
    parameters = [(n, f"value {n}") for n in range(3000)]
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)  # a parent with threads
    other.start()
    try:
        with ProcessExecutor(there(void), processes=2) as executor:
            assert all(result.success for result in executor.map(insert, parameters))
            assert len(active_children()) == 2
        assert not active_children()
    finally:
        stop.set()
        other.join()


def test_a_process_whose_connect_raises_or_dies_is_told_apart() -> None:
    with ProcessExecutor(failing_there, processes=1) as executor:
        with pytest.raises(OperationTimedOut) as caught:
            executor.submit("a statement").result(60)
        assert caught.value.errors == {"a node": "no answer"}
    with ProcessExecutor(dying_there, processes=1) as executor:
        with pytest.raises(WorkerLostError):
            executor.submit("a statement").result(60)
        with pytest.raises(WorkerLostError):  # by another process
            executor.submit("a statement").result(60)


def test_a_process_hears_of_no_ctrl_c_from_its_very_start(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with ProcessExecutor(failing_there, processes=2, chunksize=1) as executor:
        futures = [executor.submit("a statement") for _ in range(2)]
        started = active_children()
        assert len(started) == 2
        for child in started:
            assert child.pid is not None
            os.kill(child.pid, signal.SIGINT)
        assert [type(future.exception(60)) for future in futures] == [OperationTimedOut] * 2
    assert capfd.readouterr().err == ""


SCRIPT = """
import sys, time
from functools import partial
from multiprocessing import active_children
from concurrent_exec import ProcessExecutor

executor = ProcessExecutor(partial(time.sleep, 3600), processes=1)  # it never has a session
executor.submit("a statement")
while not active_children():
    time.sleep(0.01)
print(*(child.pid for child in active_children()), flush=True)
if sys.argv[1] == "waits":
    sys.stdin.read()
"""


def start(end: str) -> tuple[subprocess.Popen[str], list[int]]:
    """Start a program with a worker; return it and its workers' ids."""
    program = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, end],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    return program, list(map(int, program.stdout.readline().split()))


def wait_for_end(workers: list[int]) -> None:
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "a worker outlives its parent"
        time.sleep(0.01)


def test_the_interpreter_exits_though_a_statement_is_on_its_way() -> None:
    program, workers = start("ends")
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 0
    assert errors == ""
    assert workers
    wait_for_end(workers)


def test_workers_end_with_a_parent_that_is_killed() -> None:
    program, workers = start("waits")
    program.kill()
    program.communicate()
    assert workers
    wait_for_end(workers)


def test_the_options_of_here_pickle() -> None:
    session = ScriptedSession()
    assert loads(dumps(Here(session)))().__enter__() is session
    assert ConnectionOptions(("127.0.0.1",)) == travel(ConnectionOptions(("127.0.0.1",)))
