"""A Dask cluster of real processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from concurrent_exec.cluster.guard import Guard
from tests.integration.support import wait_for

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
        self._guard = Guard()  # a test that hangs is ended together with its process
        cleanups.callback(self._guard.release)
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
            self._worker()
        self.client.wait_for_workers(workers, timeout=PATIENCE)

    def pids(self) -> dict[str, int]:
        """Return the process of each worker by its address."""
        found: dict[str, int] = self.client.run(os.getpid)
        return found

    def kill(self, address: str) -> None:
        """Let a worker have no chance to do anything more."""
        os.kill(self.pids()[address], signal.SIGKILL)

    @contextmanager
    def one_more_without_us(self) -> Iterator[str]:
        """A worker whose interpreter has every package but ours; gives its address."""
        others = set(self.client.nthreads())
        # Without `site` the folder of the packages is one like any other: what is in it is found,
        # but not what its .pth files point to, as that of an editable installation does to us.
        process = self._worker(
            "-S", cwd=self._folder, env={"PYTHONPATH": sysconfig.get_path("purelib")}
        )
        self.client.wait_for_workers(len(others) + 1, timeout=PATIENCE)
        (address,) = set(self.client.nthreads()) - others
        try:
            yield address
        finally:
            process.kill()
            wait_for(lambda: address not in self.client.nthreads(), PATIENCE)

    def _worker(self, *flags: str, **how: Any) -> subprocess.Popen[bytes]:
        self._number += 1
        return self._process(
            *("worker", self.address, "--host", HOST, "--no-nanny", "--nthreads", "1"),
            *("--memory-limit", "0", "--name", f"worker {self._number}"),
            *("--local-directory", str(self._folder)),
            flags=flags,
            **how,
        )

    def _process(
        self,
        what: str,
        *arguments: str,
        flags: Sequence[str] = (),
        cwd: Path | None = None,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> subprocess.Popen[bytes]:
        log = self._cleanups.enter_context((self._folder / f"{what}.{self._number}.log").open("w"))
        python = (sys.executable, *flags, "-W", "ignore")
        process = subprocess.Popen(
            [*python, "-m", "dask", what, *arguments, "--no-dashboard"],
            cwd=cwd,
            env={**os.environ, **QUIET, **env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        self._guard.watch(process.pid)
        self._cleanups.callback(process.wait)
        self._cleanups.callback(process.kill)
        return process


@contextmanager
def dask_cluster(folder: Path, workers: int) -> Iterator[DaskCluster]:
    """A cluster whose processes are gone after the block."""
    with ExitStack() as cleanups:
        cluster = DaskCluster(folder, cleanups)
        cluster.start(workers)
        yield cluster
