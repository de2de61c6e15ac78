"""Which conversion a CQL type has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cassandra import cqltypes

from concurrent_exec.bulk.converting import Conversion
from concurrent_exec.bulk.moments import Day, Span, TimeOfDay, Timestamp
from concurrent_exec.bulk.nested import Array, Collection, Dictionary, Record, Vector
from concurrent_exec.bulk.options import ConvertingOptions
from concurrent_exec.bulk.scalars import (
    Blob,
    Boolean,
    DecimalNumber,
    Float,
    Inet,
    Integer,
    Text,
    Uuid,
)

_SCALARS: Mapping[str, Callable[[str, ConvertingOptions], Conversion]] = {
    "ascii": lambda cql, options: Text(cql, ascii_only=True),
    "bigint": lambda cql, options: Integer(cql, 64),
    "blob": Blob,
    "boolean": Boolean,
    "counter": lambda cql, options: Integer(cql, 64),
    "date": Day,
    "decimal": lambda cql, options: DecimalNumber(cql),
    "double": lambda cql, options: Float(cql, ">d"),
    "duration": lambda cql, options: Span(cql),
    "float": lambda cql, options: Float(cql, ">f"),
    "inet": lambda cql, options: Inet(cql),
    "int": lambda cql, options: Integer(cql, 32),
    "smallint": lambda cql, options: Integer(cql, 16),
    "text": lambda cql, options: Text(cql),
    "time": TimeOfDay,
    "timestamp": Timestamp,
    "timeuuid": lambda cql, options: Uuid(cql, version=1),
    "tinyint": lambda cql, options: Integer(cql, 8),
    "uuid": lambda cql, options: Uuid(cql),
    "varchar": lambda cql, options: Text(cql),
    "varint": lambda cql, options: Integer(cql, None),
}


def cql_of(kind: Any) -> str:
    """Return the name in CQL of `kind`, a type of the driver's."""
    name: str = kind.cql_parameterized_type()
    return name.replace("org.apache.cassandra.db.marshal.VectorType", "vector")


def conversion_of(kind: Any, options: ConvertingOptions) -> Conversion:
    """Return the conversion to `kind`, a type of the driver's."""
    cql = cql_of(kind)
    if issubclass(kind, cqltypes.FrozenType):
        return conversion_of(kind.subtypes[0], options)
    if issubclass(kind, cqltypes.VectorType):
        return Vector(cql, conversion_of(kind.subtype, options), kind.vector_size)
    if issubclass(kind, cqltypes.TupleType):
        inner = [conversion_of(each, options) for each in kind.subtypes]
        names = getattr(kind, "fieldnames", None) if issubclass(kind, cqltypes.UserType) else None
        return Record(cql, list(names or map(str, range(len(inner)))), inner)
    if issubclass(kind, cqltypes.ListType | cqltypes.SetType | cqltypes.MapType):
        inner = [conversion_of(each, options) for each in kind.subtypes]
        if issubclass(kind, cqltypes.MapType):
            return Dictionary(cql, *inner)
        return (Array if issubclass(kind, cqltypes.ListType) else Collection)(cql, *inner)
    if kind.typename in _SCALARS:
        return _SCALARS[kind.typename](cql, options)
    return Other(cql, kind)


class Other(Conversion):
    """A type that is none of CQL's own: what the driver takes for it, and no text."""

    def __init__(self, cql: str, kind: Any) -> None:
        super().__init__(cql)
        self._kind = kind

    def text(self, text: str) -> Any:
        """See `Conversion`."""
        raise self.wrong("which can't be read from a text")

    def value(self, value: Any) -> Any:
        """See `Conversion`."""
        if not isinstance(self._kind.serialize(value, _ANY_VERSION), bytes):
            raise self.wrong()
        return value


_ANY_VERSION = 4
"""Of the native protocol: since the third a value is the same in all."""
