"""Start the server that answers writes with VOID and reads with the same row: see void/main.go.

    with VoidServer() as server, connect(server.options()) as session:
        ...

It is a process of its own, compiled by Go (1.22 or later) the first time and after a change.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from concurrent_exec.cluster import ClusterError
from concurrent_exec.cluster.folders import default_cache
from concurrent_exec.cluster.locking import locked
from concurrent_exec.connect import ConnectionOptions
from perf.processor_time import cpu_seconds_of

SOURCES = Path(__file__).with_name("void")


def void_program() -> Path:
    """Return the compiled server, compiling it first if its sources are new.

    Raises ClusterError if Go is missing or refuses.
    """
    digest = hashlib.sha256()
    for source in sorted((*SOURCES.glob("*.go"), SOURCES / "go.mod")):
        digest.update(source.read_bytes())
    program = default_cache() / f"void-server-{digest.hexdigest()[:16]}"
    program.parent.mkdir(parents=True, exist_ok=True)
    with locked(program.with_name("void-server.lock")):
        if not program.is_file():
            for old in program.parent.glob("void-server-*"):
                old.unlink()  # one that runs goes on: only its name goes
            _compile(program)
    return program


def _compile(program: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise ClusterError(
            "no Go found (go), which compiles the void server; "
            "install it: apt-get install golang-go"
        )
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        part = Path(folder) / "void"
        done = subprocess.run(
            [go, "build", "-o", str(part), "."],
            cwd=SOURCES,
            env={**os.environ, "CGO_ENABLED": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise ClusterError("go build of the void server failed:", done.stderr.splitlines()[:4])
        part.replace(program)


class VoidServer:
    """The server, while the block runs; it ends with this process, however that ends.

    delay: seconds that each answer is held back.
    address: a loopback address to listen on, at a free port.

    Raises ClusterError if it can't be compiled or started.
    """

    def __init__(self, *, delay: float = 0.0, address: str = "127.0.0.1") -> None:
        self._command = (f"-listen={address}:0", f"-delay={delay}s")
        self.host = address
        self.port = 0
        """Known while the block runs."""

    def __enter__(self) -> VoidServer:
        self._process = subprocess.Popen(
            [void_program(), *self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is for us
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.__exit__(None, None, None)
            raise ClusterError("the void server did not start; it has said above why")
        self.port = int(line.rpartition(":")[2])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._process:  # closes its standard input, which ends it, and waits
            pass

    def options(self) -> ConnectionOptions:
        """Return how to reach it, for `concurrent_exec.connect.connect`."""
        return ConnectionOptions((self.host,), self.port)

    def cpu_seconds(self) -> float:
        """Return the processor time that it has taken so far (Linux)."""
        return cpu_seconds_of(self._process.pid)
