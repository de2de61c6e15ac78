"""The file that tells a later command what an earlier one has started."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .errors import ClusterError
from .processes import ProcessIdentity

STATE_FILE = "cluster.json"
_FORMAT = 1


@dataclass(frozen=True)
class ClusterState:
    """A cluster in a directory: its shape, and the process of each node (None: not started).

    `ready` tells that the start was completed, so that its data is worth keeping.
    """

    addresses: tuple[str, ...]
    port: int
    storage_port: int
    heap: int
    ready: bool
    processes: tuple[ProcessIdentity | None, ...]

    def with_process(self, index: int, process: ProcessIdentity | None) -> ClusterState:
        """Return the state in which node `index` is run by `process`."""
        processes = list(self.processes)
        processes[index] = process
        return replace(self, processes=tuple(processes))


def load_state(directory: Path) -> ClusterState | None:
    """Return the state of the cluster in `directory`, or None if there is none.

    Raises ClusterError if the file is not one of ours.
    """
    path = directory / STATE_FILE
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        data = json.loads(text)
        if data["format"] != _FORMAT:
            raise ValueError(f"unknown format {data['format']!r}")
        return ClusterState(
            addresses=tuple(data["addresses"]),
            port=data["port"],
            storage_port=data["storage_port"],
            heap=data["heap"],
            ready=data["ready"],
            processes=tuple(p and ProcessIdentity(**p) for p in data["processes"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterError(f"{path} is not a cluster's state that this version reads") from error


def save_state(directory: Path, state: ClusterState) -> None:
    """Write the state, whole or not at all."""
    path = directory / STATE_FILE
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"format": _FORMAT, **asdict(state)}, indent=1))
    part.replace(path)
