"""Every result in its place: in each form, for each kind of statement and of parameters."""

from __future__ import annotations

from typing import Any

import pytest
from cassandra.query import BatchStatement, SimpleStatement

from concurrent_exec import ExecutionResult
from tests.executors import any_executor
from tests.integration.support import FORMS, MakeExecutor, Rows, values

pytestmark = pytest.mark.cluster

COUNT = 1_100


@pytest.fixture(scope="module")
def filled(session: Any, table: str) -> Rows:
    """COUNT rows, to be read only."""
    made = Rows(session, table)
    made.fill(COUNT)
    return made


@any_executor
@pytest.mark.parametrize("form", FORMS)
def test_results_are_in_order(
    make_executor: MakeExecutor, form: str, session: Any, filled: Rows
) -> None:
    pairs = [(filled.select, each) for each in filled.keys(COUNT)]
    with make_executor(session) as executor:
        results = FORMS[form](executor, pairs)
    assert values(results) == [f"value {key}" for key in range(COUNT)]


@any_executor
@pytest.mark.parametrize("feeder", ["thread", "caller"])
def test_map_is_in_order(
    make_executor: MakeExecutor, feeder: Any, session: Any, filled: Rows
) -> None:
    with make_executor(session) as executor:
        results = list(executor.map(filled.select, iter(filled.keys(COUNT)), feeder=feeder))
    assert all(type(result) is ExecutionResult for result in results)
    assert values(results) == [f"value {key}" for key in range(COUNT)]


@any_executor
def test_writes(make_executor: MakeExecutor, session: Any, rows: Rows) -> None:
    with make_executor(session) as executor:
        results = executor.map(rows.insert, rows.parameters(COUNT)).all()
    assert [result.success for result in results] == [True] * COUNT
    assert rows.written() == {key: f"value {key}" for key in range(COUNT)}


@any_executor
def test_every_kind_of_statement_and_parameters(
    make_executor: MakeExecutor, session: Any, rows: Rows
) -> None:
    """Each run mixes all kinds, so the order of the results shows that each is its own."""
    into = f"INSERT INTO {rows.table} (run, key, value) VALUES "
    out_of = f"SELECT value FROM {rows.table} WHERE run = "

    def batch(key: int, value: str) -> BatchStatement:
        made = BatchStatement()
        made.add(rows.insert, (rows.run, key, value))
        made.add(f"{into} (%s, %s, %s)", (rows.run, key + COUNT, value))
        return made

    def named(key: int, value: str | None = None) -> dict[str, Any]:
        return {"run": rows.run, "key": key} | ({} if value is None else {"value": value})

    writes: list[Any] = [
        lambda key, value: (f"{into} (%s, %s, %s)", (rows.run, key, value)),
        lambda key, value: (f"{into} (%s, %s, %s)", [rows.run, key, value]),
        lambda key, value: (f"{into} (%(run)s, %(key)s, %(value)s)", named(key, value)),
        lambda key, value: (f"{into} ({rows.run}, {key}, '{value}')", None),
        lambda key, value: (SimpleStatement(f"{into} (%s, %s, %s)"), (rows.run, key, value)),
        lambda key, value: (SimpleStatement(f"{into} ({rows.run}, {key}, '{value}')"), None),
        lambda key, value: (rows.insert, (rows.run, key, value)),
        lambda key, value: (rows.insert, [rows.run, key, value]),
        lambda key, value: (rows.insert, named(key, value)),
        lambda key, value: (rows.insert.bind((rows.run, key, value)), None),
        lambda key, value: (batch(key, value), None),
    ]
    reads: list[Any] = [
        lambda key: (f"{out_of} %s AND key = %s", (rows.run, key)),
        lambda key: [f"{out_of} %(run)s AND key = %(key)s", named(key)],  # a list is a pair too
        lambda key: (f"{out_of} {rows.run} AND key = {key}", None),
        lambda key: (SimpleStatement(f"{out_of} %s AND key = %s"), [rows.run, key]),
        lambda key: (rows.select, (rows.run, key)),
        lambda key: (rows.select, named(key)),
        lambda key: (rows.select.bind([rows.run, key]), None),
    ]
    with make_executor(session) as executor:
        pairs = [writes[key % len(writes)](key, f"value {key}") for key in range(COUNT)]
        results = executor.execute(pairs).all()
        assert [result.success for result in results] == [True] * COUNT
        expected = {key: f"value {key}" for key in range(COUNT)}
        batches = {key + COUNT: value for key, value in expected.items() if key % 11 == 10}
        assert rows.written() == expected | batches
        pairs = [reads[key % len(reads)](key) for key in range(COUNT)]
        assert values(executor.execute(iter(pairs))) == list(expected.values())


@any_executor
def test_a_prepared_statement_without_parameters(make_executor: MakeExecutor, session: Any) -> None:
    statement = session.prepare("SELECT key FROM system.local")
    with make_executor(session) as executor:
        assert values(executor.map(statement, [None] * 20)) == ["local"] * 20
