"""The command line as a process of its own, which can be killed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from concurrent_exec.connect import ConnectionOptions
from tests.surviving.support import environment_for, watched

COMMAND = (sys.executable, "-m", "concurrent_exec.cli", "run")
PATIENCE = 100.0
"""Seconds in which a process must have ended; a hang is a failure."""
_SETTLED = re.compile(r"([\d,]+)(?: of [\d,]+)? records; ")


class Command:
    """A process of `concurrent-exec run`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.errors = ""
        """What it has written to standard error so far."""

    def hear(self, settled: int | None = None) -> int | None:
        """Read standard error to its end, or until so many records are settled; return how many."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors += line
            found = _SETTLED.match(line)
            if found and settled is not None:
                there = int(found[1].replace(",", ""))
                if there >= settled:
                    return there
        return None

    def kill(self) -> None:
        """Let it have no chance to do anything more."""
        self.process.send_signal(signal.SIGKILL)
        self.hear()
        assert self.process.wait() in (-signal.SIGKILL, 0, 1), self.errors

    def wait(self) -> int:
        """Return its exit status."""
        self.hear()
        return self.process.wait()


@contextmanager
def running(
    folder: Path,
    cassandra: ConnectionOptions | None,
    *arguments: object,
    stdout: int = subprocess.PIPE,
) -> Iterator[Command]:
    """`concurrent-exec run` with these arguments, within `folder`; it is gone after the block."""
    with (
        subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=folder,
            env=environment_for(cassandra),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        watched(process, PATIENCE),
    ):
        yield Command(process)
