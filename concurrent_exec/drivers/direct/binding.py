"""Values of a prepared statement to bytes, by its columns' own serialisers.

What `BoundStatement.bind` does for each value of each execution (a description of its column, a
look whether that is encrypted, a check of types) is done once for a statement. Whatever is unusual
raises `Unusual`, or what the serialiser raises: the driver's own `bind` then says what is wrong.

Of many executions at a time the values are serialised in columns, which takes half the time: of two
columns and 128 executions a third, of 19 half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from cassandra import cqltypes
from cassandra.marshal import int32_pack
from cassandra.query import UNSET_VALUE

NULL = b"\xff\xff\xff\xff"
UNSET = b"\xff\xff\xff\xfe"
_LENGTHS = [int32_pack(number) for number in range(1024)]
"""Sizes as they stand before a value, for those that are frequent."""
_SIZES = {
    cqltypes.BooleanType: _LENGTHS[1],
    cqltypes.ByteType: _LENGTHS[1],
    cqltypes.ShortType: _LENGTHS[2],
    cqltypes.FloatType: _LENGTHS[4],
    cqltypes.Int32Type: _LENGTHS[4],
    cqltypes.DoubleType: _LENGTHS[8],
    cqltypes.LongType: _LENGTHS[8],
}
"""The size of each value of types that are serialised by no more than packing a number."""
_FEW = 12
"""So many executions are not worth a look at their columns."""
_END = b"\x00"
"""Stands behind each part of a composite key."""
_MISSING = {type(None), type(UNSET_VALUE)}

Bound = tuple[Sequence[bytes], bytes | None]
"""The encoded values of an execution, each behind its size, and the routing key if there is one."""


class Columns(NamedTuple):
    """The encoded values of many executions.

    values: of each marker the sizes of its values and the values, so two for a marker.
    keys: the routing keys; None where there is none.
    """

    values: Sequence[Sequence[bytes]]
    keys: Sequence[bytes | None]

    def bounds(self) -> list[Bound]:
        """Return the same, execution by execution."""
        return list(zip(zip(*self.values, strict=True), self.keys, strict=True))


class Unusual(Exception):
    """These parameters are for the driver's own `bind`."""


class Binder:
    """Serialises the parameters of one prepared statement.

    columns: the statement's `column_metadata`.
    key: the positions among them of the partition key's columns, or None where they are unknown.
    protocol_version: what the serialisers are told; at least 4, for values that are not set.
    """

    __slots__ = ("_columns", "_key", "_names", "_serializers", "_sizes", "_version")

    def __init__(
        self, columns: Sequence[Any], key: Sequence[int] | None, protocol_version: int
    ) -> None:
        self._serializers: list[Callable[[Any, int], bytes]] = [
            column.type.serialize for column in columns
        ]
        self._sizes = [_SIZES.get(column.type) for column in columns]
        self._names = [column.name for column in columns]
        self._columns = len(self._serializers)
        self._key = tuple(key) if key else ()
        self._version = protocol_version

    def bind_each(self, parameters: Sequence[Any]) -> Sequence[Bound | None]:
        """Return what `bind` returns of each of these, or None where it raises."""
        return [_or_none(self.bind, each) for each in parameters]

    def in_columns(self, parameters: Sequence[Any]) -> Columns | None:
        """Return what `bind` returns of each of these, in columns.

        None where that gains nothing, or where one of them is unusual: one by one shows which.
        """
        if not self._columns or len(parameters) <= _FEW:
            return None
        try:
            if not {tuple, list}.issuperset(map(type, parameters)):
                return None
            values: list[Sequence[bytes]] = []
            rows = zip(*parameters, strict=True)
            for serialize, size, column in zip(self._serializers, self._sizes, rows, strict=True):
                values += _encoded(serialize, size, column, self._version)
            return Columns(values, self._keys(values))
        except Exception:  # which is raised again where they are taken one by one
            return None

    def bind(self, parameters: Any) -> Bound:
        """Return the encoded values, and the routing key.

        parameters: as they were given: a sequence, a mapping by column names, or None.

        Raises Unusual, or what a serialiser raises.
        """
        kind = type(parameters)
        if kind is not tuple and kind is not list:
            parameters = self._in_order(parameters)
        version = self._version
        encoded: list[bytes] = []
        add = encoded.append
        for serialize, value in zip(self._serializers, parameters, strict=False):
            if value is None:
                add(NULL)
                add(b"")
            elif value is UNSET_VALUE:
                add(UNSET)
                add(b"")
            else:
                binary = serialize(value, version)
                size = len(binary)
                add(_LENGTHS[size] if size < 1024 else int32_pack(size))
                add(binary)
        given = len(parameters)
        if given != self._columns:
            if given > self._columns:
                raise Unusual
            encoded.extend((UNSET, b"") * (self._columns - given))
        return encoded, self._routing_key(encoded)

    def _keys(self, values: Sequence[Sequence[bytes]]) -> Sequence[bytes | None]:
        """Return the routing keys of executions in columns, as `_routing_key` does."""
        key = self._key
        if not key:
            return [None] * len(values[0])
        parts: list[Iterable[bytes]] = []
        for position in key:
            sizes = values[2 * position]
            if NULL in sizes or UNSET in sizes:
                raise Unusual
            if len(key) == 1:
                return values[2 * position + 1]
            parts += [size[2:] for size in sizes], values[2 * position + 1], repeat(_END)
        return list(map(b"".join, zip(*parts, strict=False)))

    def _routing_key(self, encoded: Sequence[bytes]) -> bytes | None:
        key = self._key
        if len(key) == 1:
            position = 2 * key[0]
            size = encoded[position]
            if size is UNSET:  # the driver refuses it
                raise Unusual
            return None if size is NULL else encoded[position + 1]
        return self._composite(encoded) if key else None

    def bound(self, statement: Any) -> Bound:
        """Return the same of a bound statement, whose values are serialised already."""
        encoded: list[bytes] = []
        for value in statement.values:
            if value is None:
                encoded += (NULL, b"")
            elif value is UNSET_VALUE:
                encoded += (UNSET, b"")
            else:
                encoded += (int32_pack(len(value)), value)
        if len(encoded) != 2 * self._columns:
            raise Unusual
        return encoded, statement.routing_key

    def bound_all(self, statements: Sequence[Any]) -> Sequence[Bound | None]:
        """Return what `bound` returns of each of these, or None where it raises."""
        return [_or_none(self.bound, each) for each in statements]

    def _in_order(self, parameters: Any) -> Sequence[Any]:
        if parameters is None:
            return ()
        if isinstance(parameters, dict):
            return [parameters.get(name, UNSET_VALUE) for name in self._names]
        if isinstance(parameters, list | tuple):
            return parameters
        raise Unusual

    def _composite(self, encoded: Sequence[bytes]) -> bytes:
        # As the driver joins them: size, value, end of component. It fails where one is null.
        parts: list[bytes] = []
        for position in self._key:
            size, value = encoded[2 * position], encoded[2 * position + 1]
            if size is NULL or size is UNSET:
                raise Unusual
            parts += (size[2:], value, _END)
        return b"".join(parts)


def _or_none(bind: Callable[[Any], Bound], given: Any) -> Bound | None:
    try:
        return bind(given)
    except Exception:
        return None


def _encoded(
    serialize: Callable[[Any, int], bytes],
    size: bytes | None,
    values: Sequence[Any],
    version: int,
) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Return the sizes of a column's values, as they stand before them, and the values.

    size: of each value, where it is known.
    """
    kinds = set(map(type, values))
    if kinds & _MISSING:
        return _with_gaps(serialize, size, values, version)
    if size is not None:
        return [size] * len(values), list(map(serialize, values, repeat(version)))
    # Of a column that repeats itself each value is serialised once. What is equal is not always
    # the same bytes: 0.0 and -0.0 are not, nor is an hour that a clock shows twice.
    marks = values if kinds == {str} else list(map(id, values))
    if 2 * len(set(marks)) <= len(values):
        different = dict(zip(marks, values, strict=True))
        made = {mark: _pair(serialize, value, version) for mark, value in different.items()}
        pairs = zip(*map(made.__getitem__, marks), strict=True)
        return next(pairs), next(pairs)
    binaries = list(map(serialize, values, repeat(version)))
    lengths = list(map(len, binaries))
    packed = _LENGTHS.__getitem__ if max(lengths) < len(_LENGTHS) else int32_pack
    return list(map(packed, lengths)), binaries


def _with_gaps(
    serialize: Callable[[Any, int], bytes],
    size: bytes | None,
    values: Sequence[Any],
    version: int,
) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Return the same of a column some of whose values are missing."""
    gaps = [at for at, value in enumerate(values) if value is None or value is UNSET_VALUE]
    sizes, binaries = [b""] * len(values), [b""] * len(values)
    if len(gaps) < len(values):
        # Something stands in the gaps meanwhile, so that the column is still one of one kind.
        some = next(value for value in values if value is not None and value is not UNSET_VALUE)
        filled = list(values)
        for at in gaps:
            filled[at] = some
        sizes, binaries = map(list, _encoded(serialize, size, filled, version))
    for at in gaps:
        sizes[at] = NULL if values[at] is None else UNSET
        binaries[at] = b""
    return sizes, binaries


def _pair(serialize: Callable[[Any, int], bytes], value: Any, version: int) -> tuple[bytes, bytes]:
    """Return the size of a value as it stands before it, and the value."""
    binary = serialize(value, version)
    return int32_pack(len(binary)), binary


def is_known(cql_type: Any) -> bool:
    """Return whether a column's type, and all types within it, serialise as the driver's own do."""
    for cls in cql_type.__mro__:
        if "serialize" in vars(cls):
            break
        if "serialize_safe" in vars(cls) and not cls.__module__.startswith("cassandra."):
            return False
    else:
        return False
    return cls.__module__.startswith("cassandra.") and all(map(is_known, cql_type.subtypes or ()))


def values_of(encoded: Sequence[bytes]) -> list[Any]:
    """Return encoded values as a bound statement of the driver's holds them."""
    values: list[Any] = []
    for size, value in zip(encoded[::2], encoded[1::2], strict=True):
        values.append(None if size == NULL else UNSET_VALUE if size == UNSET else value)
    return values
