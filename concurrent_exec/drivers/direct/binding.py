"""Values of a prepared statement to bytes, by its columns' own serialisers.

What `BoundStatement.bind` does for each value of each execution (a description of its column, a
look whether that is encrypted, a check of types) is done once for a statement. Whatever is unusual
raises `Unusual`, or what the serialiser raises: the driver's own `bind` then says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cassandra.marshal import int32_pack
from cassandra.query import UNSET_VALUE

NULL = b"\xff\xff\xff\xff"
UNSET = b"\xff\xff\xff\xfe"
_LENGTHS = [int32_pack(number) for number in range(1024)]
"""Sizes as they stand before a value, for those that are frequent."""


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

    def bind(self, parameters: Any) -> tuple[list[bytes], bytes | None]:
        """Return the encoded values, each behind its size, and the routing key if there is one.

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
        key = self._key
        if len(key) == 1:
            position = 2 * key[0]
            size_of_key, routing_key = encoded[position], encoded[position + 1]
            if size_of_key is NULL or size_of_key is UNSET:
                return self._without_key(size_of_key, encoded)
            return encoded, routing_key
        if key:
            return encoded, self._composite(encoded)
        return encoded, None

    def bound(self, statement: Any) -> tuple[list[bytes], bytes | None]:
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

    def _in_order(self, parameters: Any) -> Sequence[Any]:
        if parameters is None:
            return ()
        if isinstance(parameters, dict):
            return [parameters.get(name, UNSET_VALUE) for name in self._names]
        if isinstance(parameters, list | tuple):
            return parameters
        raise Unusual

    def _without_key(self, size: bytes, encoded: list[bytes]) -> tuple[list[bytes], None]:
        if size is UNSET:  # the driver refuses it
            raise Unusual
        return encoded, None

    def _composite(self, encoded: list[bytes]) -> bytes:
        # As the driver joins them: size, value, end of component. It fails where one is null.
        parts: list[bytes] = []
        for position in self._key:
            size, value = encoded[2 * position], encoded[2 * position + 1]
            if size is NULL or size is UNSET:
                raise Unusual
            parts += (size[2:], value, b"\x00")
        return b"".join(parts)


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
