"""A file that only grows, of which a checkpoint knows how much of it counts."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from concurrent_exec.bulk.errors import BrokenOutputError, BulkError

_HELD = 1 << 16
"""Bytes that are written in one go."""


def open_private(path: str | Path, flags: int) -> int:
    """Open a file that is written to, and return its descriptor; also an `opener` for `open`.

    Nobody but the owner may read a file that is made: it has records as they were. A symbolic link
    is not followed: whoever may put one into the folder would choose what file is overwritten.

    Raises OSError, which names the file.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP and os.path.islink(path):
            raise OSError(
                errno.ELOOP, "is a symbolic link; name the file that it leads to", str(path)
            ) from None
        raise


def _open_led_to(path: Path) -> int | None:
    """Open the pipe or device that a symbolic link leads to, as a shell's `>(command)` is named.

    None where it leads to something else: a file must not be overwritten, nor a disk. What would
    make a file, or empty one, is not asked for, so nothing is harmed by opening what is changed
    for another meanwhile. Raises OSError.
    """
    if not (os.path.exists(path) and _flows(os.stat(path))):
        return None
    flags = os.O_CLOEXEC | os.O_NOCTTY
    try:  # so that it is known when the reader of a pipe has gone
        descriptor = os.open(path, flags | os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        descriptor = os.open(path, flags | os.O_RDWR)  # its reader is still to come
    if not _flows(os.fstat(descriptor)):
        os.close(descriptor)
        return None
    os.set_blocking(descriptor, True)
    return descriptor


def _flows(status: os.stat_result) -> bool:
    return stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode)


class InUseError(OSError):
    """Another process is writing the file."""


class Appender:
    """Writes bytes at the end of a file.

    It is locked, so two runs never write the same.
    """

    def __init__(self, path: Path) -> None:
        """Open the file at `path`, made where it is not there, or the pipe or device that it leads
        to.

        Raises OSError, as `open_private` does; InUseError where another process has it open.
        """
        self.path = path
        try:
            self._descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            led_to = _open_led_to(path) if error.errno == errno.ELOOP else None
            if led_to is None:
                raise
            self._descriptor = led_to
        self._is_file = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        try:
            if self._is_file:  # /dev/null is many a run's
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise InUseError(errno.EBUSY, "another run is writing it", str(path)) from None
        self._written = 0
        self._held: list[bytes] = []
        self._bytes_held = 0

    def cut(self, length: int) -> None:
        """Cut the file to `length` bytes, and go on there. Raises BulkError where it has fewer."""
        if self._is_file:
            there = os.fstat(self._descriptor).st_size
            if there < length:
                raise BulkError(
                    f"{self.path} has {there} bytes, and had {length} at the checkpoint: it must "
                    "be as the earlier run has left it"
                )
            os.ftruncate(self._descriptor, length)
            os.lseek(self._descriptor, length, os.SEEK_SET)
        self._written = length

    @property
    def length(self) -> int:
        """The bytes that it has, those not yet written among them."""
        return self._written + self._bytes_held

    def write(self, data: bytes) -> None:
        """Append `data`. Raises OSError, naming the file; what was appended is kept then."""
        self._held.append(data)
        self._bytes_held += len(data)
        if self._bytes_held >= _HELD:
            self.flush()

    def flush(self) -> None:
        """Hand all to the system. Raises OSError, naming the file."""
        if not self._held:
            return
        data = memoryview(b"".join(self._held))
        try:
            while data:
                count = os.write(self._descriptor, data)
                self._written += count
                data = data[count:]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        finally:
            self._held = [bytes(data)] if data else []
            self._bytes_held = len(data)

    def sync(self) -> None:
        """Have what was flushed brought to the disk. Raises OSError, naming the file."""
        if not self._is_file:
            return
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def remove(self) -> None:
        """Remove the file, where it is one and no device."""
        if self._is_file:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; what was not flushed is let go."""
        os.close(self._descriptor)


class StandardOutput(Appender):
    """Writes to standard output, which can't be cut."""

    def __init__(self) -> None:
        """Make one."""
        self.path = Path("standard output")
        self._descriptor = 1
        self._written = 0
        self._held = []
        self._bytes_held = 0

    def cut(self, length: int) -> None:
        """Nothing can be taken back."""

    def flush(self) -> None:
        """Hand all to the reader. Raises BrokenOutputError where that has gone."""
        try:
            super().flush()
        except BrokenPipeError:
            raise BrokenOutputError("whoever was reading standard output has gone") from None

    def sync(self) -> None:
        """It is the reader's."""

    def close(self) -> None:
        """It stays open."""
