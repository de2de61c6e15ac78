"""What a CoalescingConnection sends together, takes together, and never loses."""

from __future__ import annotations

import errno
import importlib
import io
import socket
import ssl
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest
from cassandra.cluster import Cluster, NoHostAvailable
from cassandra.connection import ConnectionException, DefaultEndPoint, UnixSocketEndPoint
from cassandra.io.libevreactor import LibevConnection
from cassandra.io.libevwrapper import EV_ERROR
from cassandra.marshal import int32_pack
from cassandra.segment import CrcException, SegmentCodec
from hypothesis import given, settings
from hypothesis import strategies as st

import concurrent_exec
from concurrent_exec import CoalescingConnection
from concurrent_exec.drivers.frames import Frame, FrameReader, MalformedFrameError
from tests.conftest import PROOF
from tests.direct.server import ECHO, ScriptedServer

VERSIONS = {3, 4, 5}
FEW = settings(max_examples=1_000 if PROOF else 60)
CODECS = {
    "plain": SegmentCodec(),
    "compressed": SegmentCodec(
        lambda data: int32_pack(len(data)) + zlib.compress(data),
        lambda data: zlib.decompress(data[4:]),
    ),
}

# ---- bytes to frames ----

STREAMS = st.integers(-1, 32767)
VOID = b"\x00\x00\x00\x01"
FLAGS = st.sampled_from([0, 0, 0, 0, 0, 2])
VOIDS = st.tuples(st.just(5), FLAGS, STREAMS, st.just(8), st.just(VOID))
ANY = st.tuples(
    st.just(5),
    st.integers(0, 255),
    STREAMS,
    st.integers(0, 16),
    st.binary(max_size=40) | st.just(bytes(150_000)),
)
FRAMES = st.lists(VOIDS | ANY, max_size=8) | st.lists(VOIDS, max_size=8)
CUTS = st.lists(st.integers(0, 2_000), max_size=20)


def encoded(frames: list[Frame]) -> bytes:
    return b"".join(
        bytes((0x80 | version, flags))
        + stream.to_bytes(2, signed=True)
        + bytes((opcode,))
        + int32_pack(len(body))
        + body
        for version, flags, stream, opcode, body in frames
    )


def in_segments(codec: Any, data: bytes) -> bytes:
    out = io.BytesIO()
    if data:
        codec.encode(out, data)
    return out.getvalue()


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    for cut in cuts:
        if data[:cut]:
            yield data[:cut]
        data = data[cut:]
    if data:
        yield data


def frames_of(reader: FrameReader, data: bytes) -> Iterator[Frame]:
    """Yield all frames that are whole, also those of which the reader tells the stream only."""
    voids, frames = reader.take(data)
    yield from [(5, 0, stream, 8, VOID) for stream in voids]
    yield from frames


def read(reader: FrameReader, data: bytes, cuts: list[int]) -> list[Frame]:
    return [frame for piece in pieces(data, cuts) for frame in frames_of(reader, piece)]


@FEW
@given(FRAMES, CUTS)
def test_frames_are_the_same_however_they_are_cut(frames: list[Frame], cuts: list[int]) -> None:
    assert read(FrameReader(VERSIONS), encoded(frames), cuts) == frames


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@FEW
@given(groups=st.lists(FRAMES, max_size=4), cuts=CUTS)
def test_frames_in_segments_are_the_same_however_these_are_cut(
    codec: Any, groups: list[list[Frame]], cuts: list[int]
) -> None:
    reader = FrameReader(VERSIONS)
    reader.expect_segments(codec)
    data = b"".join(in_segments(codec, encoded(frames)) for frames in groups)
    assert read(reader, data, cuts) == [frame for frames in groups for frame in frames]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_segments_cut_at_each_byte(codec: Any) -> None:
    frames: list[Frame] = [(5, 0, 1, 8, VOID), (5, 0, 2, 8, bytes(200))]
    data = in_segments(codec, encoded(frames)) + in_segments(codec, encoded(frames))
    for cut in range(len(data)):
        reader = FrameReader(VERSIONS)
        reader.expect_segments(codec)
        assert read(reader, data, [cut]) == frames * 2
    reader = FrameReader(VERSIONS)
    reader.expect_segments(codec)
    assert read(reader, data, [1] * len(data)) == frames * 2


@FEW
@given(FRAMES, FRAMES, CUTS)
def test_what_stands_behind_the_frame_that_starts_segments_is_taken_for_one(
    before: list[Frame], after: list[Frame], cuts: list[int]
) -> None:
    codec = CODECS["plain"]
    reader = FrameReader(VERSIONS)
    start: Frame = (5, 0, 77, 2, b"start")
    data = encoded([*before, start]) + in_segments(codec, encoded(after))
    found: list[Frame] = []
    for piece in pieces(data, cuts):
        for frame in frames_of(reader, piece):
            found.append(frame)
            if frame == start and len(found) == len(before) + 1:
                reader.expect_segments(codec)
    assert found == [*before, start, *after]


@pytest.mark.parametrize("head", [b"\x82", b"\xfe"], ids=["version 2", "no version"])
def test_what_is_no_frame_is_said_to_be_none(head: bytes) -> None:
    with pytest.raises(MalformedFrameError):
        list(frames_of(FrameReader(VERSIONS), head + bytes(8)))


def test_no_answer_of_an_unknown_version_is_taken() -> None:
    with pytest.raises(MalformedFrameError):
        list(frames_of(FrameReader(VERSIONS), encoded([(6, 0, 1, 8, VOID)])))


def test_a_negative_length_is_no_frame() -> None:
    with pytest.raises(MalformedFrameError):
        list(frames_of(FrameReader(VERSIONS), b"\x84\x00\x00\x01\x08\xff\xff\xff\xff"))


def test_a_segment_whose_checksum_is_wrong_is_refused() -> None:
    data = bytearray(in_segments(CODECS["plain"], encoded([(5, 0, 1, 8, b"body")])))
    for place in (0, 4, 12, len(data) - 1):
        wrong = data.copy()
        wrong[place] ^= 1
        reader = FrameReader(VERSIONS)
        reader.expect_segments(CODECS["plain"])
        with pytest.raises(CrcException):
            list(frames_of(reader, bytes(wrong) + bytes(200_000)))


# ---- bytes to the socket ----


class Socket:
    """Takes as many bytes as it is told, or none."""

    def __init__(self, takes: list[int]) -> None:
        self.takes = deque(takes)
        self.sent = b""

    def send(self, data: bytes) -> int:
        most = self.takes.popleft() if self.takes else len(data)
        if not most:
            raise BlockingIOError(errno.EAGAIN, "full")
        self.sent += bytes(data[:most])
        return min(most, len(data))


@given(
    pushed=st.lists(st.binary(min_size=1, max_size=50) | st.just(bytes(300_000)), max_size=10),
    takes=st.lists(st.integers(0, 60) | st.just(200_000), max_size=20),
)
@FEW
def test_a_socket_that_takes_little_gets_every_byte_in_order(
    pushed: list[bytes], takes: list[int]
) -> None:
    connection = CoalescingConnection.__new__(CoalescingConnection)
    connection.deque = deque(pushed)
    connection._socket = Socket(takes)
    connection.send_all()
    while connection.deque:
        assert not connection._socket_writable
        connection.send_all()
    assert connection._socket_writable
    assert connection._socket.sent == b"".join(pushed)


# ---- a session on it ----


class Recorder:
    """A socket that notes what is sent and read."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.sends: list[int] = []
        self.reads: list[int] = []

    def send(self, data: bytes) -> int:
        self.sends.append(len(data))
        return int(self.inner.send(data))

    def recv(self, most: int) -> bytes:
        data: bytes = self.inner.recv(most)
        self.reads.append(len(data))
        return data

    def close(self) -> None:
        self.inner.close()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer("127.79.40.1")
    yield server
    server.close()


def connected(server: ScriptedServer, **options: Any) -> Cluster:
    return server.cluster(connection_class=CoalescingConnection, **options)


def connection_of(session: Any) -> Any:
    (pool,) = session._pools.values()
    (connection,) = pool.get_connections()
    return connection


def on_the_event_loop(step: Callable[[], object]) -> None:
    done = Event()

    def call() -> None:
        step()
        done.set()

    CoalescingConnection.create_timer(0, call)
    assert done.wait(20)


def wait_for(server: ScriptedServer, held: int) -> None:
    with server.changed:
        assert server.changed.wait_for(lambda: len(server.held) == held, timeout=20)


@pytest.mark.parametrize("version", [4, 5])
def test_what_is_written_together_is_one_send_and_so_are_the_answers_to_a_read(
    server: ScriptedServer, version: int
) -> None:
    cluster = connected(server, protocol_version=version)
    try:
        session = cluster.connect()
        connection = connection_of(session)
        recorder = connection._socket = Recorder(connection._socket)
        first: list[Any] = []
        second: list[Any] = []

        def send(futures: list[Any], key: int) -> None:
            futures.append(session.execute_async(f"{ECHO}{key}"))

        def send_all() -> None:
            for key in range(50):
                send(first, key)

        on_the_event_loop(send_all)
        wait_for(server, 50)
        assert len(recorder.sends) == 1

        for key, future in enumerate(first):
            future.add_callback(lambda rows, key=key: send(second, 100 + key))
        recorder.sends.clear()
        recorder.reads.clear()
        held = sorted(server.held, key=lambda each: each.key)
        for each in held:
            server.take(each)
        held[0].peer.send(b"".join(each.success() for each in held))
        wait_for(server, 50)
        assert (len(recorder.reads), len(recorder.sends)) == (1, 1)
        assert [future.result().one().value for future in first] == [
            f"value {each.key}" + " and so on" * (each.key % 3) * 20 for each in held
        ]
        for each in list(server.held):
            server.take(each)
            each.peer.send(each.success())
        assert len([future.result() for future in second]) == 50
        assert recorder.inner.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        cluster.shutdown()


def test_the_users_own_socket_options_come_last(server: ScriptedServer) -> None:
    nagle = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
    cluster = connected(server, protocol_version=4, sockopts=[nagle])
    try:
        session = cluster.connect()
        own = connection_of(session)._socket
        assert not own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        cluster.shutdown()


def test_a_unix_socket_is_asked_for_no_option_of_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LibevConnection, "_connect_socket", lambda self: None)
    for endpoint, options in (
        (UnixSocketEndPoint("/run/cql"), None),
        (DefaultEndPoint("127.0.0.1"), [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]),
    ):
        connection = CoalescingConnection.__new__(CoalescingConnection)
        connection.endpoint, connection.sockopts = endpoint, None
        connection._connect_socket()
        assert connection.sockopts == options


class Interrupted(Recorder):
    """A socket whose calls raise what they are to, one after the other, before they go on."""

    def __init__(self, inner: Any, on_send: list[Any], on_read: list[Any]) -> None:
        super().__init__(inner)
        self._on_send, self._on_read = deque(on_send), deque(on_read)

    def send(self, data: bytes) -> int:
        if self._on_send:
            raise self._on_send.popleft()
        return super().send(data)

    def recv(self, most: int) -> bytes:
        if self._on_read:
            raise self._on_read.popleft()
        return super().recv(most)


def test_a_socket_that_is_not_ready_is_asked_again(server: ScriptedServer) -> None:
    """TLS says so in its own way, also of the other direction than that which was asked for."""
    busy = BlockingIOError(errno.EAGAIN, "not now")
    wants: list[OSError] = [ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "more, first")]
    wants.append(ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, "full"))
    cluster = connected(server, protocol_version=4)
    try:
        session = cluster.connect()
        connection = connection_of(session)
        inner = connection._socket
        connection._socket = Interrupted(inner, [*wants, busy], [*wants, busy])
        future = session.execute_async(f"{ECHO}1")
        wait_for(server, 1)
        for each in list(server.held):
            server.take(each)
            each.peer.send(each.success())
        assert future.result().one().value.startswith("value 1")
        assert not connection.is_defunct
        connection._socket = inner
    finally:
        cluster.shutdown()


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(errno.ECONNRESET, "by the other end"),
        ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the end of TLS without a word"),
    ],
    ids=["tcp", "tls"],
)
@pytest.mark.parametrize("direction", ["send", "read"])
def test_a_socket_that_breaks_ends_the_connection(
    server: ScriptedServer, direction: str, error: OSError
) -> None:
    cluster = connected(server, protocol_version=4)
    try:
        session = cluster.connect()
        connection = connection_of(session)
        errors = {"send": [[error], []], "read": [[], [error]]}[direction]
        connection._socket = Interrupted(connection._socket, *errors)
        future = session.execute_async(f"{ECHO}1", timeout=20)
        if direction == "read":
            wait_for(server, 1)
            [held] = server.held
            server.take(held).peer.send(held.success())
        with pytest.raises((ConnectionException, NoHostAvailable)):
            future.result()
        assert connection.is_defunct
        assert connection.last_error is error
    finally:
        cluster.shutdown()


@pytest.mark.parametrize("handle", ["handle_read", "handle_write"])
def test_an_error_of_the_event_loop_is_the_drivers_to_handle(
    server: ScriptedServer, handle: str
) -> None:
    cluster = connected(server, protocol_version=4)
    try:
        session = cluster.connect()
        connection = connection_of(session)
        on_the_event_loop(lambda: getattr(connection, handle)(None, EV_ERROR, errno.EBADF))
        assert connection.is_defunct
        assert connection.last_error.errno == errno.EBADF
    finally:
        cluster.shutdown()


def test_what_is_put_off_to_the_end_of_a_read(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What raises is logged, and keeps nothing else from being done."""
    cluster = connected(server, protocol_version=4)
    done: list[str] = []
    ended = Event()

    def in_the_read(rows: Any) -> None:
        CoalescingConnection.call_after_read(lambda: 1 / 0)
        CoalescingConnection.call_after_read(lambda: done.append("after"))
        CoalescingConnection.call_after_read(ended.set)
        done.append("within")

    try:
        session = cluster.connect()
        session.execute_async(f"{ECHO}1").add_callback(in_the_read)
        wait_for(server, 1)
        [held] = server.held
        server.take(held).peer.send(held.success())
        assert ended.wait(20)
        assert done == ["within", "after"]
        assert "ZeroDivisionError" in caplog.text
        # Where nothing is being read it is done at once, on the event loop.
        ended.clear()
        CoalescingConnection.call_after_read(ended.set)
        assert ended.wait(20)
    finally:
        cluster.shutdown()


@pytest.mark.parametrize(
    ("version", "said"),
    [(4, "no frame of the native protocol"), (5, "CRC mismatch")],
)
def test_bytes_that_are_no_frame_end_the_connection(
    server: ScriptedServer, version: int, said: str
) -> None:
    cluster = connected(server, protocol_version=version)
    try:
        session = cluster.connect()
        future = session.execute_async(f"{ECHO}1", timeout=20)
        wait_for(server, 1)
        connection = connection_of(session)
        server.held[0].peer.socket.sendall(b"HTTP/1.1 400 Bad Request")
        with pytest.raises((ConnectionException, NoHostAvailable)):
            future.result()
        assert connection.is_defunct
        assert said in str(connection.last_error)
    finally:
        cluster.shutdown()


def test_without_libev_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cassandra.io.libevwrapper", None)
    monkeypatch.delitem(sys.modules, "cassandra.io.libevreactor")
    monkeypatch.delattr(importlib.import_module("cassandra.io"), "libevreactor")
    monkeypatch.delitem(sys.modules, "concurrent_exec.drivers.coalescing")
    monkeypatch.delattr(concurrent_exec.drivers, "coalescing")
    with pytest.raises(ImportError, match="needs the driver's event loop on libev"):
        concurrent_exec.CoalescingConnection  # noqa: B018
