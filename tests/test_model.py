"""Results, failures and options: the parts that users hold in their hands."""

from __future__ import annotations

import importlib
import math
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import cassandra
import pytest
from cassandra import (
    ConsistencyLevel,
    InvalidRequest,
    OperationTimedOut,
    Unavailable,
    WriteTimeout,
    WriteType,
)
from cassandra.cluster import NoHostAvailable
from cassandra.policies import SimpleConvictionPolicy
from cassandra.pool import Host
from cassandra.protocol import ErrorMessage, UnavailableErrorMessage, WriteTimeoutErrorMessage
from cassandra.query import BatchStatement, BoundStatement, PreparedStatement, SimpleStatement

import concurrent_exec
from concurrent_exec import (
    CallbackExecutor,
    ConcurrentExecError,
    ExecutionResult,
    ExecutorShutdownError,
    ExecutorStatistics,
    Failure,
    ForkedProcessError,
    InvalidItemError,
    RunClosedError,
    RunStatistics,
    ThreadExecutor,
)
from concurrent_exec.model.options import NOT_SET
from concurrent_exec.model.statement import TEXT_LIMIT, short_text, statement_text
from concurrent_exec.testing import Reply, ScriptedSession
from tests.executors import any_executor, in_one_process

MakeExecutor = Callable[..., Any]

HOST = Host("127.0.0.1", SimpleConvictionPolicy, host_id=UUID(int=7))
PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)


def prepared(text: str = "SELECT p FROM t WHERE k = ?") -> Any:
    return PreparedStatement(
        column_metadata=[],
        query_id=b"id",
        routing_key_indexes=[],
        query=text,
        keyspace=None,
        protocol_version=4,
        result_metadata=[],
        result_metadata_id=None,
    )


def batch_of(count: int) -> Any:
    batch = BatchStatement()
    for _ in range(count):
        batch.add("INSERT INTO t (k) VALUES (1)")
    return batch


def round_trip(value: Any, protocol: int = pickle.HIGHEST_PROTOCOL) -> Any:
    return pickle.loads(pickle.dumps(value, protocol))


# ---- statement texts ----


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("SELECT 1", "SELECT 1"),
        (SimpleStatement("SELECT 2"), "SELECT 2"),
        (prepared("SELECT 3"), "SELECT 3"),
        (BoundStatement(prepared("SELECT 4")), "SELECT 4"),
        (batch_of(0), "BatchStatement of 0 statements"),
        (batch_of(3), "BatchStatement of 3 statements"),
        (5, "int"),
        (None, "NoneType"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_text_of_every_kind_of_statement(statement: Any, text: str) -> None:
    assert statement_text(statement) == text
    assert round_trip(Failure(1, statement, None)).statement == text


def test_a_text_in_a_message_is_one_short_line() -> None:
    assert short_text("SELECT *\n   FROM t\n\tWHERE k = ?") == "SELECT * FROM t WHERE k = ?"
    assert short_text("x" * TEXT_LIMIT) == "x" * TEXT_LIMIT
    long = short_text("x" * (TEXT_LIMIT + 1))
    assert len(long) == TEXT_LIMIT
    assert long.endswith("x...")


# ---- Failure ----


def test_a_failures_repr_has_no_values_of_parameters() -> None:
    failure = Failure(3, "INSERT INTO t (k, v)\nVALUES (%s, %s)", (1, "private"), 2)
    assert repr(failure) == (
        "Failure(index=3, statement='INSERT INTO t (k, v) VALUES (%s, %s)', attempts=2)"
    )
    bound = BoundStatement(prepared("SELECT p"))
    bound.values = [b"private"]
    assert "private" not in repr(Failure(3, bound, None))


def test_a_failure_does_not_change() -> None:
    failure = Failure(3, "q", (1,))
    assert failure.attempts == 1
    assert failure == Failure(3, "q", (1,), 1) != Failure(3, "q", (1,), 2)
    with pytest.raises(AttributeError):
        failure.index = 4  # type: ignore[misc]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickled_failure_keeps_the_statements_text(protocol: int) -> None:
    statement = prepared("SELECT p")
    failure = Failure(3, statement, (1, "a", None, {"b": [2.5]}), 2)
    assert failure.statement is statement
    assert round_trip(failure, protocol) == Failure(3, "SELECT p", (1, "a", None, {"b": [2.5]}), 2)


# ---- ExecutionResult ----


def failed(exc: BaseException, index: int = 3, statement: Any = "SELECT s") -> ExecutionResult[Any]:
    return ExecutionResult.failed(exc, Failure(index, statement, ("private",), 2))


def test_a_result_that_succeeded() -> None:
    result: ExecutionResult[Any] = ExecutionResult(True, ["row"])
    assert result.failure is None
    assert (result.index, result.statement, result.parameters, result.attempts) == (None,) * 4
    assert result.unwrap() == ["row"]


def test_a_result_that_failed() -> None:
    error = InvalidRequest("mine")
    statement = prepared()
    result = failed(error, statement=statement)
    assert tuple(result) == (False, error)
    assert len(result) == 2
    assert result.statement is statement
    assert (result.index, result.parameters, result.attempts) == (3, ("private",), 2)
    assert result.failure == Failure(3, statement, ("private",), 2)


def test_details_make_no_difference_to_a_comparison() -> None:
    error = InvalidRequest("mine")
    assert failed(error, 3) == failed(error, 4) == (False, error)
    assert hash(failed(error, 3)) == hash((False, error))


def test_only_unwrap_annotates_the_exception() -> None:
    error = InvalidRequest("mine")
    result = failed(error)
    assert not result.success
    assert repr(result) == f"ExecutionResult(success=False, result_or_exc={error!r})"
    assert vars(error) == {}
    with pytest.raises(InvalidRequest) as caught:
        result.unwrap()
    assert caught.value is error
    assert caught.value.failure is result.failure
    assert caught.value.__notes__ == [
        "concurrent_exec: statement 3 of the input failed after 2 attempts: SELECT s"
    ]
    shown = "".join(traceback.format_exception(error))
    assert "statement 3 of the input failed after 2 attempts: SELECT s" in shown
    assert "private" not in shown.replace(Path(__file__).read_text(), "")


def test_an_exception_shared_by_many_names_the_one_that_is_raised() -> None:
    dead = OperationTimedOut(errors={"host": "gone"})
    dead.add_note("somebody else's")
    results = [failed(dead, index, f"SELECT {index}") for index in range(4)]
    raised = []
    for index in (0, 3, 1, 1, 0):
        with pytest.raises(OperationTimedOut) as caught:
            results[index].unwrap()
        raised.append((index, caught.value))
    for index, exc in raised:  # also after others were
        assert (exc is dead) == (index == 0)
        assert (str(exc), exc.errors) == (str(dead), dead.errors)
        assert exc.failure is results[index].failure
        assert exc.__notes__ == [
            "somebody else's",
            f"concurrent_exec: statement {index} of the input failed after 2 attempts: "
            f"SELECT {index}",
        ]


def test_raising_again_does_not_pile_up_tracebacks() -> None:
    result = failed(InvalidRequest("mine"))
    depths = set()
    for _ in range(5):
        with pytest.raises(InvalidRequest) as caught:
            result.unwrap()
        depths.add(len(traceback.extract_tb(caught.value.__traceback__)))
    assert len(depths) == 1


def test_a_failure_without_details_is_raised_as_it_is() -> None:
    """Users make such results in tests of their own."""
    error = InvalidRequest("mine")
    with pytest.raises(InvalidRequest) as caught:
        ExecutionResult(False, error).unwrap()
    assert vars(caught.value) == {}


# ---- pickling what failed, with every exception of the driver ----

MODULES = (
    "cassandra",
    "cassandra.cluster",
    "cassandra.connection",
    "cassandra.cqlengine",
    "cassandra.cqlengine.connection",
    "cassandra.cqlengine.models",
    "cassandra.cqlengine.operators",
    "cassandra.cqlengine.query",
    "cassandra.cqlengine.statements",
    "cassandra.cqlengine.usertype",
    "cassandra.metadata",
    "cassandra.pool",
    "cassandra.protocol",
    "cassandra.query",
    "cassandra.segment",
)


def exception_classes() -> list[type[BaseException]]:
    found = {
        value
        for name in MODULES
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, type)
        and issubclass(value, BaseException)
        and value.__module__.partition(".")[0] == "cassandra"
    }
    return sorted(found, key=lambda kind: (kind.__module__, kind.__qualname__))


MAKE: dict[str, Callable[[Any], BaseException]] = {
    "cassandra.FunctionFailure": lambda kind: kind("text", "ks", "f", ["int", "text"]),
    "cassandra.OperationTimedOut": lambda kind: kind({HOST: "no answer"}, HOST),
    "cassandra.RateLimitReached": lambda kind: kind(cassandra.OperationType.Write, True),
    "cassandra.ReadFailure": lambda kind: kind(
        "text", True, consistency=1, failures=2, error_code_map={"10.0.0.1": 7}
    ),
    "cassandra.ReadTimeout": lambda kind: kind("text", False, consistency=1),
    "cassandra.Unavailable": lambda kind: kind("text", ConsistencyLevel.QUORUM, 3, 1),
    "cassandra.WriteTimeout": lambda kind: kind("text", WriteType.BATCH, consistency=4),
    "cassandra.cluster.NoHostAvailable": lambda kind: kind(
        "text", {HOST: OperationTimedOut({HOST: "no answer"}, HOST), "other": ValueError("x")}
    ),
    "cassandra.connection.ProtocolVersionUnsupported": lambda kind: kind(HOST.endpoint, 5),
}


def make(kind: type[BaseException]) -> BaseException:
    if issubclass(kind, ErrorMessage):
        return kind(0x1100, "text", {"write_type": 0, "address": HOST.endpoint})
    construct = MAKE.get(f"{kind.__module__}.{kind.__qualname__}")
    return construct(kind) if construct is not None else kind(f"text of {kind.__name__}")


def assert_same(original: Any, copy: Any) -> None:
    """Equal, or the text of what can't be pickled, all the way down."""
    if isinstance(original, BaseException):
        assert type(copy) is type(original)
        assert_same(original.args, copy.args)
        if original.args == copy.args:  # else they hold a host, whose repr is not its text
            assert str(copy) == str(original)
            assert repr(copy) == repr(original)
        assert_same(vars(original), vars(copy))
    elif isinstance(original, dict):
        assert len(original) == len(copy)
        for (key, value), (copied_key, copied) in zip(original.items(), copy.items(), strict=True):
            assert_same(key, copied_key)
            assert_same(value, copied)
    elif isinstance(original, list | tuple):
        assert type(copy) is type(original)
        for value, copied in zip(original, copy, strict=True):
            assert_same(value, copied)
    elif isinstance(original, Host):
        assert copy == str(original)
    else:
        assert copy == original


def test_what_is_tested_are_the_drivers_exceptions() -> None:
    names = {kind.__name__ for kind in exception_classes()}
    assert len(names) > 40
    assert names > {
        "NoHostAvailable",
        "OperationTimedOut",
        "ReadFailure",
        "ServerError",
        "WriteTimeout",
        "WriteTimeoutErrorMessage",
    }


@pytest.mark.parametrize("kind", exception_classes(), ids=lambda kind: kind.__qualname__)
def test_a_failed_result_survives_pickling_with_any_exception(kind: type[BaseException]) -> None:
    error = make(kind)
    result = failed(error, statement=prepared("SELECT p"))
    for protocol in PROTOCOLS:
        copy = round_trip(result, protocol)
        assert type(copy) is ExecutionResult
        assert copy.success is False
        assert_same(error, copy.result_or_exc)
        assert copy.failure == Failure(3, "SELECT p", ("private",), 2)
        with pytest.raises(kind) as caught:
            copy.unwrap()
        assert caught.value.failure.index == 3  # type: ignore[attr-defined]


def test_an_exception_that_was_raised_pickles_with_its_note() -> None:
    result = failed(OperationTimedOut({HOST: "no answer"}, HOST), statement=prepared("SELECT p"))
    with pytest.raises(OperationTimedOut):
        result.unwrap()
    error = round_trip(result).result_or_exc
    assert error.failure == Failure(3, "SELECT p", ("private",), 2)
    assert error.__notes__ == [
        "concurrent_exec: statement 3 of the input failed after 2 attempts: SELECT p"
    ]


def test_an_exception_whose_class_can_not_be_imported_pickles_as_its_base() -> None:
    class Local(OperationTimedOut):  # type: ignore[misc]  # the drivers have no types
        """One that is made by a function."""

    error = Local({"a node": "no answer"})
    error.add_note("a note")
    copy = round_trip(failed(error)).result_or_exc
    assert type(copy) is OperationTimedOut
    assert copy.errors == {"a node": "no answer"}
    assert copy.__notes__ == [
        "a note",
        "concurrent_exec: it was a Local, whose class can't be imported",
    ]


def test_what_the_server_said_of_a_timeout_or_of_replicas_survives() -> None:
    timeout = WriteTimeoutErrorMessage(
        code=0x1100,
        message="slow",
        info={
            "consistency": ConsistencyLevel.QUORUM,
            "received_responses": 1,
            "required_responses": 2,
            "write_type": WriteType.SIMPLE,
        },
    ).to_exception()
    assert isinstance(timeout, WriteTimeout)
    copy = round_trip(failed(timeout)).result_or_exc
    assert (copy.consistency, copy.received_responses, copy.required_responses) == (4, 1, 2)
    assert copy.write_type == WriteType.SIMPLE
    assert str(copy) == str(timeout)

    unavailable = UnavailableErrorMessage(
        code=0x1000,
        message="down",
        info={"consistency": ConsistencyLevel.ALL, "required_replicas": 3, "alive_replicas": 2},
    ).to_exception()
    assert isinstance(unavailable, Unavailable)
    copy = round_trip(failed(unavailable)).result_or_exc
    assert (copy.consistency, copy.required_replicas, copy.alive_replicas) == (5, 3, 2)


def test_a_host_travels_as_its_text() -> None:
    copy = round_trip(failed(OperationTimedOut({HOST: "no answer"}, HOST))).result_or_exc
    assert copy.last_host == str(HOST)
    assert copy.errors == {str(HOST): "no answer"}
    nested = round_trip(failed(NoHostAvailable("text", {HOST: copy}))).result_or_exc
    (error,) = nested.errors.values()
    assert type(error) is OperationTimedOut
    assert error.last_host == str(HOST)


def test_the_librarys_own_errors_pickle_and_belong_to_one_family() -> None:
    item = InvalidItemError(7, "has 1 elements")
    copy = round_trip(item)
    assert (copy.index, copy.problem, str(copy)) == (7, "has 1 elements", str(item))
    assert isinstance(item, TypeError)
    for kind in (ExecutorShutdownError, ForkedProcessError, RunClosedError):
        error = kind("text")
        assert isinstance(error, ConcurrentExecError)
        assert isinstance(error, RuntimeError)
        assert str(round_trip(error)) == "text"


# ---- options ----

NOT_WHOLE = [True, False, 2.0, math.nan, math.inf, "5", None, [1], 1 + 0j]
TOO_SMALL = [0, -1, -(10**9)]
WRONG_COUNTS = [(value, TypeError) for value in NOT_WHOLE] + [(n, ValueError) for n in TOO_SMALL]

NOT_SECONDS = [True, False, "5", [1.0], 1 + 0j, NotImplemented]
NOT_POSITIVE = [0, 0.0, -1, -0.5, math.nan, math.inf, -math.inf]
WRONG_TIMEOUTS = [(value, TypeError) for value in NOT_SECONDS] + [
    (value, ValueError) for value in NOT_POSITIVE
]
NOT_BOOLEANS: list[Any] = [None, 0, 1, "yes", [], math.nan]


def calls(executor: Any) -> dict[str, Callable[..., Any]]:
    """What takes a statement's options, ready to be called with one of them."""
    return {
        "execute": lambda **options: executor.execute([("q", None)], **options),
        "map": lambda **options: executor.map("q", [None], **options),
        "submit": lambda **options: executor.submit("q", **options),
    }


any_call = pytest.mark.parametrize("call", ["execute", "map", "submit"])
either_run = pytest.mark.parametrize("call", ["execute", "map"])


@any_executor
@pytest.mark.parametrize(("value", "error"), WRONG_COUNTS)
def test_a_wrong_concurrency_is_refused_by_name(
    make_executor: MakeExecutor, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"^concurrency must be "):
        make_executor(ScriptedSession(), concurrency=value)


@any_executor
@either_run
@pytest.mark.parametrize(
    ("value", "error"), [(value, error) for value, error in WRONG_COUNTS if value is not None]
)
def test_a_wrong_buffersize_is_refused_by_name(
    make_executor: MakeExecutor, call: str, value: Any, error: type[Exception]
) -> None:
    session = ScriptedSession()
    with pytest.raises(error, match=r"^buffersize must be "):
        calls(make_executor(session))[call](buffersize=value)
    assert session.sent == 0


@any_executor
@any_call
@pytest.mark.parametrize(("value", "error"), WRONG_TIMEOUTS)
def test_a_wrong_timeout_is_refused_by_name(
    make_executor: MakeExecutor, call: str, value: Any, error: type[Exception]
) -> None:
    session = ScriptedSession()
    with pytest.raises(error, match=r"^timeout must be "):
        calls(make_executor(session))[call](timeout=value)
    assert session.sent == 0


@any_executor
@any_call
@pytest.mark.parametrize("value", NOT_BOOLEANS)
def test_a_wrong_trace_is_refused_by_name(
    make_executor: MakeExecutor, call: str, value: Any
) -> None:
    with pytest.raises(TypeError, match=r"^trace must be True or False, not "):
        calls(make_executor(ScriptedSession()))[call](trace=value)


@any_executor
@either_run
@pytest.mark.parametrize("value", NOT_BOOLEANS)
def test_a_wrong_raise_on_first_error_is_refused_by_name(
    make_executor: MakeExecutor, call: str, value: Any
) -> None:
    with pytest.raises(TypeError, match=r"^raise_on_first_error must be True or False, not "):
        calls(make_executor(ScriptedSession()))[call](raise_on_first_error=value)


@any_executor
@either_run
@pytest.mark.parametrize("value", ["threads", None, True, 1, math.nan])
def test_a_wrong_feeder_is_refused_by_name(
    make_executor: MakeExecutor, call: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=r"^feeder must be one of 'thread', 'caller', not "):
        calls(make_executor(ScriptedSession()))[call](feeder=value)


@any_executor
@any_call
@pytest.mark.parametrize("value", [True, 1, "a=b", b"ab", [("a", b"b")]])
def test_a_wrong_custom_payload_is_refused_by_name(
    make_executor: MakeExecutor, call: str, value: Any
) -> None:
    with pytest.raises(TypeError, match=r"^custom_payload must be a mapping, not "):
        calls(make_executor(ScriptedSession()))[call](custom_payload=value)


@pytest.mark.parametrize("value", [{1: b"a"}, {"key": "value"}, {"key": b"a", b"b": b"c"}])
def test_a_custom_payload_of_anything_but_texts_and_bytes_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^custom_payload must map texts to bytes, not "):
        CallbackExecutor(ScriptedSession()).execute([], custom_payload=value)


@any_executor
@any_call
def test_options_that_are_right_reach_the_session(make_executor: MakeExecutor, call: str) -> None:
    options: list[Any] = []

    class Recording(ScriptedSession):
        def make_request(self, query: Any, parameters: Any, given: Any) -> Any:
            options.append(given)
            return super().make_request(query, parameters, given)

    executor = make_executor(Recording(lambda *_: Reply(at_once=True)), concurrency=1)
    payload = {"key": b"value"}
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {}),
        ({"timeout": 5}, {"timeout": 5.0}),
        ({"timeout": None}, {"timeout": None}),
        ({"timeout": NOT_SET}, {}),
        ({"trace": False}, {}),
        ({"trace": True}, {"trace": True}),
        ({"custom_payload": None}, {}),
        ({"custom_payload": payload}, {"custom_payload": payload}),
        ({"execution_profile": "mine"}, {"execution_profile": "mine"}),
        ({"execution_profile": None}, {"execution_profile": None}),
    ]
    for given, sent in cases:
        future = calls(executor)[call](**given)
        future.result(10) if call == "submit" else future.all()
        assert options.pop() == sent
        assert not options


@any_executor
def test_options_are_keyword_only(make_executor: MakeExecutor) -> None:
    with pytest.raises(TypeError):
        make_executor(ScriptedSession(), 5)
    executor = make_executor(ScriptedSession())
    with pytest.raises(TypeError):
        executor.execute([], False)
    with pytest.raises(TypeError):
        executor.map("q", [], False)
    with pytest.raises(TypeError):
        executor.submit("q", None, "profile")
    with pytest.raises(TypeError):
        executor.shutdown(True, True)


@in_one_process
@pytest.mark.parametrize("session", [None, "session", 5, object(), {}])
def test_a_session_that_is_none_is_refused(make_executor: MakeExecutor, session: Any) -> None:
    with pytest.raises(TypeError, match=r"^session must be a driver's session, not \w+: it has no"):
        make_executor(session)


@any_executor
@pytest.mark.parametrize("value", [None, 5, "SELECT 1", b"SELECT 1", bytearray(b"x"), {"a": 1}])
def test_an_input_that_is_none_is_refused_by_name(make_executor: MakeExecutor, value: Any) -> None:
    executor = make_executor(ScriptedSession())
    kind = type(value).__name__
    with pytest.raises(
        TypeError, match=rf"^statements_and_parameters must be an iterable of .*, not {kind}$"
    ):
        executor.execute(value)
    with pytest.raises(TypeError, match=rf"^parameters must be an iterable of .*, not {kind}$"):
        executor.map("q", value)
    assert executor.statistics().runs == 0


@any_executor
def test_a_statement_that_is_none_is_refused_by_name(make_executor: MakeExecutor) -> None:
    with pytest.raises(TypeError, match=r"^statement must be .*, not None$"):
        make_executor(ScriptedSession()).map(None, [(1,)])


@any_executor
def test_statistics_of_a_run_and_of_an_executor(make_executor: MakeExecutor) -> None:
    executor = make_executor(ScriptedSession(lambda *_: Reply(at_once=True)), concurrency=3)
    results = executor.map("q", [(1,), (2,)])
    assert len(list(results)) == 2
    statistics = results.statistics()
    assert isinstance(statistics, RunStatistics)
    assert (statistics.pulled, statistics.started, statistics.delivered) == (2, 2, 2)
    assert (statistics.in_flight, statistics.waiting_for_retry) == (0, 0)
    assert (statistics.succeeded, statistics.failed, statistics.settled) == (2, 0, 2)
    assert executor.statistics() == ExecutorStatistics(
        concurrency=3, in_flight=0, queued=0, waiting_for_retry=0, runs=0
    )
    assert round_trip(statistics) == statistics


# ---- a forked child ----

FORK = """
import os, sys
from concurrent_exec import CallbackExecutor, ForkedProcessError, ThreadExecutor
from concurrent_exec.testing import Reply, ScriptedSession

session = ScriptedSession(lambda statement, parameters: Reply(rows=[parameters], at_once=True))
executor = {make}(session, concurrency=2)
results = executor.execute((("q", (n,)) for n in iter(int, 1)), buffersize=1)
assert next(results).success
in_store = executor.map("q", [(n,) for n in range(100)], buffersize=16)
assert next(in_store).success
waiting = {make}(ScriptedSession(), concurrency=2).map("q", [(1,), (2,)])

sys.stdout.flush()
locks = executor._gate.lock, waiting._run.gate.lock
for lock in locks:  # as another thread may, which is not there in the child to release them
    lock.acquire()
child = os.fork()
if child != 0:
    for lock in locks:
        lock.release()
else:
    for call in (
        lambda: next(in_store),
        lambda: executor.execute([("q", None)]),
        lambda: executor.map("q", [None]),
        lambda: executor.submit("q"),
        lambda: executor.shutdown(),
        lambda: executor.shutdown(wait=False, cancel_futures=True),
        lambda: executor.statistics(),
        lambda: executor.__exit__(None, None, None),
        lambda: next(waiting),
        lambda: waiting.all(),
        lambda: waiting.future(),
        lambda: waiting.as_completed(),
        lambda: waiting.statistics(),
    ):
        try:
            call()
        except ForkedProcessError as exc:
            print(exc)
        else:
            print("was not refused")
    waiting.close()
    # The child makes its own, and then ends as any interpreter does.
    own = {make}(ScriptedSession(lambda *_: Reply(at_once=True)), concurrency=2)
    print("own:", len(own.map("q", [None] * 9).all()))
    sys.exit(7)

_, status = os.waitpid(child, 0)
print("child:", os.waitstatus_to_exitcode(status))
print("parent:", next(results).success, executor.submit("q", (1,)).result(10)[-1:] is not None)
results.close()
executor.shutdown()
"""


@pytest.mark.parametrize("kind", [CallbackExecutor, ThreadExecutor])
def test_a_forked_child_is_refused_and_ends(kind: type[Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK.format(make=kind.__name__)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *refusals, own, child, parent = done.stdout.splitlines()
    assert len(refusals) == 13
    assert all("belong" in line and "forked child" in line for line in refusals), refusals
    assert own == "own: 9"
    assert child == "child: 7"
    assert parent == "parent: True True"


# ---- types ----

TYPED = """
from concurrent.futures import Future
from typing import Any

from concurrent_exec import CallbackExecutor, ExecutionResult, Results, ThreadExecutor


class CountingSession:
    def execute_async(self, query: Any, parameters: Any = None, **options: Any) -> Any:
        raise NotImplementedError

    def execute(self, query: Any, parameters: Any = None, **options: Any) -> int:
        return 1


executor = CallbackExecutor(CountingSession(), concurrency=3)
reveal_type(executor)
reveal_type(ThreadExecutor(CountingSession()))
reveal_type(executor.submit("q"))

results: Results[int] = executor.map("q", [(1,)])
for result in results:
    reveal_type(result)
    reveal_type(result.success)
    reveal_type(result.result_or_exc)
    reveal_type(result.unwrap())
    reveal_type(result.index)
    success, value = result
    reveal_type(value)
for index, completed in executor.execute([("q", None)]).as_completed():
    reveal_type(index)
    reveal_type(completed)
reveal_type(results.all())
reveal_type(results.future())
with executor as same:
    reveal_type(same)
with results as open_results:
    reveal_type(open_results)

wrong: str = results.all()[0].unwrap()
CallbackExecutor(object())
executor.map("q", [(1,)], feeder="nobody")
"""

# This is how mypy writes an ExecutionResult[int], as it is a named tuple.
RESULT = (
    "tuple[bool, int | BaseException, fallback=concurrent_exec.model.result.ExecutionResult[int]]"
)
REVEALED = [
    "concurrent_exec.executors.callback.CallbackExecutor[int]",
    "concurrent_exec.executors.threads.ThreadExecutor[int]",
    "concurrent.futures._base.Future[int]",
    RESULT,
    "bool",
    "int | BaseException",
    "int",
    "int | None",
    "int | BaseException",
    "int",
    RESULT,
    f"list[{RESULT}]",
    f"concurrent.futures._base.Future[list[{RESULT}]]",
    "concurrent_exec.executors.callback.CallbackExecutor[int]",
    "concurrent_exec.run.results.Results[int]",
]
REFUSED = ["[assignment]", "[arg-type]", "[arg-type]"]


def test_users_see_the_types_of_their_session(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(TYPED)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary"),
            # Neither driver has types; what is silenced is only what the library makes of that.
            *("--follow-imports", "silent", "--ignore-missing-imports"),
            *("--config-file=", "--cache-dir", str(tmp_path / "cache"), str(program)),
        ],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(Path(concurrent_exec.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    lines = done.stdout.splitlines()
    revealed = [
        line.partition('Revealed type is "')[2].rstrip('"').replace("builtins.", "")
        for line in lines
        if "Revealed type" in line
    ]
    assert revealed == REVEALED, done.stdout + done.stderr
    assert not done.stderr
    errors = [line for line in lines if "error:" in line]
    assert [line[line.rindex("[") :] for line in errors] == REFUSED, errors
