"""The example service on real sockets and a real Cassandra, under many clients at once."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from concurrent_exec import DirectExecutor, Executor, Observer, StatementStarted
from concurrent_exec.connect import ConnectionOptions
from examples.service.app import ByExecutor, Posts, service
from examples.service.by_helper import ByHelper
from examples.service.by_semaphore import BySemaphore
from examples.service.posts import FOLLOWED, KEYSPACE, followed_by, make_table, post_of
from tests.conftest import PROOF, REQUEST_TIMEOUT
from tests.executors import IN_ONE_PROCESS
from tests.integration.proxy import Proxy
from tests.integration.support import MakeExecutor, session_through, wait_for

pytestmark = pytest.mark.cluster

CLIENTS = 50
LIMIT = 40
PATIENCE = 60.0
"""Seconds; a hang is a failure."""

some_executors = pytest.mark.parametrize(
    "make_executor",
    IN_ONE_PROCESS.values() if PROOF else [DirectExecutor],
    ids=IN_ONE_PROCESS if PROOF else ["direct"],
)


class Started(Observer):
    """Counts the statements that were sent, and the most in flight at any of these moments."""

    def __init__(self) -> None:
        self.count = self.most_in_flight = 0

    def on_started(self, details: StatementStarted) -> None:
        self.count += 1
        self.most_in_flight = max(self.most_in_flight, details.in_flight)


@pytest.fixture(scope="module")
def posts(session: Any) -> Iterator[None]:
    make_table(session)
    yield
    session.execute(f"DROP KEYSPACE {KEYSPACE}", timeout=REQUEST_TIMEOUT)


@pytest.fixture
def own(posts: None, proxy: Proxy, cassandra: ConnectionOptions, keyspace: str) -> Iterator[Any]:
    """A session whose way to the node can be held up."""
    with session_through(proxy, cassandra, keyspace) as session:
        yield session


@contextmanager
def served(app: Starlette) -> Iterator[int]:
    """Serve it on loopback; the block gets the port."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
    with socket.create_server(("127.0.0.1", 0), backlog=2 * CLIENTS) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_for(lambda: server.started or not thread.is_alive())
            assert server.started
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()


class Client:
    """Many connections to a service."""

    def __init__(self, port: int, http: httpx.AsyncClient) -> None:
        self._http = http
        self.port = port

    async def feed(self, reader: int) -> Any:
        return (await self._http.get(f"/feed/{reader}")).raise_for_status().json()

    async def health(self) -> dict[str, Any]:
        told: dict[str, Any] = (await self._http.get("/health")).raise_for_status().json()
        return told

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return what the service says of its health when that is as it should be."""
        while not condition(told := await self.health()):
            await asyncio.sleep(0.01)
        return told

    async def leave_early(self, reader: int, when: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Ask for a feed and disconnect without having got it."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET /feed/{reader} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await when()
        writer.transport.abort()


@asynccontextmanager
async def client_of(port: int) -> AsyncIterator[Client]:
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        limits=httpx.Limits(max_connections=None),
        timeout=PATIENCE,
    ) as http:
        yield Client(port, http)


def run(port: int, main: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(PATIENCE), client_of(port) as client:
            await main(client)

    asyncio.run(within())


def feed_of(reader: int) -> list[str]:
    return [post_of(author) for (author,) in followed_by(reader)]


@some_executors
def test_the_limit_holds_while_fifty_clients_call(
    make_executor: MakeExecutor, own: Any, proxy: Proxy
) -> None:
    started = Started()

    async def main(client: Client) -> None:
        proxy.hold()
        feeds = [asyncio.create_task(client.feed(reader)) for reader in range(CLIENTS)]
        told = await client.until(
            lambda told: told["runs"] == CLIENTS and told["in_flight"] >= LIMIT
        )
        assert told["in_flight"] == told["concurrency"] == LIMIT
        assert sum(each["in_flight"] for each in told["by_run"]) == LIMIT
        proxy.release()
        seen = [LIMIT]
        while not all(feed.done() for feed in feeds):
            seen.append((await client.health())["in_flight"])
            await asyncio.sleep(0.01)
        assert max(seen) == LIMIT
        for reader, feed in enumerate(feeds):
            assert await feed == feed_of(reader)
        told = await client.health()
        assert (told["runs"], told["in_flight"], told["queued"]) == (0, 0, 0)
        assert told["errors"] == []

    def by_executor(session: Any) -> Posts:
        return ByExecutor(make_executor(session, concurrency=LIMIT, observers=[started]))

    with served(service(by_executor, lambda: nullcontext(own))) as port:
        run(port, main)
    assert started.count == CLIENTS * FOLLOWED
    assert started.most_in_flight == LIMIT


class Left(ByExecutor):
    """Says when the first request that was cancelled has been let go."""

    def __init__(self, executor: Executor[Any]) -> None:
        super().__init__(executor)
        self.has_left = threading.Event()

    async def latest(self, authors: list[tuple[int]]) -> list[str]:
        try:
            return await super().latest(authors)
        except asyncio.CancelledError:
            self.has_left.set()
            raise


@some_executors
def test_a_client_that_disconnects_frees_its_places(
    make_executor: MakeExecutor, own: Any, proxy: Proxy
) -> None:
    started = Started()
    posts = Left(make_executor(own, concurrency=LIMIT, observers=[started]))

    async def main(client: Client) -> None:
        proxy.hold()
        await client.leave_early(1, lambda: client.until(lambda told: told["in_flight"] == LIMIT))
        await client.until(lambda told: posts.has_left.is_set())
        feed = asyncio.create_task(client.feed(2))
        await client.until(lambda told: told["runs"] == 2)
        proxy.release()
        assert await feed == feed_of(2)
        await client.until(lambda told: told["runs"] == told["in_flight"] == 0)
        # What was in flight when it left, and nothing more for it.
        assert started.count == LIMIT + FOLLOWED

    with served(service(lambda session: posts, lambda: nullcontext(own))) as port:
        run(port, main)


@pytest.mark.parametrize("read_by", [BySemaphore, ByHelper])
def test_what_it_is_measured_beside_gives_the_same(
    read_by: Callable[[Any], Posts], posts: None, session: Any
) -> None:
    async def main(client: Client) -> None:
        assert await client.feed(3) == feed_of(3)
        assert (await client.health())["concurrency"]

    with served(service(read_by, lambda: nullcontext(session))) as port:
        run(port, main)
