"""Values that are serialised in columns are the same as those that are serialised one by one."""

from __future__ import annotations

from typing import Any

import pytest
from cassandra.cqltypes import (
    BooleanType,
    DecimalType,
    DoubleType,
    Int32Type,
    ListType,
    UTF8Type,
)
from cassandra.protocol import ColumnMetadata
from cassandra.query import UNSET_VALUE
from hypothesis import given
from hypothesis import strategies as st

from concurrent_exec.drivers.direct.binding import Binder, Bound

VERSION = 4
MISSING = st.sampled_from([None, UNSET_VALUE])
VALUES: dict[Any, Any] = {
    BooleanType: st.booleans(),
    DecimalType: st.decimals(allow_nan=False, allow_infinity=False, places=2),
    # Equal, and not the same bytes.
    DoubleType: st.sampled_from([0.0, -0.0, 1.5]),
    Int32Type: st.sampled_from([1, True, 7, 2**31 - 1]),
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
    assert plain(bound.bind_all(rows)) == plain(one_by_one(bound, rows))


def test_a_statement_without_markers() -> None:
    bound = binder([], None)
    assert plain(bound.bind_all([()] * 40)) == [([], None)] * 40


@pytest.mark.parametrize("values", [[1, True] * 20, [1, 1.0] * 20, [0.0, -0.0] * 20])
def test_what_is_equal_is_not_taken_for_the_same(values: list[Any]) -> None:
    kind = DoubleType if isinstance(values[0], float) else Int32Type
    bound = binder([kind], [0])
    rows = [(value,) for value in values]
    assert plain(bound.bind_all(rows)) == plain(one_by_one(bound, rows))
