"""Which statements are taken for idempotent by their text."""

from __future__ import annotations

import pytest
from cassandra.cqltypes import CounterColumnType, Int32Type
from cassandra.query import PreparedStatement

from concurrent_exec.bulk.idempotence import may_be_resent
from concurrent_exec.testing import ScriptedSession


def prepared(query: str, kind: object = Int32Type) -> PreparedStatement:
    return ScriptedSession().as_prepared(query, {"id": kind}, partition_key=["id"])


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM t WHERE id = ?",
        "SELECT now() FROM t WHERE id = ?",
        "INSERT INTO t (id, v) VALUES (?, ?)",
        'INSERT INTO "T" (id, v) VALUES (:id, :v) USING TTL 5 AND TIMESTAMP :ts',
        "INSERT INTO ks.t (id, v) VALUES (?, [1, 2])",
        "INSERT INTO t JSON ?",
        "UPDATE t SET v = ?, w = 'now() + 1' WHERE id = ? AND c IN (?, ?)",
        "UPDATE t SET v = -1 WHERE id = ?",
        "INSERT INTO t (id, v, w) VALUES (?, -1, +2)",
        "UPDATE t SET v = {'a': 1} WHERE (a, b) = (?, ?)",
        "DELETE FROM t WHERE id = ?",
        "DELETE v FROM t USING TIMESTAMP ? WHERE id = ?",
    ],
)
def test_what_comes_to_the_same(query: str) -> None:
    assert may_be_resent(prepared(query))


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO t (id, v) VALUES (?, now())",
        "INSERT INTO t (id, v) VALUES (uuid(), ?)",
        "INSERT INTO t (id, v) VALUES (?, ?) IF NOT EXISTS",
        "UPDATE t SET l = l + ? WHERE id = ?",
        "UPDATE t SET l = ? + l WHERE id = ?",
        "UPDATE t SET l += ? WHERE id = ?",
        "UPDATE t SET l[0] = ? WHERE id = ?",
        "UPDATE t SET v = toTimestamp(now()) WHERE id = ?",
        "DELETE l[0] FROM t WHERE id = ?",
        "DELETE FROM t WHERE id = ? IF v = 1",
        "BEGIN BATCH INSERT INTO t (id) VALUES (?); APPLY BATCH",
        "",
    ],
)
def test_what_may_not(query: str) -> None:
    assert not may_be_resent(prepared(query))


def test_a_counter() -> None:
    assert not may_be_resent(prepared("UPDATE t SET c = c + ? WHERE id = 1", CounterColumnType))


def test_what_its_author_says() -> None:
    statement = prepared("INSERT INTO t (id, v) VALUES (?, now())")
    statement.is_idempotent = True
    assert may_be_resent(statement)
