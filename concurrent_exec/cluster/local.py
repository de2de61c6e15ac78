"""A Cassandra cluster on this machine: N nodes in one folder, started and stopped together."""

from __future__ import annotations

import ipaddress
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from .artifacts import cassandra_jars
from .config import java_command, write_config
from .errors import AlreadyRunningError, ClusterError
from .guard import Guard
from .java import find_java
from .locking import locked
from .memory import available_memory, check_memory, default_heap, parse_heap
from .node import Node
from .processes import ProcessIdentity
from .state import STATE_FILE, ClusterState, load_state, save_state

_LOCK_FILE = "lock"
_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


class LocalCassandra:
    """A Cassandra cluster on loopback addresses of this machine; a context manager.

    nodes: how many; they listen on `first_address` and the addresses after it.
    directory: where data, configuration, logs and state go; by default a temporary folder. One
        that is not empty must be an earlier cluster's.
    port: of CQL, the same on every address. `storage_port`, which the nodes use among themselves,
        is by default as far from it as Cassandra's 7000 is from 9042.
    heap: of each node, as "768M" or "1G"; by default 1G for one node, 768M for each of several.
    settings: what shall go into each cassandra.yaml beside, or over, our own.
    timeout: how many seconds a node may take until it serves.
    outlive_parent: by default the nodes are killed if this process dies, in whatever way, and a
        temporary folder is removed then; True leaves them running once the start is complete.
    cache: where the fetched jars are kept; by default the user's cache folder.
    report: is given a line of text on each step.
    memory_reader: returns how many bytes of memory are available.

    Raises ValueError if an argument is not usable.
    """

    def __init__(
        self,
        nodes: int = 1,
        *,
        directory: Path | str | None = None,
        port: int = 9042,
        storage_port: int | None = None,
        first_address: str = "127.0.0.1",
        heap: str | None = None,
        settings: Mapping[str, object] | None = None,
        timeout: float = 180.0,
        outlive_parent: bool = False,
        cache: Path | str | None = None,
        report: Callable[[str], None] = lambda line: None,
        memory_reader: Callable[[], int] = available_memory,
    ) -> None:
        addresses = _addresses(first_address, nodes)
        if storage_port is None:
            storage_port = port - 2042 if port >= 1024 + 2042 else port + 2042
        for name, value in (("port", port), ("storage_port", storage_port)):
            if not 0 < value < 65536:
                raise ValueError(f"{name} must be from 1 to 65535, not {value}")
        if port == storage_port:
            raise ValueError(f"port and storage_port must differ, both are {port}")
        self._state = ClusterState(
            addresses=addresses,
            port=port,
            storage_port=storage_port,
            heap=default_heap(nodes) if heap is None else parse_heap(heap),
            ready=False,
            processes=(None,) * nodes,
        )
        self._temporary = directory is None
        self._directory = None if directory is None else Path(directory).absolute()
        self._settings = dict(settings or {})
        self._timeout = timeout
        self._outlive_parent = outlive_parent
        self._cache = None if cache is None else Path(cache).absolute()
        self._report = report
        self._memory_reader = memory_reader
        self._guard: Guard | None = None
        self._nodes: list[Node] = []

    @classmethod
    def find(
        cls,
        directory: Path | str,
        *,
        timeout: float = 180.0,
        cache: Path | str | None = None,
        report: Callable[[str], None] = lambda line: None,
    ) -> LocalCassandra | None:
        """Return the cluster that was started in `directory`, running or not; None if none was.

        Nodes that are started through it outlive this process. Raises ClusterError if the folder's
        state can't be read.
        """
        directory = Path(directory).absolute()
        state = load_state(directory)
        if state is None:
            return None
        cluster = cls(
            nodes=len(state.addresses),
            directory=directory,
            port=state.port,
            storage_port=state.storage_port,
            first_address=state.addresses[0],
            timeout=timeout,
            outlive_parent=True,
            cache=cache,
            report=report,
        )
        cluster._state = state
        cluster._make_nodes()
        return cluster

    def __repr__(self) -> str:
        return f"<LocalCassandra {','.join(self.contact_points)} port {self.port}>"

    @property
    def contact_points(self) -> list[str]:
        """The nodes' addresses, as a driver's Cluster takes them."""
        return list(self._state.addresses)

    @property
    def port(self) -> int:
        """The port of CQL."""
        return self._state.port

    @property
    def nodes(self) -> list[Node]:
        """The nodes, from the first start on; each can be stopped, killed and started alone."""
        return list(self._nodes)

    @property
    def directory(self) -> Path:
        """The folder of everything that the nodes write; raises ClusterError before a start."""
        if self._directory is None:
            raise ClusterError("the cluster has not been started")
        return self._directory

    @property
    def state(self) -> ClusterState:
        """The cluster's shape and its processes."""
        return self._state

    @property
    def is_running(self) -> bool:
        """Whether any node's process is there."""
        return any(node.is_running for node in self._nodes)

    def start(self) -> None:
        """Start all nodes and wait until they answer CQL and see each other.

        A folder that an earlier cluster of the same shape was stopped in with its data kept goes
        on with that data. Whatever goes wrong, Ctrl-C included, what was started is ended; the
        logs stay if the folder is not a temporary one.

        Raises AlreadyRunningError if a node of the folder runs, ClusterError with the reason if
        the start can't be made or fails.
        """
        if sys.platform != "linux":
            raise ClusterError("a local Cassandra can be started on Linux only")
        if self._directory is None or self._temporary:
            self._directory = Path(tempfile.mkdtemp(prefix="concurrent-exec-"))
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not (self.directory / STATE_FILE).exists():
                _check_usable(self.directory)
            with self._locked():
                try:
                    self._start()
                finally:
                    if not (self.directory / STATE_FILE).exists():
                        self._remove()
        except BaseException:
            if self._temporary:
                shutil.rmtree(self.directory, ignore_errors=True)
            raise

    def start_missing(self) -> None:
        """Start the nodes that don't run, and wait until all nodes serve.

        Raises ClusterError with the reason if one fails; the others stay as they are.
        """
        with self._locked():
            missing = [node for node in self._nodes if not node.is_running]
            check_memory(len(missing), self._state.heap, self._memory_reader())
            for node in missing:
                self._report(f"starting Cassandra on {node.contact_point} again")
                node.start()
            for node in self._nodes:
                node.wait_until_ready()

    def stop(self, *, keep_data: bool = False) -> None:
        """Stop the nodes that this cluster started, and no other process; remove their folder.

        `keep_data` lets the nodes write out what they hold and keeps the folder, for a later
        start. Without it they are killed, which loses nothing that would be kept. Stopping what
        is stopped does nothing.
        """
        if self._directory is None:
            return
        # Another process may have stopped the cluster and removed the folder.
        there = self._directory.exists()
        with self._locked() if there else nullcontext():
            for node in self._nodes:
                if keep_data:
                    node.stop()
                else:
                    node.kill()
            self._release_guard()
            if there and not keep_data:
                self._remove()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        kept = self._adopt_kept_state()
        self._make_nodes()
        java = find_java()
        check_memory(len(self._nodes), self._state.heap, self._memory_reader())
        for node in self._nodes:
            node.check_ports()
        cassandra_jars(self._cache, self._report)
        try:
            if not kept:
                self._write_new()
            self._guard = Guard(self.directory if self._temporary else None)
            what = "1 node" if len(self._nodes) == 1 else f"{len(self._nodes)} nodes"
            self._report(f"starting Cassandra with Java {java.major} ({what})")
            # The first alone, because the others find the cluster through it.
            for group in (self._nodes[:1], self._nodes[1:]):
                for node in group:
                    node.launch()
                for node in group:
                    node.wait_until_ready()
            self._save(replace(self._state, ready=True))
        except BaseException as error:
            for node in self._nodes:
                node.kill()
            self._release_guard()
            if not isinstance(error, Exception):
                if not kept:
                    self._remove()  # nobody will read the logs of a start that was broken off
            elif isinstance(error, ClusterError) and error.details and not self._temporary:
                where = f"the logs are in {self.directory}/node*/logs"
                raise ClusterError(error.message, (*error.details, where)) from error
            raise
        if self._outlive_parent:
            self._release_guard()

    def _adopt_kept_state(self) -> bool:
        """Take over the data that the folder holds, if any; return whether there is any."""
        found = load_state(self.directory)
        if found is not None and any(p is not None and p.is_alive for p in found.processes):
            raise AlreadyRunningError(f"Cassandra is already running in {self.directory}")
        # What is not ready was left by a start that failed.
        kept = found is not None and found.ready
        self._state = replace(self._state, ready=kept)
        if found is None or not kept:
            return False
        ours = self._state
        if (found.addresses, found.port, found.storage_port) != (
            ours.addresses,
            ours.port,
            ours.storage_port,
        ):
            raise ClusterError(
                f"{self.directory} keeps the data of another cluster "
                f"({', '.join(found.addresses)}, port {found.port}): start with the same "
                "nodes and port, or remove that data first (stop without keeping it)"
            )
        return True

    def _make_nodes(self) -> None:
        state = self._state

        def node(index: int) -> Node:
            return Node(
                address=state.addresses[index],
                port=state.port,
                storage_port=state.storage_port,
                folder=self._node_folder(index),
                timeout=self._timeout,
                command=lambda marker: self._command(index, marker),
                on_change=lambda process: self._node_changed(index, process),
                process=state.processes[index],
            )

        self._nodes = [node(index) for index in range(len(state.addresses))]
        for each in self._nodes:
            each.peers = [other for other in self._nodes if other is not each]

    def _command(self, index: int, marker: str) -> list[str]:
        jars = cassandra_jars(self._cache, self._report)
        folder = self._node_folder(index)
        return java_command(find_java(), jars, folder, self._state.heap, [marker])

    def _node_changed(self, index: int, process: ProcessIdentity | None) -> None:
        if process is not None and self._guard is not None:
            self._guard.watch(process.pid)
        try:
            self._save(self._state.with_process(index, process))
        except FileNotFoundError:
            if process is not None:
                raise
            # The folder has been removed with all that ran in it: there is no state to tell.

    def _write_new(self) -> None:
        state = self._state
        for index in range(len(state.addresses)):
            folder = self._node_folder(index)
            shutil.rmtree(folder, ignore_errors=True)
            write_config(
                folder,
                index=index,
                addresses=state.addresses,
                port=state.port,
                storage_port=state.storage_port,
                settings=self._settings,
            )
        self._save(state)

    def _save(self, state: ClusterState) -> None:
        self._state = state
        save_state(self.directory, state)

    def _remove(self) -> None:
        """Remove what we wrote, and the folder if nothing else is in it."""
        if not self.directory.exists():
            return
        for index in range(len(self._state.addresses)):
            shutil.rmtree(self._node_folder(index), ignore_errors=True)
        for name in (STATE_FILE, _LOCK_FILE):
            (self.directory / name).unlink(missing_ok=True)
        if not any(self.directory.iterdir()):
            self.directory.rmdir()

    def _release_guard(self) -> None:
        if self._guard is not None:
            self._guard.release()
            self._guard = None

    def _node_folder(self, index: int) -> Path:
        return self.directory / f"node{index + 1}"

    def _locked(self) -> AbstractContextManager[None]:
        return locked(
            self.directory / _LOCK_FILE,
            lambda: self._report(f"waiting for another start or stop in {self.directory}"),
        )


def _addresses(first: str, nodes: int) -> tuple[str, ...]:
    if nodes < 1:
        raise ValueError(f"nodes must be at least 1, not {nodes}")
    try:
        start = ipaddress.IPv4Address(first)
        addresses = [start + offset for offset in range(nodes)]
    except ValueError:
        addresses = []
    if not addresses or not all(address in _LOOPBACK for address in addresses):
        raise ValueError(
            f"first_address must be an IPv4 loopback address (127.x.x.x) with {nodes} "
            f"of them from there on, not {first!r}"
        )
    return tuple(map(str, addresses))


def _check_usable(directory: Path) -> None:
    """Raise ClusterError if a folder that is not a cluster's holds something."""
    if any(entry.name != _LOCK_FILE for entry in directory.iterdir()):
        raise ClusterError(
            f"{directory} is not empty and not a cluster's; choose another directory"
        )
