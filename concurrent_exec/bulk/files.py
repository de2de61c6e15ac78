"""Files to read: which there are, what is in them, and their bytes, decompressed."""

from __future__ import annotations

import glob
import gzip
import hashlib
import io
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from concurrent_exec.bulk.arrow import arrow
from concurrent_exec.bulk.options import Format
from concurrent_exec.bulk.records import InputError

BLOCK = 256 * 1024
"""Bytes that are read, and decompressed, at a time."""
_AHEAD = 64 * 1024
"""Bytes that are read before they are needed: by what was read it is told how far a run is."""
STANDARD_INPUT = "-"
_HASHED = 64 * 1024
_SUFFIXES: Mapping[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
_COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
_GZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
_ARROW_FILE, _ARROW_STREAM = b"ARROW1", b"\xff\xff\xff\xff"


def find(paths: Sequence[str]) -> list[str]:
    """Return the files that `paths` name, those of each pattern in the order of their names.

    Raises InputError where there is none, or where one is a folder or can't be read.
    """
    found: list[str] = []
    for path in paths:
        if path == STANDARD_INPUT or os.path.lexists(path) or not glob.has_magic(path):
            found.append(path)
        else:
            found += sorted(glob.glob(path, recursive=True)) or _none(path)
    if found.count(STANDARD_INPUT) > 1:
        raise InputError("standard input can be read only once")
    for path in found:
        if path != STANDARD_INPUT:
            _check(path)
    return found


def _none(pattern: str) -> list[str]:
    raise InputError(f"{pattern}: no file is named like that")


def _check(path: str) -> None:
    if os.path.isdir(path):
        raise InputError(f"{path}: is a folder; give its files, such as {Path(path, '*.csv')}")
    with failing(path):
        if stat.S_ISREG(os.stat(path).st_mode):
            open(path, "rb").close()


UNREADABLE = (OSError, EOFError, zlib.error)
"""What reading a file raises."""


def reason(error: Exception) -> str:
    """Return in words what reading a file raised."""
    if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
        return f"is no whole gzip file: {error}"
    return getattr(error, "strerror", None) or str(error)


@contextmanager
def failing(path: str) -> Iterator[None]:
    """Turn what the system says of the file at `path` into an InputError."""
    try:
        yield
    except UNREADABLE as error:
        raise InputError(f"{path}: {reason(error)}") from error


class File:
    """One file. Standard input and pipes can be opened only once."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = None if path == STANDARD_INPUT else _size(path)
        self.bytes_read = 0
        self._opened: io.BufferedReader | None = None
        self._closed = False

    def format(self) -> Format:
        """Return what it is, by its name or, of standard input and pipes, by its beginning."""
        path = Path(self.path.lower())
        suffix = path.with_suffix("").suffix if path.suffix in _COMPRESSED else path.suffix
        if suffix in _SUFFIXES:
            return _SUFFIXES[suffix]
        if self.size is None:
            return _looked_into(self.open())
        raise InputError(
            f"{self.path}: the name's end does not say what it is: give the format, "
            f"or name it like one of {', '.join(_SUFFIXES)}"
        )

    def open(self) -> io.BufferedReader:
        """Return the file's bytes from the beginning, decompressed if they are compressed."""
        if self._opened is None:
            if self._closed:
                raise InputError(f"{self.path}: can be read only once")
            with failing(self.path):
                self._opened = self._decompressed(self.raw())
        return self._opened

    def close(self) -> None:
        """Close it, if it is open. It can be opened again if it is no pipe."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
            self._closed = self.size is None

    def raw(self) -> io.BufferedReader:
        """Return the file's bytes as they are."""
        self.bytes_read = 0
        if self.path == STANDARD_INPUT:
            unbuffered: io.RawIOBase = cast(io.RawIOBase, getattr(sys.stdin.buffer, "raw", None))
            unbuffered = unbuffered or cast(io.RawIOBase, sys.stdin.buffer)
        else:
            unbuffered = io.FileIO(self.path)
        return io.BufferedReader(_Counted(unbuffered, self._read), _AHEAD)

    def _read(self, position: int) -> None:
        self.bytes_read = position

    def _decompressed(self, file: io.BufferedReader) -> io.BufferedReader:
        start = file.peek(4)[:4]
        if start.startswith(_GZIP):
            return io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=file)), BLOCK)
        if start == _ZSTD:
            stream = arrow("reading zstd").CompressedInputStream(file, "zstd")
            return io.BufferedReader(cast(io.RawIOBase, _OfArrow(stream)), BLOCK)
        suffix = Path(self.path).suffix.lower()
        if suffix in _COMPRESSED:
            raise InputError(f"{self.path}: is no {_COMPRESSED[suffix]} file")
        return file

    def fingerprint(self) -> dict[str, Any]:
        """Return name, size and a hash of the beginning and the end; only the name of standard
        input, which nobody can read twice."""
        if self.size is None:
            return {"name": self.path}
        with failing(self.path), open(self.path, "rb") as file:
            digest = hashlib.sha256(file.read(_HASHED))
            file.seek(max(_HASHED, self.size - _HASHED))
            digest.update(file.read(_HASHED))
        return {"name": self.path, "size": self.size, "sha256_of_ends": digest.hexdigest()}


def _size(path: str) -> int | None:
    with failing(path):
        status = os.stat(path)
    # Of a pipe, such as a shell's <(command), nobody knows.
    return status.st_size if os.path.isfile(path) else None


def _looked_into(file: io.BufferedReader) -> Format:
    start = file.peek(BLOCK)
    if start.startswith(_PARQUET):
        return "parquet"
    if start.startswith((_ARROW_FILE, _ARROW_STREAM)):
        return "arrow"
    return "jsonl" if start.lstrip().startswith((b"{", b"[")) else "csv"


class _Counted(io.RawIOBase):
    """A file that tells how far it was read."""

    def __init__(self, file: io.RawIOBase, tell: Callable[[int], None]) -> None:
        self._file = file
        self._tell = tell
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def readinto(self, buffer: Any) -> int | None:
        count = self._file.readinto(buffer)
        self._position += count or 0
        self._tell(self._position)
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = self._file.seek(offset, whence)
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        if not self.closed and self._file is not getattr(sys.stdin.buffer, "raw", None):
            self._file.close()
        super().close()


class _OfArrow(io.RawIOBase):
    """A stream of pyarrow's as a file of Python's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
