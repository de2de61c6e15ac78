"""What a process has sent to a server that does not read it, as the kernel knows it (proc(5))."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class _Socket(NamedTuple):
    local: tuple[str, int]
    remote: tuple[str, int]
    unread: int
    inode: str


def unread_from(pid: int, server: tuple[str, int]) -> int:
    """Return how many bytes of this process lie in the sockets of the server at that address."""
    own = _inodes(pid)
    there = list(_sockets())
    ends = {each.local for each in there if each.inode in own}
    return sum(each.unread for each in there if each.local == server and each.remote in ends)


def _inodes(pid: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it was closed meanwhile
            found.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
    return found


def _sockets() -> Iterator[_Socket]:
    # A server in Java has sockets of IPv6, whose addresses end with those of IPv4.
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, remote, _, queues, *_, inode = line.split()[:10]
            yield _Socket(_end(local), _end(remote), int(queues.partition(":")[2], 16), inode)


def _end(text: str) -> tuple[str, int]:
    address, _, port = text.partition(":")
    return socket.inet_ntoa(bytes.fromhex(address[-8:])[::-1]), int(port, 16)
