"""Pages of rows, many decoded at a time: each is what the driver makes of it alone."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from cassandra.cqltypes import Int32Type, UTF8Type
from cassandra.protocol import ColumnMetadata
from cassandra.query import dict_factory, named_tuple_factory, tuple_factory
from hypothesis import example, given
from hypothesis import strategies as st

from concurrent_exec import DirectExecutor
from concurrent_exec.drivers.direct.driver import Driver
from concurrent_exec.drivers.direct.known import driver_name
from concurrent_exec.drivers.direct.results import page_results
from concurrent_exec.drivers.pages import MOST_VALUES, is_page
from tests.direct.conftest import only_connection
from tests.direct.server import RESULT, SELECT, ScriptedServer, integer, rows, text_of, value

NUMBER, VARCHAR = 0x0009, 0x000D
COLUMNS = {"a": NUMBER, "b": VARCHAR}
KNOWN = [ColumnMetadata("ks", "t", "a", Int32Type), ColumnMetadata("ks", "t", "b", UTF8Type)]
Row = tuple[int | None, str | None]

ROWS = st.lists(
    st.tuples(st.none() | st.integers(-(2**31), 2**31 - 1), st.none() | st.text(max_size=5)),
    max_size=MOST_VALUES // 2 + 2,
)
CONNECTION = SimpleNamespace(protocol_version=4, user_type_map={}, features=None)
TARGET: Any = SimpleNamespace(connection=CONNECTION, host="the only node")


def a_driver() -> Driver:
    if driver_name() == "cassandra-driver":
        from concurrent_exec.drivers.direct.cassandra_driver import CassandraDriver

        return CassandraDriver(None)
    from concurrent_exec.drivers.direct.scylla_driver import ScyllaDriver

    return ScyllaDriver(None)


DRIVER = a_driver()


def a_plan(factory: Any = tuple_factory) -> Any:
    return SimpleNamespace(columns=None, result_metadata=KNOWN, row_factory=factory)


def cells(found: list[Row]) -> list[list[bytes | None]]:
    return [
        [None if a is None else integer(a), None if b is None else b.encode()] for a, b in found
    ]


def with_columns(found: list[Row]) -> bytes:
    return rows(COLUMNS, *cells(found))


def without_columns(found: list[Row]) -> bytes:
    values = b"".join(value(cell) for row in cells(found) for cell in row)
    return integer(2) + integer(4) + integer(len(COLUMNS)) + integer(len(found)) + values


def altered(found: list[Row]) -> bytes:
    """One column more, as after an ALTER TABLE."""
    return rows({**COLUMNS, "c": NUMBER}, *[[*row, integer(7)] for row in cells(found)])


def renamed(found: list[Row]) -> bytes:
    return rows({"a": NUMBER, "c": VARCHAR}, *cells(found))


def cut(found: list[Row]) -> bytes:
    return with_columns([*found, (5, "cut")])[:-2]


def with_more_behind(found: list[Row]) -> bytes:
    """A row more than it says."""
    return with_columns(found) + value(integer(9)) + value(b"y")


FORMS = [with_columns, without_columns, altered, renamed, cut, with_more_behind]


def alone(body: bytes) -> Any:
    message = DRIVER.decode_body(CONNECTION, body, KNOWN)
    return message.column_names, message.parsed_rows


def between_others(form: Any) -> example:
    row: list[Row] = [(1, "x")]
    return example(pages=[(with_columns, row), (form, row), (with_columns, row)])


@between_others(without_columns)
@between_others(altered)
@between_others(renamed)
@between_others(cut)
@between_others(with_more_behind)
@given(pages=st.lists(st.tuples(st.sampled_from(FORMS), ROWS), min_size=1, max_size=8))
def test_each_is_what_it_is_alone(pages: list[tuple[Any, list[Row]]]) -> None:
    bodies = [form(found) for form, found in pages]
    assert all(map(is_page, bodies))
    plan = a_plan()
    for _ in range(2):  # once with what the plan has learnt
        results = page_results(DRIVER, plan, TARGET, bodies)
        assert len(results) == len(bodies)
        for body, result in zip(bodies, results, strict=True):
            if result is not None:
                assert (result.column_names, result.current_rows) == alone(body)
                assert result.response_future.coordinator_host == "the only node"


@given(form=st.sampled_from([with_columns, without_columns, altered]), data=st.data())
def test_short_ones_are_decoded_together(form: Any, data: st.DataObject) -> None:
    short = st.lists(st.tuples(st.integers(0, 9), st.just("x")), max_size=MOST_VALUES // 3)
    found = data.draw(st.lists(short, min_size=2, max_size=20))
    bodies = [form(each) for each in found]
    expected = [alone(body)[1] for body in bodies]
    results = page_results(DRIVER, a_plan(), TARGET, bodies)
    assert [result.current_rows for result in results] == expected


def test_after_the_table_was_altered_they_are_decoded_together_again() -> None:
    plan = a_plan()
    for form in (with_columns, altered, with_columns):
        bodies = [form([(number, "x")]) for number in range(3)]
        results = page_results(DRIVER, plan, TARGET, bodies)
        assert [result.one()[0] for result in results] == [0, 1, 2]


@pytest.mark.parametrize("factory", [named_tuple_factory, tuple_factory, dict_factory])
def test_rows_are_made_by_the_factory(factory: Any) -> None:
    found: list[Row] = [(1, "x"), (2, None)]
    bodies = [with_columns(found), with_columns([]), with_columns(found[:1])]
    results = page_results(DRIVER, a_plan(factory), TARGET, bodies)
    for body, result in zip(bodies, results, strict=True):
        assert result.current_rows == factory(*alone(body))
        assert result.response_future.row_factory is factory


def test_a_factory_gets_the_rows_of_one_answer_and_may_fail_for_it_alone() -> None:
    def factory(names: list[str], found: list[Any]) -> Any:
        assert names == list(COLUMNS)
        return {row[0]: 1 // (row[0] - 1) for row in found}

    bodies = [with_columns([(number, "x")]) for number in range(3)]
    results = page_results(DRIVER, a_plan(factory), TARGET, bodies)
    assert [result and result.one() for result in results] == [{0: -1}, None, {2: 1}]


def test_a_factory_may_do_with_the_names_what_it_likes() -> None:
    def factory(names: list[str], found: list[Any]) -> Any:
        assert names == list(COLUMNS)
        del names[0]
        return [row[1:] for row in found]

    bodies = [with_columns([(number, "x")]) for number in range(3)]
    results = page_results(DRIVER, a_plan(factory), TARGET, bodies)
    assert [result and result.one() for result in results] == [("x",)] * 3


def test_what_is_not_one_page_of_rows_is_the_drivers_at_once() -> None:
    assert not is_page(integer(1))
    assert not is_page(integer(3) + b"\x00\x02ks")
    assert not is_page(rows(COLUMNS, more=b"more"))
    assert not is_page(b"")


@pytest.fixture
def executor(session: Any) -> Iterator[DirectExecutor[Any]]:
    with DirectExecutor(session) as made:
        yield made


def test_what_can_not_be_decoded_fails_and_ends_the_connection_as_with_the_driver(
    server: ScriptedServer, session: Any, executor: DirectExecutor[Any]
) -> None:
    connection, select = only_connection(session), session.prepare(SELECT)
    futures = [executor.submit(select, (key,)) for key in range(4)]
    held = server.wait_for(4)
    frames = [each.success() for each in held[:3]]
    damaged = rows({"value": VARCHAR}, [text_of(held[3].key).encode()])[:-1]
    for each in held:
        server.take(each)
    held[0].peer.send(b"".join([*frames, held[3].frame(RESULT, damaged)]))
    for each in held[:3]:
        assert futures[each.key].result(30).one().value == text_of(each.key)
    assert futures[held[3].key].exception(30) is not None
    assert connection.is_defunct
    assert connection.in_flight == 0
