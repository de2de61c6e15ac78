"""A way to a Cassandra that looks like a ScyllaDB node with shards, and notes what came where.

It adds to each SUPPORTED answer what a ScyllaDB tells a driver of its shards (ScyllaDB's
protocol-extensions.md, "Intranode sharding"), and gives each connection a shard as ScyllaDB does:
on the shard-aware port by the client's own port, on the other one that has the fewest connections.
What is behind it has no shards: it shows what the driver and the executor make of them.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

SUPPORTED, EXECUTE = 0x06, 0x0A
_HEADER = struct.Struct(">BBhBi")


@dataclass(eq=False)
class Link:
    """A connection of the driver's.

    port: the client's own.
    keys: of the statements that came on it: the first value of each EXECUTE, an int.
    """

    shard: int
    by_port: bool
    port: int
    client: socket.socket
    server: socket.socket
    keys: list[int] = field(default_factory=list)
    is_open: bool = True

    def cut(self) -> None:
        """Break it."""
        self.is_open = False
        for each in (self.client, self.server):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it was broken before
            each.close()


class ShardedProxy:
    """Listens on two loopback ports; hands on frames of the native protocol v4, uncompressed.

    shards: how many it says that there are.
    ignore_msb: the most significant bits of a token that choose no shard.
    tells_port: whether it tells the driver of its shard-aware port.
    """

    def __init__(
        self, host: str, port: int, *, shards: int, ignore_msb: int = 12, tells_port: bool = True
    ) -> None:
        self.shards = shards
        self.links: list[Link] = []
        self.refuses = False
        """Whether new connections are broken at once."""
        self._target = (host, port)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.host = "127.0.0.1"
        self.port, self.shard_aware_port = (
            listener.getsockname()[1] for listener in self._listeners
        )
        self._told = {
            "SCYLLA_NR_SHARDS": str(shards),
            "SCYLLA_PARTITIONER": "org.apache.cassandra.dht.Murmur3Partitioner",
            "SCYLLA_SHARDING_ALGORITHM": "biased-token-round-robin",
            "SCYLLA_SHARDING_IGNORE_MSB": str(ignore_msb),
        }
        if tells_port:
            self._told["SCYLLA_SHARD_AWARE_PORT"] = str(self.shard_aware_port)
        for listener, by_port in zip(self._listeners, (False, True), strict=True):
            self._start(self._accept, listener, by_port)

    def open_links(self) -> list[Link]:
        """Return those that are there now, in the order they came."""
        with self._lock:
            return [link for link in self.links if link.is_open]

    def shards_of_keys(self) -> dict[int, int]:
        """Return the shard that each key's statement came to, and forget the keys.

        It fails where those of one key came to several.
        """
        shards: dict[int, int] = {}
        with self._lock:
            for link in self.links:
                keys, link.keys = link.keys, []
                for key in keys:
                    assert shards.setdefault(key, link.shard) == link.shard, key
        return shards

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.refuses = True
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for link in self.open_links():
            link.cut()
        for thread in self._threads:
            thread.join(20)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket, by_port: bool) -> None:
        while True:
            try:
                client, (_, port) = listener.accept()
            except OSError:
                return
            if self.refuses:
                client.close()
                continue
            server = socket.create_connection(self._target)
            with self._lock:
                shard = port % self.shards if by_port else self._emptiest()
                link = Link(shard, by_port, port, client, server)
                self.links.append(link)
            self._start(self._hand_on, link, client, server, self._note)
            self._start(self._hand_on, link, server, client, self._tell)

    def _emptiest(self) -> int:
        counts = [0] * self.shards
        for link in self.links:
            counts[link.shard] += link.is_open
        return counts.index(min(counts))

    def _hand_on(
        self,
        link: Link,
        source: socket.socket,
        target: socket.socket,
        see: Callable[[Link, int, bytes], bytes],
    ) -> None:
        stream = source.makefile("rb")
        try:
            while len(head := stream.read(_HEADER.size)) == _HEADER.size:
                version, flags, number, opcode, length = _HEADER.unpack(head)
                body = see(link, opcode, stream.read(length))
                target.sendall(_HEADER.pack(version, flags, number, opcode, len(body)) + body)
        except (OSError, ValueError):
            pass
        link.cut()

    def _note(self, link: Link, opcode: int, body: bytes) -> bytes:
        if opcode == EXECUTE:
            (size,) = struct.unpack_from(">H", body)
            at = 2 + size + 2 + 1 + 2  # the id, consistency, flags and the number of values
            length, key = struct.unpack_from(">ii", body, at)
            assert length == 4
            with self._lock:
                link.keys.append(key)
        return body

    def _tell(self, link: Link, opcode: int, body: bytes) -> bytes:
        if opcode != SUPPORTED:
            return body
        theirs = {key: values for key, values in _multimap(body).items() if "SCYLLA" not in key}
        ours = {key: [value] for key, value in self._told.items()}
        told = {**theirs, **ours, "SCYLLA_SHARD": [str(link.shard)]}
        return struct.pack(">H", len(told)) + b"".join(
            _string(key) + struct.pack(">H", len(values)) + b"".join(map(_string, values))
            for key, values in told.items()
        )


def _string(text: str) -> bytes:
    return struct.pack(">H", len(text.encode())) + text.encode()


def _multimap(body: bytes) -> dict[str, list[str]]:
    at = 0

    def short() -> int:
        nonlocal at
        at += 2
        return int.from_bytes(body[at - 2 : at])

    def string() -> str:
        nonlocal at
        size = short()
        at += size
        return body[at - size : at].decode()

    return {string(): [string() for _ in range(short())] for _ in range(short())}
