"""What a driver's result offers is there: pages, columns, LWT, traces, warnings, payloads."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from cassandra.cluster import ExecutionProfile
from cassandra.query import BatchStatement, BatchType, SimpleStatement, dict_factory

from concurrent_exec.connect import ConnectionOptions, connect
from tests.executors import any_executor, in_one_process
from tests.integration.support import MakeExecutor, Requests, Rows

pytestmark = pytest.mark.cluster

ROWS = 100
FETCH_SIZE = 7
FORMS = {"stream": iter, "list": lambda results: iter(results.all())}

any_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@pytest.fixture(scope="module")
def partition(session: Any) -> uuid.UUID:
    """A partition of ROWS rows in the table "paged"."""
    session.execute("CREATE TABLE paged (run uuid, key int, value text, PRIMARY KEY (run, key))")
    insert = session.prepare("INSERT INTO paged (run, key, value) VALUES (?, ?, ?)")
    run = uuid.uuid4()
    for key in range(ROWS):
        session.execute(insert, (run, key, f"value {key}"))
    return run


@pytest.fixture
def paged(session: Any, partition: uuid.UUID) -> Any:
    """A statement that reads the partition, from a key on, in many pages."""
    statement = session.prepare("SELECT key, value FROM paged WHERE run = ? AND key >= ?")
    statement.fetch_size = FETCH_SIZE
    return statement


@in_one_process
@any_form
def test_all_pages(
    make_executor: MakeExecutor, form: Any, session: Any, partition: uuid.UUID, paged: Any
) -> None:
    """Pages are fetched within the loop, while others of the run are still on their way."""
    starts = range(0, ROWS + 4, 2)
    with make_executor(session, concurrency=4) as executor:
        results = executor.map(paged, [(partition, start) for start in starts])
        seen = 0
        for start, result in zip(starts, form(results), strict=True):
            page = result.unwrap()
            assert page.has_more_pages == (ROWS - start > FETCH_SIZE)
            assert [row.key for row in page] == list(range(start, ROWS))
            assert not page.has_more_pages
            seen += 1
        told = results.statistics()
        assert seen == len(starts) == told.succeeded == told.delivered


@in_one_process
@any_form
def test_page_by_page(
    make_executor: MakeExecutor, form: Any, session: Any, partition: uuid.UUID
) -> None:
    statement = SimpleStatement(
        "SELECT key, value FROM paged WHERE run = %s", fetch_size=FETCH_SIZE
    )
    with make_executor(session) as executor:
        for result in form(executor.execute([(statement, (partition,))] * 5)):
            page = result.unwrap()
            pages = []
            while True:
                pages.append([row.key for row in page.current_rows])
                state = page.paging_state
                assert bool(state) == page.has_more_pages
                if not page.has_more_pages:
                    break
                if len(pages) == 3:
                    rest = session.execute(statement, (partition,), paging_state=state)
                    assert [row.key for row in rest] == list(range(3 * FETCH_SIZE, ROWS))
                page.fetch_next_page()
            assert [len(keys) for keys in pages] == [FETCH_SIZE] * 14 + [2]
            assert [key for keys in pages for key in keys] == list(range(ROWS))


@in_one_process
def test_pages_of_a_submit(
    make_executor: MakeExecutor, session: Any, partition: uuid.UUID, paged: Any
) -> None:
    with make_executor(session) as executor:
        result = executor.submit(paged, (partition, 0)).result(60)
        assert result.has_more_pages
        assert [row.value for row in result] == [f"value {key}" for key in range(ROWS)]


@any_executor
def test_a_page_of_a_shut_down_executor(
    make_executor: MakeExecutor, session: Any, partition: uuid.UUID, paged: Any
) -> None:
    """The session is the caller's, and so are its pages."""
    with make_executor(session) as executor:
        [result] = executor.map(paged, [(partition, 0)]).all()
    assert len(result.unwrap().all()) == ROWS


def described(result: Any) -> dict[str, Any]:
    """What can be asked of a ResultSet without a further request."""
    return {
        "rows": list(result.current_rows),
        "one": result.one(),
        "truth": bool(result),
        "column_names": result.column_names,
        "column_types": result.column_types,
        "has_more_pages": result.has_more_pages,
        "paging_state": bool(result.paging_state),
        "warnings": result.response_future.warnings,
        "custom_payload": result.response_future.custom_payload,
        "trace": result.get_query_trace(),
        "traces": result.get_all_query_traces(),
        "iterated": [tuple(row) for row in result],
        "iterated again": [tuple(row) for row in result],
    }


@in_one_process
def test_a_result_is_as_the_drivers_own(
    make_executor: MakeExecutor, session: Any, partition: uuid.UUID, paged: Any, rows: Rows
) -> None:
    of_all = SimpleStatement("SELECT key FROM paged WHERE run = %s", fetch_size=FETCH_SIZE)
    pairs: list[Any] = [
        (rows.insert, (rows.run, 1, "a")),
        (f"INSERT INTO {rows.table} (run, key) VALUES (%s, 2)", (rows.run,)),
        (f"UPDATE {rows.table} SET value = 'b' WHERE run = %s AND key = 2", (rows.run,)),
        (f"DELETE FROM {rows.table} WHERE run = %s", (uuid.uuid4(),)),
        (rows.select, (rows.run, 1)),
        (rows.select, (rows.run, -1)),
        (f"SELECT value FROM {rows.table} WHERE run = %s AND key = -1", (rows.run,)),
        (paged, (partition, 0)),
        (paged, (partition, ROWS - 3)),
        (of_all, (partition,)),
        ("SELECT count(*) FROM paged", None),
        (f"INSERT INTO {rows.table} (run, key) VALUES (%s, 1) IF NOT EXISTS", (rows.run,)),
        (f"DELETE FROM {rows.table} WHERE run = %s AND key = 1 IF EXISTS", (uuid.uuid4(),)),
        (f"CREATE TABLE IF NOT EXISTS {rows.table} (run uuid PRIMARY KEY)", None),
        (f"TRUNCATE {rows.table}_other", None),
    ]
    session.execute(f"CREATE TABLE IF NOT EXISTS {rows.table}_other (run uuid PRIMARY KEY)")
    own = [described(session.execute(*pair)) for pair in pairs]
    with make_executor(session, concurrency=1) as executor:
        results = executor.execute(pairs).all()
    for pair, result, expected in zip(pairs, results, own, strict=True):
        assert described(result.unwrap()) == expected, pair


@any_executor
@any_form
def test_an_answer_without_rows_is_empty(
    make_executor: MakeExecutor, form: Any, session: Any, rows: Rows
) -> None:
    with make_executor(session) as executor:
        for result in form(executor.map(rows.insert, rows.parameters(50))):
            nothing = result.unwrap()
            assert not nothing
            assert nothing.one() is None
            assert nothing.all() == list(nothing) == nothing.current_rows == []
            assert not nothing.has_more_pages
            assert nothing.paging_state is None
            assert nothing.column_names is None
            nothing.fetch_next_page()
            assert nothing.current_rows == []


@any_executor
def test_an_answer_without_rows_compares_as_the_drivers_own(
    make_executor: MakeExecutor, session: Any, rows: Rows
) -> None:
    with make_executor(session) as executor:
        first, second = executor.map(rows.insert, rows.parameters(2)).all()
    own = session.execute(rows.insert, (rows.run, 1, "a"))
    for nothing in (own, first.unwrap(), second.unwrap()):
        assert nothing == []
        with pytest.raises(IndexError):
            nothing[1]


@any_executor
@any_form
def test_lightweight_transactions(
    make_executor: MakeExecutor, form: Any, session: Any, rows: Rows
) -> None:
    into = f"INSERT INTO {rows.table} (run, key, value) VALUES "
    insert = session.prepare(f"{into} (?, ?, ?) IF NOT EXISTS")
    simple = SimpleStatement(f"{into} (%s, %s, 'b') IF NOT EXISTS")
    update = f"UPDATE {rows.table} SET value = 'c' WHERE run = %s AND key = %s IF value = %s"

    def batch(key: int) -> BatchStatement:
        made = BatchStatement()
        made.add(insert, (rows.run, key, "d"))
        made.add(insert, (rows.run, key + 1, "d"))
        return made

    plain_batch = BatchStatement()
    plain_batch.add(rows.insert, (rows.run, 90, "e"))
    # One after the other, as each finds what those before it have written.
    with make_executor(session, concurrency=1) as executor:
        results = executor.execute(
            [
                (insert, (rows.run, 1, "a")),
                (insert, (rows.run, 1, "a")),
                (simple, (rows.run, 2)),
                (simple, (rows.run, 2)),
                (update, (rows.run, 1, "a")),
                (update, (rows.run, 1, "a")),
                (batch(3), None),
                (batch(3), None),  # answered with a row for each condition
                (plain_batch, None),
            ]
        )
        *transactions, other = [result.unwrap() for result in form(results)]
        assert [each.was_applied for each in transactions] == [True, False] * 4
        assert len(transactions[-1].current_rows) == 2
        assert transactions[1].one() == (False, rows.run, 1, "a")
        with pytest.raises(RuntimeError):
            _ = other.was_applied
    assert rows.written() == {1: "c", 2: "b", 3: "d", 4: "d", 90: "e"}


@in_one_process
def test_traces(make_executor: MakeExecutor, session: Any, rows: Rows) -> None:
    with make_executor(session) as executor:
        options: dict[str, Any] = {"trace": True}
        results = executor.map(rows.insert, rows.parameters(3), **options).all()
        results += executor.map(rows.select, rows.keys(3), **options).all()
        submitted = executor.submit(rows.select, (rows.run, 1), trace=True).result(60)
        untraced = executor.submit(rows.select, (rows.run, 1)).result(60)
    seen = set()
    for traced in [*(result.unwrap() for result in results), submitted]:
        trace = traced.get_query_trace(30)
        assert trace.request_type == "Execute CQL3 prepared query"
        assert trace.events
        assert len(traced.get_all_query_traces(30)) == 1
        [number] = traced.response_future.get_query_trace_ids()
        assert number == trace.trace_id
        seen.add(number)
    assert len(seen) == 7
    assert untraced.get_query_trace() is None


@any_executor
def test_warnings(
    make_executor: MakeExecutor, session: Any, partition: uuid.UUID, rows: Rows
) -> None:
    large = BatchStatement(BatchType.UNLOGGED)
    for _ in range(20):
        large.add(rows.insert, (uuid.uuid4(), 1, "x" * 500))
    with make_executor(session) as executor:
        counted, batch, plain = executor.execute(
            [
                ("SELECT count(*) FROM paged", None),
                (large, None),
                (rows.insert, (rows.run, 1, "a")),
            ]
        ).all()
        assert counted.unwrap().response_future.warnings == [
            "Aggregation query used without partition key"
        ]
        assert counted.unwrap().one().count == ROWS
        told = batch.unwrap().response_future.warnings
        assert any("exceed" in line or "partitions" in line for line in told), told
        assert not plain.unwrap().response_future.warnings


@any_executor
def test_a_custom_payload_is_sent(make_executor: MakeExecutor, session: Any, rows: Rows) -> None:
    payload = {"who": b"concurrent_exec", "what": b"\x00\x01"}
    with make_executor(session) as executor, Requests(session) as requests:
        executor.map(rows.insert, rows.parameters(3), custom_payload=payload).all()
        executor.submit(rows.select, (rows.run, 1), custom_payload=payload).result(60)
        executor.map(rows.insert, rows.parameters(3)).all()
    sent = [message.custom_payload for message in requests.messages]
    assert sent[:4] == [payload] * 4
    assert not any(sent[4:])
    assert requests.statements == 7


@in_one_process
@any_form
def test_execution_profiles(
    make_executor: MakeExecutor, form: Any, session: Any, rows: Rows
) -> None:
    rows.fill(3)
    expected = [{"value": f"value {key}"} for key in range(3)]
    policy = session.get_execution_profile("dicts").load_balancing_policy
    made = ExecutionProfile(policy, row_factory=dict_factory)
    with make_executor(session) as executor:
        for profile in ("dicts", made):
            results = executor.map(rows.select, rows.keys(3), execution_profile=profile)
            assert [result.unwrap().one() for result in form(results)] == expected
        submitted = executor.submit(rows.select, (rows.run, 1), execution_profile="dicts")
        assert submitted.result(60).one() == expected[1]
        [unknown] = executor.map(
            rows.select, rows.keys(1), execution_profile="missing", raise_on_first_error=False
        )
        assert isinstance(unknown.result_or_exc, ValueError)
        assert "missing" in str(unknown.result_or_exc)
        results = executor.map(rows.select, rows.keys(1))
        assert next(results).unwrap().one().value == "value 0"


@any_executor
def test_lwt_with_dict_rows(make_executor: MakeExecutor, session: Any, rows: Rows) -> None:
    insert = session.prepare(
        f"INSERT INTO {rows.table} (run, key, value) VALUES (?, ?, ?) IF NOT EXISTS"
    )
    with make_executor(session, concurrency=1) as executor:
        twice = [(rows.run, 1, "a")] * 2
        results = executor.map(insert, twice, execution_profile="dicts").all()
    assert [result.unwrap().was_applied for result in results] == [True, False]


@any_executor
def test_the_sessions_keyspace_at_the_moment_of_sending(
    make_executor: MakeExecutor, cassandra: ConnectionOptions, session: Any, keyspace: str
) -> None:
    other = f"{keyspace}_other"
    session.execute(
        f"CREATE KEYSPACE IF NOT EXISTS {other} WITH replication = "
        "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    for each in (keyspace, other):
        session.execute(f"CREATE TABLE IF NOT EXISTS {each}.here (name text PRIMARY KEY)")
        session.execute(f"INSERT INTO {each}.here (name) VALUES (%s)", (each,))
    with connect(cassandra) as own, make_executor(own) as executor:
        with pytest.raises(Exception, match=r"[Kk]eyspace"):
            executor.execute([("SELECT name FROM here", None)]).all()
        for each in (keyspace, other, keyspace):
            own.set_keyspace(each)
            results = executor.execute([("SELECT name FROM here", None)] * 20)
            assert {result.unwrap().one().name for result in results} == {each}
        executor.execute([(f"USE {other}", None)]).all()
        assert own.keyspace == other
        assert executor.submit("SELECT name FROM here").result(60).one().name == other
    session.execute(f"DROP KEYSPACE {other}")
