"""Servers that end with us: on loopback addresses of this run, and killed however we die."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from concurrent_exec.cluster import ClusterError
from concurrent_exec.cluster.guard import Guard
from concurrent_exec.cluster.network import check_port
from tests.failing.web import Api

_SECONDS = 60.0
"""How long a server may take until it answers."""


def own_address(last: int) -> str:
    """Return a loopback address that no other run of the tests uses; `last` is its last part."""
    number = os.getpid()
    return f"127.{100 + number % 100}.{number // 100 % 250}.{last}"


@contextmanager
def server(name: str, command: Sequence[str], api: Api) -> Iterator[None]:
    """Run a server while the block runs; it is ready when its HTTP API answers.

    Raises ClusterError with what the server said if it does not get ready.
    """
    check_port(api.host, api.port)
    folder = Path(tempfile.mkdtemp(prefix=f"concurrent-exec-{name.lower()}-"))
    guard = Guard(folder)
    try:
        output = folder / "output.log"
        with output.open("wb") as file:
            # A session of its own: Ctrl-C in the terminal is for us to handle.
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            guard.watch(process.pid)
            _wait_until_ready(name, process, api, output)
            yield
        finally:
            process.kill()  # it keeps nothing that would have to be written
            process.wait()
    finally:
        guard.release()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(name: str, process: subprocess.Popen[bytes], api: Api, output: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while not api.answers():
        last_lines = output.read_text(errors="replace").splitlines()[-4:]
        if process.poll() is not None:
            status = process.returncode
            raise ClusterError(f"{name} ended (exit status {status}):", last_lines)
        if time.monotonic() > deadline:
            raise ClusterError(f"{name} did not answer within {_SECONDS:g} seconds:", last_lines)
        time.sleep(0.05)
