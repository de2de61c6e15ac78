"""Parquet, which can't be appended to: rows grow as an Arrow stream beside it until the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from cassandra.cqltypes import ListType, MapType, SetType, UserType, VectorType

from concurrent_exec.bulk.appending import Appender, open_private
from concurrent_exec.bulk.journal import sync_folder
from concurrent_exec.bulk.outputs.columns import Column
from concurrent_exec.bulk.portable import to_text

_AT_ONCE = 10_000
"""The most rows of a record batch."""


class ParquetOutput:
    """Columns of Arrow's types where those hold CQL's values, else of text as in CSV.

    Text are uuids, decimals, varints, durations and addresses; and tuples, as JSON.
    """

    def __init__(self, path: Path, columns: Sequence[Column], appender: Appender) -> None:
        """Make one that appends record batches to `appender`, which becomes a file at `path`."""
        self.path = path
        self._file = appender
        self._schema = pa.schema([(column.name, _arrow(column.type)[0]) for column in columns])
        self._convert = [_arrow(column.type)[1] for column in columns]
        self._held: list[Sequence[Any]] = []
        if not appender.length:
            appender.write(self._schema.serialize().to_pybytes())

    @property
    def length(self) -> int:
        """The bytes of all rows taken so far."""
        self._batch()
        return self._file.length

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Take rows. Raises OSError."""
        self._held.extend(rows)
        if len(self._held) >= _AT_ONCE:
            self._batch()

    def _batch(self) -> None:
        if not self._held:
            return
        arrays = [
            pa.array([_of(convert, value) for value in values], field.type)
            for values, field, convert in zip(
                zip(*self._held, strict=True), self._schema, self._convert, strict=True
            )
        ]
        self._held = []
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self._file.write(batch.serialize().to_pybytes())

    def flush(self) -> None:
        """Hand all to the system. Raises OSError."""
        self._batch()
        self._file.flush()

    def sync(self) -> None:
        """Have what was flushed brought to the disk. Raises OSError."""
        self._file.sync()

    def finish(self) -> None:
        """Write the Parquet file from all batches. Raises OSError."""
        self.flush()
        new = self.path.with_name(self.path.name + ".new")
        # A stream without an end mark ends with its file.
        with open(new, "wb", opener=open_private) as made:
            with (
                pa.OSFile(str(self._file.path), "rb") as source,
                pq.ParquetWriter(made, self._schema) as writer,
            ):
                for batch in pa.ipc.open_stream(source):
                    writer.write_batch(batch)
            made.flush()
            os.fsync(made.fileno())
        os.replace(new, self.path)
        sync_folder(self.path.parent)

    def clean_up(self) -> None:
        """Remove the batches, once the journal says that all is finished."""
        self._file.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; what was not flushed is let go."""
        self._file.close()


def _same(value: Any) -> Any:
    return value


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


Convert = Callable[[Any], Any]

_TYPES: dict[str, tuple[Any, Convert]] = {
    "ascii": (pa.string(), _same),
    "text": (pa.string(), _same),
    "varchar": (pa.string(), _same),
    "boolean": (pa.bool_(), _same),
    "tinyint": (pa.int8(), _same),
    "smallint": (pa.int16(), _same),
    "int": (pa.int32(), _same),
    "bigint": (pa.int64(), _same),
    "counter": (pa.int64(), _same),
    "float": (pa.float32(), _same),
    "double": (pa.float64(), _same),
    "blob": (pa.binary(), _same),
    "timestamp": (pa.timestamp("ms", tz="UTC"), _aware),
    "date": (pa.date32(), lambda value: value.days_from_epoch),
    "time": (pa.time64("ns"), lambda value: value.nanosecond_time),
}


def _arrow(cql_type: Any) -> tuple[Any, Convert]:
    """Return Arrow's type for a CQL type, and what makes its value of the driver's."""
    return _exact(cql_type) or (pa.string(), to_text)


def _exact(cql_type: Any) -> tuple[Any, Convert] | None:
    """Return the same, or None where only a text will do: a tuple, or what has one in it."""
    if cql_type.typename == "frozen":
        return _exact(cql_type.subtypes[0])
    is_vector = issubclass(cql_type, VectorType)
    inner = list(map(_exact, [cql_type.subtype] if is_vector else cql_type.subtypes or ()))
    if not inner:
        return _TYPES.get(cql_type.typename) or (pa.string(), to_text)
    if None in inner:
        return None
    types, converts = zip(*filter(None, inner), strict=True)
    if issubclass(cql_type, UserType):
        fields = list(zip(cql_type.fieldnames, types, strict=True))
        return pa.struct(fields), lambda value: {
            name: _of(convert, each)
            for name, convert, each in zip(cql_type.fieldnames, converts, value, strict=True)
        }
    if issubclass(cql_type, MapType):
        return pa.map_(*types), lambda value: [
            (converts[0](key), _of(converts[1], each)) for key, each in value.items()
        ]
    if is_vector or issubclass(cql_type, ListType | SetType):
        return pa.list_(types[0]), lambda value: [_of(converts[0], each) for each in value]
    return None


def _of(convert: Convert, value: Any) -> Any:
    return None if value is None else convert(value)
