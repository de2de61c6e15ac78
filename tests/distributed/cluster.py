"""A Dask cluster of real processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
QUIET = {
    "DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "1h",
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "3",  # its default: it runs tasks again
}
PATIENCE = 60.0


class DaskCluster:
    """A scheduler and its workers, of one thread each, which can be killed."""

    def __init__(self, folder: Path, cleanups: ExitStack) -> None:
        self._folder = folder
        self._cleanups = cleanups
        self._number = 0
        self.address = ""
        self.client: Any = None

    def start(self, workers: int) -> None:
        from distributed import Client

        file = self._folder / "scheduler.json"
        self._process("scheduler", "--host", HOST, "--port", "0", "--scheduler-file", str(file))
        self.client = self._cleanups.enter_context(
            Client(scheduler_file=str(file), timeout=PATIENCE, set_as_default=False)
        )
        self.address = self.client.scheduler.address
        self.complete(workers)

    def complete(self, workers: int) -> None:
        """Start workers until there are so many."""
        for _ in range(workers - len(self.client.nthreads())):
            self._number += 1
            self._process(
                *("worker", self.address, "--host", HOST, "--no-nanny", "--nthreads", "1"),
                *("--memory-limit", "0", "--name", f"worker {self._number}"),
                *("--local-directory", str(self._folder)),
            )
        self.client.wait_for_workers(workers, timeout=PATIENCE)

    def pids(self) -> dict[str, int]:
        """Return the process of each worker by its address."""
        found: dict[str, int] = self.client.run(os.getpid)
        return found

    def kill(self, address: str) -> None:
        """Let a worker have no chance to do anything more."""
        os.kill(self.pids()[address], signal.SIGKILL)

    def _process(self, what: str, *arguments: str) -> None:
        log = self._cleanups.enter_context((self._folder / f"{what}.{self._number}.log").open("w"))
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "dask", what, *arguments, "--no-dashboard"],
            env={**os.environ, **QUIET},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        self._cleanups.callback(process.wait)
        self._cleanups.callback(process.kill)


@contextmanager
def dask_cluster(folder: Path, workers: int) -> Iterator[DaskCluster]:
    """A cluster whose processes are gone after the block."""
    with ExitStack() as cleanups:
        cluster = DaskCluster(folder, cleanups)
        cluster.start(workers)
        yield cluster
