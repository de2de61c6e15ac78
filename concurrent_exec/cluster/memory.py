"""Is there memory enough for the nodes? And heap sizes as people write them."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import ClusterError

MIB = 1024 * 1024

# What a node takes beside its heap: code, threads, buffers, page cache of its own.
OVERHEAD = 512 * MIB
# With less, Cassandra 5.0 starts, but dies under the first load.
SMALLEST_HEAP = 256 * MIB

_HEAP = re.compile(r"(\d+)([MG])I?B?", re.IGNORECASE)


def parse_heap(text: str) -> int:
    """Return a heap size such as "768M" or "1G" in bytes.

    Raises ValueError that says what is allowed.
    """
    match = _HEAP.fullmatch(text.strip())
    size = int(match[1]) * (MIB if match[2] in "mM" else 1024 * MIB) if match else 0
    if size < SMALLEST_HEAP:
        raise ValueError(f'heap must be a size such as "768M" or "2G", at least 256M, not {text!r}')
    return size


def default_heap(nodes: int) -> int:
    """Return the heap of a node, in bytes, when the user names none."""
    return (1024 if nodes == 1 else 768) * MIB


def available_memory(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many bytes new processes could take: the machine's, or the container's if less.

    `proc` and `cgroup` are where the kernel's files are.
    """
    available = _mem_available(proc)
    for folder in _cgroup_folders(proc, cgroup):
        try:
            limit = int((folder / "memory.max").read_text())
            used = int((folder / "memory.current").read_text())
        except (OSError, ValueError):
            continue  # not readable, or "max": no limit
        available = min(available, limit - used + _reclaimable(folder))
    return max(available, 0)


def check_memory(nodes: int, heap: int, available: int) -> None:
    """Raise ClusterError if `nodes` nodes of `heap` bytes of heap don't fit into `available`."""
    needed = nodes * (heap + OVERHEAD)
    if needed > available:
        what = "a node" if nodes == 1 else f"{nodes} nodes"
        raise ClusterError(
            f"too little memory: {what} with {heap // MIB} MiB of heap each need about "
            f"{needed // MIB} MiB, and {available // MIB} MiB are available; "
            "end other programs, or choose a smaller heap or fewer nodes"
        )


def _mem_available(proc: Path) -> int:
    for line in (proc / "meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise ClusterError("this kernel's meminfo does not tell the available memory (MemAvailable)")


def _cgroup_folders(proc: Path, cgroup: Path) -> list[Path]:
    """Return this process's control group (version 2) and those above it."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        if line.startswith("0::/"):
            own = Path(line[4:])
            return [cgroup / own, *(cgroup / parent for parent in own.parents)]
    return []


def _reclaimable(folder: Path) -> int:
    """Return the bytes of file cache that the kernel would give up first."""
    try:
        for line in (folder / "memory.stat").read_text().splitlines():
            if line.startswith("inactive_file "):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
