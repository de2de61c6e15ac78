"""Processes told apart by more than a number: a pid may have been given to another by now."""

from __future__ import annotations

import errno
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# The latter two: the number now belongs to a thread of some other process.
_NO_SUCH_PROCESS = (errno.ESRCH, errno.EINVAL, errno.ENOENT)


@dataclass(frozen=True)
class ProcessIdentity:
    """One particular process.

    `started` is its start time in the kernel's clock ticks, `marker` an argument that its command
    line must hold; both must still be so for `pid` to mean this process.
    """

    pid: int
    started: int
    marker: str

    @classmethod
    def of(cls, pid: int, marker: str) -> ProcessIdentity:
        """Return the identity of a process that was just started, dead already or not."""
        started = _start_time(pid)
        return cls(pid, -1 if started is None else started, marker)

    @property
    def is_alive(self) -> bool:
        """Whether this very process runs; not so a zombie, which holds nothing any more."""
        with self._descriptor() as descriptor:
            return descriptor is not None

    def send(self, signal_number: signal.Signals) -> bool:
        """Signal the process; return whether it was there to be signalled."""
        with self._descriptor() as descriptor:
            if descriptor is None:
                return False
            try:
                signal.pidfd_send_signal(descriptor, signal_number)
            except ProcessLookupError:
                return False
            return True

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the process to end; return whether it has."""
        with self._descriptor() as descriptor:
            if descriptor is None:
                return True
            return _ends_within(descriptor, timeout)

    @contextmanager
    def _descriptor(self) -> Iterator[int | None]:
        # Opened before the check: from then on the descriptor means that process only, so the
        # pid can't pass to another between the check and the signal.
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError as error:
            if error.errno not in _NO_SUCH_PROCESS:
                raise
            yield None
            return
        try:
            there = self._is_its_number() and not _ends_within(descriptor, 0)
            yield descriptor if there else None
        finally:
            os.close(descriptor)

    def _is_its_number(self) -> bool:
        if _start_time(self.pid) != self.started:
            return False
        try:
            command_line = Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return False
        # A process that is about to end has no command line, but may still hold its ports.
        return not command_line or os.fsencode(self.marker) in command_line.split(b"\0")


def _start_time(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the program's name in parentheses and may itself hold anything.
    return int(stat.rpartition(")")[2].split()[19])


def _ends_within(descriptor: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout * 1000))
