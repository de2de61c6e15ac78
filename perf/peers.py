"""Two other drivers by hand: asyncio workers that each send the next statement when answered.

They are no drop-in for the two drivers that the executors run on: other sessions, other types,
other policies. They show what a client in C++ or Rust costs beneath the same Python.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from concurrent_exec.comparing.measuring import Note, Play
from concurrent_exec.connect import ConnectionOptions
from perf.workloads import Parameters, Workload

if TYPE_CHECKING:
    from perf.ways import Bench


class Peer(Protocol):
    """A session of another driver."""

    async def open(self, options: ConnectionOptions, workload: Workload) -> None:
        """Connect and prepare the workload's statements."""

    def send(self, which: int, parameters: Parameters) -> Awaitable[object]:
        """Run the statement of that index; its rows are made into Python objects."""

    async def close(self) -> None:
        """Let go of the session."""


class Acsylla:
    """The C++ driver."""

    async def open(self, options: ConnectionOptions, workload: Workload) -> None:
        """Connect and prepare."""
        acsylla = import_module("acsylla")  # has no types
        # It warns each time that the server is no ScyllaDB.
        logging.getLogger("acsylla").setLevel(logging.ERROR)
        cluster = acsylla.create_cluster(list(options.contact_points), port=options.port)
        self._session = await cluster.create_session()
        self._prepared = [
            await self._session.create_prepared(each.cql) for each in workload.statements
        ]

    async def send(self, which: int, parameters: Parameters) -> object:
        """Bind, run, and take the rows as tuples."""
        statement = self._prepared[which].bind()
        statement.bind_list(list(parameters))
        result = await self._session.execute(statement)
        return [row.as_tuple() for row in result]

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()


class RustDriver:
    """The Rust driver."""

    async def open(self, options: ConnectionOptions, workload: Workload) -> None:
        """Connect and prepare."""
        from scylla.session_builder import SessionBuilder

        points = [(point, options.port) for point in options.contact_points]
        self._session = await SessionBuilder().contact_points(points).connect()
        self._prepared = [await self._session.prepare(each.cql) for each in workload.statements]

    async def send(self, which: int, parameters: Parameters) -> object:
        """Run, and take the rows as it makes them by default: dicts."""
        result = await self._session.execute(self._prepared[which], parameters)
        return list(result.iter_current_page())

    async def close(self) -> None:
        """It has no way to close; the session goes with the last reference."""
        del self._session


def way(bench: Bench, *, peer: Callable[[], Peer]) -> Play:
    """Run the workload on a session of the peer's, which is opened here and closed with the bench.

    A statement that fails ends it all: nothing should fail while speed is measured.
    """
    opened = peer()
    loop = bench.cleanups.enter_context(asyncio.Runner())
    loop.run(opened.open(bench.options, bench.bound.workload))
    bench.cleanups.callback(lambda: loop.run(opened.close()))

    def play(count: int, note: Note | None) -> int:
        loop.run(_work(opened, bench, count, note))
        return 0

    return play


async def _work(peer: Peer, bench: Bench, count: int, note: Note | None) -> None:
    items = bench.bound.workload.items(count)

    async def worker() -> None:
        for which, parameters in items:
            start = perf_counter()
            await peer.send(which, parameters)
            if note is not None:
                note(perf_counter() - start)

    await asyncio.gather(*(worker() for _ in range(bench.concurrency)))
