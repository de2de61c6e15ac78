"""What a caller has as an input: files, frames, tables and iterables."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby, islice
from typing import Any

from concurrent_exec.bulk.arrow import arrow
from concurrent_exec.bulk.columnar import ROWS, chunks_of, column_names
from concurrent_exec.bulk.inputs import Input
from concurrent_exec.bulk.json_lines import columns_of
from concurrent_exec.bulk.reading import open_source
from concurrent_exec.bulk.records import Chunk, InputError, NoRecordsError, Rejected, Source
from concurrent_exec.bulk.sizes import mean_size

__all__ = ["open_source", "source_of"]

_AT_ONCE = 1024
"""The most records of an iterable that make a chunk."""
_BYTES = 1 << 20
"""About the most that they take."""
_DRAWN = 128
"""Records that are drawn at a time: so many may be large where those before them were small."""


def source_of(records: Any) -> Source:
    """Return `records` as an input.

    Args:
        records: An iterable of mappings, or of lists or tuples, whose values have the markers'
            order; a frame of pandas or polars, a table, dataset or reader of pyarrow, or anything
            else that has `__arrow_c_stream__`, for which pyarrow is needed; a file's path, as for
            `open_source`; or a `Source` as it is.

    Raises TypeError for anything else, InputError as `open_source` does.
    """
    if isinstance(records, str | os.PathLike):
        return open_source([os.fspath(records)])
    if hasattr(records, "chunks") and hasattr(records, "fingerprint"):
        source: Source = records
        return source
    if hasattr(records, "to_batches") and hasattr(records, "schema"):
        return _Batches(records, lambda: records.to_batches(**_sizes(records)), rows=_rows(records))
    if hasattr(records, "__arrow_c_stream__"):
        reader = arrow("a frame").RecordBatchReader
        return _Batches(records, lambda: reader.from_stream(records), rows=_rows(records))
    if isinstance(records, Mapping | bytes) or not isinstance(records, Iterable):
        raise TypeError(
            "the records must be an iterable of mappings or of sequences, a frame, a table, or a "
            f"file's path, not {type(records).__name__}"
        )
    return _Records(records)


def _sizes(records: Any) -> dict[str, int]:
    """Return what keeps a dataset of pyarrow from reading far ahead."""
    if not hasattr(records, "scanner"):
        return {}
    return {"batch_size": ROWS, "batch_readahead": 1, "fragment_readahead": 1}


def _rows(records: Any) -> int | None:
    if hasattr(records, "count_rows"):
        return int(records.count_rows())
    return len(records) if hasattr(records, "__len__") else None


class _Objects(Input):
    """What `Source` has of inputs that are no files, and can be read once or more often."""

    def __init__(self, records: Any, rows: int | None) -> None:
        super().__init__(f"the {type(records).__name__}")
        self._records = records
        self._rows = rows
        self._was_read = False

    bytes_read = 0
    """See `Source`."""
    total_bytes = None
    """See `Source`."""

    @property
    def total_records(self) -> int | None:
        """See `Source`."""
        return self._rows

    def _read(self) -> Iterator[Chunk]:
        if self._was_read and isinstance(self._records, Iterator):
            raise InputError(f"the {type(self._records).__name__} can be read only once")
        self._was_read = True
        return self._chunks()

    def _chunks(self) -> Iterator[Chunk]:
        raise NotImplementedError

    def fingerprint(self) -> Mapping[str, Any]:
        """See `Source`. Of objects it is little: their type, how many there are, the columns."""
        columns: Any = None
        with suppress(NoRecordsError):
            columns = self.columns
        return {
            "type": type(self._records).__name__,
            "records": self._rows,
            "columns": columns,
        }


class _Batches(_Objects):
    """Rows that come as batches of Arrow."""

    def __init__(
        self, records: Any, batches: Callable[[], Iterable[Any]], rows: int | None
    ) -> None:
        super().__init__(records, rows)
        self._batches = batches

    def _chunks(self) -> Iterator[Chunk]:
        batches = self._batches()
        schema = getattr(batches, "schema", None)
        if schema is None:  # one without columns is false
            schema = self._records.schema
        column_names("", schema)
        return chunks_of(iter(batches), schema, "", 0)


class _Records(_Objects):
    """Mappings, or sequences, of an iterable."""

    def __init__(self, records: Iterable[Any]) -> None:
        super().__init__(records, len(records) if isinstance(records, Sequence) else None)

    def _chunks(self) -> Iterator[Chunk]:
        first = 0
        for group in _groups(iter(self._records)):
            for shape, run in groupby(group, _shape):
                alike = list(run)
                yield _chunk(first, shape, alike)
                first += len(alike)


def _groups(records: Iterator[Any]) -> Iterator[list[Any]]:
    """Yield all records, some on end in each list: they may be large."""
    mean = _BYTES
    while True:
        group: list[Any] = []
        left = _BYTES
        while left > 0 and len(group) < _AT_ONCE:
            count = max(1, min(_DRAWN, _AT_ONCE - len(group), left // mean))
            drawn = list(islice(records, count))
            if not drawn:
                break
            group += drawn
            mean = max(1, mean_size(drawn))
            left -= mean * len(drawn)
        if not group:
            return
        yield group


def _shape(record: Any) -> int | None:
    """Return the length of a sequence, -1 for a mapping, None for what is no record."""
    if isinstance(record, Mapping):
        return -1
    if isinstance(record, Sequence) and not isinstance(record, str | bytes):
        return len(record)
    return None


def _chunk(first: int, shape: int | None, records: Sequence[Any]) -> Chunk:
    end = first + len(records)
    if shape is None:
        rejected = [
            Rejected(
                ordinal,
                "",
                ordinal + 1,
                record,
                "ParseError",
                f"record {ordinal + 1}: must be a mapping or a sequence of values",
            )
            for ordinal, record in enumerate(records, first)
        ]
        return Chunk("", first, len(records), (), (), {}, "python", rejected=rejected)
    columns: Mapping[str, Sequence[Any]] = (
        columns_of(records)
        if shape < 0
        else {str(place): values for place, values in enumerate(zip(*records, strict=True))}
    )
    return Chunk(
        source="",
        first=first,
        count=len(records),
        ordinals=range(first, end),
        places=range(first + 1, end + 1),
        columns=columns,
        kind="python",
        named=shape < 0,
    )
