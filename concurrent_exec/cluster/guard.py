"""The parent's end of guardian.py."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path


class Guard:
    """A small process that kills what it watches if this process dies, however it dies.

    `folder`, if given, is removed then as well.
    """

    def __init__(self, folder: Path | None = None) -> None:
        script = Path(__file__).with_name("guardian.py")
        command = [sys.executable, "-I", "-S", str(script), str(os.getpid())]
        if folder is not None:
            command.append(str(folder))
        self._lock = threading.Lock()
        # A session of its own: Ctrl-C in the terminal must reach this process, not the guard.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, pid: int) -> None:
        """Watch a process that this one has just started."""
        self._send(f"watch {pid}\n")

    def release(self) -> None:
        """End the guard; what it watched is left alone from now on."""
        self._send("release\n")
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        # A guard that somebody else has ended is a lost safety net, no reason to fail.
        with self._lock, suppress(OSError, ValueError):
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
