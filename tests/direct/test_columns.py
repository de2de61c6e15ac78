"""Values that are serialised in columns are the same as those that are serialised one by one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from cassandra import ConsistencyLevel
from cassandra.cqltypes import (
    BooleanType,
    ByteType,
    DecimalType,
    DoubleType,
    FloatType,
    Int32Type,
    ListType,
    LongType,
    ShortType,
    UTF8Type,
)
from cassandra.protocol import ColumnMetadata
from cassandra.query import UNSET_VALUE, PreparedStatement
from hypothesis import given
from hypothesis import strategies as st

from concurrent_exec.drivers.direct.binding import Binder, Bound
from concurrent_exec.drivers.direct.plan import Plan
from tests.direct.test_routes import terms

VERSION = 4
MISSING = st.sampled_from([None, UNSET_VALUE])
GAPS = [st.just(None), st.just(UNSET_VALUE)]
MISSING_VALUES = {id(None), id(UNSET_VALUE)}
VALUES: dict[Any, Any] = {
    BooleanType: st.booleans(),
    ByteType: st.integers(-(2**7), 2**7 - 1),
    DecimalType: st.decimals(allow_nan=False, allow_infinity=False, places=2),
    # Equal, and not the same bytes.
    DoubleType: st.sampled_from([0.0, -0.0, 1.5]),
    FloatType: st.sampled_from([0.0, -0.0, 1.5]),
    Int32Type: st.sampled_from([1, True, 7, 2**31 - 1]),
    LongType: st.integers(-(2**63), 2**63 - 1),
    ShortType: st.integers(-(2**15), 2**15 - 1),
    ListType.apply_parameters([Int32Type]): st.lists(st.integers(0, 3), max_size=2),
    UTF8Type: st.sampled_from(["", "a", "é" * 9, "x" * 1023, "x" * 1024, "y" * 3000]),
}
WRONG = st.sampled_from([2**31, "no number", object(), 1.0])


def binder(kinds: list[Any], key: list[int] | None) -> Binder:
    columns = [
        ColumnMetadata("shop", "users", f"c{number}", kind) for number, kind in enumerate(kinds)
    ]
    return Binder(columns, key, VERSION)


def one_by_one(binder: Binder, rows: list[Any]) -> list[Bound | None]:
    found: list[Bound | None] = []
    for row in rows:
        try:
            found.append(binder.bind(row))
        except Exception:
            found.append(None)
    return found


def bind_all(binder: Binder, rows: list[Any]) -> Any:
    """Return the same, in columns where there are any."""
    columns = binder.in_columns(rows)
    return binder.bind_each(rows) if columns is None else columns.bounds()


def plain(bounds: Any) -> list[Any]:
    return [None if bound is None else (list(bound[0]), bound[1]) for bound in bounds]


@given(st.data())
def test_many_at_a_time_or_one_by_one(data: st.DataObject) -> None:
    """Whatever the values, also of rows that are too short, or by names, or wrong."""
    kinds = data.draw(st.lists(st.sampled_from(sorted(VALUES, key=str)), max_size=5))
    places = st.lists(st.sampled_from(range(len(kinds))), max_size=2) if kinds else st.just([])
    key = data.draw(st.none() | places)
    row = st.tuples(*[VALUES[kind] | VALUES[kind] | MISSING for kind in kinds])
    odd = st.one_of(
        row.map(lambda values: values[:-1]),
        row.map(lambda values: (*values, 1)),
        row.map(lambda values: {f"c{at}": value for at, value in enumerate(values)}),
        st.tuples(*[VALUES[kind] | WRONG for kind in kinds]),
        st.none(),
    )
    rows = data.draw(st.lists(row | row.map(list), max_size=40))
    rows += data.draw(st.lists(odd, max_size=2))
    rows = data.draw(st.permutations(rows))
    bound = binder(kinds, key)
    assert plain(bind_all(bound, rows)) == plain(one_by_one(bound, rows))


@given(st.data())
def test_whole_rows_are_encoded_in_columns(data: st.DataObject) -> None:
    """Also with values that are missing, unless they are of the key."""
    kinds = data.draw(st.lists(st.sampled_from(sorted(VALUES, key=str)), min_size=1, max_size=4))
    key = data.draw(st.none() | st.lists(st.sampled_from(range(len(kinds))), max_size=2))
    count = data.draw(st.integers(13, 20))
    columns = [
        data.draw(st.lists(values, min_size=count, max_size=count))
        for kind in kinds
        for values in [VALUES[kind] | data.draw(st.sampled_from([VALUES[kind], MISSING, *GAPS]))]
    ]
    rows = list(zip(*columns, strict=True))
    bound = binder(kinds, key)
    found = bound.in_columns(rows)
    assert plain(bind_all(bound, rows)) == plain(one_by_one(bound, rows))
    whole_key = not any(MISSING_VALUES & {*map(id, columns[at])} for at in key or ())
    assert (found is not None) == whole_key


@pytest.mark.parametrize("missing", [None, UNSET_VALUE])
def test_a_column_of_which_nothing_is_there(missing: Any) -> None:
    bound = binder([Int32Type, UTF8Type], [0])
    rows = [(number, missing) for number in range(20)]
    assert bound.in_columns(rows) is not None
    assert plain(bind_all(bound, rows)) == plain(one_by_one(bound, rows))


def test_a_statement_without_markers() -> None:
    bound = binder([], None)
    assert plain(bind_all(bound, [()] * 40)) == [([], None)] * 40


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Int32Type, [1, True]),
        (Int32Type, [1, 1.0]),
        (DoubleType, [0.0, -0.0]),
        (DecimalType, [Decimal("1.0"), Decimal("1.00")]),
    ],
)
def test_what_is_equal_is_not_taken_for_the_same(kind: Any, values: list[Any]) -> None:
    bound = binder([kind], [0])
    rows = [(value,) for value in values * 20]
    assert plain(bind_all(bound, rows)) == plain(one_by_one(bound, rows))


@pytest.mark.parametrize("timestamped", [True, False])
def test_bodies_of_columns_are_those_of_each(timestamped: bool) -> None:
    columns = [ColumnMetadata("shop", "users", name, Int32Type) for name in ("id", "age")]
    statement = PreparedStatement(columns, b"id", [0], "", "shop", VERSION, None, None)
    of_all = terms(statement, None, ConsistencyLevel.QUORUM)
    plan = Plan(of_all._replace(timestamped=timestamped, fetch_size=7, serial_consistency_level=9))
    rows = [(number, -number) for number in range(20)]
    stamps = [1000 + number if timestamped else None for number in range(20)]
    encoded = plan.binder.in_columns(rows)
    assert encoded is not None
    each = [plan.body(plan.binder.bind(row)[0], at) for row, at in zip(rows, stamps, strict=True)]
    assert plan.bodies(encoded, stamps) == each
    assert len(set(each)) == 20
