"""Values of a prepared statement to bytes, by its columns' own serialisers.

What `BoundStatement.bind` does for each value of each execution (a description of its column, a
look whether that is encrypted, a check of types) is done once for a statement. Whatever is unusual
raises `Unusual`, or what the serialiser raises: the driver's own `bind` then says what is wrong.

Of many executions at a time the values are serialised in columns, which takes half the time: of two
columns and 128 executions a third, of 19 half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

from cassandra.marshal import int32_pack
from cassandra.query import UNSET_VALUE

NULL = b"\xff\xff\xff\xff"
UNSET = b"\xff\xff\xff\xfe"
_LENGTHS = [int32_pack(number) for number in range(1024)]
"""Sizes as they stand before a value, for those that are frequent."""
_FEW = 12
"""So many executions are not worth a look at their columns."""
_EXACT = ({int}, {str})
"""Kinds of values of which two that are equal are also serialised to the same bytes."""
_MISSING = {type(None), type(UNSET_VALUE)}

Bound = tuple[Sequence[bytes], bytes | None]
"""The encoded values of an execution, each behind its size, and the routing key if there is one."""


class Unusual(Exception):
    """These parameters are for the driver's own `bind`."""


class Binder:
    """Serialises the parameters of one prepared statement.

    columns: the statement's `column_metadata`.
    key: the positions among them of the partition key's columns, or None where they are unknown.
    protocol_version: what the serialisers are told; at least 4, for values that are not set.
    """

    __slots__ = ("_columns", "_key", "_names", "_serializers", "_version")

    def __init__(
        self, columns: Sequence[Any], key: Sequence[int] | None, protocol_version: int
    ) -> None:
        self._serializers: list[Callable[[Any, int], bytes]] = [
            column.type.serialize for column in columns
        ]
        self._names = [column.name for column in columns]
        self._columns = len(self._serializers)
        self._key = tuple(key) if key else ()
        self._version = protocol_version

    def bind_all(self, parameters: Sequence[Any]) -> Sequence[Bound | None]:
        """Return what `bind` returns of each of these, or None where it raises."""
        if self._columns and len(parameters) > _FEW:
            try:
                return self._in_columns(parameters)
            except Exception:  # one by one shows which of them is unusual, if any is
                pass
        return [_or_none(self.bind, each) for each in parameters]

    def _in_columns(self, rows: Sequence[Sequence[Any]]) -> list[Bound]:
        if not {tuple, list}.issuperset(map(type, rows)):
            raise Unusual
        columns: list[Sequence[bytes]] = []
        for serialize, values in zip(self._serializers, zip(*rows, strict=True), strict=True):
            columns += _encoded(serialize, values, self._version)
        key_of = self._routing_key
        return [(encoded, key_of(encoded)) for encoded in zip(*columns, strict=True)]

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
            parts += (size[2:], value, b"\x00")
        return b"".join(parts)


def _or_none(bind: Callable[[Any], Bound], given: Any) -> Bound | None:
    try:
        return bind(given)
    except Exception:
        return None


def _encoded(
    serialize: Callable[[Any, int], bytes], values: Sequence[Any], version: int
) -> Sequence[Sequence[bytes]]:
    """Return the sizes of a column's values, as they stand before them, and the values."""
    kinds = set(map(type, values))
    if kinds - _MISSING in _EXACT and 2 * len(different := set(values)) <= len(values):
        made = {value: _pair(serialize, value, version) for value in different}
        pairs = list(map(made.__getitem__, values))
    elif kinds & _MISSING:
        pairs = [_pair(serialize, value, version) for value in values]
    else:
        binaries = list(map(serialize, values, repeat(version)))
        sizes = list(map(len, binaries))
        packed = _LENGTHS.__getitem__ if max(sizes) < len(_LENGTHS) else int32_pack
        return list(map(packed, sizes)), binaries
    return tuple(zip(*pairs, strict=True))


def _pair(serialize: Callable[[Any, int], bytes], value: Any, version: int) -> tuple[bytes, bytes]:
    """Return the size of a value as it stands before it, and the value."""
    if value is None or value is UNSET_VALUE:
        return NULL if value is None else UNSET, b""
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
