"""A way to a node that a test can hold up or cut: how a node falls silent on demand."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self


class Proxy:
    """Listens on a loopback port of its own and hands on what comes, in both directions."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = "127.0.0.1"
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def hold(self) -> None:
        """Hold back what the node answers from now on. What is sent to it still arrives."""
        self._open.clear()

    def release(self) -> None:
        """Hand on what was held back, and what comes."""
        self._open.set()

    def cut(self) -> None:
        """Break every connection that there is. New ones can be made."""
        with self._lock:
            cut, self._sockets = self._sockets, set()
        for each in cut:
            _break(each)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed = True
        self.release()
        _break(self._listener)
        self.cut()
        for each in self._threads:
            each.join(20)

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            with self._lock:
                self._sockets |= {client, server}
            if self._closed:
                self.cut()
            self._start(self._hand_on, client, server, None)
            self._start(self._hand_on, server, client, self._open)

    def _hand_on(
        self, source: socket.socket, target: socket.socket, gate: threading.Event | None
    ) -> None:
        try:
            while data := source.recv(65536):
                if gate is not None:
                    gate.wait()
                target.sendall(data)
        except OSError:
            pass
        _break(source)
        _break(target)


def _break(each: socket.socket) -> None:
    try:
        each.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it was broken before
    each.close()
