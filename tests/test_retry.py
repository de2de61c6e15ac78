"""What is sent again, and when; and the profile under which the driver resends nothing."""

from __future__ import annotations

import copy
import importlib
import inspect
import math
import pickle
import random
import re
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import cassandra
import pytest
from cassandra import ConsistencyLevel, OperationTimedOut, Unavailable, WriteTimeout, WriteType
from cassandra import InvalidRequest as InvalidRequestError
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    ResponseFuture,
)
from cassandra.connection import ConnectionBusy, ConnectionException, ConnectionShutdown
from cassandra.cqltypes import CounterColumnType, SetType, UTF8Type
from cassandra.policies import (
    ConstantSpeculativeExecutionPolicy,
    FallthroughRetryPolicy,
    NeverRetryPolicy,
    NoSpeculativeExecutionPolicy,
    RetryPolicy,
    RoundRobinPolicy,
)
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import (
    ErrorMessage,
    IsBootstrappingErrorMessage,
    OverloadedErrorMessage,
    PreparedQueryNotFound,
    QueryMessage,
    ReadTimeoutErrorMessage,
    ServerError,
    SyntaxException,
    TruncateError,
    UnavailableErrorMessage,
    WriteFailureMessage,
    WriteTimeoutErrorMessage,
)
from cassandra.query import (
    BatchStatement,
    BatchType,
    BoundStatement,
    PreparedStatement,
    SimpleStatement,
)
from hypothesis import given
from hypothesis import strategies as st

from concurrent_exec.model import ExecutorShutdownError, FailedAttempt
from concurrent_exec.model import RetryPolicy as Policy
from concurrent_exec.model.options import number
from concurrent_exec.retry import (
    Retry,
    Verdict,
    at_most_once_profile,
    classify,
    is_overload,
    may_be_resent,
)
from concurrent_exec.retry.statements import (
    is_conditional,
    is_counter_update,
    is_idempotent,
    is_read,
    is_single_partition_write,
)

ON_SCYLLA_DRIVER = hasattr(cassandra, "RateLimitReached")
INSERT = "INSERT INTO t (k, v) VALUES (%s, %s)"
SELECT = "SELECT v FROM t WHERE k = %s"
CONDITIONAL = "INSERT INTO t (k, v) VALUES (%s, %s) IF NOT EXISTS"
COUNTER = "UPDATE t SET c = c + 1 WHERE k = %s"
NOT_APPLIED, MAYBE_APPLIED, HOPELESS = Verdict


def simple(text: str, *, is_idempotent: bool = False) -> Any:
    return SimpleStatement(text, is_idempotent=is_idempotent)


def prepared(text: str, *types: Any, is_idempotent: bool = False, is_lwt: bool = False) -> Any:
    columns = [SimpleNamespace(name=f"p{i}", type=kind) for i, kind in enumerate(types)]
    for column in columns:
        column.keyspace_name, column.table_name = "ks", "t"
    statement = PreparedStatement(
        column_metadata=columns,
        query_id=b"id",
        routing_key_indexes=[],
        query=text,
        keyspace="ks",
        protocol_version=4,
        result_metadata=None,
        result_metadata_id=None,
        **({"is_lwt": is_lwt} if ON_SCYLLA_DRIVER else {}),
    )
    statement.is_idempotent = is_idempotent
    return statement


def batch(*statements: Any, kind: Any = BatchType.LOGGED, is_idempotent: bool = False) -> Any:
    result = BatchStatement(batch_type=kind)
    for each in statements:
        result.add(each, ["x"] * len(each.column_metadata) if hasattr(each, "bind") else None)
    result.is_idempotent = is_idempotent
    return result


def failed(
    error: BaseException,
    statement: Any = INSERT,
    *,
    attempts: int = 1,
    sent: bool = True,
    assume_idempotent: bool = False,
    batch_size: int = 1,
) -> FailedAttempt:
    return FailedAttempt(
        statement=statement,
        parameters=("secret",),
        error=error,
        attempts=attempts,
        sent=sent,
        assume_idempotent=assume_idempotent,
        batch_size=batch_size,
    )


# --- the table of the docs ------------------------------------------------------------------

DOCS = (Path(__file__).parents[1] / "docs" / "retries.md").read_text(encoding="utf-8")
VERDICTS = {
    "not applied": NOT_APPLIED,
    "may be applied": MAYBE_APPLIED,
    "hopeless": HOPELESS,
    "the worst of them": None,
}
OVERLOAD = {"yes": True, "no": False, "if any of them is": None}
ROW = re.compile(r"\| (`.+?) \| (.+?) \| (.+?) \| (.+?) \| (.+) \|")
ONLY_SCYLLA = {"cassandra.RateLimitReached", "cassandra.protocol.RateLimitReachedException"}


def rows() -> Iterator[tuple[str, str, Verdict | None, Verdict | None, bool | None]]:
    """Name, case, verdict on a plain write, on another, and overload, of every error."""
    _, _, table = DOCS.partition("| error | plain write | other write | overload | source |\n")
    lines = table.partition("\n\n")[0].splitlines()[1:]
    for line in lines:
        match = ROW.fullmatch(line)
        assert match, line
        errors, plain, other, overload, source = match.groups()
        assert len(source) > 10
        case = re.search(r"\(([^()]*)\)$", errors)
        for name in re.findall(r"`([^`]+)`", errors):
            yield (
                name,
                case[1] if case else "",
                VERDICTS[plain],
                VERDICTS[other],
                OVERLOAD[overload],
            )


TABLE = [row for row in rows() if ON_SCYLLA_DRIVER or row[0] not in ONLY_SCYLLA]
ANSWER = {"consistency": ConsistencyLevel.QUORUM, "required_responses": 2, "received_responses": 1}
INFO: dict[str, Any] = {
    "UnavailableErrorMessage": {
        "consistency": ConsistencyLevel.QUORUM,
        "required_replicas": 2,
        "alive_replicas": 1,
    },
    "WriteTimeoutErrorMessage": {**ANSWER, "write_type": WriteType.SIMPLE},
    "ReadTimeoutErrorMessage": {**ANSWER, "data_retrieved": False},
    "WriteFailureMessage": {
        **ANSWER,
        "failures": 1,
        "error_code_map": None,
        "write_type": WriteType.SIMPLE,
    },
    "ReadFailureMessage": {
        **ANSWER,
        "failures": 1,
        "error_code_map": None,
        "data_retrieved": False,
    },
    "FunctionFailureMessage": {"keyspace": "ks", "function": "f", "arg_types": ["int"]},
    "AlreadyExistsException": {"keyspace": "ks", "table": "t"},
    "PreparedQueryNotFound": b"id",
}


def type_named(name: str) -> Any:
    module, _, kind = name.rpartition(".")
    return getattr(importlib.import_module(module), kind)


def message(kind: Any, **info: Any) -> Any:
    """An answer as the driver makes it of what it has read."""
    known = INFO.get(kind.__name__)
    details = {**known, **info} if isinstance(known, dict) else (known or info or None)
    return kind(code=kind.error_code or 0, message="from the server", info=details)


def example(name: str, case: str = "") -> Any:
    """An error of that class, as the driver makes it."""
    kind = type_named(name)
    rejected = {"rejected by the coordinator": True, "rejected by a replica": False}.get(case)
    if name == "cassandra.protocol.RateLimitReachedException":
        write = type_named("cassandra.OperationType").Write
        return message(kind, op_type=write, rejected_by_coordinator=rejected)
    if name == "cassandra.RateLimitReached":
        return kind(type_named("cassandra.OperationType").Write, rejected)
    if name in ("cassandra.protocol.ErrorMessage", "cassandra.protocol.ErrorMessageSub"):
        return kind(code=0x4242, message="from the server", info=None)
    if issubclass(kind, ErrorMessage):
        return message(kind)
    if name == "cassandra.connection.ConnectionException" and case:
        return kind("Pool is shutdown")
    if name == "cassandra.cluster.NoHostAvailable":
        return kind("none", {})
    if name == "cassandra.connection.ProtocolVersionUnsupported":
        return kind("127.0.0.1", 4)
    if name == "cassandra.FunctionFailure":
        return kind("failed", "ks", "f", ["int"])
    if name == "cassandra.WriteTimeout":
        return kind("late", write_type=WriteType.SIMPLE)
    if name == "cassandra.UnresolvableContactPoints":
        return kind({})
    if name in ("cassandra.AlreadyExists",):
        return kind("ks", "t")
    return kind("it went wrong")


IDS = [f"{name} {case}".strip() for name, case, *_ in TABLE]
JUDGED = [row for row in TABLE if row[2] is not None]
JUDGED_IDS = [f"{name} {case}".strip() for name, case, *_ in JUDGED]
PLAIN = [
    INSERT,
    simple(INSERT),
    prepared("INSERT INTO t (k, v) VALUES (?, ?)", UTF8Type, UTF8Type),
    prepared("INSERT INTO t (k, v) VALUES (?, ?)", UTF8Type).bind(["x"]),
    "UPDATE t SET v = 1 WHERE k = 2",
    "DELETE FROM t WHERE k = 'IN'",
    batch("INSERT INTO t (k) VALUES (1)"),
]
OTHER = [
    CONDITIONAL,
    simple(COUNTER),
    "DELETE FROM t WHERE k IN (1, 2)",
    "BEGIN BATCH INSERT INTO t (k) VALUES (1) APPLY BATCH",
    "TRUNCATE t",
    batch("INSERT INTO t (k) VALUES (1)", "INSERT INTO t (k) VALUES (2)"),
    batch(prepared("INSERT INTO t (k) VALUES (?)", UTF8Type)),
    batch(),
    object(),
]


@pytest.mark.parametrize(("name", "case", "plain", "other", "overload"), JUDGED, ids=JUDGED_IDS)
def test_the_table_of_the_docs_is_the_code(
    name: str, case: str, plain: Verdict, other: Verdict, overload: bool
) -> None:
    error = example(name, case)
    for statement in PLAIN:
        assert classify(error, statement, sent=True) is plain, statement
    for statement in OTHER:
        assert classify(error, statement, sent=True) is other, statement
    assert is_overload(error) is overload
    for_a_read = HOPELESS if plain is HOPELESS else NOT_APPLIED
    assert classify(error, SELECT, sent=True) is for_a_read


@pytest.mark.parametrize(("name", "case", "plain", "other", "overload"), JUDGED, ids=JUDGED_IDS)
def test_no_host_available_is_judged_by_the_errors_that_it_holds(
    name: str, case: str, plain: Verdict, other: Verdict, overload: bool
) -> None:
    if name == "cassandra.cluster.NoHostAvailable":
        return
    error, busy = example(name, case), ConnectionBusy("busy")
    shutdown, wrong = ConnectionShutdown("gone"), TypeError("wrong")
    for held, with_it in ((busy, NOT_APPLIED), (shutdown, MAYBE_APPLIED), (wrong, HOPELESS)):
        for errors in ({"a": error, "b": held}, {"a": held, "b": error}, [held, error]):
            none = NoHostAvailable("none", errors)
            assert classify(none, INSERT, sent=True) is max(plain, with_it)
            assert classify(none, CONDITIONAL, sent=True) is max(other, with_it)
            assert is_overload(none) is (overload or held is busy)


def test_no_host_available_that_holds_nothing_or_what_is_no_error() -> None:
    empty: tuple[Any, ...] = ({}, None, [])
    for errors in empty:
        error = NoHostAvailable("none", errors)
        assert classify(error, INSERT, sent=True) is MAYBE_APPLIED
        assert classify(error, INSERT, sent=False) is NOT_APPLIED
        assert not is_overload(error)
    for held in ("a mere text", NoHostAvailable("none", {})):
        error = NoHostAvailable("none", {"a": held, "b": ConnectionBusy()})
        assert classify(error, INSERT, sent=True) is MAYBE_APPLIED
        assert is_overload(error)
    endless = NoHostAvailable("none", {})
    endless.errors["a"] = endless
    assert not may_be_resent(endless, COUNTER, sent=True, assume_idempotent=True)
    assert may_be_resent(endless, INSERT, sent=True, assume_idempotent=True)


def test_a_host_without_a_pool_is_known_by_type_and_text() -> None:
    for text in ("Host has been marked down or removed", "Pool for 127.0.0.1 is shutdown"):
        assert classify(ConnectionException(text), COUNTER, sent=True) is NOT_APPLIED
        # The driver passes the text of whatever broke a connection on to all its requests.
        assert classify(ConnectionShutdown(text), COUNTER, sent=True) is MAYBE_APPLIED
    for text in ("Pool", "Pool for 127.0.0.1 is full", "127.0.0.1 is shutdown"):
        assert classify(ConnectionException(text), INSERT, sent=True) is MAYBE_APPLIED


MODULES = ("", ".cluster", ".connection", ".pool", ".protocol", ".query", ".segment")


def test_every_exception_of_the_driver_has_a_line_in_the_table() -> None:
    there = set()
    for name in MODULES:
        module = importlib.import_module(f"cassandra{name}")
        for kind in vars(module).values():
            if inspect.isclass(kind) and issubclass(kind, Exception):
                if kind.__module__.startswith("cassandra"):
                    there.add(f"{kind.__module__}.{kind.__qualname__}")
    named = {name for name, *_ in TABLE if name.startswith("cassandra")}
    assert there - named == set(), "a new exception: give it a verdict, and docs/retries.md a line"
    assert named - there == set()


def test_every_error_code_of_the_driver_has_a_line_in_the_table() -> None:
    # Those that the driver makes of a server's answer, and what it hands on of them.
    named = {name for name, *_ in TABLE}
    for kind in importlib.import_module("cassandra.protocol").error_classes.values():
        assert f"cassandra.protocol.{kind.__name__}" in named
        if kind.__name__ != "RateLimitReachedException":
            handed_on = type(message(kind).to_exception())
            assert f"{handed_on.__module__}.{handed_on.__name__}" in named


# --- verdicts and resending -----------------------------------------------------------------

LATE = OperationTimedOut()


@pytest.mark.parametrize(
    ("error", "statement", "sent", "assume_idempotent", "wanted"),
    [
        (Unavailable("down"), INSERT, True, False, True),
        (Unavailable("down"), CONDITIONAL, True, True, False),
        (Unavailable("down"), COUNTER, True, True, False),
        (Unavailable("down"), batch("DELETE FROM t WHERE k = 1"), True, False, True),
        (Unavailable("down"), batch(INSERT, INSERT), True, False, False),
        (Unavailable("down"), batch(INSERT, INSERT, is_idempotent=True), True, False, True),
        (LATE, INSERT, True, False, False),
        (LATE, INSERT, True, True, True),
        (LATE, simple(INSERT), True, False, False),
        (LATE, simple(INSERT, is_idempotent=True), True, False, True),
        (LATE, prepared(INSERT, is_idempotent=True), True, False, True),
        (LATE, prepared(INSERT, is_idempotent=True).bind([]), True, False, True),
        (LATE, batch(simple(INSERT, is_idempotent=True)), True, False, False),
        (LATE, batch(simple(INSERT), is_idempotent=True), True, False, True),
        (LATE, SELECT, True, False, True),
        (LATE, prepared(SELECT), True, False, True),
        (LATE, "CREATE TABLE IF NOT EXISTS t (k int PRIMARY KEY)", True, True, True),
        (LATE, simple(CONDITIONAL, is_idempotent=True), True, True, False),
        (LATE, simple(COUNTER, is_idempotent=True), True, True, False),
        (LATE, batch(CONDITIONAL, is_idempotent=True), True, True, False),
        (LATE, batch(INSERT, kind=BatchType.COUNTER, is_idempotent=True), True, True, False),
        (LATE, None, True, True, True),
        (LATE, None, True, False, False),
        # Never sent: safe whatever it is, but of no use where the statement itself is wrong.
        (RuntimeError("no"), COUNTER, False, False, True),
        (RuntimeError("no"), COUNTER, True, True, False),
        (RuntimeError("no"), INSERT, True, True, True),
        (ConnectionBusy(), CONDITIONAL, True, False, True),
        (NoHostAvailable("", {"a": NoConnectionsAvailable()}), COUNTER, True, False, True),
        (TypeError("no"), SELECT, False, True, False),
        (struct.error("no"), SELECT, True, True, False),
        (InvalidRequestError("no"), SELECT, True, True, False),
        (ExecutorShutdownError("no"), SELECT, False, True, False),
        (KeyboardInterrupt(), SELECT, False, True, False),
        # What only an answer brings was sent, whatever is said.
        (LATE, INSERT, False, False, False),
        (ConnectionShutdown("gone"), INSERT, False, False, False),
        (WriteTimeout("late", write_type=WriteType.SIMPLE), INSERT, False, False, False),
        (message(ServerError), INSERT, False, False, False),
        # The server's word that it was conditional or of counters.
        (WriteTimeout("late", write_type=WriteType.SIMPLE), None, True, True, True),
        (WriteTimeout("late", write_type=WriteType.BATCH_LOG), None, True, True, True),
        (WriteTimeout("late", write_type=WriteType.CAS), None, True, True, False),
        (WriteTimeout("late", write_type=WriteType.COUNTER), None, True, True, False),
        (message(WriteTimeoutErrorMessage, write_type=WriteType.CAS), None, True, True, False),
        (message(WriteFailureMessage, write_type=WriteType.COUNTER), None, True, True, False),
        (ErrorMessage(0x1700, "unknown", None), None, True, True, False),
        (NoHostAvailable("", {1: ErrorMessage(0x1700, "", None)}), None, True, True, False),
        (NoHostAvailable("", {1: ErrorMessage(0x1800, "", None)}), None, True, True, True),
    ],
)
def test_what_may_be_resent(
    error: BaseException, statement: Any, sent: bool, assume_idempotent: bool, wanted: bool
) -> None:
    resent = may_be_resent(error, statement, sent=sent, assume_idempotent=assume_idempotent)
    assert resent is wanted
    delay = Retry(jitter=False).delay(
        failed(error, statement, sent=sent, assume_idempotent=assume_idempotent)
    )
    assert delay == (0.1 if wanted else None)


@given(
    error=st.sampled_from([example(name, case) for name, case, *_ in JUDGED]),
    statement=st.sampled_from([*PLAIN, *OTHER, SELECT]),
    sent=st.booleans(),
)
def test_an_idempotent_statement_is_resent_no_less(error: Any, statement: Any, sent: bool) -> None:
    may = may_be_resent(error, statement, sent=sent, assume_idempotent=False)
    may_if = may_be_resent(error, statement, sent=sent, assume_idempotent=True)
    assert may <= may_if
    verdict = classify(error, statement, sent=sent)
    assert may == (verdict is NOT_APPLIED)
    assert not may_if or verdict is not HOPELESS


def test_what_a_batch_of_several_was_refused_with_says_less_of_each() -> None:
    # A coordinator may refuse a batch half-way.
    down = Unavailable("down")
    assert classify(down, INSERT, sent=True) is NOT_APPLIED
    assert classify(down, INSERT, sent=True, in_batch=True) is MAYBE_APPLIED
    for size, again in ((1, True), (2, False)):
        resent = may_be_resent(down, INSERT, sent=True, assume_idempotent=False, in_batch=size > 1)
        assert resent is again
        delay = Retry(jitter=False).delay(failed(down, batch_size=size))
        assert delay == (0.1 if again else None)
    assert may_be_resent(down, INSERT, sent=True, assume_idempotent=True, in_batch=True)


# --- what a statement does ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("SELECT 1", True),
        ("  \n select json v FROM t", True),
        ("/* INSERT */ -- UPDATE\n// x\nSELECT v FROM t", True),
        ("-- SELECT\nINSERT INTO t (k) VALUES (1)", False),
        ("/* SELECT", False),
        ("SELECTED", False),
        ('"SELECT"', False),
        ("'SELECT'", False),
        ("INSERT INTO t (k) VALUES ('SELECT')", False),
        ("", False),
    ],
)
def test_a_read(text: str, read: bool) -> None:
    assert is_read(text) is read
    assert is_read(simple(text)) is read
    assert is_read(prepared(text)) is read
    assert is_read(BoundStatement(prepared(text))) is read
    assert not is_read(batch(text))
    assert not is_read(None)


@pytest.mark.parametrize(
    ("text", "conditional"),
    [
        (CONDITIONAL, True),
        ("update t set v = 1 where k = 1 if v = 2", True),
        ("DELETE FROM t WHERE k = 1 IF/**/EXISTS", True),
        ("BEGIN BATCH INSERT INTO t (k) VALUES (1) IF NOT EXISTS APPLY BATCH", True),
        ("BEGIN TRANSACTION UPDATE t SET v += 1 WHERE k = 1; COMMIT TRANSACTION", True),
        ("INSERT INTO t (k) VALUES ('a''') IF NOT EXISTS", True),
        ("INSERT INTO t (k) VALUES ($$it's$$) IF NOT EXISTS", True),
        ("INSERT INTO t (k) VALUES (' IF NOT EXISTS ')", False),
        ("INSERT INTO t (k) VALUES ('it''s IF ''x')", False),
        ("INSERT INTO t (k) VALUES ($$ ' IF ' $$)", False),
        ('INSERT INTO t (k, "if", "a"" if ") VALUES (1, 2, 3)', False),
        ("INSERT INTO t (k) VALUES (1) -- IF NOT EXISTS", False),
        ("INSERT INTO t (k) VALUES (1) // IF NOT EXISTS", False),
        ("INSERT INTO t (k) /* IF\nNOT EXISTS */ VALUES (1)", False),
        ("INSERT INTO t (iffy, k_if) VALUES (1, 2)", False),
        ("CREATE TABLE IF NOT EXISTS t (k int PRIMARY KEY)", False),
        ("drop table if exists t", False),
        ("ALTER TABLE t ADD IF NOT EXISTS v int", False),
        ("", False),
    ],
)
def test_a_conditional_write(text: str, conditional: bool) -> None:
    assert is_conditional(text) is conditional
    assert is_conditional(simple(text)) is conditional
    assert is_conditional(prepared(text)) is conditional
    assert is_conditional(BoundStatement(prepared(text))) is conditional
    assert is_conditional(batch(INSERT, text)) is conditional
    assert not is_conditional(None)


def test_a_conditional_write_by_the_word_of_scylla_driver() -> None:
    said = prepared(INSERT, is_lwt=True)
    assert is_conditional(said) is ON_SCYLLA_DRIVER
    assert is_conditional(BoundStatement(said)) is ON_SCYLLA_DRIVER
    assert is_conditional(batch(said)) is ON_SCYLLA_DRIVER


@pytest.mark.parametrize(
    ("text", "counter"),
    [
        (COUNTER, True),
        ("UPDATE t SET c=c-1 WHERE k=1", True),
        ("UPDATE t SET c = c -1 WHERE k = 1", True),
        ("UPDATE t SET c += 1 WHERE k = 1", True),
        ("UPDATE t SET c -= %s WHERE k = 1", True),
        ("UPDATE t SET C = c + ? WHERE k = 1", True),
        ('UPDATE t SET c = "c" + :n WHERE k = 1', True),
        ("UPDATE t SET v = 1, c = c + %(n)s WHERE k = 1", True),
        ("UPDATE t SET c = c + f() WHERE k = 1", True),
        ("UPDATE t SET c = c +", True),
        ('UPDATE t SET "C" = "C" + 1 WHERE k = 1', True),
        ("UPDATE t SET s = s + {'a'}, c = c + 1 WHERE k = 1", True),
        ("BEGIN COUNTER BATCH UPDATE t SET c = c + 1 WHERE k = 1 APPLY BATCH", True),
        ("BEGIN COUNTER BATCH APPLY BATCH", True),
        ("UPDATE t SET s = s + {'a'} WHERE k = 1", False),
        ("UPDATE t SET l = l + ['c = c + 1'] WHERE k = 1", False),
        ("UPDATE t SET l = [1] + l WHERE k = 1", False),
        ("UPDATE t SET l = ? + l WHERE k = 1", False),
        ('UPDATE t SET "C" = c WHERE k = 1', False),
        ("UPDATE t SET v = 'c = c + 1' WHERE k = 1 -- c = c + 1", False),
        ("UPDATE t SET v = -1 WHERE k = +1", False),
        ("UPDATE t SET v = v, w = f(v, v + 1) WHERE k = 1", False),
        ("UPDATE t SET v = v", False),
        ("", False),
    ],
)
def test_a_counter_update_by_its_text(text: str, counter: bool) -> None:
    assert is_counter_update(text) is counter
    assert is_counter_update(simple(text)) is counter
    assert is_counter_update(prepared(text)) is counter
    assert is_counter_update(batch(INSERT, text)) is counter
    assert not is_counter_update(None)


def test_a_counter_update_by_the_types_of_its_parameters() -> None:
    text = "UPDATE t SET c = c + ? WHERE k = ?"
    assert is_counter_update(prepared(text, CounterColumnType, UTF8Type))
    assert is_counter_update(BoundStatement(prepared(text, CounterColumnType, UTF8Type)))
    assert is_counter_update(prepared("INSERT", CounterColumnType))
    tags = SetType.apply_parameters([UTF8Type])
    assert not is_counter_update(prepared(text, tags, UTF8Type))
    assert is_counter_update(
        prepared("UPDATE t SET s = s + ?, c = c + 1 WHERE k = ?", tags, UTF8Type)
    )
    assert not is_counter_update(prepared(INSERT, object()))  # a type that has no name
    assert is_counter_update(prepared("UPDATE t SET c = c + 1 WHERE k = ?", UTF8Type))


def test_a_counter_batch() -> None:
    assert is_counter_update(batch(prepared("?", UTF8Type), kind=BatchType.COUNTER))
    assert not is_counter_update(batch(prepared("?", UTF8Type), kind=BatchType.UNLOGGED))


def test_the_texts_in_a_batch_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    # By a name of the driver's own; where it goes, batches are judged as those of prepared ones.
    seen = batch("INSERT INTO t (k) VALUES (1)")
    assert is_single_partition_write(seen)
    del seen._statements_and_parameters
    monkeypatch.delattr(BatchStatement, "_statements_and_parameters")
    monkeypatch.setattr(BatchStatement, "__len__", lambda self: 1)
    assert not is_single_partition_write(seen)
    assert not is_conditional(seen)


def test_a_text_that_is_none_says_nothing() -> None:
    odd = SimpleNamespace(query_string=b"SELECT")
    for judge in (is_read, is_conditional, is_counter_update, is_single_partition_write):
        assert judge(odd) is False


def test_idempotent_is_what_its_author_says() -> None:
    for statement in (INSERT, simple(INSERT), prepared(INSERT), batch(INSERT), None):
        assert not is_idempotent(statement)
    said = prepared(INSERT, is_idempotent=True)
    assert is_idempotent(said)
    assert is_idempotent(said.bind([]))
    assert is_idempotent(simple(INSERT, is_idempotent=True))
    assert not is_idempotent(batch(said))  # neither driver takes it over


WORDS = st.sampled_from(
    [*"'\"$/-*%?:=+[{ \n", "$$", "--", "/*", "*/", "''", "IF", "c", "SELECT", "1", "IN", "é"]
)


@given(st.lists(WORDS, max_size=30).map("".join))
def test_any_text_can_be_judged(text: str) -> None:
    for judge in (is_read, is_conditional, is_counter_update, is_single_partition_write):
        assert judge(text) in (True, False)
    literal = "'" + text.replace("'", "''") + "'"
    name = '"' + text.replace('"', '""') + '"'
    for hidden in (literal, name, f"/*{text.replace('/', '')} */"):
        statement = f"INSERT INTO t ({hidden}) VALUES (1)"
        assert not is_conditional(statement)
        assert not is_counter_update(statement)
        assert is_single_partition_write(statement)
        assert is_conditional(f"{statement} IF NOT EXISTS")


# --- the waits ------------------------------------------------------------------------------

SECONDS = st.floats(min_value=1e-6, max_value=1e6)


@st.composite
def policies(draw: st.DrawFn, /, **options: Any) -> Retry:
    initial, longest = sorted((draw(SECONDS), draw(SECONDS)))
    return Retry(
        initial_backoff=initial,
        max_backoff=longest,
        multiplier=draw(st.floats(min_value=1, max_value=1e6)),
        **options,
    )


@given(policies(max_attempts=10**9, jitter=False), st.integers(min_value=1, max_value=10**9 - 2))
def test_waits_grow_up_to_the_longest(retry: Retry, attempts: int) -> None:
    here = retry.delay(failed(Unavailable("down"), attempts=attempts))
    then = retry.delay(failed(Unavailable("down"), attempts=attempts + 1))
    assert here is not None
    assert then is not None
    assert retry.initial_backoff <= here <= then <= retry.max_backoff
    assert math.isclose(then, min(here * retry.multiplier, retry.max_backoff))
    assert retry.delay(failed(Unavailable("down"))) == retry.initial_backoff


@given(
    policies(max_attempts=10**9),
    st.integers(min_value=1, max_value=10**9 - 1),
    st.floats(min_value=0, max_value=1, exclude_max=True),
)
def test_jitter_draws_from_zero_to_the_whole_wait(
    drawn: Retry, attempts: int, share: float
) -> None:
    options = {
        name: getattr(drawn, name)
        for name in ("max_attempts", "initial_backoff", "max_backoff", "multiplier")
    }
    longest = Retry(**options, jitter=False).delay(failed(Unavailable("down"), attempts=attempts))
    assert longest is not None
    retry = Retry(**options, random=lambda: share)
    assert retry.delay(failed(Unavailable("down"), attempts=attempts)) == longest * share


def test_jitter_is_even() -> None:
    source = random.Random(2015)
    retry = Retry(initial_backoff=1, random=source.random)
    waits = [retry.delay(failed(Unavailable("down"))) or 0.0 for _ in range(2000)]
    assert all(0 <= wait < 1 for wait in waits)
    for tenth in range(10):
        assert 140 < sum(tenth <= wait * 10 < tenth + 1 for wait in waits) < 260
    unlike = {Retry().delay(failed(Unavailable("down"))) for _ in range(10)}
    assert len(unlike) > 1


def test_the_default_waits() -> None:
    retry = Retry(max_attempts=9, random=lambda: 1.0)
    waits = [retry.delay(failed(Unavailable("down"), attempts=n)) for n in range(1, 10)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, None]


@given(st.integers(min_value=1, max_value=50), st.integers(min_value=1, max_value=60))
def test_attempts_are_counted(max_attempts: int, attempts: int) -> None:
    retry = Retry(max_attempts=max_attempts)
    delay = retry.delay(failed(Unavailable("down"), attempts=attempts))
    assert (delay is None) is (attempts >= max_attempts)


@pytest.mark.parametrize("name", ["initial_backoff", "max_backoff"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, -math.inf, 10**400])
def test_a_wait_that_is_none_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be a finite number above 0, not"):
        Retry(**{name: value})


@pytest.mark.parametrize("value", [0, 0.999, -1, math.nan, math.inf, 10**400])
def test_a_multiplier_that_shrinks_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"^multiplier must be a finite number of at least 1, not"):
        Retry(multiplier=value)


@pytest.mark.parametrize("name", ["initial_backoff", "max_backoff", "multiplier"])
@pytest.mark.parametrize("value", [True, "1", None, 1j])
def test_what_is_no_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^{name} must be a number, not {type(value).__name__}"):
        Retry(**{name: value})


def test_other_options_are_refused() -> None:
    with pytest.raises(ValueError, match="max_attempts must be at least 1, not 0"):
        Retry(max_attempts=0)
    for wrong in (True, 1.5, None, "3"):
        with pytest.raises(TypeError, match="max_attempts must be a whole number"):
            Retry(max_attempts=wrong)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"max_backoff must be at least initial_backoff, 2\.0, not"
    ):
        Retry(initial_backoff=2, max_backoff=1)
    for wrong in (1, None, "yes"):
        with pytest.raises(TypeError, match="jitter must be True or False"):
            Retry(jitter=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="random must be callable, not float"):
        Retry(random=0.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Retry(5)  # type: ignore[call-arg]
    assert number("n", 5) == 5.0


def test_a_policy_is_a_value() -> None:
    retry = Retry(max_attempts=3, initial_backoff=1, multiplier=3)
    assert retry == Retry(max_attempts=3, initial_backoff=1.0, multiplier=3.0)
    assert retry != Retry()
    assert hash(retry) == hash(copy.deepcopy(retry))
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        pickled = pickle.dumps(retry, protocol)
        assert pickle.loads(pickled) == retry
        assert len(pickled) < 300  # without the state of a generator
    assert repr(retry) == (
        "Retry(max_attempts=3, initial_backoff=1.0, max_backoff=10.0, multiplier=3.0, jitter=True)"
    )
    with pytest.raises(FrozenInstanceError):
        retry.max_attempts = 4  # type: ignore[misc]
    as_protocol: Policy = retry
    assert as_protocol.delay(failed(TypeError("no"))) is None


# --- at most once ---------------------------------------------------------------------------


class Wire:
    """A session without a network: hands a real ResponseFuture's message to hosts in turn.

    The hosts that are busy have no free connection, those that are down no pool.
    """

    def __init__(
        self, policy: Any, *, hosts: str = "abc", busy: str = "", down: str = "", text: str = INSERT
    ) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.answer: Callable[[Any], None] = lambda response: None
        self.closed: list[str] = []
        cluster = MagicMock()
        cluster.allow_control_connection_query_fallback = None
        if ON_SCYLLA_DRIVER:
            modes = importlib.import_module("cassandra.cluster").ControlConnectionQueryFallback
            cluster.allow_control_connection_query_fallback = modes.Disabled
        cluster.scheduler.schedule_with_shutdown = lambda delay, abort, call, *args: call(*args)
        cluster._default_load_balancing_policy.make_query_plan.return_value = list(hosts)
        session = MagicMock(cluster=cluster)
        session.submit = lambda call, *args, **options: call(*args, **options)
        session._pools = {host: self.pool(host, host in busy) for host in hosts if host not in down}
        self.session = session
        query = simple(text)
        self.future = ResponseFuture(
            session, QueryMessage(text, ConsistencyLevel.ONE), query, 10.0, retry_policy=policy
        )
        self.errors: list[Any] = []
        self.future.add_errback(self.errors.append)

    def pool(self, host: str, busy: bool) -> Any:
        pool = MagicMock(is_shutdown=False)
        connection = MagicMock(is_control_connection=False)
        connection.lock = threading.RLock()

        def send_msg(message: Any, request_id: int, cb: Any, **coding: Any) -> int:
            self.sent.append((host, message))
            self.answer = cb
            return 1

        connection.send_msg = send_msg
        pool.borrow_connection.return_value = (connection, 1)
        if busy:
            pool.borrow_connection.side_effect = NoConnectionsAvailable("full")
        return pool

    def fail(self, response: Any) -> list[str]:
        """Send it, answer everything with `response`; return the hosts that it was handed to."""
        self.future.send_request()
        while not self.errors:
            self.answer(response)
        return [host for host, _ in self.sent]


ANSWERS = [
    message(ReadTimeoutErrorMessage, received_responses=2),
    message(WriteTimeoutErrorMessage, write_type=WriteType.BATCH_LOG),
    message(WriteTimeoutErrorMessage),
    message(UnavailableErrorMessage),
    message(OverloadedErrorMessage),
    message(IsBootstrappingErrorMessage),
    message(TruncateError),
    message(ServerError),
    message(SyntaxException),
    ConnectionShutdown("gone"),
    ConnectionException("odd"),
    RuntimeError("what the decoder raised"),
]
ANSWER_IDS = [type(each).__name__ for each in ANSWERS]
# As docs/retries.md says of the default policy.
RESENT = {
    "ReadTimeoutErrorMessage": "aa",
    "WriteTimeoutErrorMessage": "aa",
    "UnavailableErrorMessage": "ab",
    "OverloadedErrorMessage": "abc",
    "IsBootstrappingErrorMessage": "abc",
    "TruncateError": "abc",
    "ServerError": "abc",
    "ConnectionShutdown": "abc",
    "ConnectionException": "abc",
}


def policy_of(profile: Any) -> Any:
    return profile.retry_policy


@pytest.mark.parametrize("answer", ANSWERS, ids=ANSWER_IDS)
def test_nothing_is_resent_under_at_most_once(answer: Any) -> None:
    wire = Wire(policy_of(at_most_once_profile()))
    assert wire.fail(answer) == ["a"]
    (error,) = wire.errors
    handed_on = answer.to_exception() if isinstance(answer, ErrorMessage) else answer
    assert type(error) is type(handed_on)


@pytest.mark.parametrize("answer", ANSWERS, ids=ANSWER_IDS)
def test_the_default_policy_resends_as_the_docs_say(answer: Any) -> None:
    wire = Wire(RetryPolicy())
    hosts = "".join(wire.fail(answer))
    if answer is ANSWERS[2]:  # not of the batch log
        assert hosts == "a"
    else:
        assert hosts == RESENT.get(type(answer).__name__, "a")


def test_never_retry_policy_is_no_substitute() -> None:
    assert Wire(NeverRetryPolicy()).fail(message(ServerError)) == ["a", "b", "c"]


def test_at_most_once_goes_on_where_a_host_could_not_be_handed_it() -> None:
    wire = Wire(policy_of(at_most_once_profile()), busy="a", down="b")
    assert wire.fail(ConnectionShutdown("gone")) == ["c"]
    assert type(wire.errors[0]) is ConnectionShutdown


def test_no_host_available_of_the_driver_says_that_nothing_was_sent() -> None:
    wire = Wire(policy_of(at_most_once_profile()), busy="ac", down="b")
    assert wire.fail(None) == []
    (error,) = wire.errors
    assert type(error) is NoHostAvailable
    assert set(error.errors) == set("abc")
    assert classify(error, CONDITIONAL, sent=True) is NOT_APPLIED
    assert is_overload(error)


def test_the_default_policy_may_say_no_host_available_without_the_error_of_the_last() -> None:
    # That is why one that holds no error is not taken for "nothing was sent". Here the driver's
    # worker thread is simply as quick as can be.
    seen: list[Any] = []
    wire = Wire(RetryPolicy(), hosts="a")
    wire.future.add_errback(lambda error: seen.append(dict(error.errors)))
    assert wire.fail(ConnectionShutdown("gone")) == ["a"]
    (error,) = wire.errors
    assert type(error) is NoHostAvailable
    assert seen == [{}]
    assert classify(NoHostAvailable("none", {}), COUNTER, sent=True) is MAYBE_APPLIED


def test_at_most_once_executes_again_what_a_node_had_forgotten() -> None:
    statement = prepared("INSERT INTO t (k) VALUES (1)")
    wire = Wire(policy_of(at_most_once_profile()))
    wire.future.prepared_statement = statement
    wire.session.cluster._prepared_statements = {b"id": statement}
    wire.session.cluster.protocol_version = 4
    statement.keyspace = None
    wire.future.send_request()
    wire.answer(PreparedQueryNotFound(0x2500, "unknown", b"id"))
    (first, executed), (second, preparing) = wire.sent
    assert (first, second) == ("a", "a")
    assert type(preparing).__name__ == "PrepareMessage"
    assert executed is wire.future.message
    assert wire.errors == []


def test_the_policy_answers_every_question_with_no() -> None:
    policy = policy_of(at_most_once_profile())
    questions = {name for name in dir(RetryPolicy) if name.startswith("on_")}
    assert questions >= {
        "on_read_timeout",
        "on_write_timeout",
        "on_unavailable",
        "on_request_error",
    }
    for name in questions:
        asked = inspect.signature(getattr(RetryPolicy, name)).parameters
        decision = getattr(policy, name)(*[0] * (len(asked) - 1))
        assert decision[0] == RetryPolicy.RETHROW, name
        assert name in vars(FallthroughRetryPolicy), f"{name} is inherited"


def test_a_profile_is_a_copy_but_for_what_resends() -> None:
    base = ExecutionProfile(
        load_balancing_policy=RoundRobinPolicy(),
        retry_policy=RetryPolicy(),
        consistency_level=ConsistencyLevel.ALL,
        request_timeout=3.0,
        speculative_execution_policy=ConstantSpeculativeExecutionPolicy(0.1, 3),
    )
    profile = at_most_once_profile(base)
    assert profile is not base
    assert type(profile.retry_policy) is FallthroughRetryPolicy
    assert type(profile.speculative_execution_policy) is NoSpeculativeExecutionPolicy
    assert type(base.retry_policy) is RetryPolicy
    assert type(base.speculative_execution_policy) is ConstantSpeculativeExecutionPolicy
    changed = {"retry_policy", "speculative_execution_policy"}
    for name, value in vars(base).items():
        assert name in changed or getattr(profile, name) is value


def test_a_profile_goes_into_a_cluster_and_comes_out_of_it() -> None:
    default = ExecutionProfile(load_balancing_policy=RoundRobinPolicy())
    cluster = Cluster(["127.0.0.1"], execution_profiles={EXEC_PROFILE_DEFAULT: default})
    try:
        profile = at_most_once_profile(default)
        cluster.add_execution_profile("at most once", profile)
        assert cluster.profile_manager.profiles["at most once"] is profile
        session_like = SimpleNamespace(cluster=cluster)
        lookup = importlib.import_module("cassandra.cluster").Session._maybe_get_execution_profile
        assert lookup(session_like, profile) is profile
    finally:
        cluster.shutdown()


@pytest.mark.parametrize("base", ["default", EXEC_PROFILE_DEFAULT, RetryPolicy(), 3])
def test_what_is_no_profile_is_refused(base: Any) -> None:
    wanted = f"base must be an ExecutionProfile or None, not {type(base).__name__};"
    with pytest.raises(TypeError, match=wanted):
        at_most_once_profile(base)
