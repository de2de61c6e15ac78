"""A way to a server on which the network fails as told: delays, resets, cuts, silence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from tests.failing.servers import own_address, server
from tests.failing.tools import toxiproxy_program
from tests.failing.web import Api

Stream = Literal["upstream", "downstream"]
"""To the server, or from it."""


class Way:
    """A port of its own from which everything is handed on to a server, and its answers back."""

    def __init__(self, api: Api, name: str, listen: str) -> None:
        self._api = api
        self._path = f"/proxies/{name}"
        host, _, port = listen.rpartition(":")
        self.host = host
        self.port = int(port)

    def __repr__(self) -> str:
        return f"<Way {self.host}:{self.port}>"

    @contextmanager
    def latency(self, milliseconds: int, jitter: int = 0) -> Iterator[None]:
        """While the block runs, every answer comes later by that much, give or take `jitter`."""
        attributes = {"latency": milliseconds, "jitter": jitter}
        with self._toxic("latency", "downstream", attributes):
            yield

    @contextmanager
    def silence(self, stream: Stream) -> Iterator[None]:
        """While the block runs, what goes that way is lost, and no connection is closed for it.

        So is a connection whose other end is gone without a word. At the end they are all closed.
        """
        with self._toxic("timeout", stream, {"timeout": 0}):
            yield

    @contextmanager
    def resets(self) -> Iterator[None]:
        """While the block runs, every connection is reset as soon as an answer comes on it."""
        with self._toxic("reset_peer", "downstream", {"timeout": 0}):
            yield

    @contextmanager
    def cut(self) -> Iterator[None]:
        """While the block runs there is no way: connections are closed, new ones are refused."""
        self._api.call("POST", self._path, {"enabled": False})
        try:
            yield
        finally:
            self._api.call("POST", self._path, {"enabled": True})

    @contextmanager
    def _toxic(self, kind: str, stream: Stream, attributes: dict[str, int]) -> Iterator[None]:
        toxic = {"name": kind, "type": kind, "stream": stream, "attributes": attributes}
        self._api.call("POST", f"{self._path}/toxics", toxic)
        try:
            yield
        finally:
            self._api.call("DELETE", f"{self._path}/toxics/{kind}")


class Toxiproxy:
    """The server that the ways go through."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._made = 0

    @contextmanager
    def way(self, host: str, port: int) -> Iterator[Way]:
        """A way to that server for the block."""
        self._made += 1
        name = f"way{self._made}"
        upstream = f"{host}:{port}"
        proxy = {"name": name, "listen": f"{self._api.host}:0", "upstream": upstream}
        told = self._api.call("POST", "/proxies", proxy)
        try:
            yield Way(self._api, name, told["listen"])
        finally:
            self._api.call("DELETE", f"/proxies/{name}")


@contextmanager
def toxiproxy() -> Iterator[Toxiproxy]:
    """Run a Toxiproxy while the block runs."""
    api = Api(own_address(50), 8474)
    command = [str(toxiproxy_program()), "-host", api.host, "-port", str(api.port)]
    with server("Toxiproxy", command, api):
        yield Toxiproxy(api)
