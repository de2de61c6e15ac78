"""One node: a process of its own, with a folder of its own."""

from __future__ import annotations

import enum
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import ClusterError
from .logs import failure_reason, sees_up
from .network import answers_cql, check_port
from .processes import ProcessIdentity

_POLL_SECONDS = 0.1
# How long a node may take to flush what it holds after a polite signal.
_STOP_SECONDS = 60.0
_KILL_SECONDS = 30.0


class NodeStatus(enum.Enum):
    """What a node is doing."""

    RUNNING = "running"  # and it answers CQL
    STARTING = "starting"  # the process is there, CQL not (yet)
    STOPPED = "stopped"


class Node:
    """A Cassandra node on this machine; made by LocalCassandra, never by hand.

    `command` gives the command line to run it, with a marker among its arguments that no other
    process has; `on_change` is called with the new process, or None, whenever that changes.
    """

    def __init__(
        self,
        *,
        address: str,
        port: int,
        storage_port: int,
        folder: Path,
        timeout: float,
        command: Callable[[str], list[str]],
        on_change: Callable[[ProcessIdentity | None], None],
        process: ProcessIdentity | None = None,
    ) -> None:
        self.address = address
        self.port = port
        self.folder = folder
        self._storage_port = storage_port
        self._timeout = timeout
        self._command = command
        self._on_change = on_change
        self._process = process
        self._child: subprocess.Popen[bytes] | None = None
        self._log_offset = 0
        self.peers: Sequence[Node] = ()

    def __repr__(self) -> str:
        return f"<Node {self.contact_point} {'running' if self.is_running else 'stopped'}>"

    @property
    def contact_point(self) -> str:
        """Address and port, as in "127.0.0.1:9042"."""
        return f"{self.address}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The number of the process while it runs, else None."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def log(self) -> Path:
        """The node's system.log."""
        return self.folder / "logs" / "system.log"

    @property
    def is_running(self) -> bool:
        """Whether the process is there. It may not answer yet: see `status`."""
        if self._child is not None:
            self._child.poll()  # a dead child stays a zombie until it is asked for
        return self._process is not None and self._process.is_alive

    @property
    def status(self) -> NodeStatus:
        """What the node is doing now."""
        if not self.is_running:
            return NodeStatus.STOPPED
        return NodeStatus.RUNNING if answers_cql(self.address, self.port) else NodeStatus.STARTING

    def start(self) -> None:
        """Start the node, with the data that it has, and wait until it serves.

        That is: it answers CQL, and it and the other running nodes see each other. Does nothing
        if it runs already. Raises ClusterError with the reason from the node's log if it fails.
        """
        if not self.is_running:
            self.check_ports()
            self.launch()
        self.wait_until_ready()

    def stop(self) -> None:
        """Ask the node to end (SIGTERM): it writes out what it holds. Kill it if it does not."""
        self._end(signal.SIGTERM, _STOP_SECONDS)

    def kill(self) -> None:
        """End the node at once (SIGKILL), as a crash would. Its data stays."""
        self._end(signal.SIGKILL, _KILL_SECONDS)

    def check_ports(self) -> None:
        """Raise ClusterError if the node's ports are in use."""
        check_port(self.address, self.port)
        check_port(self.address, self._storage_port)

    def launch(self) -> None:
        """Start the process and return at once."""
        marker = f"-Dconcurrent_exec.node={self.folder}"
        command = self._command(marker)
        self._log_offset = self.log.stat().st_size if self.log.exists() else 0
        with self._console_log.open("wb") as console:
            # A session of its own: Ctrl-C in the terminal is for us to handle, not for the node.
            self._child = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._process = ProcessIdentity.of(self._child.pid, marker)
        self._on_change(self._process)

    def wait_until_ready(self) -> None:
        """Wait until the node serves; raises ClusterError if it ends or takes too long."""
        deadline = time.monotonic() + self._timeout
        while not self._is_ready():
            if not self.is_running:
                ended = f"ended while starting{self._how_it_ended()}"
                raise ClusterError(f"Cassandra on {self.contact_point} {ended}:", self._reason())
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"Cassandra on {self.contact_point} did not answer within "
                    f"{self._timeout:g} seconds:",
                    self._reason(),
                )
            time.sleep(_POLL_SECONDS)

    @property
    def _console_log(self) -> Path:
        return self.folder / "logs" / "console.log"

    def _is_ready(self) -> bool:
        return self.status is NodeStatus.RUNNING and all(
            sees_up(self.log, peer.address) and sees_up(peer.log, self.address)
            for peer in self.peers
            if peer.is_running
        )

    def _end(self, signal_number: signal.Signals, patience: float) -> None:
        process = self._process
        if process is not None and process.send(signal_number) and not process.wait(patience):
            process.send(signal.SIGKILL)
            if not process.wait(_KILL_SECONDS):
                raise ClusterError(f"process {process.pid} ({self.contact_point}) does not end")
        if self._child is not None:
            self._child.wait()
            self._child = None
        self._process = None
        self._on_change(None)

    def _how_it_ended(self) -> str:
        status = self._child.poll() if self._child is not None else None
        if status is None:
            return ""
        if status == -signal.SIGKILL:
            return " (killed; the kernel does that when memory runs out)"
        return f" (signal {-status})" if status < 0 else f" (exit status {status})"

    def _reason(self) -> list[str]:
        reason = failure_reason(self.log, self._console_log, self._log_offset)
        return reason or ["it wrote nothing"]
