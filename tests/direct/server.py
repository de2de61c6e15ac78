"""A server that does as it is told with each statement: a real driver connects to it.

It speaks as much of the native protocol (v4 and v5, with lz4 if the driver wants it, with TLS if it
is given a certificate) as a driver needs to connect and prepare. Each statement that it is sent
waits in `held` until the test has it answered, in whatever way.
"""

from __future__ import annotations

import io
import socket
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from threading import Condition, Thread
from typing import Any

from cassandra.cluster import Cluster
from cassandra.connection import locally_supported_compressions, segment_codec_lz4
from cassandra.segment import SegmentCodec

from tests.tls import Certificate, TlsSocket

INT, VARCHAR, UUID, INET = 0x09, 0x0D, 0x0C, 0x10
ERROR, READY, SUPPORTED, RESULT = 0x00, 0x02, 0x06, 0x08
STARTUP, OPTIONS, QUERY, PREPARE, EXECUTE, REGISTER = 0x01, 0x05, 0x07, 0x09, 0x0A, 0x0B
BATCH = 0x0D

COMPRESSED, WARNING = 0x01, 0x08

INSERT = "INSERT INTO scripted.rows (key, value) VALUES (?, ?)"
SELECT = "SELECT value FROM scripted.rows WHERE key = ?"
ECHO = "ECHO "
"""Begins a statement that is not prepared, and is answered as SELECT is."""

INVALID, OVERLOADED, WRITE_TIMEOUT, UNPREPARED = 0x2200, 0x1001, 0x1100, 0x2500


def short(number: int) -> bytes:
    return struct.pack(">H", number)


def integer(number: int) -> bytes:
    return struct.pack(">i", number)


def string(text: str) -> bytes:
    return short(len(text.encode())) + text.encode()


def value(binary: bytes | None) -> bytes:
    return integer(-1) if binary is None else integer(len(binary)) + binary


def metadata(columns: dict[str, int], paging_state: bytes | None = None) -> bytes:
    flags = 1 | (2 if paging_state is not None else 0)
    state = b"" if paging_state is None else value(paging_state)
    head = integer(flags) + integer(len(columns)) + state + string("scripted") + string("rows")
    return head + b"".join(string(name) + short(kind) for name, kind in columns.items())


def rows(columns: dict[str, int], *found: list[bytes | None], more: bytes | None = None) -> bytes:
    cells = b"".join(value(cell) for row in found for cell in row)
    return integer(2) + metadata(columns, more) + integer(len(found)) + cells


VOID = integer(1)


@dataclass(frozen=True)
class Batch:
    """What the body of a BATCH message says (native protocol v4 and v5, 4.1.7)."""

    kind: int
    statements: list[tuple[bytes, list[bytes | None]]]
    """Ids and values, all of prepared ones; what is not set is told as null."""
    consistency: int
    serial_consistency: int | None
    timestamp: int | None
    keyspace: str | None

    @classmethod
    def parsed(cls, body: bytes, version: int) -> Batch:
        read = io.BytesIO(body).read

        def number(size: int) -> int:
            return int.from_bytes(read(size), signed=size > 2)

        def value() -> bytes | None:
            size = number(4)
            return None if size < 0 else read(size)

        def statement() -> tuple[bytes, list[bytes | None]]:
            assert number(1) == 1, "not prepared"
            return read(number(2)), [value() for _ in range(number(2))]

        kind = number(1)
        statements = [statement() for _ in range(number(2))]
        consistency = number(2)
        flags = number(4 if version >= 5 else 1)
        batch = cls(
            kind,
            statements,
            consistency,
            number(2) if flags & 0x10 else None,
            number(8) if flags & 0x20 else None,
            read(number(2)).decode() if flags & 0x80 else None,
        )
        assert not read(1), "bytes left over"
        return batch


@dataclass(eq=False)
class Held:
    """A statement that waits for its answer."""

    peer: Peer
    stream: int
    key: int
    is_insert: bool
    prepared: bool
    timestamp: int | None = None
    body: bytes = b""
    keys: list[int] = field(default_factory=list)
    """Of all its statements; a batch has several."""
    given_up: bool = False  # the test has let it time out

    @property
    def is_batch(self) -> bool:
        return len(self.keys) > 1

    def frame(
        self, opcode: int, body: bytes, stream: int | None = None, *, flags: int = 0
    ) -> bytes:
        return self.peer.frame(self.stream if stream is None else stream, opcode, body, flags)

    def success(self) -> bytes:
        """The answer that a statement of this key gets, and no other."""
        return self.frame(RESULT, VOID if self.is_insert else echo(self.key))

    def warned(self) -> bytes:
        """The answer of a write, with a warning."""
        warning = short(1) + string(f"beware of {self.key}")
        return self.frame(RESULT, warning + VOID, flags=WARNING)

    def error(self, code: int = INVALID) -> bytes:
        details = b""
        if code == WRITE_TIMEOUT:
            kind = "UNLOGGED_BATCH" if self.is_batch else "SIMPLE"
            details = short(1) + integer(0) + integer(1) + string(kind)
        elif code == UNPREPARED:
            details = short(6) + (b"insert" if self.is_insert else b"select")
        return self.frame(ERROR, integer(code) + string(f"no {self.key}") + details)


def text_of(key: int) -> str:
    """The one right value of a key: some are short, some long and worth to be compressed."""
    return f"value {key}" + " and so on" * (key % 3) * 20


def echo(key: int, more: bytes | None = None) -> bytes:
    return rows({"value": VARCHAR}, [text_of(key).encode()], more=more)


@dataclass(eq=False)
class Peer:
    """A connection to the server."""

    server: ScriptedServer
    socket: socket.socket | TlsSocket
    version: int = 4
    compresses: bool = False
    segments: bool = False
    codec: Any = field(default_factory=SegmentCodec)
    left_over: bytes = b""

    def frame(self, stream: int, opcode: int, body: bytes, flags: int = 0) -> bytes:
        if self.compresses and not self.segments and body:
            body, flags = locally_supported_compressions["lz4"][0](body), flags | COMPRESSED
        header = struct.pack(">BBhBi", 0x80 | self.version, flags, stream, opcode, len(body))
        return self.wrapped(header + body)

    def halves(self, data: bytes, cut: int) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return what sends a first part of an answer, and what sends the rest before all else."""
        send: Callable[[bytes], object] = self.socket.sendall
        first, last = 1, 1
        if isinstance(self.socket, TlsSocket) and cut % 2:
            data = self.socket.encrypted(data)
            send, first, last = self.socket.send_encrypted, 0, 0
        elif self.segments and not self.server.cuts_anywhere:
            # Both drivers lose the first bytes of a segment where a read ends within its header;
            # and with lz4 they take one that did not compress for two bytes shorter.
            first, last = self.codec.header_length_with_crc, 3
        at = first + cut // 2 % (len(data) - first - last)
        return partial(self._send, send, data[:at]), partial(self._send, send, data[at:])

    def wrapped(self, frames: bytes) -> bytes:
        if not self.segments:
            return frames
        out = io.BytesIO()
        self.codec.encode(out, frames)
        return out.getvalue()

    def send(self, data: bytes) -> None:
        self._send(self.socket.sendall, data)

    @staticmethod
    def _send(send: Callable[[bytes], object], data: bytes) -> None:
        try:
            send(data)
        except OSError:
            pass

    def close(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    def serve(self) -> None:
        try:
            while True:
                head = self._read(9)
                version, flags, stream, opcode, length = struct.unpack(">BBhBi", head)
                self.version = version & 0x7F
                body = self._read(length)
                if flags & COMPRESSED:
                    if self.segments:
                        raise OSError("with v5 segments are compressed, and no frames")
                    body = locally_supported_compressions["lz4"][1](body)
                self.server.received(self, stream, opcode, body)
        except (OSError, EOFError):
            pass
        finally:
            self.socket.close()
            self.server.gone(self)

    def _read(self, size: int) -> bytes:
        while len(self.left_over) < size:
            self.left_over += self._segment() if self.segments else self._bytes(1, 65536)
        data, self.left_over = self.left_over[:size], self.left_over[size:]
        return data

    def _segment(self) -> bytes:
        size = self.codec.header_length_with_crc
        head = self._bytes(size, size)
        header = self.codec.decode_header(io.BytesIO(head))
        rest = self._bytes(header.payload_length + 4, header.payload_length + 4)
        return bytes(self.codec.decode(io.BytesIO(rest), header).payload)

    def _bytes(self, least: int, most: int) -> bytes:
        data = b""
        while len(data) < least:
            more = self.socket.recv(most - len(data))
            if not more:
                raise EOFError
            data += more
        return data


class ScriptedServer:
    """Listens on loopback; `held` are the statements that wait, in the order they came."""

    def __init__(
        self, address: str, certificate: Certificate | None = None, *, cuts_anywhere: bool = False
    ) -> None:
        self.address = address
        self.cuts_anywhere = cuts_anywhere
        self.tls = None if certificate is None else certificate.server()
        self.changed = Condition()
        self.held: list[Held] = []
        self.log: list[Held] = []
        """All that have ever come."""
        self.prepared: list[str] = []
        self.peers: list[Peer] = []
        self._host_id = uuid.uuid4()
        self._listener = socket.create_server((address, 0))
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def cluster(self, **options: Any) -> Cluster:
        """Return the driver's Cluster of this one node, which knows no tables and no ring."""
        plain = {"schema_metadata_enabled": False, "token_metadata_enabled": False}
        return Cluster([self.address], port=self.port, **{**plain, "compression": False, **options})

    def close(self) -> None:
        self._listener.close()
        for peer in list(self.peers):
            peer.close()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(self, TlsSocket(accepted, self.tls) if self.tls else accepted)
            self.peers.append(peer)
            Thread(target=peer.serve, daemon=True).start()

    def received(self, peer: Peer, stream: int, opcode: int, body: bytes) -> None:
        if opcode == EXECUTE:
            self._hold(peer, stream, body)
        elif opcode == BATCH:
            self._hold_batch(peer, stream, body)
        elif opcode == QUERY and (text := _long_string(body)).startswith(ECHO):
            key = int(text[len(ECHO) :])
            (timestamp,) = struct.unpack(">q", body[-8:])
            self._held(Held(peer, stream, key, False, False, timestamp, body, [key]))
        else:
            peer.send(peer.frame(stream, *self._reply(peer, opcode, body)))
            if opcode == STARTUP:
                peer.compresses = b"lz4" in body
                peer.segments = peer.version >= 5
                if peer.segments and peer.compresses:
                    peer.codec = segment_codec_lz4

    def gone(self, peer: Peer) -> None:
        with self.changed:
            self.held = [each for each in self.held if each.peer is not peer]
            if peer in self.peers:
                self.peers.remove(peer)
            self.changed.notify_all()

    def wait_for(self, number: int) -> list[Held]:
        """Return what is held as soon as it is so many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.held) >= number, timeout=30), self.held
            return list(self.held)

    def answer(self, held: Held, frame: bytes | None = None) -> None:
        self.take(held).peer.send(held.success() if frame is None else frame)

    def take(self, held: Held) -> Held:
        """It is about to be answered."""
        with self.changed:
            self.held.remove(held)
        return held

    def _hold(self, peer: Peer, stream: int, body: bytes) -> None:
        size = struct.unpack(">H", body[:2])[0]
        is_insert = body[2 : 2 + size] == b"insert"
        at = 2 + size
        if peer.version >= 5:
            at += 2 + struct.unpack(">H", body[at : at + 2])[0]
        at += 2 + (4 if peer.version >= 5 else 1)  # consistency level and flags
        (key,) = struct.unpack(">i", body[at + 6 : at + 10])  # behind their number and its size
        (timestamp,) = struct.unpack(">q", body[-8:])
        self._held(Held(peer, stream, key, is_insert, True, timestamp, body, [key]))

    def _hold_batch(self, peer: Peer, stream: int, body: bytes) -> None:
        batch = Batch.parsed(body, peer.version)
        keys = [int.from_bytes(values[0] or b"") for _, values in batch.statements]
        self._held(Held(peer, stream, keys[0], True, True, batch.timestamp, body, keys))

    def _held(self, held: Held) -> None:
        with self.changed:
            self.held.append(held)
            self.log.append(held)
            self.changed.notify_all()

    def _reply(self, peer: Peer, opcode: int, body: bytes) -> tuple[int, bytes]:
        if opcode == OPTIONS:
            options = {"CQL_VERSION": ["3.4.6"], "COMPRESSION": ["lz4"]}
            return SUPPORTED, short(len(options)) + b"".join(
                string(name) + short(len(values)) + b"".join(map(string, values))
                for name, values in options.items()
            )
        if opcode in (STARTUP, REGISTER):
            return READY, b""
        if opcode == PREPARE:
            return RESULT, self._prepare(_long_string(body), peer.version)
        text = _long_string(body)
        if "system.local" in text:
            return RESULT, self._local()
        if "system." in text:
            return RESULT, rows({"peer": INET})
        return RESULT, VOID

    def _prepare(self, text: str, version: int) -> bytes:
        self.prepared.append(text)
        is_insert = text == INSERT
        columns = {"key": INT, "value": VARCHAR} if is_insert else {"key": INT}
        identity = b"insert" if is_insert else b"select"
        bound = integer(1) + integer(len(columns)) + integer(1) + short(0)
        bound += string("scripted") + string("rows")
        bound += b"".join(string(name) + short(kind) for name, kind in columns.items())
        result = integer(4) + integer(0) if is_insert else metadata({"value": VARCHAR})
        version5 = short(6) + b"result" if version >= 5 else b""
        return integer(4) + short(len(identity)) + identity + version5 + bound + result

    def _local(self) -> bytes:
        texts = {
            "key": "local",
            "cluster_name": "scripted",
            "data_center": "here",
            "rack": "r1",
            "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
            "release_version": "4.1.0",
        }
        columns = dict.fromkeys(texts, VARCHAR) | {
            "host_id": UUID,
            "schema_version": UUID,
            "rpc_address": INET,
            "broadcast_address": INET,
            "listen_address": INET,
        }
        address = socket.inet_aton(self.address)
        cells = [text.encode() for text in texts.values()]
        return rows(
            columns, [*cells, self._host_id.bytes, self._host_id.bytes, address, address, address]
        )


def _long_string(body: bytes) -> str:
    size = struct.unpack(">i", body[:4])[0]
    return body[4 : 4 + size].decode()
