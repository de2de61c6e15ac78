"""Parameters to bytes: what the driver's own `bind` makes of them, or its to do."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import pytest
from cassandra.cqltypes import Int32Type, ListType, UTF8Type
from cassandra.protocol import ColumnMetadata
from cassandra.query import UNSET_VALUE, PreparedStatement
from hypothesis import given
from hypothesis import strategies as st

from concurrent_exec.drivers.direct.binding import Binder, Unusual, is_known, values_of

TYPES = {"a": Int32Type, "b": UTF8Type, "c": Int32Type}
Row = namedtuple("Row", ["a", "b", "c"])


def prepared(key: list[int] | None) -> Any:
    columns = [ColumnMetadata("ks", "t", name, kind) for name, kind in TYPES.items()]
    return PreparedStatement(columns, b"id", key, "", "ks", 4, None, None)


FORMS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "row": lambda values: Row(*values, *[UNSET_VALUE] * (3 - len(values))),
    "names": lambda values: dict(zip(TYPES, values, strict=False)),
    "view": lambda values: dict(enumerate(values)).values(),
    "none": lambda values: None,
}


def or_error(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:
        return error


MISSING = st.none() | st.just(UNSET_VALUE)
NUMBERS = MISSING | st.integers(-(2**31), 2**31 - 1)
VALUES = st.tuples(NUMBERS, MISSING | st.text() | st.just("long " * 300), NUMBERS)


@given(
    values=VALUES.map(list),
    count=st.integers(0, 3),
    form=st.sampled_from(sorted(FORMS)),
    key=st.sampled_from([None, [0], [1], [0, 2], [2, 1, 0]]),
)
def test_it_is_what_the_driver_binds(
    values: list[Any], count: int, form: str, key: list[int] | None
) -> None:
    statement, binder = prepared(key), Binder(prepared(key).column_metadata, key, 4)
    parameters = FORMS[form](values[:count] if form != "row" else values)

    def theirs() -> Any:
        bound = statement.bind(parameters)
        return bound.values, bound.routing_key

    def ours() -> Any:
        encoded, routing_key = binder.bind(parameters)
        return values_of(encoded), routing_key

    expected, found = or_error(theirs), or_error(ours)
    if isinstance(expected, Exception) or form == "view":
        assert isinstance(found, Exception), "it is the driver's to do"
        return
    assert found == expected
    encoded, routing_key = binder.bound(statement.bind(parameters))
    assert (values_of(encoded), routing_key) == expected


def test_a_bound_statement_of_another_shape_is_the_drivers() -> None:
    statement = prepared([0])
    bound = statement.bind((1, "x", 2))
    bound.values.pop()
    binder = Binder(statement.column_metadata, [0], 4)
    assert isinstance(or_error(lambda: binder.bound(bound)), Unusual)


class Foreign(Int32Type):  # type: ignore[misc]
    """Somebody's own way to serialise."""

    @classmethod
    def serialize_safe(cls, value: Any, protocol_version: int) -> bytes:
        return b"foreign"


class Nothing:
    """No type at all."""


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        (Int32Type, True),
        (ListType.apply_parameters([UTF8Type]), True),
        (Foreign, False),
        (ListType.apply_parameters([Foreign]), False),
        (Nothing, False),
    ],
)
def test_types_that_are_not_the_drivers_own_are_not_known(kind: Any, known: bool) -> None:
    assert is_known(kind) is known
