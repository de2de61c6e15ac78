"""Statements, values and results in a form that goes from one process to another.

Much of what a driver makes can't be pickled: prepared statements and types refer to classes that
are made when they are needed, the sentinel of an unset value is known by its identity. Here each
travels as what it is made of, and is made again where it arrives.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections import namedtuple
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from cassandra.cluster import ResultSet
from cassandra.cqltypes import CassandraType, UserType, VectorType, lookup_casstype
from cassandra.query import (
    UNSET_VALUE,
    BatchStatement,
    BoundStatement,
    PreparedStatement,
    named_tuple_factory,
)
from cassandra.util import OrderedMapSerializedKey

from concurrent_exec.drivers.requests import MOST_CLASSES, named_tuples
from concurrent_exec.drivers.results import rows_result, void_result
from concurrent_exec.model.pickling import portable

_SET_BY_USERS = (
    "consistency_level",
    "custom_payload",
    "fetch_size",
    "is_idempotent",
    "retry_policy",
    "serial_consistency_level",
)


_EVERYWHERE = {"builtins", "cassandra", "concurrent_exec", "datetime", "decimal", "ipaddress"}


def dumps(value: Any) -> bytes:
    """Return `value` pickled; raises whatever pickling it does."""
    return dumps_noting(value)[0]


def dumps_noting(value: Any) -> tuple[bytes, bool]:
    """Return `value` pickled, and whether any process of ours can unpickle that.

    It can what is made of Python's own, the driver's and our objects only; others may have a class
    that can't be imported there, or refuse. Raises whatever pickling does.
    """
    file = io.BytesIO()
    pickler = _Pickler(file, pickle.HIGHEST_PROTOCOL)
    pickler.dump(value)
    return file.getvalue(), not pickler.has_others


loads = pickle.loads
"""Only for what a process of ours has pickled: unpickling runs what it is told to."""


class _Pickler(pickle.Pickler):
    has_others = False
    """Whether it has met what may not be known everywhere."""

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        reduce = _REDUCE.get(kind)
        if reduce is not None:
            return reduce(obj)
        if obj is UNSET_VALUE:
            return _unset, ()
        reduced = NotImplemented
        if isinstance(obj, type):
            reduced = _reduced_type(obj) if issubclass(obj, CassandraType) else NotImplemented
        elif isinstance(obj, tuple) and hasattr(kind, "_fields"):
            reduced = _reduced_named_tuple(obj)
        if reduced is NotImplemented and not self.has_others:
            named = obj if hasattr(obj, "__qualname__") else kind  # a function, or of that class
            self.has_others = str(named.__module__).partition(".")[0] not in _EVERYWHERE
        return reduced


# ---- values ----


def _unset() -> Any:
    return UNSET_VALUE


def _uuid(number: int) -> UUID:
    return UUID(int=number)


def _map(key_type: Any, protocol_version: int, items: list[Any]) -> Any:
    made = OrderedMapSerializedKey(key_type, protocol_version)
    for key, value in items:
        made._insert(key, value)
    return made


def _reduced_map(value: Any) -> Any:
    return _map, (value.cass_key_type, value.protocol_version, list(value.items()))


def _vector(subtype: Any, size: int) -> Any:
    return VectorType.apply_parameters([subtype, size], None)


def _reduced_type(kind: Any) -> Any:
    if getattr(kind, "fieldnames", None) and issubclass(kind, UserType):
        parts = (kind.keyspace, kind.typename, kind.fieldnames, kind.subtypes)
        return UserType.make_udt_class, parts
    if issubclass(kind, VectorType) and kind.subtype is not None:
        return _vector, (kind.subtype, kind.vector_size)
    if kind.subtypes:
        return _applied, (lookup_casstype(kind.cassname), kind.subtypes)
    return NotImplemented


def _applied(kind: Any, subtypes: Any) -> Any:
    return kind.apply_parameters(subtypes)


@lru_cache(MOST_CLASSES)
def _tuple_class(name: str, fields: tuple[str, ...]) -> Any:
    return namedtuple(name, fields, rename=True)


def _named_tuple(keyspace: str | None, name: str, fields: tuple[str, ...], values: Any) -> Any:
    known = UserType._cache.get((keyspace, name))
    kind: Any = getattr(known, "tuple_type", None)
    if getattr(kind, "_fields", None) != fields:
        kind = _tuple_class(name, fields)
    return tuple.__new__(kind, values)


def _reduced_named_tuple(value: Any) -> Any:
    """A value of a user-defined type, a row, or one of a class that can be imported."""
    kind: Any = type(value)
    for (keyspace, name), known in list(UserType._cache.items()):
        if known.tuple_type is kind:
            return _named_tuple, (keyspace, name, kind._fields, tuple(value))
    if getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is kind:
        return NotImplemented
    return _named_tuple, (None, kind.__name__, kind._fields, tuple(value))


# ---- statements ----


class TravellingPrepared(NamedTuple):
    """A prepared statement on its way: its text, and what its user has set."""

    text: str
    keyspace: str | None
    settings: dict[str, Any]

    def arrive(self, prepare: Callable[..., Any]) -> Any:
        """Return the statement as `prepare` has it, a copy where its user has set more."""
        known = prepare(self.text, self.keyspace)
        if all(getattr(known, name, None) == value for name, value in self.settings.items()):
            return known
        made = PreparedStatement.__new__(PreparedStatement)
        made.__dict__.update(known.__dict__)
        made.__dict__.update(self.settings)
        return made


class TravellingBound(NamedTuple):
    """A bound statement on its way: its values are bytes already."""

    prepared: TravellingPrepared
    state: dict[str, Any]

    def arrive(self, prepare: Callable[..., Any]) -> Any:
        """Return the statement, of what `prepare` has prepared."""
        bound = BoundStatement(self.prepared.arrive(prepare))
        bound.__dict__.update(self.state)
        return bound


def _travelling_prepared(statement: Any) -> TravellingPrepared:
    state = vars(statement)
    settings = {name: state[name] for name in _SET_BY_USERS if name in state}
    return TravellingPrepared(statement.query_string, statement.keyspace, settings)


def _reduced_prepared(statement: Any) -> Any:
    return TravellingPrepared, tuple(_travelling_prepared(statement))


def _reduced_bound(statement: Any) -> Any:
    state = dict(vars(statement))
    prepared = _travelling_prepared(state.pop("prepared_statement"))
    if state.get("fetch_size") is type(statement).fetch_size:
        del state["fetch_size"]  # "not set" is known by its identity
    return TravellingBound, (prepared, state)


def _batch(state: dict[str, Any]) -> Any:
    made = BatchStatement()
    made.__dict__.update(state)
    return made


def _reduced_batch(statement: Any) -> Any:
    return _batch, ({**vars(statement), "_session": None},)


def arrived(statement: Any, prepare: Callable[..., Any]) -> Any:
    """Return a statement that has been unpickled as a session takes it.

    prepare: returns the prepared statement of a text, and of a keyspace or None.
    """
    if isinstance(statement, TravellingPrepared | TravellingBound):
        return statement.arrive(prepare)
    return statement


_REDUCE: dict[type, Callable[[Any], Any]] = {
    UUID: lambda value: (_uuid, (value.int,)),
    OrderedMapSerializedKey: _reduced_map,
    PreparedStatement: _reduced_prepared,
    BoundStatement: _reduced_bound,
    BatchStatement: _reduced_batch,
}


# ---- results ----

# What travels is None for a result that says no more than "done", a tuple of one for what is no
# ResultSet, else what a ResultSet is made of.


def parts_of(result: Any) -> tuple[Any, ...] | None:
    """Return what `result` is made of, to be pickled and given to `result_of`.

    Fetches its further pages; raises what that does. Trace and coordinator are left behind: they
    are the session's.
    """
    if not isinstance(result, ResultSet):
        return (result,)
    future = result.response_future
    names, types = result.column_names, result.column_types
    rows = list(result) if result.has_more_pages else result.current_rows
    payload, warnings = getattr(future, "custom_payload", None), getattr(future, "warnings", None)
    if names is None and not rows and payload is None and warnings is None:
        return None
    factory = getattr(future, "row_factory", None)
    if factory is named_tuple_factory or factory is named_tuples:
        factory = named_tuple_factory
        rows = list(map(tuple, rows))
    if portable(factory) is not factory:
        factory = None
    return names, types, rows, factory, payload, warnings


def result_of(parts: tuple[Any, ...] | None, statement: Any) -> Any:
    """Return the result of `statement` that was taken apart by `parts_of`."""
    if parts is None:
        return void_result()
    if len(parts) == 1:
        return parts[0]
    names, types, rows, factory, payload, warnings = parts
    if factory is named_tuple_factory and rows:
        rows = named_tuples(names, rows)
    return rows_result(names, types, rows, None, factory, statement, payload, warnings)
