"""A connection of the driver's that joins what it sends, and takes all that has come at once."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any

from cassandra import DependencyException, ProtocolVersion
from cassandra.connection import (
    NONBLOCKING,
    CrcException,
    CrcMismatchException,
    ProtocolError,
    _Frame,
)

from concurrent_exec.drivers.frames import RESULT, VOID_BODY, FrameReader, MalformedFrameError
from concurrent_exec.drivers.pages import is_page

try:
    from cassandra.io import libevreactor
    from cassandra.io.libevwrapper import EV_ERROR
except DependencyException as exc:
    raise ImportError(
        "CoalescingConnection needs the driver's event loop on libev, which this driver was built "
        "without; leave Cluster(connection_class=...) away"
    ) from exc

log = logging.getLogger(__name__)

READ_AT_MOST = 64 * 1024
"""Bytes of one read."""
SEND_AT_MOST = 256 * 1024
"""Bytes that are joined for one send; a message that is longer is sent as it is."""
LONGEST_PIECE = 128 * 1024
"""Bytes that `DirectExecutor` puts into one message: a segment of protocol v5 holds no more."""

_VERSIONS = frozenset(version for version in ProtocolVersion.SUPPORTED_VERSIONS if version >= 3)
"""Of the native protocol; older ones have shorter headers."""

_NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
_SSL_WAITS = (ssl.SSL_ERROR_WANT_READ, ssl.SSL_ERROR_WANT_WRITE)


class _Reading:
    """The read that the event loop's thread is at, and what is put off to its end."""

    def __init__(self) -> None:
        self.thread: int | None = None
        self.steps: list[Callable[[], object]] = []
        self.pushed: dict[CoalescingConnection, None] = {}

    def end(self) -> None:
        while self.steps:
            try:
                self.steps.pop(0)()
            except Exception:
                log.exception("what was put off to the end of a read raised")
        self.thread = None
        pushed, self.pushed = self.pushed, {}
        for connection in pushed:
            connection.send_all()


class CoalescingConnection(libevreactor.LibevConnection):  # type: ignore[misc]
    """For `Cluster(connection_class=CoalescingConnection)`: fewer and larger sends and reads.

    It is the drivers' LibevConnection, their default where they were built with libev, but for
    how bytes go to and come from the socket:

    - What waits to be written goes out in one send. What the answers of one read give rise to, on
      whatever connections, is sent when all of them have been passed on.
    - All that has come is read at once, and all whole frames in it are passed on.
    - Nagle's algorithm is off, unless the cluster's `sockopts` say otherwise.
    - No bytes are lost, however a segment of protocol v5 is cut in pieces.
    """

    out_buffer_size = LONGEST_PIECE
    sockopts: Any
    _reading = _Reading()

    def __init__(self, *args: Any, **options: Any) -> None:
        self._frames = FrameReader(_VERSIONS)
        super().__init__(*args, **options)

    def _connect_socket(self) -> None:
        if self.endpoint.socket_family != socket.AF_UNIX:
            self.sockopts = [_NO_DELAY, *(self.sockopts or ())]
        super()._connect_socket()

    def _enable_checksumming(self) -> None:
        super()._enable_checksumming()
        self._frames.expect_segments(self._segment_codec)

    @classmethod
    def handle_fork(cls) -> None:
        cls._reading = _Reading()
        super().handle_fork()

    @classmethod
    def call_after_read(cls, step: Callable[[], object]) -> None:
        """Have `step` called on the event loop's thread once all answers of a read are passed on.

        Called from elsewhere than a read, it is called as soon as the event loop can.
        """
        if cls._reading.thread == get_ident():
            cls._reading.steps.append(step)
        else:
            cls.create_timer(0, step)

    # ---- to the socket ----

    def push(self, data: bytes) -> None:
        """Send `data`, or, where answers are being passed on, together with what comes yet."""
        self.deque.append(data)
        reading = self._reading
        if reading.thread == get_ident():
            reading.pushed[self] = None
        else:
            libevreactor._global_loop.notify()

    def handle_write(self, watcher: Any, revents: int, errno: int | None = None) -> None:
        if revents & EV_ERROR:
            super().handle_write(watcher, revents, errno)
        else:
            self.send_all()

    def send_all(self) -> None:
        """Send what the socket takes of all that waits. On the event loop's thread only."""
        waiting = self.deque
        while waiting and not (self.is_closed or self.is_defunct):
            data = self._join_waiting()
            try:
                sent = self._socket.send(data)
            except OSError as err:
                waiting.appendleft(data)
                if not isinstance(err, ssl.SSLError) and err.errno in NONBLOCKING:
                    self._socket_writable = False
                elif not _waits(err):
                    self.defunct(err)
                return
            if sent < len(data):
                waiting.appendleft(memoryview(data)[sent:])
        self._socket_writable = True

    def _join_waiting(self) -> Any:
        waiting = self.deque
        data = waiting.popleft()
        size = len(data)
        if not waiting or size >= SEND_AT_MOST:
            return data
        pieces = [data]
        while waiting and size < SEND_AT_MOST:
            pieces.append(waiting.popleft())
            size += len(pieces[-1])
        return b"".join(pieces)

    # ---- from the socket ----

    def handle_read(self, watcher: Any, revents: int, errno: int | None = None) -> None:
        if self.is_closed:
            return
        if revents & EV_ERROR:
            super().handle_read(watcher, revents, errno)
            return
        try:
            data = self._socket.recv(READ_AT_MOST)
        except OSError as err:
            if not _waits(err):
                self.defunct(err)
            return
        if data:
            self._take(data)
        else:
            log.debug("Connection %s closed by server", self)
            self.close()

    def _take(self, data: bytes) -> None:
        reading = self._reading
        reading.thread = get_ident()
        pages: list[tuple[int, bytes]] = []
        try:
            done, frames = self._frames.take(data)
            voids = list(done)
            for version, flags, stream, opcode, body in frames:
                is_plain = opcode == RESULT and not flags
                if is_plain and body == VOID_BODY:
                    voids.append(stream)
                elif is_plain and is_page(body):
                    pages.append((stream, body))
                else:
                    self.process_msg(_Frame(version, flags, stream, opcode, 0, len(body)), body)
            self._take_voids(voids)
            self._take_pages(pages)
        except CrcException as exc:
            self.defunct(CrcMismatchException(str(exc), self.endpoint))
        except MalformedFrameError as exc:
            self.defunct(ProtocolError(f"no frame of the native protocol: {exc}"))
        finally:
            reading.end()

    def _take_voids(self, streams: Sequence[int]) -> None:
        """Take answers that say no more than "done".

        Not in one with pages, where each had a body to carry: a write would take a tenth longer.
        """
        together: dict[Any, list[Any]] = {}
        for stream, request in zip(streams, self._release(streams), strict=True):
            if request is None:
                self._process_result(stream, VOID_BODY)
            else:
                together.setdefault(request.wire, []).append(request)
        for wire, requests in together.items():
            wire.done(requests)

    def _take_pages(self, pages: list[tuple[int, bytes]]) -> None:
        """Take answers that are a page of rows, with their bodies."""
        together: dict[Any, list[tuple[Any, bytes]]] = {}
        requests = self._release([stream for stream, _ in pages])
        for (stream, body), request in zip(pages, requests, strict=True):
            if request is None:
                self._process_result(stream, body)
            else:
                together.setdefault(request.wire, []).append((request, body))
        for wire, answers in together.items():
            wire.paged(answers)

    def _release(self, streams: Sequence[int]) -> list[Any]:
        """Free these streams, and return the request of each; None where it is not a wire's."""
        requests: list[Any] = []
        with self.lock:
            waiting, free = self._requests, self.request_ids
            for stream in streams:
                request = waiting[stream][0] if stream in waiting else None
                if hasattr(request, "wire"):
                    del waiting[stream]
                    free.append(stream)
                    requests.append(request)
                else:
                    requests.append(None)
        return requests

    def _process_result(self, stream: int, body: bytes) -> None:
        header = _Frame(self.protocol_version, 0, stream, RESULT, 0, len(body))
        self.process_msg(header, body)


def _waits(error: OSError) -> bool:
    """Say whether the socket is merely not ready."""
    if isinstance(error, ssl.SSLError):
        return error.args[0] in _SSL_WAITS
    return error.errno in NONBLOCKING
