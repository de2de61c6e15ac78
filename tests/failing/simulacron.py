"""A Cassandra of fake nodes, whose every answer is set from here.

The nodes understand the native protocol (3 and 4), tell the driver who they are, answer "done" to
every statement, and keep a log of what they got. `FakeCluster.prime` makes one statement end
otherwise: by an error, late, never, or by a closed connection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from concurrent_exec.cluster.java import find_java
from tests.failing.servers import own_address, server
from tests.failing.tools import simulacron_jar
from tests.failing.web import Api

PORT = 9042
"""Of every fake node; it can't be chosen, so that the addresses must be a run's own."""

Answer = Mapping[str, Any]
"""What becomes of a statement, as Simulacron's API has it: `result` and what belongs to it."""

Close = Literal["disconnect", "shutdown_read", "shutdown_write"]
Reject = Literal["unbind", "stop", "reject_startup"]


class FakeCluster:
    """Fake nodes that belong together."""

    def __init__(self, api: Api, told: Any) -> None:
        self._api = api
        self._id = told["id"]
        nodes = [node for center in told["data_centers"] for node in center["nodes"]]
        self.addresses: tuple[str, ...] = tuple(
            node["address"].rpartition(":")[0] for node in nodes
        )

    def __repr__(self) -> str:
        return f"<FakeCluster {','.join(self.addresses)}>"

    def prime(self, query: str, answer: Answer, *, node: int | None = None) -> None:
        """Have the statement of this text answered so, by all nodes or by one.

        Of two primes for the same text the older counts, and one node's counts before all nodes'.
        """
        self._api.call(
            "POST", self._path("prime", node), {"when": {"query": query}, "then": answer}
        )

    def clear(self) -> None:
        """Take back every prime, those of single nodes too. What was prepared is forgotten."""
        self._api.call("DELETE", self._path("prime"))

    def close_connections(self, how: Close = "disconnect", *, node: int | None = None) -> None:
        """Close, or half close, the connections that there are."""
        self._api.call("DELETE", f"{self._path('connections', node)}?type={how}")

    def stop_listening(self, how: Reject, *, node: int | None = None) -> None:
        """Take no further connections.

        unbind: whoever connects is refused; the connections that there are go on.
        stop: those are closed as well.
        reject_startup: a connection can be made, but nothing is answered on it.
        """
        self._api.call("DELETE", f"{self._path('listener', node)}?type={how}&after=0")

    def listen(self, *, node: int | None = None) -> None:
        """Take connections again."""
        self._api.call("PUT", self._path("listener", node))

    def pause(self, *, node: int | None = None) -> None:
        """Read nothing more from the connections that there are: they stay open, and silent."""
        self._api.call("PUT", self._path("pause-reads", node))

    def resume(self, *, node: int | None = None) -> None:
        """Read on."""
        self._api.call("DELETE", self._path("pause-reads", node))

    def connections(self) -> int:
        """Return how many connections there are."""
        told = self._api.call("GET", self._path("connections"))
        return sum(
            len(node["connections"]) for center in told["data_centers"] for node in center["nodes"]
        )

    def received(self, node: int | None = None) -> Counter[tuple[str, str]]:
        """Return how often each request reached the nodes, or one: (kind, text of the statement).

        The kind is "QUERY", "EXECUTE", "PREPARE" and so on.
        """
        told = self._api.call("GET", self._path("log", node))
        return Counter(
            (request["type"], request["query"])
            for center in told["data_centers"]
            for each in center["nodes"]
            for request in each["queries"]
        )

    def forget(self) -> None:
        """Empty the log."""
        self._api.call("DELETE", self._path("log"))

    def _path(self, what: str, node: int | None = None) -> str:
        path = f"/{what}/{self._id}"
        return path if node is None else f"{path}/0/{node}"


class Simulacron:
    """The server that the fake nodes live in."""

    def __init__(self, api: Api) -> None:
        self._api = api

    @contextmanager
    def cluster(self, nodes: int = 1) -> Iterator[FakeCluster]:
        """A cluster of its own for the block."""
        # From version 4 on the drivers ask for system.peers_v2, of which Simulacron has but one
        # port for all: the older table does.
        told = self._api.call(
            "POST", f"/cluster?data_centers={nodes}&cassandra_version=3.11.0&activity_log=true"
        )
        try:
            yield FakeCluster(self._api, told)
        finally:
            self._api.call("DELETE", f"/cluster/{told['id']}")


@contextmanager
def simulacron() -> Iterator[Simulacron]:
    """Run a Simulacron while the block runs."""
    api = Api(own_address(100), 8187)
    command = [
        str(find_java().path),
        # Small and quick to start: it does little.
        "-Xmx128m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-jar",
        str(simulacron_jar()),
        *("--httpintf", api.host, "--httpport", str(api.port)),
        *("--ip", own_address(101)),
        *("--loglevel", "ERROR"),
    ]
    with server("Simulacron", command, api):
        yield Simulacron(api)
