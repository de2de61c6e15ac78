"""Files, one after another, as one input."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Protocol

from concurrent_exec.bulk.columnar import Arrow, Parquet
from concurrent_exec.bulk.delimited import Delimited
from concurrent_exec.bulk.files import File, find
from concurrent_exec.bulk.inputs import Input
from concurrent_exec.bulk.json_lines import JsonLines
from concurrent_exec.bulk.options import DELIMITED, Format, ReadingOptions
from concurrent_exec.bulk.records import Chunk, InputError, Source


class Reader(Protocol):
    """What reads one file, once."""

    @property
    def names(self) -> Sequence[str] | None:
        """The names of the columns, None where no header or schema says them."""

    def chunks(self, first: int) -> Iterator[Chunk]:
        """Yield all records, of which the first one has the ordinal `first`.

        Where there are `names` there is at least one chunk, though it be an empty one.
        """


_READERS: Mapping[Format, Callable[[File, ReadingOptions], Reader]] = {
    "csv": Delimited,
    "tsv": lambda file, options: Delimited(file, options, "\t"),
    "jsonl": JsonLines,
    "parquet": Parquet,
    "arrow": Arrow,
}


def open_source(
    paths: Sequence[str | os.PathLike[str]], options: ReadingOptions | None = None
) -> Source:
    """Return the records of the files at `paths`, in this order, as one input.

    A path may be a pattern, such as `data/*.csv`, for all files that it fits, by name, or "-" for
    standard input. Files that are compressed with gzip or zstd are known by what is in them.

    Raises InputError where a file is not there or can't be read, or does not tell what it is,
    ValueError naming an option that says nothing of what the files are, or where there are no
    paths, TypeError where `paths` is a single one, or has anything else in it.
    """
    if isinstance(paths, str | bytes | os.PathLike):
        raise TypeError(f"paths must be a list, such as [{os.fspath(paths)!r}], not a single one")
    names = [os.fspath(path) if isinstance(path, os.PathLike) else path for path in paths]
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"paths must be a list of str or Path, not of {type(name).__name__}")
    if not names:
        raise ValueError("paths must name a file, and the list is empty")
    return Files(names, options or ReadingOptions())


class Files(Input):
    """A `Source` of files."""

    def __init__(self, paths: Sequence[str], options: ReadingOptions) -> None:
        super().__init__(", ".join(paths))
        self._options = options
        self._files = [File(path) for path in find(paths)]
        self._formats = [options.format or file.format() for file in self._files]
        options.check_formats(self._formats)
        self.has_texts = not set(self._formats).isdisjoint(DELIMITED)

    @property
    def paths(self) -> Sequence[str]:
        """Of the files, as they were given or found."""
        return [file.path for file in self._files]

    def _look(self) -> Sequence[str] | int | None:
        self._compare_headers()
        return super()._look()

    def _compare_headers(self) -> None:
        """Raise InputError where a file has other columns than the first one."""
        first: Sequence[str] | None = None
        for number, file in enumerate(self._files):
            if len(self._files) == 1 or file.size is None:
                continue
            with closing(file):
                names = self._reader(number).names
            file.bytes_read = 0  # as nothing else was
            if names is None:
                continue
            if first is None:
                first = names
            elif sorted(names) != sorted(first):
                raise InputError(
                    f"{file.path}: has other columns than {self._files[0].path}: {', '.join(names)}"
                )

    def _read(self) -> Iterator[Chunk]:
        first = 0
        for number, file in enumerate(self._files):
            with closing(file):
                for chunk in self._reader(number).chunks(first):
                    yield chunk
                    first = chunk.first + chunk.count

    def _reader(self, number: int) -> Reader:
        return _READERS[self._formats[number]](self._files[number], self._options)

    @property
    def bytes_read(self) -> int:
        """See `Source`."""
        return sum(file.bytes_read for file in self._files)

    @property
    def total_bytes(self) -> int | None:
        """See `Source`."""
        sizes = [file.size for file in self._files if file.size is not None]
        return sum(sizes) if len(sizes) == len(self._files) else None

    @property
    def total_records(self) -> int | None:
        """See `Source`."""
        return None

    def fingerprint(self) -> Mapping[str, Any]:
        """See `Source`."""
        return {
            "files": [file.fingerprint() for file in self._files],
            "formats": self._formats,
            "options": self._options.as_json(),
        }
