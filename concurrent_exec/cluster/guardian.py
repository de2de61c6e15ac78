"""Ends processes when the one that started them dies. Run as a script, not imported.

    python guardian.py PARENT_PID [FOLDER]

Reads lines from standard input: "watch PID" adds a process, "release" ends the guard without
doing anything. Should the parent die first, in whatever way, the watched processes are killed,
and FOLDER, if given, is removed. PR_SET_PDEATHSIG would not do: it fires when the *thread* that
started the process ends, and setting it needs code between fork and exec.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
from contextlib import suppress


def main(parent: int, folder: str | None) -> None:
    """Guard until released, or until `parent` has gone."""
    watched: list[int] = []
    parent_descriptor = os.pidfd_open(parent)
    # Had the parent died before, its number could mean another process by now.
    parent_died = os.getppid() != parent
    poll = select.poll()
    poll.register(parent_descriptor, select.POLLIN)
    poll.register(0, select.POLLIN)
    pending = b""
    while not parent_died:
        ready = dict(poll.poll())
        if 0 in ready:
            data = os.read(0, 4096)
            if not data:
                # The pipe may close with a thread that cleans up; only the death counts.
                poll.unregister(0)
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                if line == b"release":
                    return
                if line.startswith(b"watch "):
                    with suppress(ProcessLookupError):
                        watched.append(os.pidfd_open(int(line[6:])))
        elif parent_descriptor in ready:
            parent_died = True
    for descriptor in watched:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    for descriptor in watched:
        select.select([descriptor], [], [], 30)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    with suppress(ProcessLookupError):
        main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
