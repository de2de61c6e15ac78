"""Fetch the two programs that make servers and networks fail, once, into the user's cache folder.

Simulacron, a Cassandra of fake nodes, comes through Maven; Toxiproxy is built by Go.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from concurrent_exec.cluster import ClusterError
from concurrent_exec.cluster.folders import default_cache
from concurrent_exec.cluster.guard import Guard
from concurrent_exec.cluster.java import find_maven
from concurrent_exec.cluster.locking import locked

SIMULACRON_VERSION = "0.12.0"
TOXIPROXY_VERSION = "2.9.0"

_SIMULACRON_SHA256 = "705dfe0c73afe24ad15627884129dd64fb0ff8bb18b411ae3bc488d5382aaf80"
# The plugin's version is fixed so that the same command does the same everywhere.
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy"

Report = Callable[[str], None]


def simulacron_jar(report: Report = lambda line: None) -> Path:
    """Return Simulacron's jar, fetching it first if needed.

    Raises ClusterError if Maven is missing or fails, or brings another file than it should.
    """
    name = f"simulacron-standalone-{SIMULACRON_VERSION}.jar"
    jar = default_cache() / name
    with _alone(jar):
        if not (jar.is_file() and _sha256(jar) == _SIMULACRON_SHA256):
            maven = find_maven()
            report(f"fetching Simulacron {SIMULACRON_VERSION} by Maven (about 14 MB, only once)")
            artifact = f"com.datastax.oss.simulacron:simulacron-standalone:{SIMULACRON_VERSION}"
            with _part_of(jar) as part:
                options = [f"-Dartifact={artifact}", f"-DoutputDirectory={part}"]
                _run([str(maven), "-q", "-B", _COPY, *options], part)
                if _sha256(part / name) != _SIMULACRON_SHA256:
                    raise ClusterError(f"{maven} brought a {name} that is not the one we know")
                (part / name).replace(jar)
    return jar


def toxiproxy_program(report: Report = lambda line: None) -> Path:
    """Return Toxiproxy's program, building it first if needed.

    Raises ClusterError if Go is missing or fails. What Go fetches it checks itself.
    """
    program = default_cache() / f"toxiproxy-server-{TOXIPROXY_VERSION}"
    with _alone(program):
        if not program.is_file():
            go = shutil.which("go")
            if go is None:
                raise ClusterError(
                    "no Go found (go), which builds Toxiproxy the first time; "
                    "install it: apt-get install golang-go"
                )
            report(f"building Toxiproxy {TOXIPROXY_VERSION} by Go (about a minute, only once)")
            package = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{TOXIPROXY_VERSION}"
            with _part_of(program) as part:
                # Without cgo, because a machine with Go need not have a C compiler.
                _run([go, "install", package], part, {"GOBIN": str(part), "CGO_ENABLED": "0"})
                (part / "server").replace(program)
    return program


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Hold the lock of what is fetched: of two that fetch it at once, the second waits."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.with_name(f"{target.name}.lock")):
        yield


@contextmanager
def _part_of(target: Path) -> Iterator[Path]:
    """A folder beside `target` for what is not complete yet."""
    # The lock is held: what lies here unfinished belongs to nobody any more.
    for leftover in target.parent.glob(f"{target.name}.*.part"):
        shutil.rmtree(leftover, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=f"{target.name}.", suffix=".part", dir=target.parent))
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _run(command: Sequence[str], folder: Path, extra: Mapping[str, str] | None = None) -> None:
    guard = Guard()
    try:
        # A session of its own: the program starts others, and all must end on Ctrl-C.
        with subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(extra or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            guard.watch(process.pid)
            try:
                output, _ = process.communicate()
            except BaseException:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
    finally:
        guard.release()
    if process.returncode != 0:
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        errors = [line for line in lines if "ERROR" in line] or lines
        said = " ".join(command[:3])
        raise ClusterError(f"{said} failed (exit status {process.returncode}):", errors[:4])
