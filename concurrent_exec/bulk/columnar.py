"""Parquet, Arrow and all that comes as Arrow, by pyarrow: in batches of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from concurrent_exec.bulk.arrow import arrow
from concurrent_exec.bulk.files import STANDARD_INPUT, File, reason
from concurrent_exec.bulk.options import ReadingOptions
from concurrent_exec.bulk.records import Chunk, InputError

ROWS = 4096
"""Of a chunk at most."""
BYTES = 4 * 1024 * 1024
"""Of a chunk about at most, where a row has not more."""
_ARROW_FILE = b"ARROW1\0\0"


class Parquet:
    """The rows of one Parquet file."""

    def __init__(self, file: File, options: ReadingOptions) -> None:
        self._file = file
        parquet = arrow("reading Parquet", "pyarrow.parquet")
        if file.path == STANDARD_INPUT or file.size is None:
            raise InputError(
                f"{file.path}: Parquet is read from its end, so it must be a file, no pipe"
            )
        with _failing(file.path, "Parquet"):
            # Row groups are large, so they are not read ahead.
            self._parquet = parquet.ParquetFile(file.path, pre_buffer=False, buffer_size=2**16)
            self._schema = self._parquet.schema_arrow
        self.names: Sequence[str] = column_names(file.path, self._schema)
        """The schema's."""

    def chunks(self, first: int) -> Iterator[Chunk]:
        """See `Reader`."""
        metadata = self._parquet.metadata
        bytes_of_row = max(
            (
                metadata.row_group(number).total_byte_size / metadata.row_group(number).num_rows
                for number in range(metadata.num_row_groups)
                if metadata.row_group(number).num_rows
            ),
            default=1.0,
        )
        batches = self._parquet.iter_batches(_rows(bytes_of_row), use_threads=False)
        with _failing(self._file.path, "Parquet"):
            for chunk in chunks_of(batches, self._schema, self._file.path, first):
                done = chunk.first + chunk.count - first
                self._file.bytes_read = int(
                    (self._file.size or 0) * done / (metadata.num_rows or 1)
                )
                yield chunk
        self._parquet.close()


class Arrow:
    """The rows of one file of Arrow's IPC format, file or stream."""

    def __init__(self, file: File, options: ReadingOptions) -> None:
        self._path = file.path
        ipc = arrow("reading Arrow", "pyarrow.ipc")
        stream = file.open()
        with _failing(file.path, "Arrow"):
            # A file is a stream too, after these eight bytes.
            if stream.peek(8).startswith(_ARROW_FILE):
                stream.read(8)
            self._reader = ipc.open_stream(stream)
        self.names: Sequence[str] = column_names(file.path, self._reader.schema)
        """The schema's."""

    def chunks(self, first: int) -> Iterator[Chunk]:
        """See `Reader`."""
        with _failing(self._path, "Arrow"):
            yield from chunks_of(self._reader, self._reader.schema, self._path, first)


@contextmanager
def _failing(path: str, format: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (OSError, arrow("").ArrowException) as error:
        # What is not the system's word is pyarrow's, on what is in the file.
        what = (
            reason(error)
            if getattr(error, "errno", None)
            else f"is no whole {format} file: {error}"
        )
        raise InputError(f"{path}: {what}") from error


def column_names(source: str, schema: Any) -> list[str]:
    """Return the names of the columns; raises InputError where two are the same."""
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise InputError(f"{source or 'the table'}: two columns are called {twice[0]!r}")
    return list(schema.names)


def _rows(bytes_of_row: float) -> int:
    return max(1, min(ROWS, int(BYTES / (bytes_of_row or 1))))


def chunks_of(batches: Iterator[Any], schema: Any, source: str, first: int) -> Iterator[Chunk]:
    """Yield the rows of record batches; an empty chunk if there are none."""
    begin = first
    for whole in batches:
        rows = _rows(whole.nbytes / (whole.num_rows or 1))
        for start in range(0, whole.num_rows, rows):
            batch = whole.slice(start, rows)
            yield Chunk(
                source=source,
                first=first,
                count=batch.num_rows,
                ordinals=range(first, first + batch.num_rows),
                places=range(first - begin + 1, first - begin + 1 + batch.num_rows),
                columns=dict(zip(schema.names, map(_values, batch.columns), strict=True)),
                kind="python",
            )
            first += batch.num_rows
    if first == begin:
        columns: dict[str, Sequence[Any]] = {name: [] for name in schema.names}
        yield Chunk(source, first, 0, range(0), range(0), columns, "python")


class Unreadable:
    """In place of a value that Python has no object for, such as a date after the year 9999."""


def _values(column: Any) -> Sequence[Any]:
    """Return the values of an Arrow array as objects of Python."""
    pa = arrow("reading Arrow")
    types = pa.types
    kind = column.type
    if types.is_time(kind):
        # As nanoseconds since midnight, of which Python's time has only the thousands.
        column = column.cast(pa.time64("ns")).cast(pa.int64())
    elif types.is_timestamp(kind) and kind.unit == "ns":
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    elif types.is_duration(kind) and kind.unit == "ns":
        column = column.cast(pa.duration("us"), safe=False)
    if types.is_dictionary(kind):
        return _by_index(column)
    if types.is_temporal(kind) and not types.is_time(kind) and not types.is_interval(kind):
        return _by_index(column.dictionary_encode())
    return _listed(column)


def _by_index(column: Any) -> Sequence[Any]:
    """Return the values of a dictionary, each made once."""
    values = [*_listed(column.dictionary), None]
    return [values[-1 if index is None else index] for index in column.indices.to_pylist()]


def _listed(column: Any) -> list[Any]:
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):
        return [_one(value.as_py) for value in column]


def _one(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (ValueError, OverflowError):
        return Unreadable()
